"""The end of an epoch: what leaves the buffer, and what must be remembered of it."""

from __future__ import annotations

import pytest

from ldsync.sync.buffer import (
    LANE_OVERHEAD_BYTES,
)
from ldsync.sync.limits import Limits
from tests.support.core import Intake, keys, stamp, target


@pytest.fixture
def intake() -> Intake:
    """An empty buffer for batches of three members."""
    return Intake()


def test_a_discard_returns_what_waited(intake: Intake) -> None:
    """Per segment, without what is in flight; it counts no more."""
    vip, other = target("vip"), target("other")
    intake.add(vip, "a", "b", "c", "d")
    intake.add(other, "x", sign="-")
    intake.take(0.0)
    assert intake.buffer.discard(0.0) == [
        (vip.segment, {"user/d": stamp(1)}),
        (other.segment, {"user/x": stamp(1, "-")}),
    ]
    assert intake.buffer.changes == 0
    assert intake.buffer.empty
    assert intake.buffer.in_flight == 1
    assert [lane.segment for lane in intake.buffer.lanes()] == [vip.segment]
    assert intake.buffer.bytes == LANE_OVERHEAD_BYTES


def test_a_discard_settles_nothing(intake: Intake) -> None:
    """Not even in an epoch that somebody forgot to close: better stuck than lost (P1)."""
    intake.add(target(), "a")
    intake.buffer.discard(0.0)
    intake.add(target(), "b")
    assert intake.committable() is None


@pytest.mark.parametrize("delivered", [True, False])
def test_a_batch_of_an_epoch_that_is_over_only_frees_its_members(
    intake: Intake, delivered: bool
) -> None:
    """It settles nothing and is not taken back (P6, R3)."""
    vip = target()
    intake.add(vip, "a", "b", "c")
    batch = intake.take(0.0)
    assert intake.buffer.is_current(batch)
    intake.ledger.revoke(intake.account().partition)
    intake.buffer.discard(1.0)
    assert not intake.buffer.is_current(batch)
    intake.add(vip, "a", "b", "d", now=1.0, version=2)
    assert intake.buffer.take(1.0) is None  # one write per segment, and of each member (P4)
    if delivered:
        intake.buffer.settle(batch, 2.0)
    else:
        intake.ended()
        intake.buffer.give_back(batch, 2.0, not_before=2.0)
        assert intake.ended() == {}
    assert (intake.buffer.changes, intake.buffer.in_flight) == (3, 0)
    assert intake.committable() is None
    again = intake.take(2.0)
    assert keys(again) == ["a", "b", "d"]
    intake.buffer.settle(again, 3.0)
    assert intake.committable() == 6
    assert intake.buffer.bytes == 0


def test_members_of_a_cancelled_write_stay_blocked_in_the_next_epoch(intake: Intake) -> None:
    """R1 does not care for epochs: the old request may still be applied."""
    vip = target()
    intake.add(vip, "a")
    batch = intake.take(2.0)
    intake.buffer.discard(2.0)
    intake.buffer.give_back(batch, 2.0, not_before=2.0, blocked_until=17.0)
    intake.add(vip, "a", now=3.0, version=2)
    assert intake.buffer.take(16.9) is None
    assert intake.take(17.0).changes == {"user/a": stamp(2)}


def test_a_segment_with_nothing_but_blocked_members_is_forgotten_in_time(intake: Intake) -> None:
    """No memory is kept for members that never come again."""
    intake.add(target(), "a")
    batch = intake.take(2.0)
    intake.buffer.discard(2.0)
    intake.buffer.give_back(batch, 2.0, not_before=2.0, blocked_until=17.0)
    assert intake.buffer.open_batches == 1
    assert intake.buffer.take(16.9) is None
    assert intake.buffer.next_deadline() == 17.0
    assert intake.buffer.open_batches == 1
    assert intake.buffer.take(17.0) is None
    assert intake.buffer.open_batches == 0
    assert intake.buffer.next_deadline() is None


def test_a_segment_is_forgotten_when_the_last_of_its_blocks_ends() -> None:
    """Not with the first."""
    intake, vip = Intake(Limits(max_size=1, writes_per_segment=2)), target()
    intake.add(vip, "a", "b")
    one, two = intake.take(0.0), intake.take(0.0)
    intake.buffer.discard(0.0)
    intake.buffer.give_back(one, 0.0, not_before=0.0, blocked_until=20.0)
    intake.buffer.give_back(two, 0.0, not_before=0.0, blocked_until=10.0)
    assert intake.buffer.next_deadline() == 20.0
    assert intake.buffer.take(10.0) is None
    assert intake.buffer.open_batches == 1


def test_discarding_what_is_blocked_keeps_the_block(intake: Intake) -> None:
    """The changes are forgotten, the settle time is not."""
    vip = target()
    intake.add(vip, "a")
    intake.buffer.give_back(intake.take(2.0), 2.0, not_before=2.0, blocked_until=17.0)
    assert len(intake.buffer.discard(3.0)) == 1
    intake.add(vip, "a", now=3.0)
    assert intake.buffer.take(16.9) is None
    assert keys(intake.take(17.0)) == ["a"]


def test_it_is_quiet_when_nothing_that_was_sent_may_still_be_applied(intake: Intake) -> None:
    """R2: not while something waits or flies, nor while a member is in its settle time (R1)."""
    assert intake.buffer.quiet(0.0)
    intake.add(target(), "a")
    assert not intake.buffer.quiet(0.0)
    batch = intake.take(2.0)
    assert not intake.buffer.quiet(2.0)
    intake.buffer.discard(2.0)
    assert not intake.buffer.quiet(2.0)
    intake.buffer.give_back(batch, 2.0, not_before=2.0, blocked_until=17.0)
    assert not intake.buffer.quiet(16.9)
    assert intake.buffer.quiet(17.0)
