"""A page: what it holds of the ledger, and how long its changes waited."""

from __future__ import annotations

import pytest

from ldsync.sync.ledger import Chunk, Ledger
from ldsync.sync.page import Page
from tests.support.core import partition, settled


@pytest.fixture
def ledger() -> Ledger:
    """With nothing assigned."""
    return Ledger()


def chunk(ledger: Ledger, first: int, number: int = 0, record_ms: int = 0) -> Chunk:
    """A chunk of one record, which the intake holds."""
    return ledger.account(partition(number)).open_chunk(first, first + 1, record_ms)


def test_a_new_page_waits_and_takes_changes() -> None:
    """Nothing is decided about it yet."""
    page = Page(5.0)
    assert page.opened_at == 5.0
    assert not page.single
    assert not page.full
    assert not page.in_flight
    assert (page.count, page.size, page.held_until) == (0, 0, 0.0)
    assert Page(5.0, single=True).single


def test_a_page_holds_a_chunk_once_however_many_changes_come_of_it(ledger: Ledger) -> None:
    """One release lets go of all."""
    page, one = Page(0.0), chunk(ledger, 0)
    page.hold(one)
    page.hold(one)
    one.release()
    assert not settled(one)
    page.release()
    assert settled(one)


def test_a_page_holds_the_first_chunk_of_a_partition_alone(ledger: Ledger) -> None:
    """The later ones are behind it in any case (P1)."""
    page, first, second = Page(0.0), chunk(ledger, 0), chunk(ledger, 1)
    for one in (first, second):
        page.hold(one)
        one.release()
    assert settled(second)
    assert ledger.committable() == {}
    page.release()
    assert ledger.committable() == {partition(): 2}


def test_a_page_holds_a_chunk_of_every_partition(ledger: Ledger) -> None:
    """The first of one says nothing about another."""
    page, one, two = Page(0.0), chunk(ledger, 5, 0), chunk(ledger, 3, 1)
    for each in (one, two):
        page.hold(each)
        each.release()
    assert not settled(one)
    assert not settled(two)
    page.release()
    assert ledger.committable() == {partition(0): 6, partition(1): 4}


def test_a_page_that_shares_the_holds_of_another_holds_the_earlier_chunk(ledger: Ledger) -> None:
    """And lets go of its own later one, without settling either in between."""
    early, late = Page(0.0), Page(1.0)
    first, second = chunk(ledger, 0), chunk(ledger, 1)
    early.hold(first)
    late.hold(second)
    first.release()
    second.release()
    late.share_holds(early)
    assert settled(second)
    early.release()
    assert not settled(first)
    late.release()
    assert ledger.committable() == {partition(): 2}


def test_a_page_keeps_its_earlier_chunk_when_it_shares_a_later_one(ledger: Ledger) -> None:
    """Sharing never loses what is held already."""
    early, late = Page(0.0), Page(1.0)
    first, second = chunk(ledger, 0), chunk(ledger, 1)
    early.hold(first)
    late.hold(second)
    early.share_holds(late)
    late.release()
    first.release()
    second.release()
    assert settled(second)
    assert not settled(first)


def test_sharing_with_itself_changes_nothing(ledger: Ledger) -> None:
    """The last page of a lane may be the one that is given back."""
    page, one = Page(0.0), chunk(ledger, 0)
    page.hold(one)
    one.release()
    page.share_holds(page)
    assert not settled(one)
    page.release()
    assert settled(one)


def test_a_page_releases_once(ledger: Ledger) -> None:
    """A second release finds nothing to give back."""
    page, one = Page(0.0), chunk(ledger, 0)
    page.hold(one)
    page.release()
    page.release()
    one.release()
    assert settled(one)


def test_waits_say_how_many_changes_came_with_which_record_time(ledger: Ledger) -> None:
    """For the delivery delay; chunks that brought nothing new are left out."""
    page = Page(0.0)
    for first, came in enumerate([2, 0, 3, 0]):
        page.hold(chunk(ledger, first, record_ms=100 * first))
        page.count += came
    assert list(page.waits()) == [(0, 2), (200, 3)]


def test_changes_that_are_superseded_for_hours_leave_no_trace(ledger: Ledger) -> None:
    """Arrivals without changes do not pile up (P3)."""
    page = Page(0.0)
    page.hold(chunk(ledger, 0, record_ms=7))
    page.count += 1
    for first in range(1, 1_000):
        page.hold(chunk(ledger, first, record_ms=first))
    assert page.arrivals == [(7, 0), (999, 1)]
    assert list(page.waits()) == [(7, 1)]
