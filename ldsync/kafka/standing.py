"""Which parked letters still stand for something: those of which no marker says otherwise."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import defaultdict
from math import inf
from typing import TYPE_CHECKING

from ldsync.kafka.parked_record import Marker

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ldsync.kafka.parked_record import ParkedRecord
    from ldsync.sync.ledger import Partition

Places = dict["Partition", list[tuple[int, int]]]
"""Of each partition of a dead-letter topic ranges of offsets, the second of each exclusive."""


class _Letters:
    """Letters of one segment in one partition, in the order of their offsets."""

    __slots__ = ("offsets", "owners", "settled")

    def __init__(self) -> None:
        self.offsets = array("q")
        self.owners = array("l")
        self.settled = bytearray()


class Standing:
    """Takes in what is read of dead-letter topics: of each partition in order."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self._letters: dict[str, dict[Partition, _Letters]] = defaultdict(dict)
        self._owners: list[Partition] = []
        self._numbers: dict[Partition, int] = {}

    def take(self, found: ParkedRecord | Marker) -> None:
        """Take in a letter or a marker; a marker is about what was taken in before it."""
        if isinstance(found, Marker):
            self._settle(found)
            return
        places = self._letters[found.segment]
        letters = places.get(found.place)
        if letters is None:
            letters = places[found.place] = _Letters()
        number = self._numbers.get(found.partition)
        if number is None:
            number = self._numbers[found.partition] = len(self._owners)
            self._owners.append(found.partition)
        letters.offsets.append(found.at)
        letters.owners.append(number)
        letters.settled.append(0)

    def _settle(self, marker: Marker) -> None:
        letters = self._letters.get(marker.segment, {}).get(marker.place)
        if letters is None:
            return
        covered = {n for partition, n in self._numbers.items() if marker.covers(partition)}
        for first, end in marker.ranges:
            at = bisect_left(letters.offsets, first)
            while at < len(letters.offsets) and letters.offsets[at] < end:
                letters.settled[at] |= letters.owners[at] in covered
                at += 1

    def outstanding(self) -> dict[str, tuple[int, Places]]:
        """Return how many letters of each segment still stand, and where: only where some do."""
        found: dict[str, tuple[int, Places]] = {}
        for segment, places in self._letters.items():
            counts = {place: each.settled.count(0) for place, each in places.items()}
            standing = {place: _ranges(places[place]) for place, count in counts.items() if count}
            if standing:
                found[segment] = sum(counts.values()), standing
        return found


def _ranges(letters: _Letters) -> list[tuple[int, int]]:
    settled = letters.settled
    return runs(
        (at for at, over in zip(letters.offsets, settled, strict=True) if not over),
        (at for at, over in zip(letters.offsets, settled, strict=True) if over),
    )


def runs(wanted: Iterable[int], others: Iterable[int]) -> list[tuple[int, int]]:
    """Return the fewest ranges that hold all wanted numbers and none of the others."""
    numbers = sorted(wanted)
    found: list[tuple[int, int]] = []
    at = 0
    for other in (*sorted(others), inf):
        end = bisect_left(numbers, other, at)
        if end > at:
            found.append((numbers[at], numbers[end - 1] + 1))
        at = end
    return found
