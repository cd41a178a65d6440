"""Parked letters: where those stand that are to be replayed, and reading them again.

Those that this process wrote since its partitions were assigned are known from the brokers'
acknowledgements, those from before from `ldsync.kafka.recall`. Reading is bounded by that, joins no
group and takes only what is committed.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import defaultdict
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ldsync.kafka.parked_record import ParkedRecord, read
from ldsync.kafka.scan import scan
from ldsync.sync.outcomes import PARKED

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence

    from ldsync.config import KafkaSettings
    from ldsync.kafka.letter import Letter
    from ldsync.kafka.standing import Places
    from ldsync.sync.ledger import Partition


class ParkedLetters:
    """Where the parked letters of each segment are, by the segment's key."""

    def __init__(self, kafka: KafkaSettings, patience: float) -> None:
        """Read with that patience, in seconds, from these brokers."""
        self._kafka = kafka
        self._patience = patience
        self._before: dict[str, Places] = {}
        self._spans: defaultdict[str, dict[Partition, tuple[int, int]]] = defaultdict(dict)

    def note(self, letter: Letter, place: Partition, offset: int) -> None:
        """Note where a letter stands that was acknowledged; without an offset it is not found."""
        if letter.reason != PARKED.reason or letter.refusal is None or offset < 0:
            return
        spans = self._spans[letter.refusal.segment]
        first, end = spans.get(place, (offset, offset))
        spans[place] = (min(first, offset), max(end, offset + 1))

    def take(self, segments: Collection[str]) -> dict[str, Places]:
        """Return where the letters of some segments are, and forget it."""
        taken: dict[str, Places] = {}
        for key in segments:
            places = self._before.pop(key, {})
            for place, span in self._spans.pop(key, {}).items():
                places.setdefault(place, []).append(span)
            if places:
                taken[key] = places
        return taken

    def give_back(self, taken: Mapping[str, Places]) -> None:
        """Remember (again) where letters are, beside what came since."""
        for key, places in taken.items():
            known = self._before.setdefault(key, {})
            for place, ranges in places.items():
                known[place] = [*known.get(place, ()), *ranges]

    def discard(self) -> None:
        """End the epoch: whoever owns the partitions now is to read them."""
        self._before.clear()
        self._spans.clear()

    async def read(
        self, wanted: Mapping[str, Places], options: dict[str, Any], owned: Collection[Partition]
    ) -> AsyncGenerator[list[ParkedRecord], None]:
        """Read the letters that stand there, in chunks; `options` are from `client_options`.

        Only those whose records were in partitions that are `owned`. Pointers come with the records
        that they stand for, and without a value if these are gone, or not the same any more.

        Raises:
            KafkaError, TimeoutError, OSError: as `scan`.
        """
        sought = {
            key: {place: sorted(ranges) for place, ranges in places.items()}
            for key, places in wanted.items()
        }
        bounds: dict[Partition, tuple[int, int]] = {}
        for places in sought.values():
            for place, ranges in places.items():
                first, end = bounds.get(place, ranges[0])
                bounds[place] = min(first, ranges[0][0]), max(end, *(last for _, last in ranges))
        async with aclosing(scan(self._kafka, bounds, self._patience, options)) as chunks:
            async for chunk in chunks:
                whole: list[ParkedRecord] = []
                pointers: list[ParkedRecord] = []
                for record in chunk:
                    found = read(record, self._kafka.group_id)
                    if (
                        isinstance(found, ParkedRecord)
                        and found.partition in owned
                        and _is_in(sought.get(found.segment, {}).get(found.place, ()), found.at)
                    ):
                        (pointers if found.sha256 else whole).append(found)
                yield whole
                async with aclosing(self._follow(pointers, options)) as records:
                    async for found in records:
                        yield [found]

    async def _follow(
        self, pointers: Iterable[ParkedRecord], options: dict[str, Any]
    ) -> AsyncGenerator[ParkedRecord, None]:
        """Read the records that pointers stand for, one by one: they are few, and large."""
        for pointer in pointers:
            value: bytes | None = None
            span = {pointer.partition: (pointer.offset, pointer.offset + 1)}
            async with aclosing(scan(self._kafka, span, self._patience, options)) as chunks:
                async for chunk in chunks:
                    for record in chunk:
                        if record.offset == pointer.offset:
                            value = record.value
            same = hashlib.sha256(value or b"").hexdigest() == pointer.sha256
            yield replace(pointer, value=value if same else None)


def _is_in(ranges: Sequence[tuple[int, int]], offset: int) -> bool:
    """Whether an offset is in one of some ranges, which are in order."""
    found = bisect_right(ranges, offset, key=lambda span: span[0])
    return found > 0 and offset < ranges[found - 1][1]
