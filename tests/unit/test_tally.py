"""Records with several changes have one outcome: the worst that became of any of them (P7)."""

from __future__ import annotations

import pytest

from ldsync.engage import verdict
from ldsync.sync.buffer import TALLY_OVERHEAD_BYTES
from ldsync.sync.change import Change, Target
from ldsync.sync.outcomes import STALE, Ending, RecordOutcome, is_worse
from ldsync.sync.tally import Tallies
from tests.support.core import Intake, stamp, target

REJECTED = Ending(RecordOutcome.REJECTED, "bad_request")
INVALID = verdict.NOT_AN_OBJECT.ending


@pytest.fixture
def intake() -> Intake:
    """An empty buffer for batches of three members."""
    return Intake()


def add_together(
    intake: Intake, *members: tuple[Target, str], version: int = 1, worst: Ending | None = None
) -> None:
    """Consume one record that has a change for each member."""
    chunk = intake.chunk()
    changes = [Change(to, f"user/{member}", stamp(version)) for to, member in members]
    intake.buffer.add_together(changes, chunk, 0.0, worst)
    chunk.release()


def test_outcomes_are_listed_from_the_mildest_to_the_worst() -> None:
    """As docs/design.md has them."""
    mildest_first = "ignored, skipped, invalid, coalesced, delivered, rejected, abandoned"
    assert ", ".join(RecordOutcome) == mildest_first
    for mild, worse in zip(RecordOutcome, list(RecordOutcome)[1:], strict=False):
        assert is_worse(worse, mild)
        assert not is_worse(mild, worse)
        assert not is_worse(mild, mild)


@pytest.mark.parametrize(
    ("worst", "endings", "expected"),
    [
        pytest.param(None, [STALE, STALE], STALE, id="all stale"),
        pytest.param(None, [REJECTED, STALE], REJECTED, id="the worst comes first"),
        pytest.param(None, [STALE, REJECTED], REJECTED, id="the worst comes last"),
        pytest.param(INVALID, [STALE], INVALID, id="what cannot be read outweighs a stale change"),
        pytest.param(INVALID, [REJECTED], REJECTED, id="and counts for less than a rejected one"),
        pytest.param(verdict.NO_CONTEXT_KEY.ending, [STALE], verdict.NO_CONTEXT_KEY.ending,
                     id="of two that are as bad the first"),
    ],
)  # fmt: skip
def test_a_record_ends_with_its_last_change(
    worst: Ending | None, endings: list[Ending], expected: Ending
) -> None:
    """As the worst of all, and not before."""
    tallies = Tallies()
    tally = tallies.begin(len(endings), worst)
    for ending in endings:
        assert (tallies.records, dict(tallies.take_ended())) == (1, {})
        tallies.end_change(tally, ending)
    assert (tallies.records, tallies.changes) == (0, 0)
    assert tallies.take_ended() == {expected: 1}
    assert tallies.take_ended() == {}


def test_a_record_of_several_segments_ends_when_all_of_them_have_it(intake: Intake) -> None:
    """One batch each; until the last the record is pending, and its offset not committable."""
    vip, other = target("vip"), target("other")
    add_together(intake, (vip, "a"), (other, "a"))
    assert (intake.buffer.changes, intake.buffer.records) == (2, 1)
    first, second = intake.take(2.0), intake.take(2.0)
    intake.buffer.settle(first, 3.0)
    assert (intake.ended(), intake.buffer.records, intake.committable()) == ({}, 1, None)
    intake.buffer.settle(second, 3.0, {"user/a": REJECTED})
    assert (intake.ended(), intake.buffer.records) == ({"bad_request": 1}, 0)
    assert intake.committable() == 1


def test_two_changes_of_one_member_in_a_record_are_one_delivery(intake: Intake) -> None:
    """Send Identify and Send Track in one array: the record is not counted as superseded."""
    vip = target()
    add_together(intake, (vip, "a"), (vip, "a"))
    assert (intake.buffer.changes, intake.buffer.records) == (1, 1)
    intake.buffer.settle(intake.take(2.0), 3.0)
    assert intake.ended() == {"delivered": 1}


@pytest.mark.parametrize(
    ("version", "alone"), [pytest.param(2, 0, id="newer"), pytest.param(0, 1, id="older")]
)
def test_a_record_of_its_own_and_a_shared_one_supersede_each_other(
    intake: Intake, version: int, alone: int
) -> None:
    """Whichever change is older has ended; the record that shares it waits for its others."""
    vip = target()
    add_together(intake, (vip, "a"), (vip, "b"))
    intake.add(vip, "a", version=version)
    assert intake.buffer.records == 2 - alone
    intake.buffer.settle(intake.take(2.0), 3.0)
    assert intake.ended() == {"delivered": 2 - alone}


def test_a_shared_change_supersedes_the_one_of_a_record_of_its_own(intake: Intake) -> None:
    """Which has ended with that."""
    vip = target()
    intake.add(vip, "a")
    add_together(intake, (vip, "a"), (vip, "b"), version=2)
    assert intake.ended() == {"coalesced": 1}
    intake.buffer.settle(intake.take(2.0), 3.0)
    assert intake.ended() == {"delivered": 1}


def test_what_is_given_back_belongs_to_its_record_still(intake: Intake) -> None:
    """Also when something newer came meanwhile for one of its members."""
    vip = target()
    add_together(intake, (vip, "a"), (vip, "b"))
    batch = intake.take(2.0)
    intake.add(vip, "a", now=2.0, version=2)
    intake.buffer.give_back(batch, 3.0, not_before=3.0)
    assert (intake.ended(), intake.buffer.records) == ({}, 2)
    intake.buffer.settle(intake.take(6.0), 6.0, {"user/b": STALE})
    assert intake.ended() == {"delivered": 1, "coalesced": 1}


def test_shared_records_are_abandoned_once(intake: Intake) -> None:
    """However many of their changes waited or were in flight (P6)."""
    vip, other = target("vip"), target("other")
    add_together(intake, (vip, "a"), (other, "a"))
    intake.add(vip, "b")
    batch = intake.take(2.0)
    intake.ledger.revoke(intake.account().partition)
    intake.buffer.discard(3.0)
    assert (intake.ended(), intake.buffer.records) == ({"abandoned": 2}, 0)
    intake.buffer.settle(batch, 4.0)
    assert intake.ended() == {}
    add_together(intake, (vip, "a"), (other, "a"))
    assert intake.buffer.records == 1


def test_what_shares_a_record_takes_more_memory(intake: Intake) -> None:
    """And is in the estimate as long as it is held (P3)."""
    vip = target()
    intake.add(vip, "a", "b")
    alone = intake.buffer.bytes
    add_together(intake, (vip, "a"), (vip, "b"), version=2)
    assert intake.buffer.bytes == alone + 2 * TALLY_OVERHEAD_BYTES
    intake.buffer.settle(intake.take(2.0), 3.0)
    assert intake.buffer.bytes == 0
