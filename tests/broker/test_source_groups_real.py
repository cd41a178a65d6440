"""Several members of one group, and those that the group takes for dead, on real Apache Kafka."""

import asyncio
import threading
import time
from typing import Self

import pytest
from confluent_kafka import Consumer, TopicPartition
from structlog.testing import capture_logs

from ldsync.config import KafkaSettings
from ldsync.kafka import (
    CommitOutcome,
)
from ldsync.sync.ledger import Partition
from tests.support.kafka_source import reading, settings_for, write_to
from tests.support.real_kafka import RealKafka

pytestmark = pytest.mark.broker


async def test_a_second_member_waits_for_the_first_ones_commit(real_kafka: RealKafka) -> None:
    """The revocation ends before anybody gets its partitions, so that nothing is read twice."""
    topic = real_kafka.create_topic(partitions=4)
    partitions = [Partition(topic, number) for number in range(4)]
    for partition in partitions:
        await write_to(real_kafka, partition, b"early", b"early")
    settings = settings_for(real_kafka, topic)

    async with reading(settings) as first:
        await first.read(8)
        order: list[str] = []

        async def drain(owned: frozenset[Partition]) -> None:
            await asyncio.sleep(0.5)
            outcome = await first.source.commit(dict.fromkeys(owned, 2))
            order.append(f"first {outcome}")

        first.diary.on_revoked = drain
        async with reading(settings) as second:
            second.diary.on_assigned = lambda _: order.append("second assigned")
            async with asyncio.TaskGroup() as tasks:
                both = lambda: first.source.assigned and second.source.assigned  # noqa: E731
                tasks.create_task(first.until(both))
                tasks.create_task(second.until(both))
            assert first.source.assigned | second.source.assigned == set(partitions)
            assert not first.source.assigned & second.source.assigned
            for partition in partitions:
                await write_to(real_kafka, partition, b"late")
            async with asyncio.TaskGroup() as tasks:
                all_read = lambda: len(first.records) + len(second.records) >= 12  # noqa: E731
                tasks.create_task(first.until(all_read))
                tasks.create_task(second.until(all_read))

            assert order == ["first committed", "second assigned"]
            assert sorted(first.values + second.values) == [b"early"] * 8 + [b"late"] * 4


async def test_stopping_leaves_the_group_at_once(real_kafka: RealKafka) -> None:
    """The successor need not wait until a session of 20 s times out."""
    topic = real_kafka.create_topic()
    settings = settings_for(real_kafka, topic, session_timeout_seconds=20.0)
    await write_to(real_kafka, Partition(topic, 0), b"a")
    async with reading(settings) as reader:
        await reader.read(1)
        assert len(await asyncio.to_thread(real_kafka.admin.group_members, settings.group_id)) == 1
        with capture_logs() as logs:
            await reader.source.stop()

    assert await asyncio.to_thread(real_kafka.admin.group_members, settings.group_id) == {}
    assert logs == [{"event": "consumer.stopped", "in_order": True, "log_level": "info"}]
    async with reading(settings) as reader:
        await reader.until(lambda: reader.records, limit=5.0)


class Rival:
    """Another member of the group, of another client, in a thread of its own."""

    def __init__(self, settings: KafkaSettings, offset: int) -> None:
        self._settings = settings
        self._offset = offset
        self.committed = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self._settings.bootstrap_servers,
                "group.id": self._settings.group_id,
                "partition.assignment.strategy": "roundrobin",
                "enable.auto.commit": False,
                "session.timeout.ms": 6000,
                "auto.offset.reset": "earliest",
            }
        )
        consumer.subscribe(list(self._settings.topics))
        while not self._done.is_set():
            consumer.poll(0.05)
            if consumer.assignment() and not self.committed.is_set():
                (place,) = consumer.assignment()
                place = TopicPartition(place.topic, place.partition, self._offset)
                consumer.commit(offsets=[place], asynchronous=False)
                self.committed.set()
        consumer.close()


async def test_who_was_taken_for_dead_cannot_commit_over_the_new_owner(
    real_kafka: RealKafka,
) -> None:
    """A process that stood still learns of it by a fenced commit and a late revocation."""
    topic = real_kafka.create_topic()
    partition = Partition(topic, 0)
    settings = settings_for(real_kafka, topic)
    await write_to(real_kafka, partition, *[b"x"] * 5)
    async with reading(settings) as reader:
        await reader.read(5)
        members: list[bool] = []

        async def look(_: object) -> None:
            members.append(reader.source.is_member)

        reader.diary.on_revoked = look
        with Rival(settings, offset=3) as rival:
            assert rival.committed.wait(20.0)  # the event loop stands still meanwhile
            with capture_logs() as logs:
                assert await reader.source.commit({partition: 1}) is CommitOutcome.FENCED
            await reader.until(lambda: reader.diary.kinds[:2] == ["assigned", "revoked"])

            committed = await asyncio.to_thread(
                real_kafka.admin.group_offsets, settings.group_id, topic
            )
            assert committed == {0: 3}
        assert members == [False]
        assert reader.rebalances("lost") == 1
        assert "commit.fenced" in [entry["event"] for entry in logs]


async def test_who_was_taken_for_dead_cannot_commit_to_a_group_without_members(
    real_kafka: RealKafka,
) -> None:
    """The broker would take it from an outsider; whoever comes next might have begun already."""
    topic = real_kafka.create_topic()
    partition = Partition(topic, 0)
    settings = settings_for(real_kafka, topic)
    await write_to(real_kafka, partition, b"a")
    async with reading(settings) as reader:
        await reader.read(1)
        outcomes = []

        async def commit(_: object) -> None:
            outcomes.append((reader.source.is_member, await reader.source.commit({partition: 1})))

        reader.diary.on_revoked = commit
        time.sleep(3.0)  # noqa: ASYNC251 - a process that stands still, longer than its session
        await reader.until(lambda: len(reader.records) == 2)

        assert outcomes == [(False, CommitOutcome.FENCED)]
