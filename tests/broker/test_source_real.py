"""The source on real Apache Kafka: what the mock cluster cannot show."""

import asyncio
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer

from ldsync.kafka import (
    CommitOutcome,
    SourceFailed,
    opening,
)
from ldsync.sync.ledger import Partition
from tests.support.eventually import eventually
from tests.support.kafka_source import Reader, reading, settings_for, write_to
from tests.support.real_kafka import RealKafka

pytestmark = pytest.mark.broker


async def placed(reader: Reader) -> None:
    """Poll until every partition of an assignment has a position."""
    await reader.until(
        lambda: (
            reader.source.assigned and reader.source.positions().keys() == reader.source.assigned
        )
    )


# --- where to begin ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first_start", "expected"),
    [("earliest", [b"new", b"old"]), ("latest", [b"new"])],
)
async def test_a_first_start_begins_where_the_operator_says(
    real_kafka: RealKafka, first_start: str, expected: list[bytes]
) -> None:
    """And a partition added later is read from its beginning in any case."""
    topic = real_kafka.create_topic()
    await write_to(real_kafka, Partition(topic, 0), b"old")
    settings = settings_for(real_kafka, topic, first_start=first_start)
    async with reading(settings) as reader:
        await placed(reader)
        await write_to(real_kafka, Partition(topic, 0), b"new")
        assert await reader.read(len(expected)) == expected


@pytest.mark.parametrize("first_start", ["earliest", "latest"])
async def test_a_partition_that_is_added_is_read_from_its_beginning(
    real_kafka: RealKafka, monkeypatch: pytest.MonkeyPatch, first_start: str
) -> None:
    """What was written to it before anybody noticed it is not left out."""
    monkeypatch.setattr(opening, "METADATA_SECONDS", 1.0)
    topic = real_kafka.create_topic()
    settings = settings_for(real_kafka, topic, first_start=first_start)
    async with reading(settings) as reader:
        await placed(reader)
        await write_to(real_kafka, Partition(topic, 0), b"old")
        await reader.read(1)
        await reader.source.commit({Partition(topic, 0): 1})
        await asyncio.to_thread(real_kafka.admin.add_partitions, topic, 2)
        await write_to(real_kafka, Partition(topic, 1), b"early", b"bird")

        assert await reader.read(3) == [b"bird", b"early", b"old"]
        assert reader.source.assigned == {Partition(topic, 0), Partition(topic, 1)}


@pytest.mark.parametrize("policy", ["stop", "earliest"])
async def test_records_that_retention_took_stop_the_source_or_are_left_out(
    real_kafka: RealKafka, policy: str
) -> None:
    """As the operator wants it."""
    topic = real_kafka.create_topic()
    partition = Partition(topic, 0)
    settings = settings_for(real_kafka, topic, on_out_of_range=policy)
    await write_to(real_kafka, partition, b"a", b"b", b"c", b"d")
    async with reading(settings) as reader:
        await reader.read(4)
        await reader.source.commit({partition: 1})
    await asyncio.to_thread(real_kafka.admin.delete_records, topic, {0: 3})

    async with reading(settings) as reader:
        if policy == "earliest":
            assert await reader.read(1) == [b"d"]
        else:
            with pytest.raises(SourceFailed, match=f"offset 1 of {topic}-0.*holds 3 up to 4"):
                await reader.until(lambda: False)


async def test_a_topic_that_begins_to_match_is_read_and_nothing_is_read_twice(
    real_kafka: RealKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The revocation that a new topic brings can commit; dead letters are not read."""
    monkeypatch.setattr(opening, "METADATA_SECONDS", 1.0)
    first = real_kafka.create_topic()
    second, dead = f"{first}-more", f"{first}.ldsync-dead-letters"
    settings = settings_for(
        real_kafka, first, topics=(), topic_pattern=f"{first}.*", session_timeout_seconds=10.0
    )
    await write_to(real_kafka, Partition(first, 0), b"a")
    async with reading(settings) as reader:
        await reader.read(1)
        outcomes = []

        async def commit(owned: frozenset[Partition]) -> None:
            outcomes.append(await reader.source.commit(dict.fromkeys(owned, 1)))

        reader.diary.on_revoked = commit
        await asyncio.to_thread(real_kafka.create_topic, dead)
        await write_to(real_kafka, Partition(dead, 0), b"dead")
        await asyncio.to_thread(real_kafka.create_topic, second)
        await write_to(real_kafka, Partition(second, 0), b"b")

        assert await reader.read(2) == [b"a", b"b"]
        assert outcomes == [CommitOutcome.COMMITTED]
        assert reader.source.assigned == {Partition(first, 0), Partition(second, 0)}


# --- transactions --------------------------------------------------------------------------------


def transactional(kafka: RealKafka, name: str) -> Producer:
    """A producer that can begin a transaction."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": name})
    producer.init_transactions(20)
    return producer


async def test_transaction_markers_at_the_end_are_no_lag(real_kafka: RealKafka) -> None:
    """Aborted records are never seen, and a commit of the positions reaches the end of the log."""
    topic = real_kafka.create_topic()
    partition = Partition(topic, 0)

    def produce() -> None:
        producer = transactional(real_kafka, topic)
        for value, end in ((b"kept", "commit"), (b"aborted", "abort"), (b"kept too", "commit")):
            producer.begin_transaction()
            producer.produce(topic, value, partition=0)
            producer.flush(20)
            getattr(producer, f"{end}_transaction")(20)

    await asyncio.to_thread(produce)
    settings = settings_for(real_kafka, topic)
    async with reading(settings) as reader:
        assert await reader.read(2) == [b"kept", b"kept too"]
        await reader.until(lambda: reader.source.positions() == {partition: 6})

        assert [record.offset for record in reader.records] == [0, 4]
        assert await reader.source.lags() == {partition: 0}
        assert await reader.source.commit(reader.source.positions()) is CommitOutcome.COMMITTED
    end = await asyncio.to_thread(real_kafka.admin.end_offsets, topic)
    assert await asyncio.to_thread(real_kafka.admin.group_offsets, settings.group_id, topic) == end


async def test_records_of_an_open_transaction_are_not_read_before_it_ends(
    real_kafka: RealKafka,
) -> None:
    """Nor are they lag: nobody could read them."""
    topic = real_kafka.create_topic()
    partition = Partition(topic, 0)
    producer = await asyncio.to_thread(transactional, real_kafka, topic)

    def begin() -> None:
        producer.begin_transaction()
        producer.produce(topic, b"a", partition=0)
        producer.flush(20)

    await asyncio.to_thread(begin)
    async with reading(settings_for(real_kafka, topic)) as reader:
        await placed(reader)
        await reader.poll(timeout=0.5)
        assert reader.records == []
        assert await reader.source.lags() == {partition: 0}

        await asyncio.to_thread(producer.commit_transaction, 20)
        assert await reader.read(1) == [b"a"]


# --- outages -------------------------------------------------------------------------------------


async def test_a_restart_of_the_broker_is_outlived(kafka_directory: Path) -> None:
    """Polls go on in time and raise nothing; then everything behind the commit is read."""
    kafka = RealKafka(kafka_directory / "restarted")
    kafka.start()
    try:
        topic = kafka.create_topic()
        partition = Partition(topic, 0)
        await write_to(kafka, partition, b"a", b"b")
        async with reading(settings_for(kafka, topic)) as reader:
            await reader.read(2)
            assert await reader.source.commit({partition: 2}) is CommitOutcome.COMMITTED
            await asyncio.to_thread(kafka.stop)
            away = time.monotonic() + 2.0
            longest = 0.0
            while time.monotonic() < away:
                started = time.monotonic()
                assert await reader.poll() == []
                longest = max(longest, time.monotonic() - started)
            assert await reader.source.commit({partition: 2}) is not CommitOutcome.COMMITTED
            await asyncio.to_thread(kafka.start)
            await write_to(kafka, partition, b"c")

            assert await reader.read(3) == [b"a", b"b", b"c"]

            async def committed() -> bool:
                """Records come before the group has its coordinator again."""
                return await reader.source.commit({partition: 3}) is CommitOutcome.COMMITTED

            await eventually(committed, "a commit is taken again")
            assert longest < 1.5
    finally:
        await asyncio.to_thread(kafka.stop)
