"""What the buffer costs, and what it says of itself."""

from __future__ import annotations

import itertools

import pytest

from ldsync.sync.buffer import (
    CHANGE_OVERHEAD_BYTES,
    LANE_OVERHEAD_BYTES,
    PAGE_OVERHEAD_BYTES,
)
from ldsync.sync.limits import Budget, Limits
from tests.support.core import PLENTY, Intake, keys, target


@pytest.fixture
def intake() -> Intake:
    """An empty buffer for batches of three members."""
    return Intake()


def test_bytes_estimate_changes_batches_and_segments(intake: Intake) -> None:
    """Many segments with little in each cost more than one with much (P3)."""
    intake.add(target("one"), "a", "é")
    intake.add(target("two"), "a")
    expected = (
        6 + 7 + 6 + 3 * CHANGE_OVERHEAD_BYTES + 2 * PAGE_OVERHEAD_BYTES + 2 * LANE_OVERHEAD_BYTES
    )
    assert intake.buffer.bytes == expected
    batch = intake.take(2.0)
    assert intake.buffer.bytes == expected
    intake.buffer.settle(batch, 2.0)
    assert intake.buffer.bytes == (
        6 + CHANGE_OVERHEAD_BYTES + PAGE_OVERHEAD_BYTES + LANE_OVERHEAD_BYTES
    )


def test_bytes_are_kept_when_changes_meet(intake: Intake) -> None:
    """What is coalesced counts once."""
    vip = target()
    intake.add(vip, "a", "é")
    batch = intake.take(2.0)
    intake.add(vip, "é", now=2.0)
    intake.buffer.give_back(batch, 2.0, not_before=2.0)
    assert intake.buffer.changes == 2
    assert intake.buffer.bytes == (
        6 + 7 + 2 * CHANGE_OVERHEAD_BYTES + 2 * PAGE_OVERHEAD_BYTES + LANE_OVERHEAD_BYTES
    )


def test_consumption_pauses_at_the_budget_and_resumes_well_below_it() -> None:
    """Hysteresis: in flight counts, and one change fewer is not enough."""
    intake = Intake(Limits(max_size=1), Budget(max_changes=10, resume_ratio=0.8))
    vip = target()
    intake.add(vip, *"abcdefghi")
    assert not intake.buffer.over_budget()
    intake.add(vip, "j")
    assert intake.buffer.over_budget()
    left = []
    while (batch := intake.buffer.take(0.0)) is not None:
        assert intake.buffer.over_budget() == (intake.buffer.changes >= 8)
        intake.buffer.settle(batch, 0.0)
        left.append(intake.buffer.changes)
        assert intake.buffer.over_budget() == (intake.buffer.changes >= 8)
    assert left == list(range(9, -1, -1))


def test_the_budget_of_bytes_pauses_as_well() -> None:
    """Either measure is enough, at exactly its limit."""
    one = 6 + CHANGE_OVERHEAD_BYTES + PAGE_OVERHEAD_BYTES + LANE_OVERHEAD_BYTES
    for max_bytes, over in ((one, True), (one + 1, False)):
        intake = Intake(budget=Budget(max_bytes=max_bytes))
        intake.add(target(), "a")
        assert intake.buffer.over_budget() is over


def test_resuming_waits_for_the_bytes_as_well() -> None:
    """Both measures have to be below the share."""
    lane = 6 + CHANGE_OVERHEAD_BYTES + PAGE_OVERHEAD_BYTES + LANE_OVERHEAD_BYTES
    intake = Intake(Limits(max_size=1), Budget(max_bytes=4 * lane, resume_ratio=0.5))
    for name in "abcd":
        intake.add(target(name), "x")
    found = [intake.buffer.over_budget()]
    for _ in range(4):
        intake.buffer.settle(intake.take(0.0), 0.0)
        found.append(intake.buffer.over_budget())
    assert found == [True, True, True, False, False]


# --- for the status page --------------------------------------------------------------------------


def test_the_oldest_change_is_known_while_it_waits_or_flies(intake: Intake) -> None:
    """By the time of its record."""
    intake.add(target("new"), "a", record_ms=9_000)
    intake.add(target("old"), "a", "b", "c", record_ms=5_000)
    assert intake.buffer.oldest_ms() == 5_000
    batch = intake.take(0.0)
    assert intake.buffer.oldest_ms() == 5_000
    intake.buffer.settle(batch, 0.0)
    assert intake.buffer.oldest_ms() == 9_000


def test_a_segment_in_flight_of_an_old_epoch_has_no_oldest_change(intake: Intake) -> None:
    """It waits for nothing any more."""
    intake.add(target(), "a", "b", "c")
    intake.take(0.0)
    intake.buffer.discard(0.0)
    assert intake.buffer.oldest_ms() is None


def test_a_batch_says_how_long_its_changes_waited(intake: Intake) -> None:
    """Over all its pages."""
    vip = target()
    intake.add(vip, "a", record_ms=1_000)
    batch = intake.take(2.0)
    intake.add(vip, "b", now=2.0, record_ms=2_000)
    intake.add(vip, "b", "c", now=2.0, record_ms=3_000)
    intake.buffer.give_back(batch, 2.0, not_before=2.0)
    assert list(intake.take(2.0).waits()) == [(1_000, 1), (2_000, 1), (3_000, 1)]


# --- cost -----------------------------------------------------------------------------------------


def test_a_hundred_thousand_segments_cost_no_more_each_than_a_few() -> None:
    """All are taken in order, each once, and nothing of them stays."""
    intake = Intake(budget=PLENTY)
    count = 100_000
    targets = [target(str(number)) for number in range(count)]
    for number, each in enumerate(targets):
        intake.add(each, "a", now=number / 1_000)
    assert intake.buffer.open_batches == count
    order = []
    while (batch := intake.buffer.take(1_000.0)) is not None:
        order.append(batch.segment)
        intake.buffer.settle(batch, 1_000.0)
    assert order == [each.segment for each in targets]
    assert intake.buffer.open_batches == 0
    assert intake.buffer.bytes == 0
    assert intake.buffer.next_deadline() is None
    assert intake.committable() == count


def test_fifty_thousand_changes_sent_alone_cost_no_more_each_than_a_few() -> None:
    """In order, also when some of them fail first; nothing of them stays."""
    intake, lone = Intake(), target(batch_events=False)
    count = 50_000
    intake.add(lone, *map(str, range(count)))
    attempts = itertools.count()
    order = []
    while (batch := intake.buffer.take(0.0)) is not None:
        if next(attempts) % 1_000 == 0:
            intake.buffer.give_back(batch, 0.0, not_before=0.0)
        else:
            order += keys(batch)
            intake.buffer.settle(batch, 0.0)
    assert order == list(map(str, range(count)))
    assert intake.buffer.open_batches == 0
    assert intake.committable() == count


def test_deadlines_that_changed_leave_no_heap_behind(intake: Intake) -> None:
    """A segment that is full again and again has one deadline at a time."""
    vip = target()
    for number in range(1_000):
        now = number / 100
        intake.add(vip, *"abc", now=now)
        intake.buffer.settle(intake.take(now), now)
    assert intake.buffer.next_deadline() is None
    assert intake.buffer.take(1e9) is None
