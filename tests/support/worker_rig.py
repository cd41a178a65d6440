"""Workers between an embedded broker and a simulated LaunchDarkly, all in one event loop.

While a worker runs, what must always hold is checked at every turn of the loop: every consumed
record has exactly one outcome or is pending (P7), and no more batches are in flight than allowed.
"""

import asyncio
import json
import random
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import structlog
from aiokafka import (
    AIOKafkaConsumer,
    AIOKafkaProducer,
    ConsumerRecord,
    OffsetAndMetadata,
    TopicPartition,
)

from ldsync.config import OrderingSettings
from ldsync.demo.broker import EmbeddedBroker
from ldsync.demo.fold import Fold
from ldsync.demo.simulator import Simulator
from ldsync.engage.decoder import Decoder
from ldsync.engage.mapping import Mapping as EventMapping
from ldsync.kafka.consumer import Consumer
from ldsync.kafka.dead_letters import DeadLetters
from ldsync.kafka.source import Source
from ldsync.kafka.take_over import CLEAN
from ldsync.launchdarkly.client import LaunchDarklyClient
from ldsync.launchdarkly.environment import Environment, Found
from ldsync.launchdarkly.pacing import Pacing
from ldsync.launchdarkly.schedule import Schedule
from ldsync.launchdarkly.segments import Terms
from ldsync.launchdarkly.writers.standard import StandardWriter
from ldsync.parking import Parking
from ldsync.parts import Parts
from ldsync.report import Report
from ldsync.sync.backoff import Backoff
from ldsync.sync.buffer import Buffer
from ldsync.sync.lease import Lease
from ldsync.sync.ledger import Ledger, Partition
from ldsync.sync.limits import Budget, Limits
from ldsync.sync.policy import Policy
from ldsync.sync.waiting import Waiting
from ldsync.telemetry.journal import Journal
from ldsync.telemetry.metrics import Metrics
from ldsync.versions.base import Versions
from ldsync.versions.memory import MemoryVersions
from ldsync.versions.redis import RedisVersions
from ldsync.worker import Worker
from tests.support.eventually import eventually
from tests.support.gates import GatedVersions, GatedWriter, Gates
from tests.support.kafka_source import dead_letters_settings, kafka_settings
from tests.support.real_kafka import RealKafka
from tests.support.traffic import engage_event

PROJECT, ENVIRONMENT, TOKEN = "p", "e", "api-worker-test"
START = datetime.now(UTC) - timedelta(hours=1)
LIMIT = 20.0  # seconds that anything waited for may take


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a worker of a test is set up: everything that takes time is short. Times in seconds.

    `writer` stands in for the one to LaunchDarkly.
    """

    group: str = ""
    max_in_flight: int = 8
    max_size: int = 1500
    max_age: float = 0.05
    max_changes: int = 200_000
    timeout: float = 2.0
    settle: float = 0.5
    commit_interval: float = 0.05
    drain: float = 5.0
    commit: float = 1.0
    operator: float = 0.2
    longest_operator: float = 2.0
    resolved: bool = True
    dry_run: bool = False
    park_after: float = 3600.0
    max_entries: int = 100_000
    kafka: Mapping[str, Any] = field(default_factory=dict)
    ordering: Mapping[str, Any] = field(default_factory=dict)
    dead_letters: Mapping[str, Any] = field(default_factory=dict)
    writer: Any = None
    redis_url: str = ""
    redis_timeout: float = 2.0
    gates: Gates | None = None
    name: str = ""


class Hand:
    """A worker that runs, with its parts.

    Attributes:
        parts: What it was made of.
        worker: The worker.
        metrics: Its metrics.
        report: What it says about itself.
        most: The most changes it ever held.
        states: The states it was in, in order.
    """

    def __init__(self, rig: "Rig", options: Options) -> None:
        rng = random.Random(1)
        self.rig = rig
        self.options = options
        self.metrics = Metrics()
        environment = Environment(PROJECT, ENVIRONMENT)
        if options.resolved:
            environment.resolve(Found(PROJECT, ENVIRONMENT))
        own: dict[str, Any] = {
            "bootstrap_servers": rig.broker.bootstrap_servers,
            "topics": (rig.topic,),
            "group_id": options.group or rig.group,
        }
        settings = kafka_settings(**(own | dict(options.kafka)))
        lease = Lease(settings.session_timeout_seconds, settings.rebalance_timeout_seconds)
        pacing = Pacing(budget_share=1.0, rng=rng, lease=lease)
        self.client = LaunchDarklyClient(
            rig.sim.url,
            TOKEN,
            timeout_seconds=options.timeout,
            max_in_flight=options.max_in_flight,
            pacing=pacing,
            metrics=self.metrics,
            dry_run=options.dry_run,
        )
        buffer = Buffer(
            Limits(max_size=options.max_size, max_age=options.max_age),
            Budget(max_changes=options.max_changes),
        )
        dead_letters = DeadLetters(
            dead_letters_settings(**options.dead_letters),
            settings,
            lambda: Decoder(EventMapping()),
            self.metrics,
            structlog.get_logger(),
        )
        journal = Journal(self.metrics)
        decoder = Decoder(EventMapping())
        versions = self._versions()
        waiting = Waiting(options.park_after)
        self.parts = Parts(
            decoder=decoder,
            buffer=buffer,
            ledger=Ledger(),
            lease=lease,
            dead_letters=dead_letters,
            parking=Parking(waiting, buffer, versions, dead_letters, decoder, journal),
            versions=versions,
            writer=self._writer(environment, rng),
            environment=environment,
            pacing=pacing,
            schedule=Schedule(
                Backoff(0.02, 0.1),
                Backoff(options.operator, options.longest_operator, 0.5),
                pacing,
                rng,
                environment.doubt,
            ),
            journal=journal,
            metrics=self.metrics,
        )
        policy = Policy(
            max_in_flight=options.max_in_flight,
            settle_seconds=options.settle,
            take_over_seconds=options.settle,
            commit_interval_seconds=options.commit_interval,
            drain_seconds=options.drain,
            commit_seconds=options.commit,
        )
        self.worker = Worker(
            self.parts,
            policy,
            lambda listener: Source(
                settings,
                listener,
                self.metrics,
                structlog.get_logger(),
                dry_run=options.dry_run,
                lease=lease,
                ordering=OrderingSettings(**options.ordering),
            ),
        )
        self.report = Report(self.worker, self.parts, environment)
        self.report.bind(self.metrics)
        self.most = 0
        self.states = [self.worker.state.value]
        self.task = asyncio.create_task(self.worker.run())
        self._observer = asyncio.create_task(self._observe())

    def _versions(self) -> Versions:
        options = self.options
        versions: Versions = MemoryVersions(options.max_entries, time.monotonic())
        ordering = OrderingSettings(**options.ordering)
        if options.redis_url:
            versions = RedisVersions(
                options.redis_url,
                f"{PROJECT}/{ENVIRONMENT}",
                retention=3600.0,
                timeout=options.redis_timeout,
                warm_after=None if ordering.warm_up else options.settle,
                metrics=self.metrics,
            )
        return GatedVersions(versions, options.gates, options.name) if options.gates else versions

    def _writer(self, environment: Environment, rng: random.Random) -> Any:
        writer = self.options.writer or StandardWriter(
            self.client,
            environment,
            Terms(),
            metrics=self.metrics,
            rng=rng,
        )
        gates = self.options.gates
        return GatedWriter(writer, gates, self.options.name) if gates else writer

    async def _observe(self) -> None:
        while True:
            self.check()
            await asyncio.sleep(0)

    def check(self) -> None:
        """Hold the present moment against what must always be true."""
        buffer, journal = self.parts.buffer, self.parts.journal
        explained = sum(journal.outcomes.values()) + buffer.records
        assert journal.consumed == explained, (journal.consumed, journal.outcomes, buffer.records)
        assert 0 <= buffer.in_flight <= self.options.max_in_flight
        self.most = max(self.most, buffer.changes)
        if self.worker.state.value != self.states[-1]:
            self.states.append(self.worker.state.value)

    async def until(self, holds: Any, what: str, limit: float = LIMIT) -> None:
        """Wait until something holds; fail at once when the worker or its observer ends."""

        def asked() -> object:
            if self._observer.done():
                self._observer.result()
            return holds() or self.task.done()

        await eventually(asked, what, limit, pause=0.005)
        assert holds(), f"the worker ended before: {what}; {self.task}"

    async def until_consumed(self, count: int) -> None:
        """Wait until so many records were consumed."""
        journal = self.parts.journal
        await self.until(lambda: journal.consumed >= count, f"{count} records are consumed")
        assert journal.consumed == count

    async def until_assigned(self, partitions: int = 1) -> None:
        """Wait until so many partitions are assigned."""
        source = self.worker.source
        await self.until(lambda: len(source.assigned) == partitions, f"{partitions} partitions")

    @property
    def outcomes(self) -> dict[str, int]:
        """The numbers of records by outcome, without those that are 0."""
        found: Counter[str] = Counter()
        for (outcome, _), count in self.parts.journal.outcomes.items():
            found[outcome] += count
        return dict(+found)

    def metric(self, name: str, **labels: str) -> float:
        """A sample as it is scraped; 0 if there is none."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    async def stop(self) -> None:
        """Tell the worker to stop and wait until it has."""
        self.worker.stop()
        async with asyncio.timeout(LIMIT):
            await self.task

    async def end(self) -> None:
        """End it, however it is; then everything that was started must be over."""
        self.worker.stop()
        try:
            async with asyncio.timeout(LIMIT):
                await asyncio.wait({self.task})
        finally:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            await self.client.close()
            await self.parts.versions.close()
            self._observer.cancel()
            ended = await asyncio.gather(self._observer, return_exceptions=True)
        assert isinstance(ended[0], asyncio.CancelledError), ended[0]
        self.check()


class Rig:
    """A broker with one topic, a LaunchDarkly, a fold of all that was produced, and workers."""

    def __init__(self, broker: EmbeddedBroker, sim: Simulator, partitions: int) -> None:
        self.broker = broker
        self.sim = sim
        self.partitions = partitions
        self.topic = f"events-{uuid.uuid4().hex[:8]}"
        self.group = f"group-{uuid.uuid4().hex[:8]}"
        self.fold = Fold()
        self.ends: Counter[int] = Counter()
        self.hands: list[Hand] = []
        self._moment = START
        self._producer = AIOKafkaProducer(
            bootstrap_servers=broker.bootstrap_servers, linger_ms=5, max_batch_size=1 << 20
        )
        self._asker = Consumer(
            bootstrap_servers=broker.bootstrap_servers,
            group_id=self.group,
            enable_auto_commit=False,
        )

    async def open(self, *, dead_letters: bool = True) -> None:
        """Make the topic, and that of dead letters unless told otherwise, and connect."""
        self.broker.create_topic(self.topic, partitions=self.partitions)
        if dead_letters:
            self.broker.create_topic(self.dead_letters, partitions=2)
        await self._producer.start()
        await self._asker.start()

    async def leave_clean(self, partitions: int = 0) -> None:
        """Let the group look as after a worker that had nothing to do and left in order (R2)."""
        numbers = range(partitions or self.partitions)
        nothing = OffsetAndMetadata(0, CLEAN)
        await self._asker.commit_offsets(
            {Partition(self.topic, number): nothing for number in numbers}
        )

    async def close(self) -> None:
        """End all workers and connections."""
        self.sim.faults.clear()
        try:
            for hand in reversed(self.hands):
                await hand.end()
        finally:
            await self._producer.stop()
            await self._asker.stop()

    def work(self, **options: Any) -> Hand:
        """Start a worker."""
        hand = Hand(self, Options(**options))
        self.hands.append(hand)
        return hand

    async def write(
        self,
        *values: bytes | None,
        partition: int = 0,
        key: bytes | None = None,
        headers: Iterable[tuple[str, bytes]] = (),
    ) -> None:
        """Write records to a partition, as one batch if possible: the mock returns one a fetch."""
        now_ms = int(time.time() * 1000)
        sent = []
        for value in values:
            sent.append(
                await self._producer.send(
                    self.topic,
                    value,
                    key=b"k" if value is None else key,
                    partition=partition,
                    timestamp_ms=now_ms,
                    headers=list(headers),
                )
            )
            self.fold.add(value, partition=partition, recorded_ms=now_ms)
        await asyncio.gather(*sent)
        self.ends[partition] += len(values)

    async def write_letter(self, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        """Write a record to each partition of the topic of dead letters, by hand."""
        for number in await self._producer.partitions_for(self.dead_letters):
            await self._producer.send_and_wait(
                self.dead_letters, value, partition=number, headers=headers
            )

    def event(
        self, user: str, entered: bool = True, audience: str = "vip", *, late: float = 0.0
    ) -> bytes:
        """An event that is newer than all before it, or so many seconds older than that."""
        self._moment += timedelta(milliseconds=1)
        moment = self._moment - timedelta(seconds=late)
        return json.dumps(engage_event(user, audience, entered, moment)).encode()

    async def enter(
        self, *users: str, audience: str = "vip", partition: int = 0, entered: bool = True
    ) -> None:
        """Write one event a user: it enters the audience, or leaves it."""
        await self.write(
            *[self.event(user, entered, audience) for user in users], partition=partition
        )

    @property
    def dead_letters(self) -> str:
        """The topic of dead letters: the mock does not make topics when it is asked to."""
        return f"{self.topic}.dead-letters"

    async def letters(self) -> list[ConsumerRecord]:
        """What is in the topic of dead letters, in order of partition and offset."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.broker.bootstrap_servers,
            group_id="letters",
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            numbers = await self._producer.partitions_for(self.dead_letters)
            places = [TopicPartition(self.dead_letters, number) for number in numbers]
            consumer.assign(places)
            await consumer.seek_to_beginning()
            ends = await consumer.end_offsets(places)
            found: list[ConsumerRecord] = []
            async with asyncio.timeout(LIMIT):
                while any([await consumer.position(place) < ends[place] for place in places]):
                    for records in (await consumer.getmany(timeout_ms=50)).values():
                        found += records
        finally:
            await consumer.stop()
        return sorted(found, key=lambda record: (record.partition, record.offset))

    async def committed(self) -> dict[int, int]:
        """The group's offsets by partition; partitions without are left out."""
        found = {
            number: await self._asker.committed(TopicPartition(self.topic, number))
            for number in range(self.partitions)
        }
        return {number: at for number, at in found.items() if at is not None}

    async def marks(self) -> dict[int, str]:
        """The metadata of the group's offsets by partition (R2)."""
        places = [Partition(self.topic, number) for number in range(self.partitions)]
        found = await self._asker.committed_offsets(places)
        return {place.number: offset.metadata for place, offset in found.items()}

    @property
    def is_settled(self) -> bool:
        """Whether LaunchDarkly holds what the fold of all records says."""
        return not self.fold.differences(self.sim.state())

    async def until_committed(self, offset: int, partition: int = 0, limit: float = LIMIT) -> None:
        """Wait until the group has committed this offset."""

        async def committed() -> bool:
            return (await self.committed()).get(partition) == offset

        await eventually(committed, f"offset {offset} is committed", limit, pause=0.02)

    async def until_settled(self, limit: float = LIMIT) -> None:
        """Wait until LaunchDarkly holds what the fold says and all offsets are committed.

        Raises:
            AssertionError: it does not within `limit` seconds.
        """

        async def settled() -> bool:
            return self.is_settled and Counter(await self.committed()) == self.ends

        try:
            await eventually(settled, "everything is delivered and committed", limit, pause=0.02)
        except AssertionError as failure:
            found = list(map(str, self.fold.differences(self.sim.state())))
            raise AssertionError(
                f"{failure}; {found[:5]}; {await self.committed()} of {self.ends}"
            ) from None


@asynccontextmanager
async def rigged(
    broker: EmbeddedBroker | RealKafka,
    partitions: int = 1,
    *,
    dead_letters: bool = True,
    clean: bool = True,
    alone: bool = True,
) -> AsyncIterator[Rig]:
    """A rig. At the end no patch may have overlapped another one of its segment (P4, R1).

    Unless workers are not `alone`: those of several processes may. On a real broker, what only the
    mock can do is not there. `dead_letters` False leaves it to ldsync to make their topic. Unless
    `clean` is False its first worker takes over from one that left in order.
    """
    async with Simulator(project=PROJECT, environment=ENVIRONMENT, token=TOKEN) as sim:
        rig = Rig(cast("EmbeddedBroker", broker), sim, partitions)
        await rig.open(dead_letters=dead_letters)
        if clean:
            await rig.leave_clean()
        try:
            yield rig
        finally:
            await rig.close()
        assert not alone or sim.log.patch_overlaps() == []
        assert not alone or sim.log.member_overlaps() == []


def people(count: int, first: int = 0) -> list[str]:
    """User ids."""
    return [f"u-{number:06d}" for number in range(first, first + count)]


def patches(sim: Simulator, segment: str | None = None) -> list[Any]:
    """The patches that the simulator was sent, of one segment or of all."""
    return [
        each
        for each in sim.requests
        if each.route == "patch_segment" and segment in (None, each.segment)
    ]


def events_of(logs: Iterable[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    """The log lines of one kind."""
    return [entry for entry in logs if entry["event"] == name]
