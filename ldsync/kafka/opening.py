"""From settings to a consumer that is connected, before it joins its group."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka.codec import has_lz4, has_snappy, has_zstd
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError

from ldsync.kafka.consumer import Consumer
from ldsync.kafka.errors import SourceMisconfigured, SourceUnavailable
from ldsync.kafka.reach import reach
from ldsync.kafka.security import client_options
from ldsync.kafka.static import InsistentRoundRobin

if TYPE_CHECKING:
    from ldsync.config import KafkaSettings

METADATA_SECONDS = 60.0
"""New partitions, and new topics that a pattern matches, are found within this time."""

MAX_POLL_INTERVAL_SECONDS = 300.0
"""A process that has not polled for so long hangs, and gives its partitions to others."""


async def open_consumer(
    settings: KafkaSettings, *, in_group: bool = True, patience: float | None = None
) -> Consumer:
    """A consumer that is connected and subscribed to nothing yet.

    Args:
        settings: Addresses, topics and everything else.
        in_group: Whether it is to be a member of `kafka.group_id`; else it can commit nothing.
        patience: Seconds to wait for brokers and topics, if not `kafka.start_timeout_seconds`.

    Subscribing comes after, because aiokafka's `start` would otherwise wait until the group has let
    us in, and for ever for topics that do not exist.

    The assignor is round robin. Every rebalance revokes everything anyway; aiokafka's sticky one
    keeps its state on the class and is never told its generation, so that it believes a member that
    comes back with an old assignment.

    Raises:
        SourceUnavailable: brokers or topics were not there in time.
        SourceMisconfigured: credentials, certificates or settings cannot work.
    """
    _check_codecs()
    options = await asyncio.to_thread(client_options, settings)
    address = await reach(settings, options, patience)
    instance_id = settings.group_instance_id if in_group else ""
    consumer = Consumer(
        bootstrap_servers=address,
        client_id=settings.client_id,
        group_id=settings.group_id if in_group else None,
        group_instance_id=instance_id or None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        partition_assignment_strategy=[
            InsistentRoundRobin() if instance_id else RoundRobinPartitionAssignor
        ],
        session_timeout_ms=_ms(settings.session_timeout_seconds),
        heartbeat_interval_ms=_ms(settings.heartbeat_interval_seconds),
        rebalance_timeout_ms=_ms(settings.rebalance_timeout_seconds),
        request_timeout_ms=_ms(settings.request_timeout_seconds),
        max_poll_interval_ms=_ms(MAX_POLL_INTERVAL_SECONDS),
        metadata_max_age_ms=_ms(METADATA_SECONDS),
        max_poll_records=settings.max_poll_records,
        fetch_max_bytes=settings.fetch_max_bytes,
        max_partition_fetch_bytes=settings.max_partition_fetch_bytes,
        **options,
    )
    try:
        async with asyncio.timeout(patience or settings.start_timeout_seconds):
            await consumer.start()
    except BaseException as error:
        await consumer.close()
        if isinstance(error, TimeoutError | KafkaError):
            raise SourceUnavailable(f"Kafka at {address} went away again: {error}") from None
        raise
    return consumer


async def open_reader(settings: KafkaSettings) -> Consumer:
    """A consumer beside the group, and without a trace in it, that reads what it is assigned.

    Raises:
        KafkaError, OSError: brokers did not answer.
        SourceMisconfigured: credentials or certificates cannot be used any more.
    """
    options = await asyncio.to_thread(client_options, settings)
    reader = Consumer(
        bootstrap_servers=settings.bootstrap_servers,
        client_id=settings.client_id,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        request_timeout_ms=_ms(settings.request_timeout_seconds),
        metadata_max_age_ms=_ms(METADATA_SECONDS),
        max_poll_records=settings.max_poll_records,
        fetch_max_bytes=settings.fetch_max_bytes,
        max_partition_fetch_bytes=settings.max_partition_fetch_bytes,
        **options,
    )
    try:
        await reader.start()
    except BaseException:
        await reader.close()
        raise
    return reader


def _check_codecs() -> None:
    """A missing codec would only show at the first batch compressed with it."""
    present = {"snappy": has_snappy(), "lz4": has_lz4(), "zstd": has_zstd()}
    missing = [name for name, there in present.items() if not there]
    if missing:
        raise SourceMisconfigured(
            f"Kafka's compression {', '.join(missing)} cannot be read: install "
            "aiokafka[lz4,snappy,zstd]"
        )


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
