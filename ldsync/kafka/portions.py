"""Portions: how many records to ask aiokafka for, so that what they hold stays bounded (P3).

Brokers count the bytes of a fetch as they are stored, compressed; aiokafka unpacks as many records
as it is asked for. A thousand of them may be a megabyte in the fetch and a gigabyte in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ldsync.sync.ledger import Partition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiokafka import ConsumerRecord, TopicPartition

PORTION: Final = 50
"""Records asked for at a time while they are small; nobody knows how large the next ones are."""


class Portions:
    """Gathers the records of one poll after the other, at most so many and about so many bytes.

    `begin` a poll; then ask for `next` records and `add` them, until that is 0 or none come. The
    limit of bytes is passed by one record, or by `PORTION` of them where large ones follow small.
    """

    def __init__(self, max_records: int, max_bytes: int) -> None:
        """Start with nothing; `max_bytes` of values."""
        self._max_records = max_records
        self._max_bytes = max_bytes
        # Of the last portion, also if that was for another poll; the first record may be anything.
        self._largest = max_bytes
        self.begin()

    def begin(self) -> None:
        """Let what was gathered go."""
        self.records: dict[TopicPartition, list[ConsumerRecord]] = {}
        self._left = self._max_records
        self._room = self._max_bytes

    @property
    def next(self) -> int:
        """How many records to ask for; 0 if there are enough."""
        if self._left <= 0 or self._room <= 0:
            return 0
        return max(1, min(PORTION, self._left, self._room // self._largest))

    def add(self, portion: Mapping[TopicPartition, list[ConsumerRecord]]) -> None:
        """Take in records that follow those gathered so far."""
        sizes = [len(record.value or b"") for batch in portion.values() for record in batch]
        self._left -= len(sizes)
        self._room -= sum(sizes)
        self._largest = max(1, *sizes) if sizes else self._largest
        for place, batch in portion.items():
            self.records.setdefault(place, []).extend(batch)

    def reach(self, positions: Mapping[Partition, int], start: Mapping[Partition, int]) -> bool:
        """Say whether positions are those behind the records, or those of the start without any."""
        reached = dict(start)
        for place, batch in self.records.items():
            partition = Partition(*place)
            reached[partition] = max(reached.get(partition, 0), batch[-1].offset + 1)
        return all(at <= reached.get(place, at) for place, at in positions.items())
