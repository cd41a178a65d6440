"""Reading beside the group: a consumer that is opened when it is needed, and leaves no trace."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from aiokafka.errors import KafkaError

from ldsync.kafka.opening import open_reader
from ldsync.sync.ledger import Partition

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from aiokafka import ConsumerRecord

    from ldsync.config import KafkaSettings
    from ldsync.kafka.consumer import Consumer

_POLL_SECONDS: Final = 0.2
_OPENING_SECONDS: Final = 2.0


class Beside:
    """Reads what it is told to, from anywhere; connected between the first use and `close`.

    Its coroutines ask brokers: they raise KafkaError and OSError when that goes wrong, and
    SourceError when credentials cannot be used any more.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        """Connect to the brokers of the section `[kafka]` when it is needed."""
        self._kafka = kafka
        self._consumer: Consumer | None = None

    async def close(self) -> None:
        """Drop the connections; a later use opens new ones."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.close()

    async def begin(self, offsets: Mapping[Partition, int]) -> None:
        """Read these partitions from these offsets on from now on, and no others."""
        if self._consumer is None:
            self._consumer = await _open(self._kafka)
        self._consumer.read_from(offsets)

    async def take(self) -> dict[Partition, list[ConsumerRecord]]:
        """The next records; none if none came in a moment."""
        consumer = self._began()
        broken = consumer.broken()
        if broken is not None:
            raise KafkaError(repr(broken)) from broken
        found = await consumer.take(_POLL_SECONDS)
        return {Partition(*place): batch for place, batch in found.items()}

    def positions(self) -> dict[Partition, int]:
        """How far each partition is read: past compacted records and markers of transactions."""
        return self._began().positions()

    def finish(self, partition: Partition) -> None:
        """Read nothing more of a partition."""
        self._began().leave_out(partition)

    async def first_records(
        self, offsets: Mapping[Partition, int], ends: Mapping[Partition, int]
    ) -> dict[Partition, ConsumerRecord]:
        """For each partition the first record from an offset on and before an end, if any.

        Waits until all are known: call it under a time limit.
        """
        found: dict[Partition, ConsumerRecord] = {}
        if not offsets:
            return found
        await self.begin(offsets)
        left = set(offsets)
        while left:
            for partition, batch in (await self.take()).items():
                if partition in left and batch[0].offset < ends[partition]:
                    found[partition] = batch[0]
            positions = self.positions()
            for partition in list(left):
                if partition in found or positions.get(partition, 0) >= ends[partition]:
                    left.remove(partition)
                    self.finish(partition)
        return found

    def _began(self) -> Consumer:
        if self._consumer is None:
            raise KafkaError("closed, or not begun")
        return self._consumer


@contextlib.asynccontextmanager
async def opened(kafka: KafkaSettings) -> AsyncIterator[Consumer]:
    """A consumer to ask a few things; raises what `Beside` does."""
    consumer = await _open(kafka)
    try:
        yield consumer
    finally:
        await consumer.close()


async def _open(kafka: KafkaSettings) -> Consumer:
    """Connect; if that is cancelled, close what it comes to."""
    opening = asyncio.create_task(open_reader(kafka))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        await asyncio.wait({opening}, timeout=_OPENING_SECONDS)
        if opening.done() and opening.exception() is None:
            await opening.result().close()
        opening.cancel()
        raise
