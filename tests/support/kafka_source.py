"""A `Source` under test: settings scaled down, a listener that keeps a diary, polls to a goal."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog
from aiokafka import ConsumerRecord
from confluent_kafka import Producer
from prometheus_client import CollectorRegistry

from ldsync.config import DeadLettersSettings, KafkaSettings, OrderingSettings
from ldsync.kafka import Source
from ldsync.sync.lease import Lease
from ldsync.sync.ledger import Partition
from ldsync.telemetry.metrics import Metrics
from tests.support.real_kafka import RealKafka

LIMIT = 30.0  # seconds that anything awaited here may take

P0, P1, P2 = (Partition("events", number) for number in range(3))

Write = Callable[..., Awaitable[None]]
"""`await write(partition, *values)`: the fixture of the integration tests."""

# Error codes of the Kafka protocol.
OFFSET_METADATA_TOO_LARGE = 12
LOADING, NOT_AVAILABLE, NOT_COORDINATOR = 14, 15, 16
ILLEGAL_GENERATION, UNKNOWN_MEMBER, REBALANCING = 22, 25, 27
TOPIC_DENIED, GROUP_DENIED = 29, 30
LEADER_NOT_AVAILABLE, NOT_LEADER, INVALID_TOPIC = 5, 6, 17


def kafka_settings(bootstrap_servers: str, **changes: Any) -> KafkaSettings:
    """Settings for tests: everything that takes time, shortened in proportion."""
    defaults: dict[str, Any] = {
        "bootstrap_servers": bootstrap_servers,
        "topics": ("events",),
        "session_timeout_seconds": 1.5,
        "heartbeat_interval_seconds": 0.2,
        "rebalance_timeout_seconds": 8.0,
        "request_timeout_seconds": 10.0,
        "start_timeout_seconds": 10.0,
    }
    return KafkaSettings(**(defaults | changes))


def dead_letters_settings(**changes: Any) -> DeadLettersSettings:
    """The same for `[dead_letters]`; anything may be invalid."""
    defaults: dict[str, Any] = {"timeout_seconds": 2.0, "max_invalid_ratio": 1.0}
    return DeadLettersSettings(**(defaults | changes))


def settings_for(kafka: RealKafka, topic: str, **changes: Any) -> KafkaSettings:
    """Settings for one topic, with the topic's name for the group."""
    return kafka_settings(
        kafka.bootstrap_servers, **({"topics": (topic,), "group_id": f"group-{topic}"} | changes)
    )


async def write_to(kafka: RealKafka, partition: Partition, *values: bytes) -> None:
    """Write values to one partition of a real broker, in order."""

    def produce() -> None:
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "acks": "all"})
        for value in values:
            producer.produce(partition.topic, value, partition=partition.number)
        assert producer.flush(20) == 0

    await asyncio.to_thread(produce)


class Diary:
    """A listener that writes down what it is told; what it does in a revocation can be set.

    Attributes:
        entries: `("assigned" or "revoked", partitions)` in order.
        clean: Whether each assignment was left clean, in order.
        known_since: How far back history reaches, of each assignment that has any, in order.
        past: The records of history, in order of arrival.
        on_history: Called inside `history`.
        on_revoked: Awaited inside `revoked`.
        on_assigned: Called inside `assigned`.
        on_ready: Called inside `ready`.
    """

    def __init__(self) -> None:
        self.entries: list[tuple[str, frozenset[Partition]]] = []
        self.clean: list[bool] = []
        self.known_since: list[int] = []
        self.past: list[ConsumerRecord] = []
        self.on_history: Callable[[], None] | None = None
        self.on_revoked: Callable[[frozenset[Partition]], Awaitable[object]] | None = None
        self.on_assigned: Callable[[frozenset[Partition]], None] | None = None
        self.on_ready: Callable[[Mapping[Partition, int]], None] | None = None

    def assigned(self, partitions: frozenset[Partition]) -> None:
        """For the source."""
        self.entries.append(("assigned", partitions))
        if self.on_assigned is not None:
            self.on_assigned(partitions)

    async def history(self, partition: Partition, records: Sequence[ConsumerRecord]) -> None:
        """For the source."""
        assert {(record.topic, record.partition) for record in records} == {tuple(partition)}
        self.past += records
        if self.on_history is not None:
            self.on_history()

    async def warmed(self, _partitions: frozenset[Partition], since: int | None) -> None:
        """For the source."""
        if since is not None:
            self.known_since.append(since)

    def ready(self, committed: Mapping[Partition, int], *, clean: bool) -> None:
        """For the source."""
        assert committed.keys() <= self.entries[-1][1]
        self.clean.append(clean)
        if self.on_ready is not None:
            self.on_ready(committed)

    async def revoked(self, partitions: frozenset[Partition]) -> None:
        """For the source."""
        self.entries.append(("revoked", partitions))
        if self.on_revoked is not None:
            await self.on_revoked(partitions)

    @property
    def kinds(self) -> list[str]:
        """What it was told, in order, without the partitions."""
        return [kind for kind, _ in self.entries]


class Reader:
    """A source with its diary, its metrics and all the records that its polls returned."""

    def __init__(self, settings: KafkaSettings, ordering: OrderingSettings | None = None) -> None:
        self.diary = Diary()
        self.registry = CollectorRegistry()
        self.lease = Lease(settings.session_timeout_seconds, settings.rebalance_timeout_seconds)
        self.source = Source(
            settings,
            self.diary,
            Metrics(self.registry),
            structlog.get_logger(),
            lease=self.lease,
            ordering=ordering or OrderingSettings(warm_up=False),
        )
        self.records: list[ConsumerRecord] = []

    async def poll(self, *, paused: bool = False, timeout: float = 0.1) -> list[ConsumerRecord]:
        """One poll; what came is also added to `records`."""
        found = await self.source.poll(paused=paused, timeout=timeout)
        came = [record for batch in found.values() for record in batch]
        self.records += came
        return came

    async def until(
        self, goal: Callable[[], object], *, paused: bool = False, limit: float = LIMIT
    ) -> None:
        """Poll until the goal is reached.

        Raises:
            AssertionError: it was not, within `limit` seconds.
        """
        try:
            async with asyncio.timeout(limit):
                while not goal():
                    await self.poll(paused=paused)
        except TimeoutError:
            raise AssertionError(
                f"not within {limit} s; diary {self.diary.kinds}, {len(self.records)} records"
            ) from None

    async def read(self, count: int) -> list[bytes]:
        """Poll until so many records have come in all; their values, sorted."""
        await self.until(lambda: len(self.records) >= count)
        return self.values

    @property
    def values(self) -> list[bytes]:
        """The values of all records that came, sorted."""
        return sorted(record.value for record in self.records)

    @property
    def offsets(self) -> dict[Partition, list[int]]:
        """The offsets that came, by partition, in order of arrival."""
        found: dict[Partition, list[int]] = {}
        for record in self.records:
            found.setdefault(Partition(record.topic, record.partition), []).append(record.offset)
        return found

    def rebalances(self, kind: str) -> float:
        """How many rebalances of this kind the metrics have counted."""
        return self.registry.get_sample_value("ldsync_rebalances_total", {"kind": kind}) or 0.0


@contextlib.asynccontextmanager
async def reading(
    settings: KafkaSettings, ordering: OrderingSettings | None = None
) -> AsyncIterator[Reader]:
    """A started source, stopped at the end; it reads no history unless it is told to."""
    reader = Reader(settings, ordering)
    await reader.source.start()
    try:
        yield reader
    finally:
        await reader.source.stop()
