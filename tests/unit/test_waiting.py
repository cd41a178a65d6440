"""Waiting segments: how much they may hold, who fails alone, and what is parked when."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ldsync.sync.change import Change
from ldsync.sync.ledger import Account
from ldsync.sync.limits import Budget, Limits
from ldsync.sync.waiting import Waiting
from tests.support.core import Intake, keys, partition, stamp, target

if TYPE_CHECKING:
    from ldsync.sync.change import Segment, Target

PARK_AFTER = 100.0


class Scene:
    """A buffer for twenty changes, in batches of three, and the policy."""

    def __init__(self) -> None:
        """Nothing waits yet."""
        self.intake = Intake(Limits(max_size=3, max_age=0.0), Budget(max_changes=20))
        self.waiting = Waiting(PARK_AFTER)

    def fail(self, to: Target, now: float, *, own: bool = True) -> None:
        """An attempt at what is due of a segment begins and fails at once."""
        self.waiting.began(to.segment, now)
        batch = self.intake.buffer.take(now)
        assert batch is not None
        assert batch.segment is to.segment
        self.intake.buffer.give_back(batch, now, not_before=now + 0.5)
        self.waiting.failed(to.segment, now, now, "no", own=own)

    def serve(self, now: float, to: Segment | None = None) -> None:
        """LaunchDarkly accepts a write for another segment, or for one."""
        self.waiting.accepted(to or target("other").segment, now)

    def left_alone(self, *members: str, key: str = "vip") -> Target:
        """A segment that fails from 1 to 3, while another is served at 2."""
        vip = target(key)
        self.intake.add(vip, *members, now=0.0)
        self.fail(vip, 1.0)
        self.serve(2.0)
        self.fail(vip, 3.0)
        return vip

    def parked(self, now: float) -> list[list[str]]:
        """The members that are parked now, batch by batch."""
        return [keys(batch) for batch in self.waiting.park(self.intake.buffer, now)]


@pytest.fixture
def scene() -> Scene:
    """An empty buffer."""
    return Scene()


# --- who is alone with a failure ------------------------------------------------------------------


def test_a_segment_waits_from_its_first_failure_to_its_next_success(scene: Scene) -> None:
    """What it failed of last is remembered meanwhile."""
    vip = target()
    scene.intake.add(vip, "a")
    assert scene.waiting.of(vip.segment) is None
    scene.fail(vip, 1.0)
    scene.fail(vip, 2.0)
    wait = scene.waiting.of(vip.segment)
    assert wait is not None
    assert (wait.since, wait.error, wait.alone) == (1.0, "no", False)
    scene.serve(3.0, vip.segment)
    assert scene.waiting.of(vip.segment) is None


@pytest.mark.parametrize(
    ("story", "alone"),
    [
        pytest.param([("fail", 1.0), ("fail", 3.0)], False, id="everything fails"),
        pytest.param([("fail", 1.0), ("serve", 2.0)], False, id="not tried again yet"),
        pytest.param([("fail", 1.0), ("serve", 2.0), ("fail", 3.0)], True, id="others are served"),
        pytest.param(
            [("serve", 0.5), ("fail", 1.0), ("fail", 3.0)], False, id="served before the outage"
        ),
        pytest.param(
            [("fail", 1.0), ("serve", 0.5), ("fail", 3.0)], False, id="was sent before the outage"
        ),
        pytest.param(
            [("fail", 1.0), ("serve", 2.0), ("all", 3.0)], False, id="failed with all others"
        ),
        pytest.param(
            [("fail", 1.0), ("serve", 2.0), ("all", 3.0), ("fail", 4.0)], True, id="both, in turn"
        ),
        pytest.param(
            [("all", 1.0), ("serve", 2.0), ("fail", 3.0)], True, id="alone after an outage"
        ),
    ],
)
def test_a_segment_is_alone_when_it_fails_again_after_others_were_served(
    scene: Scene, story: list[tuple[str, float]], alone: bool
) -> None:
    """When an outage ends, those that were not tried again yet are not to blame."""
    vip = target()
    scene.intake.add(vip, "a")
    for what, now in story:
        if what == "serve":
            scene.serve(now)
        else:
            scene.fail(vip, now, own=what == "fail")
    wait = scene.waiting.of(vip.segment)
    assert wait is not None
    assert wait.alone is alone
    assert bool(scene.parked(1_000.0)) is alone


def test_an_attempt_that_began_before_the_others_were_served_proves_nothing(scene: Scene) -> None:
    """Of several at a time, as big segments have: it belongs to the outage."""
    vip = target().segment
    scene.waiting.failed(vip, 0.0, 1.0, "no", own=True)
    scene.waiting.began(vip, 1.5)
    scene.serve(2.0)
    scene.waiting.began(vip, 3.0)
    scene.waiting.failed(vip, 1.5, 4.0, "no", own=True)
    wait = scene.waiting.of(vip)
    assert wait is not None
    assert not wait.alone
    scene.waiting.failed(vip, 3.0, 4.0, "no", own=True)
    assert wait.alone


# --- too much -------------------------------------------------------------------------------------


def test_a_quarter_of_the_budget_may_wait(scene: Scene) -> None:
    """Nothing is parked below it, however little there is beside it."""
    scene.left_alone("a", "b", "c", "d")
    assert scene.parked(4.0) == []


def test_beyond_a_quarter_the_oldest_changes_are_parked_batch_by_batch(scene: Scene) -> None:
    """Until four fifths of the quarter are left: four of twenty."""
    vip = scene.left_alone("a", "b", "c", "d", "e", "f", "g", "h")
    assert scene.parked(4.0) == [["a", "b", "c"], ["d", "e", "f"]]
    assert scene.intake.buffer.changes == 2
    assert scene.intake.ended() == {"parked": 6}
    assert scene.waiting.of(vip.segment) is not None
    assert scene.parked(5.0) == []


def test_bytes_count_as_changes_do(scene: Scene) -> None:
    """A quarter of the memory is too much as well."""
    scene.intake.buffer.budget = Budget(max_changes=1_000, max_bytes=4_000)
    scene.left_alone("a" * 100)
    assert scene.parked(4.0) == [["a" * 100]]


def test_the_quarter_is_for_all_waiting_segments_together(scene: Scene) -> None:
    """And it begins with the one that holds most."""
    scene.left_alone("a", "b", key="small")
    scene.left_alone("c", "d", "e", key="large")
    assert scene.parked(4.0) == [["c", "d", "e"]]


def test_what_is_not_alone_counts_and_stays(scene: Scene) -> None:
    """It uses the quarter up, but waits for the end of an outage."""
    young = target("young")
    scene.left_alone("a")
    scene.intake.add(young, "b", "c", "d", "e", "f", now=3.0)
    scene.fail(young, 3.5)
    assert scene.parked(4.0) == [["a"]]
    assert scene.intake.buffer.changes == 5
    assert scene.parked(5.0) == []


def test_changes_of_segments_that_do_not_wait_do_not_count(scene: Scene) -> None:
    """The rest of the budget is theirs."""
    scene.left_alone("a", "b")
    scene.intake.add(target("busy"), *"cdefghijk", now=3.0)
    assert scene.parked(4.0) == []


def test_a_segment_that_recovers_between_two_batches_is_spared(scene: Scene) -> None:
    """Parking takes its time."""
    vip = scene.left_alone("a", "b", "c", "d", "e", "f", "g", "h")
    parking = scene.waiting.park(scene.intake.buffer, 4.0)
    assert keys(next(parking)) == ["a", "b", "c"]
    scene.serve(5.0, vip.segment)
    assert list(parking) == []


# --- too long -------------------------------------------------------------------------------------


def test_changes_that_have_waited_for_too_long_are_parked(scene: Scene) -> None:
    """The young ones stay."""
    vip = scene.left_alone("a", "b", "c")
    scene.intake.add(vip, "d", now=50.0)
    assert scene.parked(100.9) == []
    assert scene.parked(101.0) == [["a", "b", "c"]]
    assert scene.intake.buffer.changes == 1
    assert scene.parked(149.0) == []
    assert scene.parked(150.0) == [["d"]]


def test_a_segment_that_recovers_before_all_is_parked_keeps_the_rest(scene: Scene) -> None:
    """Parking takes its time."""
    vip = scene.left_alone("a", "b", "c", "d")
    parking = scene.waiting.park(scene.intake.buffer, 200.0)
    assert keys(next(parking)) == ["a", "b", "c"]
    scene.serve(5.0, vip.segment)
    assert list(parking) == []


def test_an_epoch_that_ends_takes_all_waits_along(scene: Scene) -> None:
    """Whoever owns the partitions then begins anew."""
    vip = scene.left_alone("a", "b", "c", "d", "e", "f")
    scene.waiting.reset()
    assert scene.waiting.of(vip.segment) is None
    assert scene.parked(1_000.0) == []


# --- what the buffer gives ------------------------------------------------------------------------


def test_a_parked_batch_holds_its_records_until_it_is_safe(scene: Scene) -> None:
    """P1: the commit waits; and newer changes of its members are written meanwhile."""
    intake, vip = scene.intake, target()
    intake.add(vip, "a", "b")
    batch = intake.buffer.park(vip.segment, 0.0)
    assert batch is not None
    assert batch.lane.needed() == {partition(0): (0, 2)}
    assert intake.committable() is None
    intake.add(vip, "a", version=2)
    intake.buffer.settle(intake.take(0.0), 0.0)
    assert intake.committable() is None
    intake.buffer.release(batch, 1.0)
    assert intake.committable() == 3
    assert (intake.buffer.open_batches, intake.buffer.bytes) == (0, 0)
    assert intake.buffer.load_of(vip.segment) == 0.0
    assert intake.buffer.park(vip.segment, 1.0) is None


def test_what_is_in_flight_or_in_its_settle_time_is_not_parked(scene: Scene) -> None:
    """P4 and R1: a request for it may still be applied."""
    intake, vip = scene.intake, target()
    intake.add(vip, "a", "b", "c", "d")
    flying = intake.take(0.0)
    assert keys(flying) == ["a", "b", "c"]
    intake.add(vip, "a", version=2)
    parked = intake.buffer.park(vip.segment, 0.0)
    assert parked is not None
    assert keys(parked) == ["d"]
    assert intake.buffer.park(vip.segment, 0.0) is None
    intake.buffer.give_back(flying, 1.0, not_before=1.0, blocked_until=10.0)
    assert intake.buffer.park(vip.segment, 9.9) is None
    parked = intake.buffer.park(vip.segment, 10.0)
    assert parked is not None
    assert sorted(keys(parked)) == ["a", "b", "c"]


def test_parking_leaves_the_failures_of_a_segment_as_they_are(scene: Scene) -> None:
    """It is probed when its time has come, and its letters say how often it was tried."""
    intake, vip = scene.intake, target()
    intake.add(vip, "a", "b", "c", "d")
    intake.buffer.give_back(intake.take(0.0), 0.0, not_before=30.0)
    batch = intake.buffer.park(vip.segment, 1.0)
    assert batch is not None
    assert (keys(batch), batch.attempt) == (["a", "b", "c"], 1)
    assert intake.buffer.take(29.0) is None
    again = intake.take(30.0)
    assert (keys(again), again.attempt) == (["d"], 2)


def test_a_segment_of_which_all_was_parked_is_not_tried_before_its_time(scene: Scene) -> None:
    """What comes next waits as what was parked would have; a success ends that, and an epoch."""
    intake, vip = scene.intake, target()
    for end in ("delivered", "revoked"):
        intake.add(vip, "a")
        intake.buffer.give_back(intake.take(0.0), 0.0, not_before=30.0)
        parked = intake.buffer.park(vip.segment, 1.0)
        assert parked is not None
        intake.buffer.release(parked, 1.0)
        assert intake.buffer.open_batches == 0
        intake.add(vip, "a", "b", "c", now=2.0)
        assert intake.buffer.next_deadline() == 30.0
        batch = intake.take(30.0)
        assert batch.attempt == 2
        if end == "delivered":
            intake.buffer.settle(batch, 30.0)
        else:
            intake.buffer.give_back(batch, 30.0, not_before=60.0)
            intake.buffer.discard(30.0)
        intake.add(vip, "d", "e", "f", now=31.0)
        batch = intake.take(31.0)
        assert batch.attempt == 1
        intake.buffer.settle(batch, 31.0)


def test_what_is_safe_elsewhere_may_grow_old_but_not_be_too_much(scene: Scene) -> None:
    """Replayed changes hold nothing that is committed; in memory they are as large as others."""
    vip = target()
    chunk = Account(partition(0), detached=True).open_chunk(7, 9, 0)
    changes = [Change(vip, "user/a", stamp(1)), Change(vip, "user/b", stamp(1))]
    scene.intake.buffer.add(changes, chunk, 0.0)
    chunk.release()
    assert scene.intake.buffer.park(vip.segment, 100.0, 50.0) is None
    batch = scene.intake.buffer.park(vip.segment, 100.0)
    assert batch is not None
    assert batch.lane.needed() == {partition(0): (7, 9)}


def test_records_of_several_accounts_of_a_partition_are_looked_for_together(scene: Scene) -> None:
    """From the first of them to the last."""
    intake, vip = scene.intake, target()
    intake.add(vip, "a", "b")
    chunk = Account(partition(0), detached=True).open_chunk(0, 1, 0)
    intake.buffer.add([Change(vip, "user/c", stamp(1))], chunk, 0.0)
    chunk.release()
    assert intake.take(0.0).lane.needed() == {partition(0): (0, 2)}


def test_changes_that_are_sent_alone_are_parked_together(scene: Scene) -> None:
    """A letter is a letter."""
    one = target(batch_events=False)
    scene.intake.add(one, "a", "b", "c", "d")
    batch = scene.intake.buffer.park(one.segment, 0.0)
    assert batch is not None
    assert keys(batch) == ["a", "b", "c"]
