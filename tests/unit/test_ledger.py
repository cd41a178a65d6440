"""The ledger: how far a partition may be committed."""

from __future__ import annotations

import pytest

from ldsync.sync.ledger import Account, Ledger
from tests.support.core import partition, settled


@pytest.fixture
def ledger() -> Ledger:
    """With nothing assigned."""
    return Ledger()


@pytest.fixture
def account(ledger: Ledger) -> Account:
    """A fresh epoch of partition 0."""
    return ledger.assign(partition())


def test_nothing_is_committable_before_the_first_record_settles(
    ledger: Ledger, account: Account
) -> None:
    """Not even the place where the epoch began: that is the broker's to know."""
    assert ledger.committable() == {}
    chunk = account.open_chunk(0, 5, 1_000)
    assert ledger.committable() == {}
    assert account.oldest is chunk
    chunk.release()
    assert ledger.committable() == {partition(): 5}
    assert account.oldest is None


def test_an_account_knows_where_consumption_stands(account: Account) -> None:
    """Whether what was consumed is settled or not, and nowhere before the first record."""
    assert account.end == 0
    first = account.open_chunk(3, 5, 1_000)
    second = account.open_chunk(5, 9, 1_000)
    assert account.end == 9
    second.release()
    assert account.end == 9
    first.release()
    assert account.end == 9
    account.close()
    assert account.end == 0


def test_a_chunk_knows_its_records(account: Account) -> None:
    """Offsets, time and epoch."""
    chunk = account.open_chunk(3, 5, 1_000)
    assert (chunk.first, chunk.end, chunk.oldest_ms) == (3, 5, 1_000)
    assert chunk.account is account


def test_a_chunk_settles_with_its_last_hold(account: Account) -> None:
    """As many releases as there were holds, and one for the intake."""
    chunk = account.open_chunk(0, 5, 0)
    chunk.hold()
    chunk.release()
    assert not settled(chunk)
    chunk.release()
    assert settled(chunk)


def test_a_settled_chunk_cannot_be_released(account: Account) -> None:
    """It would let go of what somebody else holds: better to stop."""
    chunk = account.open_chunk(7, 8, 0)
    chunk.release()
    with pytest.raises(AssertionError, match=r"chunk at 7 of .*number=0.* was released twice"):
        chunk.release()


def test_committable_waits_for_the_first_unsettled_chunk(ledger: Ledger, account: Account) -> None:
    """Whatever settles behind it."""
    first, second, third = (account.open_chunk(n, n + 1, 0) for n in range(3))
    third.release()
    second.release()
    assert ledger.committable() == {}
    assert account.oldest is first
    first.release()
    assert ledger.committable() == {partition(): 3}


def test_settling_in_the_middle_joins_both_sides(ledger: Ledger, account: Account) -> None:
    """A chunk between two others leaves them neighbours."""
    first, second, third = (account.open_chunk(n, n + 1, 0) for n in range(3))
    second.release()
    assert (first.after, third.before) == (third, first)
    first.release()
    assert ledger.committable() == {partition(): 2}
    assert account.oldest is third
    fourth = account.open_chunk(3, 4, 0)
    third.release()
    assert ledger.committable() == {partition(): 3}
    assert account.oldest is fourth


def test_settling_at_the_end_lets_the_next_chunk_follow_the_one_before(
    ledger: Ledger, account: Account
) -> None:
    """The chain is never torn."""
    first, second = account.open_chunk(0, 1, 0), account.open_chunk(1, 2, 0)
    second.release()
    third = account.open_chunk(2, 3, 0)
    assert (first.after, third.before) == (third, first)
    first.release()
    assert ledger.committable() == {partition(): 2}
    third.release()
    assert ledger.committable() == {partition(): 3}


def test_gaps_between_offsets_block_nothing(ledger: Ledger, account: Account) -> None:
    """Compacted records and transaction markers are never seen."""
    account.open_chunk(10, 12, 0).release()
    account.open_chunk(50, 51, 0).release()
    assert ledger.committable() == {partition(): 51}


def test_one_record_that_waits_for_hours_does_not_keep_what_settles_behind_it(
    account: Account,
) -> None:
    """Memory is bounded by what is unsettled, at any time (P3)."""
    stuck = account.open_chunk(0, 1, 0)
    last = account.open_chunk(1, 2, 0)
    for offset in range(2, 100):
        following = account.open_chunk(offset, offset + 1, 0)
        last.release()
        assert stuck.after is following
        assert following.after is None
        last = following
    assert account.oldest is stuck
    assert stuck.end == 99


def test_a_settled_chunk_that_is_remembered_keeps_no_other_alive(account: Account) -> None:
    """Pages remember the last chunk they saw."""
    first, second, third = (account.open_chunk(n, n + 1, 0) for n in range(3))
    second.release()
    assert second.before is None
    assert second.after is None
    first.release()
    assert first.after is None
    assert account.oldest is third
    assert third.before is None


def test_an_epoch_that_is_over_commits_nothing(ledger: Ledger, account: Account) -> None:
    """What settles afterwards comes too late (P6)."""
    first, late = account.open_chunk(0, 1, 0), account.open_chunk(1, 2, 0)
    first.release()
    ledger.revoke(partition())
    assert account.closed
    assert ledger.committable() == {}
    assert account.oldest is None
    late.release()
    account.open_chunk(2, 3, 0).release()
    assert ledger.committable() == {}
    assert account.committable is None


def test_a_new_assignment_is_a_new_epoch(ledger: Ledger, account: Account) -> None:
    """Also without a revoke before it; what was settled in the old one does not count."""
    late = account.open_chunk(0, 1, 0)
    fresh = ledger.assign(partition())
    assert fresh is not account
    assert account.closed
    assert not fresh.closed
    assert ledger.account(partition()) is fresh
    fresh.open_chunk(0, 5, 0)
    late.release()
    assert ledger.committable() == {}


def test_the_first_record_may_open_an_account(ledger: Ledger) -> None:
    """Records may be there before the listener was told of the assignment."""
    account = ledger.account(partition(3))
    assert account.partition == partition(3)
    assert ledger.account(partition(3)) is account


def test_partitions_do_not_mind_each_other(ledger: Ledger) -> None:
    """Neither when they settle nor when one is revoked, known or not."""
    one, two = ledger.assign(partition(1)), ledger.assign(partition(2))
    one.open_chunk(0, 4, 0).release()
    two.open_chunk(0, 9, 0)
    assert ledger.committable() == {partition(1): 4}
    ledger.revoke(partition(2))
    ledger.revoke(partition(5))
    assert ledger.committable() == {partition(1): 4}
    assert not one.closed
