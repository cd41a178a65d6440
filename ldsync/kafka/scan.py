"""Reading parts of partitions again, beside the group and without a trace in it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from aiokafka import TopicPartition

from ldsync.kafka.consumer import Consumer, to_its_end

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from aiokafka import ConsumerRecord

    from ldsync.config import KafkaSettings
    from ldsync.sync.ledger import Partition

LONGEST_SECONDS: Final = 300.0
"""What waiting for the brokers may take in all."""

CHUNK_RECORDS: Final = 1000

_POLL_SECONDS: Final = 0.2


async def scan(
    kafka: KafkaSettings,
    ranges: Mapping[Partition, tuple[int, int]],
    patience: float,
    options: dict[str, Any],
) -> AsyncGenerator[list[ConsumerRecord], None]:
    """Read from an offset of each partition up to another (exclusive), in chunks.

    What retention took is left out. `options` are from `client_options`; close the iterator when
    you leave it early.

    Raises:
        KafkaError: brokers refuse.
        TimeoutError: nothing came in `patience` seconds, or all took more than `LONGEST_SECONDS`.
    """
    ends = {TopicPartition(*place): end for place, (first, end) in ranges.items() if first < end}
    if not ends:
        return
    consumer = Consumer(
        bootstrap_servers=kafka.bootstrap_servers,
        client_id=kafka.client_id,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        request_timeout_ms=int(kafka.request_timeout_seconds * 1000),
        fetch_max_bytes=kafka.fetch_max_bytes,
        max_partition_fetch_bytes=kafka.max_partition_fetch_bytes,
        max_poll_records=CHUNK_RECORDS,
        **options,
    )
    waited = quiet = 0.0
    try:
        async with asyncio.timeout(patience):
            await to_its_end(consumer.start())
        consumer.assign(list(ends))
        for place in ends:
            consumer.seek(place, ranges[place][0])
        while ends:
            began = time.monotonic()
            async with asyncio.timeout(patience):
                found = await consumer.take(_POLL_SECONDS)
            took = time.monotonic() - began
            waited, quiet = waited + took, 0.0 if found else quiet + took
            if quiet > patience or waited > LONGEST_SECONDS:
                raise TimeoutError(f"nothing in {quiet:.0f} s, {waited:.0f} s in all")
            yield [
                record
                for place, batch in found.items()
                for record in batch
                if record.offset < ends.get(place, 0)
            ]
            await asyncio.sleep(0)
            for place in _passed(consumer, ends):
                del ends[place]
                consumer.pause(place)
    finally:
        await consumer.close()


def _passed(consumer: Consumer, ends: Mapping[TopicPartition, int]) -> list[TopicPartition]:
    """Which partitions were read up to their end."""
    positions = consumer.positions()
    return [place for place, end in ends.items() if positions.get(place, 0) >= end]
