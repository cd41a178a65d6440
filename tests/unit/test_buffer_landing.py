"""A batch with refused members: it lands at once, and lets go of its records later."""

from __future__ import annotations

import pytest

from ldsync.sync.limits import Limits
from tests.support.core import Intake, keys, partition, target


@pytest.fixture
def intake() -> Intake:
    """An empty buffer for batches of three members."""
    return Intake()


def test_a_batch_that_landed_holds_its_records_and_nothing_else(intake: Intake) -> None:
    """P1 and P5: its segment and its members are free, and the commit waits."""
    vip = target()
    intake.add(vip, "a", "b", "c")
    batch = intake.take(0.0)
    intake.buffer.land(batch, 0.0)
    assert (intake.buffer.empty, intake.buffer.in_flight) == (True, 0)
    assert intake.buffer.oldest_ms() is None
    assert intake.committable() is None
    intake.add(vip, "a", "d", "e", version=2, record_ms=7_000)
    assert intake.buffer.oldest_ms() == 7_000
    again = intake.take(0.0)
    assert keys(again) == ["a", "d", "e"]
    intake.buffer.settle(again, 0.0)
    assert intake.committable() is None
    intake.buffer.release(batch, 1.0)
    assert intake.committable() == 6
    assert intake.buffer.open_batches == 0
    assert intake.buffer.bytes == 0


def test_a_batch_of_an_epoch_that_is_over_releases_nothing(intake: Intake) -> None:
    """P6: nor does it touch what came since."""
    vip = target()
    intake.add(vip, "a", "b", "c")
    batch = intake.take(0.0)
    intake.buffer.land(batch, 0.0)
    intake.ledger.revoke(partition())
    intake.buffer.discard(0.0)
    assert intake.buffer.open_batches == 0
    intake.add(vip, "d")
    intake.buffer.release(batch, 1.0)
    assert intake.committable() is None
    assert intake.buffer.open_batches == 1


def test_records_are_looked_for_from_the_first_that_is_needed_to_the_last_consumed() -> None:
    """Also those that a later page holds for a member of an earlier one."""
    intake, vip, other = Intake(Limits(max_size=2)), target("vip"), target("other")
    settled = target("settled")
    intake.add(settled, "x", "y")
    intake.buffer.settle(intake.take(0.0), 0.0)
    intake.add(vip, "a", "b")  # 2 and 3
    intake.add(vip, "c", number=1)  # 4
    intake.add(vip, "a", version=2, number=2)  # 5: the page of c holds it
    intake.add(other, "z", number=2)  # 6
    batch = intake.take(0.0)
    assert keys(batch) == ["a", "b"]
    assert batch.lane.needed() == {partition(0): (2, 4), partition(1): (4, 5), partition(2): (5, 7)}


def test_a_lane_that_needs_nothing_has_no_records(intake: Intake) -> None:
    """Everything of it was settled."""
    intake.add(target(), "a", "b", "c")
    batch = intake.take(0.0)
    intake.buffer.settle(batch, 0.0)
    assert batch.lane.needed() == {}
