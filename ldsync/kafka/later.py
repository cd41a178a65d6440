"""What came later: reading topics again from the time of an event on (R9)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from ldsync.kafka.beside import opened
from ldsync.kafka.scan import scan

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Mapping

    from aiokafka import ConsumerRecord

    from ldsync.config import KafkaSettings
    from ldsync.kafka.recall import Bounds
    from ldsync.sync.ledger import Partition

MOST_RECORDS: Final = 5_000_000
"""That are read again for a replay; what would take more stays parked."""


class Later:
    """Reads topics beside the group.

    Its coroutines raise KafkaError, TimeoutError or OSError if brokers do not answer, and
    SourceError if credentials cannot be used any more.
    """

    def __init__(self, kafka: KafkaSettings, patience: float) -> None:
        """Read with that patience, in seconds, from these brokers."""
        self._kafka = kafka
        self._patience = patience

    async def bounds(self, topics: Collection[str], since_ms: int) -> Bounds | None:
        """Say where the records are that were made since a time (epoch milliseconds).

        None if retention may have taken some of them, or if they are more than `MOST_RECORDS`.
        """
        async with asyncio.timeout(self._patience), opened(self._kafka) as reader:
            places = await reader.places_of(topics)
            firsts = await reader.first_offsets(places)
            ends = await reader.next_offsets(places)
            found = await reader.offsets_at(places, since_ms)
            dated = await reader.offsets_at(places, 0)
        starts = {place: at.offset for place, at in found.items()}
        # Of a broker that does not look up times everything is read.
        return _bounds(firsts, ends, {p: at for p, at in firsts.items() if p not in dated} | starts)

    def read(
        self, bounds: Bounds, options: dict[str, Any]
    ) -> AsyncGenerator[list[ConsumerRecord], None]:
        """Read what stands there, in chunks; `options` are from `client_options`."""
        return scan(self._kafka, bounds, self._patience, options)


def _bounds(
    firsts: Mapping[Partition, int], ends: Mapping[Partition, int], starts: Mapping[Partition, int]
) -> Bounds | None:
    """Return where to read; a partition without a start has no record of that time."""
    bounds = {place: (start, ends[place]) for place, start in starts.items()}
    # The oldest record that is left is young enough: who knows what was before it.
    cut = any(0 < firsts[place] == start for place, start in starts.items())
    # Nothing is left that is young enough; was there anything?
    emptied = any(0 < first == ends[place] for place, first in firsts.items())
    if cut or emptied or sum(end - start for start, end in bounds.values()) > MOST_RECORDS:
        return None
    return bounds
