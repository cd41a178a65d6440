"""The buffer: what becomes a batch, when, and what happens to it afterwards."""

from __future__ import annotations

import pytest

from ldsync.sync.batch import Trigger
from ldsync.sync.limits import Limits
from tests.support.core import Intake, keys, stamp, target


@pytest.fixture
def intake() -> Intake:
    """An empty buffer for batches of three members."""
    return Intake()


def test_an_empty_buffer_has_nothing_to_do(intake: Intake) -> None:
    """No deadline, no batch, no memory."""
    buffer = intake.buffer
    assert buffer.empty
    assert buffer.next_deadline() is None
    assert buffer.take(1e9) is None
    assert buffer.oldest_ms() is None
    assert (buffer.changes, buffer.bytes, buffer.open_batches, buffer.in_flight) == (0, 0, 0, 0)
    assert list(buffer.lanes()) == []
    assert buffer.discard(0.0) == []


# --- when a batch is due --------------------------------------------------------------------------


def test_a_full_batch_is_due_at_once(intake: Intake) -> None:
    """The third member fills it."""
    vip = target()
    intake.add(vip, "a", "b", now=10.0)
    assert intake.buffer.take(10.0) is None
    intake.add(vip, "c", now=10.5)
    assert intake.buffer.next_deadline() == 10.0
    batch = intake.take(10.5)
    assert (keys(batch), batch.trigger) == (["a", "b", "c"], Trigger.SIZE)
    assert batch.segment is vip.segment
    assert batch.attempt == 1


def test_a_batch_is_due_at_its_age(intake: Intake) -> None:
    """Counted from its first change."""
    vip = target()
    intake.add(vip, "a", now=10.0)
    intake.add(vip, "b", now=11.5)
    assert intake.buffer.next_deadline() == 12.0
    assert intake.buffer.take(11.9) is None
    batch = intake.take(12.0)
    assert (keys(batch), batch.trigger) == (["a", "b"], Trigger.AGE)


def test_a_drain_makes_everything_due(intake: Intake) -> None:
    """What is there already, and what still comes."""
    intake.add(target("one"), "a")
    intake.buffer.drain(0.0, on=True)
    assert intake.take(0.0).trigger is Trigger.DRAIN
    intake.add(target("two"), "a", now=1.0)
    assert intake.take(1.0).trigger is Trigger.DRAIN


def test_a_drain_that_ends_leaves_sizes_and_ages(intake: Intake) -> None:
    """A revoke drains and then goes on."""
    intake.add(target(), "a")
    intake.buffer.drain(0.0, on=True)
    intake.buffer.drain(0.0, on=False)
    assert intake.buffer.take(1.9) is None
    assert intake.take(2.0).trigger is Trigger.AGE


def test_a_full_batch_is_taken_for_its_size_also_in_a_drain(intake: Intake) -> None:
    """The drain is not why."""
    intake.add(target(), "a", "b", "c")
    intake.buffer.drain(0.0, on=True)
    assert intake.take(0.0).trigger is Trigger.SIZE


def test_the_segment_that_has_been_due_for_longest_comes_first(intake: Intake) -> None:
    """One hot segment cannot starve the others."""
    hot, calm, late = target("hot"), target("calm"), target("late")
    intake.add(calm, "x", now=0.0)
    intake.add(late, "x", now=1.0)
    intake.add(hot, *"abcdef", now=2.5)
    order = [intake.take(3.0).segment.key for _ in range(3)]
    assert order == ["calm", "hot", "late"]


def test_segments_that_are_due_together_come_in_the_order_they_became_so(intake: Intake) -> None:
    """Nothing else tells them apart."""
    for name in "zyx":
        intake.add(target(name), "a")
    assert [intake.take(2.0).segment.key for _ in range(3)] == ["z", "y", "x"]


# --- what is in a batch ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("versions", "kept"),
    [
        pytest.param([(1, "+"), (2, "-")], (2, "-"), id="newer_later"),
        pytest.param([(2, "-"), (1, "+")], (2, "-"), id="newer_first"),
        pytest.param([(2, "-"), (2, "+")], (2, "+"), id="tie_in"),
        pytest.param([(2, "+"), (2, "-")], (2, "-"), id="tie_out"),
        pytest.param([(2, "+"), (1, "-"), (3, "-"), (2, "+")], (3, "-"), id="disorder"),
    ],
)
def test_the_newest_change_of_a_member_stays(
    intake: Intake, versions: list[tuple[int, str]], kept: tuple[int, str]
) -> None:
    """In the place of the first; the others are coalesced (P2)."""
    vip = target()
    coalesced = [
        found
        for version, sign in versions
        for found in intake.add(vip, "a", version=version, sign=sign)
    ]
    assert coalesced == [False] + [True] * (len(versions) - 1)
    assert intake.buffer.changes == 1
    assert intake.take(2.0).changes == {"user/a": stamp(*kept)}


@pytest.mark.parametrize(
    ("returned", "came", "kept"),
    [
        pytest.param((1, "+"), (2, "-"), (2, "-"), id="newer_came"),
        pytest.param((2, "+"), (1, "-"), (2, "+"), id="older_came"),
        pytest.param((2, "+"), (2, "-"), (2, "-"), id="tie"),
    ],
)
def test_the_newest_change_stays_when_a_batch_comes_back(
    intake: Intake, returned: tuple[int, str], came: tuple[int, str], kept: tuple[int, str]
) -> None:
    """Whatever came meanwhile; one of both is coalesced."""
    vip = target()
    intake.add(vip, "a", version=returned[0], sign=returned[1])
    batch = intake.take(2.0)
    assert intake.add(vip, "a", now=2.0, version=came[0], sign=came[1]) == [False]
    assert intake.buffer.changes == 2
    intake.buffer.give_back(batch, 3.0, not_before=3.0)
    assert intake.ended() == {"coalesced": 1}
    assert intake.buffer.changes == 1
    again = intake.take(4.0)
    assert again.changes == {"user/a": stamp(*kept)}
    intake.buffer.settle(again, 4.0)
    assert intake.committable() == 2


def test_a_batch_never_has_more_bytes_than_allowed() -> None:
    """A member that does not fit opens the next batch, and the full one is due."""
    intake, vip = Intake(Limits(max_size=9, max_bytes=14)), target()
    intake.add(vip, "ab", now=0.0)
    intake.add(vip, "cd", now=1.0)
    assert intake.buffer.take(1.0) is None
    intake.add(vip, "e", now=1.5)
    batch = intake.take(1.5)
    assert (keys(batch), batch.trigger) == (["ab", "cd"], Trigger.SIZE)
    intake.buffer.settle(batch, 1.5)
    assert intake.buffer.next_deadline() == 3.5


def test_bytes_are_counted_as_the_request_carries_them() -> None:
    """Not in characters."""
    intake, vip = Intake(Limits(max_size=9, max_bytes=14)), target()
    intake.add(vip, "ab", "é", "e")
    assert keys(intake.take(0.0)) == ["ab", "é"]


def test_a_member_larger_than_a_batch_is_sent_alone() -> None:
    """It may be refused; that is not for the buffer to say."""
    intake, vip = Intake(Limits(max_size=9, max_bytes=14)), target()
    intake.add(vip, "a", "b" * 20, "c")
    taken = []
    for _ in range(3):
        batch = intake.take(2.0)
        taken.append(keys(batch))
        intake.buffer.settle(batch, 2.0)
    assert taken == [["a"], ["b" * 20], ["c"]]


@pytest.mark.parametrize(
    ("limits", "together"),
    [
        pytest.param(Limits(max_size=4), ["a", "b", "c", "d"], id="both_fit"),
        pytest.param(Limits(max_size=3), ["a", "b"], id="too_many"),
        pytest.param(Limits(max_size=9, max_bytes=24), ["a", "b", "c", "d"], id="bytes_fit"),
        pytest.param(Limits(max_size=9, max_bytes=23), ["a", "b"], id="too_many_bytes"),
    ],
)
def test_a_batch_takes_along_what_follows_as_far_as_there_is_room(
    limits: Limits, together: list[str]
) -> None:
    """Also if that is not due yet: fewer requests."""
    intake, vip = Intake(limits), target()
    intake.add(vip, "a", "b")
    batch = intake.take(2.0)
    intake.add(vip, "c", "d", now=2.0)
    intake.buffer.give_back(batch, 2.0, not_before=2.0)
    assert keys(intake.take(2.0)) == together


def test_without_batches_every_change_is_sent_alone_at_once_and_in_order(intake: Intake) -> None:
    """`batch_events = false`."""
    lone = target(batch_events=False)
    intake.add(lone, *"abcd")
    for name in "abcd":
        batch = intake.take(0.0)
        assert (keys(batch), batch.trigger) == ([name], Trigger.SIZE)
        intake.buffer.settle(batch, 0.0)
    assert intake.buffer.take(0.0) is None


def test_a_change_to_be_sent_alone_closes_the_batch_before_it(intake: Intake) -> None:
    """Two mappings may lead to one segment; order is kept, and nothing joins what is alone."""
    vip = target()
    lone = target(batch_events=False)
    lone.segment = vip.segment
    intake.add(vip, "a", "b", now=0.0)
    intake.add(lone, "c", now=0.5)
    intake.add(vip, "d", now=0.5)
    taken = []
    for now in (0.5, 0.5, 2.5):
        batch = intake.take(now)
        taken.append(keys(batch))
        intake.buffer.settle(batch, now)
    assert taken == [["a", "b"], ["c"], ["d"]]


# --- what becomes of a batch ----------------------------------------------------------------------


def test_a_settled_batch_is_committable(intake: Intake) -> None:
    """And leaves nothing behind."""
    intake.add(target(), "a", "b", "c")
    batch = intake.take(0.0)
    assert (intake.buffer.in_flight, intake.buffer.changes) == (1, 3)
    assert not intake.buffer.empty
    assert intake.committable() is None
    intake.buffer.settle(batch, 1.0)
    assert intake.committable() == 3
    assert (intake.buffer.in_flight, intake.buffer.changes, intake.buffer.bytes) == (0, 0, 0)
    assert intake.buffer.open_batches == 0


def test_a_segment_that_failed_waits_alone(intake: Intake) -> None:
    """Its changes are not due before the time it was put off to; others are (P5)."""
    intake.add(target("bad"), "a", "b", "c")
    bad = intake.take(0.0)
    intake.buffer.give_back(bad, 1.0, not_before=30.0)
    intake.add(target("good"), "a", "b", "c", now=2.0)
    assert intake.take(2.0).segment.key == "good"
    assert intake.buffer.take(29.9) is None
    assert intake.buffer.next_deadline() == 30.0
    again = intake.take(30.0)
    assert again.segment.key == "bad"
    assert (again.changes, again.attempt) == (bad.changes, 2)


def test_a_drain_does_not_hurry_what_is_put_off(intake: Intake) -> None:
    """The server asked for the wait."""
    intake.add(target(), "a")
    intake.buffer.give_back(intake.take(2.0), 2.0, not_before=30.0)
    intake.buffer.drain(2.0, on=True)
    assert intake.buffer.next_deadline() == 30.0


def test_what_is_put_off_is_hurried_when_a_person_says_so(intake: Intake) -> None:
    """But not members whose last request may still be applied (R1)."""
    vip = target()
    intake.add(vip, "a")
    intake.buffer.give_back(intake.take(2.0), 2.0, not_before=30.0, blocked_until=10.0)
    intake.add(vip, "b", now=2.0)
    intake.buffer.hurry(3.0)
    assert intake.take(5.0).changes.keys() == {"user/b"}
    assert intake.buffer.take(9.9) is None


def test_what_comes_after_all_was_parked_is_hurried_as_well(intake: Intake) -> None:
    """The person has seen to the segment, though nothing of it is here at that moment."""
    vip = target()
    intake.add(vip, "a")
    intake.buffer.give_back(intake.take(2.0), 2.0, not_before=3600.0)
    parked = intake.buffer.park(vip.segment, 3.0)
    assert parked is not None
    intake.buffer.release(parked, 3.0)
    intake.buffer.hurry(4.0)
    intake.add(vip, "b", now=5.0)
    again = intake.take(7.0)
    assert (set(again.changes), again.attempt) == ({"user/b"}, 2)


def test_the_longest_wait_counts_when_several_writes_fail() -> None:
    """An earlier answer may have asked for more patience than a later one."""
    intake, vip = Intake(Limits(max_size=1, writes_per_segment=2)), target()
    intake.add(vip, "a", "b")
    one, two = intake.take(0.0), intake.take(0.0)
    intake.buffer.give_back(one, 1.0, not_before=60.0)
    intake.buffer.give_back(two, 1.0, not_before=2.0)
    assert intake.buffer.next_deadline() == 60.0
    assert intake.take(60.0).attempt == 3


def test_attempts_begin_anew_after_a_success(intake: Intake) -> None:
    """And nothing is put off any longer."""
    intake = Intake(Limits(max_size=1, writes_per_segment=2))
    vip = target()
    intake.add(vip, "a", "b")
    one, two = intake.take(0.0), intake.take(0.0)
    intake.buffer.give_back(one, 1.0, not_before=60.0)
    intake.buffer.settle(two, 1.0)
    assert intake.take(1.0).attempt == 1


def test_a_block_that_is_over_already_blocks_nothing(intake: Intake) -> None:
    """The request began long enough ago."""
    intake.add(target(), "a", "b", "c")
    intake.buffer.give_back(intake.take(0.0), 20.0, not_before=20.0, blocked_until=20.0)
    assert keys(intake.take(20.0)) == ["a", "b", "c"]


# --- segments that fail, and the others ----------------------------------------------------------


def test_segments_that_failed_are_kept_to_a_share_of_what_is_in_flight() -> None:
    """P5: the others are taken, however many of those there are, and however long they are due."""
    intake = Intake(Limits(max_size=1))
    for name in ("ill-1", "ill-2", "ill-3"):
        intake.add(target(name), "a")
    for failed in [intake.take(0.0) for _ in range(3)]:
        intake.buffer.give_back(failed, 0.0, not_before=1.0)
    intake.add(target("well"), "a", now=5.0)
    taken = [intake.buffer.take(5.0, repeats=2) for _ in range(4)]
    assert [batch and batch.segment.key for batch in taken] == ["ill-1", "ill-2", "well", None]
    assert intake.buffer.next_deadline() is None, "there is nothing to do before one has landed"
    assert taken[0] is not None
    intake.buffer.give_back(taken[0], 6.0, not_before=9.0)
    assert intake.buffer.next_deadline() == 1.0
    again = intake.buffer.take(6.0, repeats=2)
    assert again is not None
    assert again.segment.key == "ill-3"


def test_a_segment_that_goes_again_is_like_any_other() -> None:
    """One delivery is enough."""
    intake, vip = Intake(Limits(max_size=1)), target()
    intake.add(vip, "a")
    intake.buffer.give_back(intake.take(0.0), 0.0, not_before=0.0)
    repeat = intake.buffer.take(0.0, repeats=1)
    assert repeat is not None
    intake.buffer.settle(repeat, 0.0)
    intake.add(vip, "b")
    assert intake.buffer.take(0.0, repeats=0) is not None


def test_a_share_that_grows_frees_segments_that_failed() -> None:
    """What could not be taken is due at once."""
    intake = Intake(Limits(max_size=1))
    for name in ("ill-1", "ill-2"):
        intake.add(target(name), "a")
    for failed in [intake.take(0.0) for _ in range(2)]:
        intake.buffer.give_back(failed, 0.0, not_before=1.0)
    assert intake.buffer.take(1.0, repeats=1) is not None
    assert intake.buffer.take(1.0, repeats=1) is None
    assert intake.buffer.take(1.0, repeats=2) is not None
