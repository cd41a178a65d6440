"""Writes messages to a topic at a steady rate, as a producer without keys does."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from ldsync.demo.generator import Message

__all__ = ["Feed", "KafkaNotReady", "Sent", "committed_offsets"]

_CHUNK_SECONDS = 0.1
# The mock broker answers a fetch with one produced batch per partition: small ones read slowly.
_BATCH_BYTES = 256 * 1024
_LINGER_MS = 20
_RETRY_SECONDS = 1.0
_STOP_SECONDS = 5.0


class KafkaNotReady(RuntimeError):
    """No broker answered, or the topic is not there, within the time allowed."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A message on its way to the topic."""

    message: Message
    recorded_ms: int
    """The record's timestamp, milliseconds since the epoch."""
    at: float
    """When it was handed over, monotonic seconds."""


class Feed:
    """One producer for one topic. `start` it, `send` through it, `stop` it.

    Attributes:
        acknowledged: records the broker has, by partition.
    """

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self.acknowledged: dict[int, int] = {}
        self._servers = bootstrap_servers
        self._topic = topic
        self._producer: AIOKafkaProducer | None = None
        self._pending: set[asyncio.Future[object]] = set()
        self._error: BaseException | None = None

    async def start(self, timeout_seconds: float = 60.0) -> int:
        """Connect, waiting for broker and topic if need be.

        Returns:
            The number of partitions of the topic.

        Raises:
            KafkaNotReady: not reachable, or no such topic, after `timeout_seconds`.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._servers,
                client_id="ldsync-generator",
                linger_ms=_LINGER_MS,
                max_batch_size=_BATCH_BYTES,
            )
            try:
                await producer.start()
                partitions = await producer.partitions_for(self._topic)
            except KafkaError as error:
                trouble = str(error)
            else:
                self._producer = producer
                return len(partitions)
            await producer.stop()
            if time.monotonic() > deadline:
                raise KafkaNotReady(
                    f"Kafka at {self._servers} is not ready for topic {self._topic}: {trouble}. "
                    "Check the address, and that the topic exists."
                )
            await asyncio.sleep(_RETRY_SECONDS)

    async def send(self, messages: Sequence[Message], rate: float) -> AsyncIterator[Sequence[Sent]]:
        """Produce the messages in order, `rate` a second, and yield them chunk by chunk.

        The caller may hold the feed up between chunks: what was not sent meanwhile is not made up
        for. When it ends, the broker has everything.

        Raises:
            KafkaError: the broker refused a record.
        """
        chunk = max(1, round(rate * _CHUNK_SECONDS))
        for begin in range(0, len(messages), chunk):
            started = time.monotonic()
            yield [await self._hand_over(m) for m in messages[begin : begin + chunk]]
            await asyncio.sleep(max(0.0, chunk / rate - (time.monotonic() - started)))
        if self._pending:
            await asyncio.wait(self._pending)
        self._check()

    async def stop(self) -> None:
        """Close the producer; what a broken broker does not take within 5 seconds is given up."""
        if self._producer is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._producer.stop(), _STOP_SECONDS)
            self._producer = None

    async def _hand_over(self, message: Message) -> Sent:
        self._check()
        if self._producer is None:
            raise KafkaNotReady("The feed was not started")
        recorded_ms = time.time_ns() // 1_000_000
        sent = Sent(message, recorded_ms, time.monotonic())
        acknowledgement = await self._producer.send(
            self._topic,
            message.value,
            key=b"deleted" if message.value is None else None,  # a tombstone is nothing without
            partition=message.partition,
            timestamp_ms=recorded_ms,
        )
        self._pending.add(acknowledgement)
        acknowledgement.add_done_callback(self._acknowledge)
        return sent

    def _acknowledge(self, acknowledgement: asyncio.Future[object]) -> None:
        self._pending.discard(acknowledgement)
        if acknowledgement.cancelled():
            return
        if (error := acknowledgement.exception()) is not None:
            self._error = error
            return
        record: object = acknowledgement.result()
        partition, offset = record.partition, record.offset  # type: ignore[attr-defined]
        self.acknowledged[partition] = max(self.acknowledged.get(partition, 0), offset + 1)

    def _check(self) -> None:
        if self._error is not None:
            raise self._error


async def committed_offsets(
    bootstrap_servers: str, group: str, topic: str, partitions: int
) -> dict[int, int]:
    """Where a consumer group would go on, by partition; partitions without a commit are left out.

    Raises:
        KafkaError: the broker does not say.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers, group_id=group, enable_auto_commit=False
    )
    await consumer.start()
    try:
        found = {
            partition: await consumer.committed(TopicPartition(topic, partition))
            for partition in range(partitions)
        }
    finally:
        await consumer.stop()
    return {partition: offset for partition, offset in found.items() if offset is not None}
