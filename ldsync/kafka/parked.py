"""Parked letters: where those of this epoch stand, and reading them again.

Only what this process wrote since its partitions were assigned is known here, from the brokers'
acknowledgements. Reading is bounded by that, joins no group and takes only what is committed.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ldsync.kafka.scan import scan
from ldsync.sync.ledger import Partition
from ldsync.sync.outcomes import PARKED

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Mapping

    from aiokafka import ConsumerRecord

    from ldsync.config import KafkaSettings
    from ldsync.kafka.letter import Letter

Spans = dict[Partition, tuple[int, int]]
"""Of each partition of a dead-letter topic an offset and another (exclusive)."""


@dataclass(frozen=True, slots=True)
class ParkedRecord:
    """A record that was parked, as it was: of which segment and member, and where it was first.

    `letters` is the dead-letter topic that it was read from.
    """

    letters: str
    segment: str
    member: str
    value: bytes | None
    partition: Partition
    offset: int
    timestamp: int


class ParkedLetters:
    """Where the parked letters of each segment are, by the segment's key."""

    def __init__(self, kafka: KafkaSettings, patience: float) -> None:
        """Read with that patience, in seconds, from these brokers."""
        self._kafka = kafka
        self._patience = patience
        self._spans: defaultdict[str, Spans] = defaultdict(dict)

    def note(self, letter: Letter, place: Partition, offset: int) -> None:
        """Note where a letter stands that was acknowledged; without an offset it is not found."""
        if letter.reason != PARKED.reason or letter.refusal is None or offset < 0:
            return
        spans = self._spans[letter.refusal.segment]
        first, end = spans.get(place, (offset, offset))
        spans[place] = (min(first, offset), max(end, offset + 1))

    def take(self, segments: Collection[str]) -> dict[str, Spans]:
        """Return where the letters of some segments are, and forget it."""
        return {key: self._spans.pop(key) for key in segments if key in self._spans}

    def give_back(self, taken: Mapping[str, Spans]) -> None:
        """Remember again what was taken, beside what came since."""
        for key, spans in taken.items():
            known = self._spans[key]
            for place, (first, end) in spans.items():
                known_first, known_end = known.get(place, (first, end))
                known[place] = (min(first, known_first), max(end, known_end))

    def discard(self) -> None:
        """End the epoch: whoever owns the partitions now is to read them."""
        self._spans.clear()

    async def read(
        self, wanted: Mapping[str, Spans], options: dict[str, Any]
    ) -> AsyncGenerator[list[ParkedRecord], None]:
        """Read the letters that stand there, in chunks; `options` are from `client_options`.

        Left out are those that are not the original record: pointers and changes by themselves.

        Raises:
            KafkaError, TimeoutError, OSError: as `scan`.
        """
        ranges: Spans = {}
        for spans in wanted.values():
            for place, (first, end) in spans.items():
                known_first, known_end = ranges.get(place, (first, end))
                ranges[place] = (min(first, known_first), max(end, known_end))
        async with aclosing(scan(self._kafka, ranges, self._patience, options)) as chunks:
            async for chunk in chunks:
                found = (_parked(record, wanted) for record in chunk)
                yield [each for each in found if each is not None]


def _parked(record: ConsumerRecord, wanted: Mapping[str, Spans]) -> ParkedRecord | None:
    """Return what a letter holds if it is one of those that are wanted."""
    headers = {name: content.decode(errors="replace") for name, content in record.headers}
    if headers.get("ldsync-reason") != PARKED.reason or headers.get("ldsync-value") != "original":
        return None
    segment = headers.get("ldsync-segment", "")
    place = Partition(record.topic, record.partition)
    first, end = wanted.get(segment, {}).get(place, (0, 0))
    if not first <= record.offset < end:
        return None
    try:
        return ParkedRecord(
            record.topic,
            segment,
            headers["ldsync-member"],
            record.value,
            Partition(headers["ldsync-topic"], int(headers["ldsync-partition"])),
            int(headers["ldsync-offset"]),
            int(headers["ldsync-timestamp"]),
        )
    except (KeyError, ValueError):
        return None  # not written by ldsync
