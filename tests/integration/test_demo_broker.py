"""The embedded broker, spoken to by a real client over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import time
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import CommitFailedError, KafkaConnectionError

from ldsync.demo.broker import (
    Api,
    BrokerFault,
    BrokerUnavailable,
    EmbeddedBroker,
    leader_syncs_last,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

TOPIC = "engage-events"
UNKNOWN_TOPIC = 3
ILLEGAL_GENERATION = 22


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """One broker with a topic of four partitions."""
    with EmbeddedBroker() as running:
        running.create_topic(TOPIC, partitions=4)
        yield running


@contextlib.asynccontextmanager
async def producing(broker: EmbeddedBroker) -> AsyncIterator[AIOKafkaProducer]:
    """A producer that is stopped in the end."""
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@contextlib.asynccontextmanager
async def consuming(broker: EmbeddedBroker) -> AsyncIterator[AIOKafkaConsumer]:
    """A member of a group that starts at the earliest record."""
    consumer = AIOKafkaConsumer(
        TOPIC,
        bootstrap_servers=broker.bootstrap_servers,
        group_id="group",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=2000,
        heartbeat_interval_ms=200,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def read(consumer: AIOKafkaConsumer, count: int) -> list[tuple[int, int, bytes, int]]:
    """The next `count` records: partition, offset, value, timestamp."""
    records: list[tuple[int, int, bytes, int]] = []
    async with asyncio.timeout(20):
        while len(records) < count:
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                records += [(r.partition, r.offset, r.value, r.timestamp) for r in batch]
    return records


async def test_records_come_back_as_they_went_in(broker: EmbeddedBroker) -> None:
    """Every partition keeps values, order and timestamps."""
    async with producing(broker) as producer, consuming(broker) as consumer:
        for number in range(40):
            await producer.send(
                TOPIC, b"%d" % number, partition=number % 4, timestamp_ms=1_772_620_000_000 + number
            )
        records = await read(consumer, 40)
    assert sorted(records) == sorted(
        (number % 4, number // 4, b"%d" % number, 1_772_620_000_000 + number)
        for number in range(40)
    )


async def test_a_group_goes_on_where_it_committed(broker: EmbeddedBroker) -> None:
    """A committed offset outlives the member that committed it."""
    async with producing(broker) as producer:
        for number in range(10):
            await producer.send_and_wait(TOPIC, b"%d" % number, partition=0)
    async with consuming(broker) as consumer:
        await read(consumer, 10)
        await consumer.commit({TopicPartition(TOPIC, 0): 7})
    async with consuming(broker) as consumer:
        assert [value for _, _, value, _ in await read(consumer, 3)] == [b"7", b"8", b"9"]


async def test_two_members_share_a_topic(broker: EmbeddedBroker) -> None:
    """With the leader held back, a second member joins and takes half of the partitions."""
    with leader_syncs_last():
        async with consuming(broker) as one, contextlib.AsyncExitStack() as stack:
            join = asyncio.create_task(stack.enter_async_context(consuming(broker)))
            async with asyncio.timeout(20):
                while not join.done():
                    await one.getmany(timeout_ms=50)
                other = join.result()
                while len(one.assignment()) != 2 or len(other.assignment()) != 2:
                    await asyncio.gather(one.getmany(timeout_ms=50), other.getmany(timeout_ms=50))
            assert one.assignment() | other.assignment() == {
                TopicPartition(TOPIC, number) for number in range(4)
            }


async def test_a_request_type_fails_as_often_as_told(broker: EmbeddedBroker) -> None:
    """Failures that were taken back do not happen; one that was not happens once."""
    offsets = {TopicPartition(TOPIC, 0): 0}
    async with consuming(broker) as consumer:
        await consumer.getmany(timeout_ms=100)
        broker.fail(Api.OFFSET_COMMIT, *[ILLEGAL_GENERATION] * 50)
        broker.clear_failures(Api.OFFSET_COMMIT)
        await consumer.commit(offsets)
        broker.fail(Api.OFFSET_COMMIT, ILLEGAL_GENERATION)
        with pytest.raises(CommitFailedError):
            await consumer.commit(offsets)
    async with consuming(broker) as consumer:
        await consumer.getmany(timeout_ms=100)
        await consumer.commit(offsets)


async def test_a_broker_that_is_down_refuses_and_one_brought_up_has_kept_its_records(
    broker: EmbeddedBroker,
) -> None:
    """Taking a broker down breaks connections, not what it holds."""
    async with producing(broker) as producer:
        await producer.send_and_wait(TOPIC, b"kept", partition=0)
    broker.take_down()
    refused = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    with pytest.raises(KafkaConnectionError):
        await refused.start()
    await refused.stop()
    broker.bring_up()
    async with consuming(broker) as consumer:
        assert [value for _, _, value, _ in await read(consumer, 1)] == [b"kept"]


async def test_a_slow_broker_answers_later(broker: EmbeddedBroker) -> None:
    """The delay is on every answer, until it is taken back."""
    async with producing(broker) as producer:
        broker.slow_down(0.3)
        begun = time.monotonic()
        await producer.send_and_wait(TOPIC, b"late", partition=0)
        assert time.monotonic() - begun >= 0.3
        broker.slow_down(0)
        begun = time.monotonic()
        await producer.send_and_wait(TOPIC, b"prompt", partition=0)
        assert time.monotonic() - begun < 0.3


async def test_deleted_records_move_the_start_of_the_log(broker: EmbeddedBroker) -> None:
    """As after retention, reading begins at the first record that is left."""
    async with producing(broker) as producer:
        for number in range(5):
            await producer.send_and_wait(TOPIC, b"%d" % number, partition=0)
    broker.delete_records(TOPIC, 0, before_offset=3)
    async with consuming(broker) as consumer:
        partition = TopicPartition(TOPIC, 0)
        assert await consumer.beginning_offsets([partition]) == {partition: 3}


async def test_a_topic_can_be_unknown_for_a_while(broker: EmbeddedBroker) -> None:
    """The error stands in the metadata until it is set back."""
    async with producing(broker) as producer:
        broker.fail_topic(TOPIC, UNKNOWN_TOPIC)
        assert (await producer.client.fetch_all_metadata()).partitions_for_topic(TOPIC) is None
        broker.fail_topic(TOPIC, 0)
        assert await producer.partitions_for(TOPIC) == {0, 1, 2, 3}


def test_a_cluster_of_several_brokers_names_them_all() -> None:
    """Every broker has an address of its own."""
    with EmbeddedBroker(brokers=3) as broker:
        assert len(set(broker.bootstrap_servers.split(","))) == 3


def test_what_librdkafka_refuses_is_an_error(broker: EmbeddedBroker) -> None:
    """A call on a broker that does not exist says so, and so does one after closing."""
    with pytest.raises(BrokerFault, match="take down"):
        broker.take_down(17)
    with pytest.raises(BrokerFault, match=TOPIC):
        broker.create_topic(TOPIC)
    broker.close()
    broker.close()
    with pytest.raises(BrokerFault, match="not running"):
        _ = broker.bootstrap_servers


def test_without_confluent_kafka_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The extra is optional, so its absence is expected and explained."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BrokerUnavailable, match=r'pip install "\.\[demo\]"'):
        EmbeddedBroker().start()
