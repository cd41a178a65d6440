"""The version store in memory: what is known of members, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ldsync.versions.memory import MemoryVersions
from tests.support.core import finished, segment

if TYPE_CHECKING:
    from ldsync.sync.change import Segment


@pytest.fixture
def vip() -> Segment:
    """A segment."""
    return segment("vip")


def merge(
    versions: MemoryVersions, to: Segment, changes: dict[str, str], now: float = 0.0
) -> tuple[str, dict[str, str]]:
    """Merge a copy of the changes: which were stale, as one word, and what became of them."""
    changes = dict(changes)
    stale = finished(versions.merge(to, changes, now))
    return "".join(sorted(stale)), changes


def test_what_is_not_known_stays_as_it_is(vip: Segment) -> None:
    """And is known from then on."""
    versions = MemoryVersions(100, 0.0)
    assert merge(versions, vip, {"a": "1+", "b": "2-"}) == ("", {"a": "1+", "b": "2-"})
    assert versions.entries == 2


@pytest.mark.parametrize(
    ("known", "change", "written", "stale"),
    [
        pytest.param("2+", "1-", "2+", "a", id="older_is_replaced"),
        pytest.param("2-", "3+", "3+", "", id="newer_stays"),
        pytest.param("2+", "2+", "2+", "", id="the_same_stays"),
        pytest.param("2+", "2-", "2-", "", id="a_tie_goes_to_the_later_arrival_out"),
        pytest.param("2-", "2+", "2+", "", id="a_tie_goes_to_the_later_arrival_in"),
    ],
)
def test_an_older_change_is_replaced_and_never_dropped(
    vip: Segment, known: str, change: str, written: str, stale: str
) -> None:
    """R6: the newest known value is written again."""
    versions = MemoryVersions(100, 0.0)
    merge(versions, vip, {"a": known})
    assert merge(versions, vip, {"a": change}) == (stale, {"a": written})
    assert merge(versions, vip, {"a": "0+"}) == ("a", {"a": written})


def test_only_the_members_of_the_batch_are_touched(vip: Segment) -> None:
    """What else is known stays out of it, and so do the order and the members that are new."""
    versions = MemoryVersions(100, 0.0)
    merge(versions, vip, {"a": "5+", "b": "5+"})
    stale, changes = merge(versions, vip, {"c": "1+", "b": "1-"})
    assert stale == "b"
    assert list(changes.items()) == [("c", "1+"), ("b", "5+")]


def test_segments_do_not_mind_each_other(vip: Segment) -> None:
    """The same member in two segments is two members, also when their keys are equal."""
    versions = MemoryVersions(100, 0.0)
    merge(versions, vip, {"a": "5+"})
    assert merge(versions, segment("vip"), {"a": "1-"}) == ("", {"a": "1-"})
    assert versions.entries == 2


def test_a_member_that_comes_again_is_one_entry(vip: Segment) -> None:
    """Entries are members, not changes."""
    versions = MemoryVersions(100, 0.0)
    for version in range(5):
        merge(versions, vip, {"a": f"{version}+"})
    assert versions.entries == 1


def test_the_oldest_are_forgotten_when_both_generations_are_full(vip: Segment) -> None:
    """Half of the capacity is one generation."""
    versions = MemoryVersions(4, 0.0)
    merge(versions, vip, {"a": "9+"})
    merge(versions, vip, {"b": "9+"})  # a, b become old
    merge(versions, vip, {"c": "9+"})
    assert versions.entries == 3
    assert merge(versions, vip, {"a": "1+"})[0] == "a"  # and c, a become old: b is forgotten
    assert versions.entries == 2
    assert merge(versions, vip, {"b": "1+"})[0] == ""
    assert merge(versions, vip, {"c": "1+"})[0] == "c"


def test_a_member_known_to_both_generations_is_stale_once(vip: Segment) -> None:
    """And the newest of what both know is written."""
    versions = MemoryVersions(4, 0.0)
    merge(versions, vip, {"a": "5+", "b": "1+"})
    merge(versions, vip, {"a": "7+"})
    assert merge(versions, vip, {"a": "3-"}) == ("a", {"a": "7+"})


def test_what_the_old_generation_knows_outlives_an_older_change(vip: Segment) -> None:
    """An older change does not become what is known."""
    versions = MemoryVersions(4, 0.0)
    merge(versions, vip, {"a": "5+", "b": "1+"})
    assert merge(versions, vip, {"a": "3-"}) == ("a", {"a": "5+"})
    assert merge(versions, vip, {"a": "4-"}) == ("a", {"a": "5+"})


def test_the_horizon_is_as_far_back_as_nothing_was_forgotten(vip: Segment) -> None:
    """It begins with the store, and moves with every generation that is dropped."""
    versions = MemoryVersions(2, 10.0)
    assert versions.horizon(15.0) == 5.0
    merge(versions, vip, {"a": "1+"}, now=20.0)
    assert versions.horizon(25.0) == 15.0
    merge(versions, vip, {"b": "1+"}, now=30.0)
    assert versions.horizon(35.0) == 15.0
    merge(versions, vip, {"c": "1+"}, now=40.0)
    assert versions.horizon(45.0) == 15.0


@pytest.mark.parametrize("capacity", [0, 1, 2])
def test_the_smallest_store_remembers_the_last_batch(vip: Segment, capacity: int) -> None:
    """A capacity of nothing is no reason to fail."""
    versions = MemoryVersions(capacity, 0.0)
    merge(versions, vip, {"a": "5+", "b": "5+"})
    assert versions.entries == 2
    assert merge(versions, vip, {"a": "1+"})[0] == "a"


def test_the_store_does_not_grow_beyond_its_capacity_and_a_batch(vip: Segment) -> None:
    """However many members come (P3)."""
    versions = MemoryVersions(100, 0.0)
    for start in range(0, 5_000, 7):
        merge(versions, vip, {str(member): "1+" for member in range(start, start + 7)})
        assert versions.entries <= 100 + 7


def test_what_is_known_can_be_asked_without_noting_anything(vip: Segment) -> None:
    """The newest of both generations; members that are unknown are left out."""
    versions = MemoryVersions(6, 0.0)
    for member, stamp in (("a", "0+"), ("b", "1+"), ("c", "2-"), ("a", "9-")):
        merge(versions, vip, {member: stamp})
    found = finished(versions.known(vip, ["a", "b", "c", "d"]))
    assert found == {"a": "9-", "b": "1+", "c": "2-"}
    assert finished(versions.known(segment("other"), ["a"])) == {}
    assert versions.entries == 4


def test_what_is_noted_is_known_whatever_the_order(vip: Segment) -> None:
    """R5: history makes older changes stale, and undoes nothing newer."""
    versions = MemoryVersions(100, 0.0)
    merge(versions, vip, {"a": "5+"})
    finished(versions.note(vip, {"a": "3-", "b": "3-"}, 0.0))
    assert merge(versions, vip, {"a": "4-", "b": "2+"}) == ("ab", {"a": "5+", "b": "3-"})


def test_history_lets_the_horizon_reach_back_before_the_start(vip: Segment) -> None:
    """As far as nothing of it is missing."""
    versions = MemoryVersions(100, 1_000.0)
    assert versions.horizon(1_010.0) == 10.0
    finished(versions.note(vip, {"a": "1+"}, -500.0))
    finished(versions.mark_warm(1_610.0, 1_010.0))
    assert versions.horizon(1_010.0) == 1_610.0


def test_history_that_does_not_fit_shortens_it(vip: Segment) -> None:
    """To the time of the newest change that was forgotten, not to that of reading."""
    versions = MemoryVersions(4, 1_000.0)
    for at in range(8):
        finished(versions.note(vip, {f"m{at}": "1+"}, 100.0 + at))
    finished(versions.mark_warm(960.0, 1_010.0))
    assert versions.entries == 2  # m6 and m7
    assert versions.horizon(1_010.0) == 1_010.0 - 105.0
