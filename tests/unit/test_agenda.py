"""The agenda: which lane is due next, of all of them or of those that did not fail last."""

from __future__ import annotations

import pytest

from ldsync.sync.agenda import Agenda
from ldsync.sync.lane import Lane
from tests.support.core import target


def lane(name: str, failures: int = 0) -> Lane:
    """A lane of its own segment."""
    made = Lane(target(name).segment)
    made.failures = failures
    return made


@pytest.fixture
def agenda() -> Agenda:
    """An empty one."""
    return Agenda()


def test_nothing_is_due_in_an_empty_agenda(agenda: Agenda) -> None:
    """Neither now nor later."""
    assert agenda.next(troubled=True) is None
    assert agenda.pop(1e9, troubled=True) is None


def test_the_lane_that_is_due_for_longest_comes_first(agenda: Agenda) -> None:
    """Whether it failed or not, where those are asked for."""
    well, ill, late = lane("well"), lane("ill", failures=1), lane("late")
    for each, deadline in ((late, 3.0), (ill, 1.0), (well, 2.0)):
        agenda.put(each, deadline)
    assert agenda.next(troubled=True) == 1.0
    assert agenda.next(troubled=False) == 2.0
    assert agenda.pop(2.5, troubled=True) is ill
    assert agenda.pop(2.5, troubled=True) is well
    assert agenda.pop(2.5, troubled=True) is None
    assert agenda.next(troubled=True) == 3.0


def test_lanes_that_failed_are_passed_over_where_they_are_not_asked_for(agenda: Agenda) -> None:
    """However long they are due; they are there again when they are."""
    ill = lane("ill", failures=1)
    agenda.put(ill, 1.0)
    assert agenda.pop(5.0, troubled=False) is None
    assert agenda.pop(5.0, troubled=True) is ill
    assert ill.deadline is None


def test_the_last_deadline_of_a_lane_counts(agenda: Agenda) -> None:
    """Earlier or later than the one before, or never."""
    moved, gone = lane("moved"), lane("gone")
    for deadline in (1.0, 4.0, 2.0):
        agenda.put(moved, deadline)
    agenda.put(gone, 1.0)
    agenda.put(gone, None)
    assert agenda.next(troubled=False) == 2.0
    assert agenda.pop(9.0, troubled=False) is moved
    assert agenda.pop(9.0, troubled=False) is None


@pytest.mark.parametrize(("before", "after"), [(0, 1), (1, 0)], ids=["fails", "goes again"])
def test_a_lane_counts_as_what_it_is_now(agenda: Agenda, before: int, after: int) -> None:
    """Its deadline may be the same as before it failed, or before it was written again."""
    changed = lane("changed", failures=before)
    agenda.put(changed, 1.0)
    changed.failures = after
    agenda.put(changed, 1.0)
    assert agenda.next(troubled=False) == (None if after else 1.0)
    assert agenda.pop(1.0, troubled=True) is changed
    assert agenda.pop(1.0, troubled=True) is None


def test_a_lane_that_goes_again_is_not_hidden_behind_one_that_does_not(agenda: Agenda) -> None:
    """Where only those are asked for that did not fail last."""
    ill, healed = lane("ill", failures=1), lane("healed", failures=1)
    agenda.put(ill, 1.0)
    agenda.put(healed, 2.0)
    healed.failures = 0
    agenda.put(healed, 2.0)
    assert agenda.next(troubled=False) == 2.0
    assert agenda.pop(2.0, troubled=False) is healed
    assert agenda.pop(2.0, troubled=True) is ill
    assert agenda.pop(2.0, troubled=True) is None
