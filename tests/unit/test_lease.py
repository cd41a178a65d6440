"""The lease (R4): a write begins only while nobody else can own the partitions."""

import pytest

from ldsync.sync.lease import LEASE_SHARE, Lease

SESSION, REBALANCE = 10.0, 100.0


def lease() -> Lease:
    """A lease that nothing was heard for yet."""
    return Lease(SESSION, REBALANCE)


def test_there_is_no_lease_before_the_group_has_answered() -> None:
    """Being assigned partitions is not enough: the process may have stood still since."""
    assert not lease().holds(0.0)
    assert lease().until == float("-inf")


@pytest.mark.parametrize(
    ("after", "holds"),
    [
        pytest.param(0.0, True, id="at_once"),
        pytest.param(SESSION * LEASE_SHARE - 0.01, True, id="before_the_margin"),
        pytest.param(SESSION * LEASE_SHARE, False, id="within_the_margin"),
        pytest.param(SESSION, False, id="when_the_session_is_over"),
    ],
)
def test_it_holds_for_a_session_less_a_margin_from_when_the_request_was_sent(
    after: float, *, holds: bool
) -> None:
    """The coordinator begins to count later than that, so nothing is assumed too long."""
    one = lease()
    one.confirm(50.0, stable=True)
    assert one.holds(50.0 + after) is holds


def test_answers_amid_a_rebalance_keep_the_session_but_not_beyond_the_rebalance() -> None:
    """Who does not join again in time is taken out, however often it is heard of."""
    one = lease()
    one.confirm(0.0, stable=True)
    for second in range(1, 100):
        one.confirm(float(second), stable=False)
    assert one.holds(REBALANCE * LEASE_SHARE - 0.01)
    assert not one.holds(REBALANCE * LEASE_SHARE)


def test_an_answer_amid_a_rebalance_does_not_begin_a_lease() -> None:
    """A commit is taken also of members that the group no longer waits for in a moment."""
    one = lease()
    one.confirm(0.0, stable=False)
    assert not one.holds(0.1)


def test_a_late_answer_does_not_shorten_it() -> None:
    """Answers may overtake each other; the newest request counts."""
    one = lease()
    one.confirm(5.0, stable=True)
    one.confirm(1.0, stable=True)
    assert one.holds(5.0 + SESSION * LEASE_SHARE - 0.01)


def test_it_ends_at_once_when_the_group_does_not_know_us() -> None:
    """And begins anew with the next answer to a member."""
    one = lease()
    one.confirm(0.0, stable=True)
    one.end()
    assert not one.holds(0.1)
    one.confirm(0.2, stable=True)
    assert one.holds(0.3)
