"""Recall: what was parked before this assignment is found again in the dead-letter topics.

Who owns a partition answers for the parked letters of its records, whoever wrote them. They are
read once for each assignment, beside the group and after it has begun to work, from the newest
`dead_letters.recall_max_letters` on: a letter and the marker which says that it was replayed stand
in the same partition, the marker behind it, so that neither is seen without the other.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from ldsync.kafka.beside import opened
from ldsync.kafka.letter_topics import topic_for
from ldsync.kafka.lookup import shared_out
from ldsync.kafka.parked_record import Marker, ParkedRecord, read
from ldsync.kafka.scan import scan
from ldsync.sync.ledger import Partition

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection

    from ldsync.config import DeadLettersSettings, KafkaSettings

Bounds = dict[Partition, tuple[int, int]]


class Recall:
    """Reads dead-letter topics as they are.

    Its coroutines raise KafkaError, TimeoutError or OSError if brokers do not answer or refuse, and
    SourceError if credentials cannot be used any more.
    """

    def __init__(self, settings: DeadLettersSettings, kafka: KafkaSettings) -> None:
        """Read those of the topics of the section `[kafka]`."""
        self._settings = settings
        self._kafka = kafka

    async def bounds(self, owned: Collection[Partition]) -> tuple[Bounds, int]:
        """Say what is to be read of the dead-letter topics of partitions, and what is left out.

        From an offset to another of each of their partitions; of the oldest letters so many are
        left out that the others are not too many.
        """
        topics = {topic_for(self._settings, partition.topic) for partition in owned}
        async with asyncio.timeout(self._settings.timeout_seconds), opened(self._kafka) as reader:
            places = await reader.places_of(topics)
            firsts = await reader.first_offsets(places)
            ends = await reader.next_offsets(places)
        held = {place: ends[place] - firsts[place] for place in places}
        shares = shared_out(held, self._settings.recall_max_letters)
        found = {place: (ends[place] - share, ends[place]) for place, share in shares.items()}
        return found, sum(held.values()) - sum(shares.values())

    async def read(
        self, bounds: Bounds, owned: Collection[Partition], options: dict[str, Any]
    ) -> AsyncGenerator[list[ParkedRecord | Marker], None]:
        """Read what was parked of partitions, and what of it was replayed; in chunks."""
        records = scan(self._kafka, bounds, self._settings.timeout_seconds, options)
        async with aclosing(records) as chunks:
            async for chunk in chunks:
                everything = (read(record, self._kafka.group_id) for record in chunk)
                yield [
                    found
                    for found in everything
                    if isinstance(found, Marker) or (found is not None and found.partition in owned)
                ]
