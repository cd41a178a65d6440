"""When writes may begin: after a take-over (R2), before a last flush (R3), under a lease (R4)."""

import pytest

from ldsync.sync.gate import LOOK_AGAIN_SECONDS, Gate, Held
from ldsync.sync.lease import LEASE_SHARE, Lease

SETTLE = 15.0
NEVER = float("inf")


@pytest.fixture
def lease() -> Lease:
    """A lease that holds until 800."""
    lease = Lease(1000.0, 1000.0)
    lease.confirm(0.0, stable=True)
    return lease


@pytest.fixture
def gate(lease: Lease) -> Gate:
    """A gate of a process that was just started."""
    return Gate(lease, SETTLE)


def test_nothing_is_written_before_an_assignment_was_taken_over(gate: Gate) -> None:
    """Neither before there is one, nor while history is read."""
    assert gate.held(0.0) is Held.EPOCH
    assert gate.wait(0.0) == NEVER
    gate.assigned(5.0)
    assert gate.held(500.0) is Held.EPOCH
    assert not gate.taken_over(500.0)


@pytest.mark.parametrize(
    ("opened_at", "clean", "opens_at"),
    [
        pytest.param(101.0, False, 115.0, id="the_wait_counts_from_the_assignment"),
        pytest.param(130.0, False, 115.0, id="and_may_be_over_when_history_is_read"),
        pytest.param(101.0, True, 101.0, id="no_wait_after_a_clean_hand_over"),
    ],
)
def test_the_first_write_waits_for_the_last_request_of_the_previous_owner(
    gate: Gate, opened_at: float, opens_at: float, *, clean: bool
) -> None:
    """R2: it was sent before the assignment, and is applied within the settle time or never."""
    gate.assigned(100.0)
    gate.open(opened_at, clean=clean)
    assert gate.held(opens_at - 0.5) is Held.TAKE_OVER
    assert gate.wait(opens_at - 0.5) == 0.5
    assert not gate.taken_over(opens_at - 0.5)
    assert gate.held(opens_at) is None
    assert gate.wait(opens_at) == 0.0
    assert gate.taken_over(opens_at)


def test_after_the_last_flush_of_an_epoch_nothing_begins(gate: Gate) -> None:
    """R3; the next assignment opens the gate again."""
    gate.assigned(0.0)
    gate.open(0.0, clean=True)
    gate.close()
    assert gate.held(1.0) is Held.EPOCH
    gate.assigned(2.0)
    gate.open(2.0, clean=True)
    assert gate.held(2.0) is None


def test_without_a_lease_it_is_asked_again_soon(gate: Gate, lease: Lease) -> None:
    """R4: the lease comes back with an answer of the group, of which nobody tells."""
    gate.assigned(0.0)
    gate.open(0.0, clean=True)
    late = 1000.0 * LEASE_SHARE
    assert gate.held(late) is Held.LEASE
    assert gate.wait(late) == LOOK_AGAIN_SECONDS
    assert gate.taken_over(late)
    lease.confirm(late, stable=True)
    assert gate.wait(late) == 0.0
