"""How far back history is read, on real Apache Kafka: the mock does not look up times (R5)."""

import asyncio
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer

from ldsync.config import OrderingSettings
from ldsync.kafka import CommitOutcome
from ldsync.sync.ledger import Partition
from tests.support.eventually import eventually
from tests.support.kafka_source import Reader, reading, settings_for
from tests.support.real_kafka import RealKafka

pytestmark = pytest.mark.broker

HOUR_MS = 3_600_000
FOUR_HOURS = OrderingSettings(horizon_seconds=4 * 3600.0)
NOW_MS = int(time.time() * 1000)


async def write_at(
    kafka: RealKafka, partition: Partition, *hours_ago: float, key: bytes | None = None
) -> None:
    """Write a record for each of these ages, in this order; its value is its age."""

    def produce() -> None:
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "acks": "all"})
        for hours in hours_ago:
            producer.produce(
                partition.topic,
                f"{hours:g}".encode(),
                key,
                partition=partition.number,
                timestamp=NOW_MS - int(hours * HOUR_MS),
            )
        assert producer.flush(20) == 0

    await asyncio.to_thread(produce)


async def commit(kafka: RealKafka, topic: str, **offsets: int) -> None:
    """Let the group have committed these offsets (`p0=5`)."""
    committed = {int(name[1:]): at for name, at in offsets.items()}
    await asyncio.to_thread(kafka.admin.set_group_offsets, f"group-{topic}", topic, committed)


def ages(reader: Reader, partition: int | None = None) -> list[float]:
    """The ages of the history that was read, of a partition or of all, in order of arrival."""
    past = [each for each in reader.diary.past if partition in (None, each.partition)]
    return [float(each.value) for each in past]


async def taken_over(reader: Reader) -> None:
    """Poll until live records may come."""
    await reader.until(lambda: reader.diary.clean)


@pytest.mark.parametrize(
    ("live", "history"),
    [
        pytest.param((0.5,), [4.4, 2, 1], id="four_hours_before_the_first_live_record"),
        pytest.param((3, 2.5), [6.5, 5, 4.4, 2, 1], id="a_lag_does_not_eat_the_window"),
        pytest.param((), [2, 1], id="without_live_records_four_hours_before_now"),
    ],
)
async def test_history_begins_a_horizon_before_what_is_still_to_be_consumed(
    real_kafka: RealKafka, live: tuple[float, ...], history: list[float]
) -> None:
    """By the times of records, not by that of the clock."""
    topic = real_kafka.create_topic()
    place = Partition(topic, 0)
    await write_at(real_kafka, place, 9, 8, 6.5, 5, 4.4, 2, 1, *live)
    await commit(real_kafka, topic, p0=7)
    async with reading(settings_for(real_kafka, topic), FOUR_HOURS) as reader:
        await taken_over(reader)
        assert ages(reader) == history
        await reader.read(len(live))
        assert [float(each.value) for each in reader.records] == list(live)
        (since,) = reader.diary.known_since
        edge = max(live, default=0.0) + 4
        assert abs(since - (NOW_MS - edge * HOUR_MS)) < 120_000


async def test_what_is_behind_in_another_partition_counts_for_all(real_kafka: RealKafka) -> None:
    """Also in one that belongs to another replica: its events may be of the same member."""
    topic = real_kafka.create_topic(partitions=2)
    for number in range(2):
        await write_at(real_kafka, Partition(topic, number), 9, 8, 6, 5, 3)
    await write_at(real_kafka, Partition(topic, 1), 2.5)
    await commit(real_kafka, topic, p0=5, p1=4)
    settings = settings_for(real_kafka, topic)
    async with reading(settings, FOUR_HOURS) as first, reading(settings, FOUR_HOURS) as second:

        def both() -> bool:
            return all(
                len(each.source.assigned) == 1 and each.source.history[0] == 0 and each.diary.clean
                for each in (first, second)
            )

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(first.until(both))
            tasks.create_task(second.until(both))
        found = first if Partition(topic, 0) in first.source.assigned else second
        # The first live record, in the other partition, is three hours old.
        assert ages(found, partition=0)[:2] == [6, 5]


async def test_a_topic_that_is_younger_than_the_horizon_is_read_whole(
    real_kafka: RealKafka,
) -> None:
    """And one of which nothing is committed not at all: everything in it comes live."""
    topic = real_kafka.create_topic(partitions=2)
    await write_at(real_kafka, Partition(topic, 0), 2, 1)
    await write_at(real_kafka, Partition(topic, 1), 2, 1)
    await commit(real_kafka, topic, p0=1)
    async with reading(settings_for(real_kafka, topic), FOUR_HOURS) as reader:
        assert len(await reader.read(3)) == 3
        assert ages(reader) == [2]
        assert ages(reader, partition=1) == []


async def test_markers_and_aborted_records_are_no_obstacle(real_kafka: RealKafka) -> None:
    """The committed offset may be behind a marker, and nothing of an aborted transaction counts."""
    topic = real_kafka.create_topic()

    def produce() -> None:
        producer = Producer(
            {"bootstrap.servers": real_kafka.bootstrap_servers, "transactional.id": topic}
        )
        producer.init_transactions(20)
        for value, end in ((b"3", "commit"), (b"2", "abort"), (b"1", "commit"), (b"0", "abort")):
            producer.begin_transaction()
            producer.produce(topic, value, partition=0)
            producer.flush(20)
            getattr(producer, f"{end}_transaction")(20)

    await asyncio.to_thread(produce)
    await commit(real_kafka, topic, p0=8)
    async with reading(settings_for(real_kafka, topic), FOUR_HOURS) as reader:
        await taken_over(reader)
        assert ages(reader) == [3, 1]
        assert reader.source.history[0] == 0
        await reader.until(lambda: reader.source.positions() == {Partition(topic, 0): 8})


async def test_records_that_compaction_took_are_no_obstacle(kafka_directory: Path) -> None:
    """Offsets are missing in the middle and at the end of history."""
    kafka = RealKafka(
        kafka_directory / "compacting",
        config={
            "log.cleaner.min.compaction.lag.ms": "0",
            "log.cleaner.backoff.ms": "200",
            "log.retention.check.interval.ms": "300",
        },
    )
    kafka.start()
    try:
        topic = kafka.create_topic(
            config={
                "cleanup.policy": "compact",
                "segment.ms": "200",
                "min.cleanable.dirty.ratio": "0.01",
                "min.compaction.lag.ms": "0",
            }
        )
        place = Partition(topic, 0)
        await write_at(kafka, place, 3.5, key=b"stays")
        for _ in range(3):
            await write_at(kafka, place, *[3.0] * 20, key=b"a")
            await asyncio.sleep(0.3)  # so that segments are rolled
        await write_at(kafka, place, *[2.0] * 5, key=b"a")

        async def compacted() -> bool:
            await write_at(kafka, place, 0.1, key=b"roll")
            return len(await asyncio.to_thread(kafka.admin.read, topic)) < 30

        await eventually(compacted, "the topic is compacted", 60.0, pause=0.5)
        records = await asyncio.to_thread(kafka.admin.read, topic)
        below = [each for each in records if each.offset() < 66]
        assert len(below) < 30
        await commit(kafka, topic, p0=66)
        async with reading(settings_for(kafka, topic), FOUR_HOURS) as reader:
            await taken_over(reader)
            assert [each.offset for each in reader.diary.past] == [x.offset() for x in below]
            assert reader.source.history[0] == 0
    finally:
        await asyncio.to_thread(kafka.stop)


async def test_what_retention_took_shortens_what_is_known(real_kafka: RealKafka) -> None:
    """It is known since the oldest record that is left, and no earlier."""
    topic = real_kafka.create_topic()
    await write_at(real_kafka, Partition(topic, 0), 3.9, 3, 2, 1)
    await asyncio.to_thread(real_kafka.admin.delete_records, topic, {0: 2})
    await commit(real_kafka, topic, p0=4)
    async with reading(settings_for(real_kafka, topic), FOUR_HOURS) as reader:
        await taken_over(reader)
        assert ages(reader) == [2, 1]
        assert reader.diary.known_since == [NOW_MS - 2 * HOUR_MS]


async def test_a_partition_that_left_and_came_back_is_read_from_where_it_stopped(
    real_kafka: RealKafka,
) -> None:
    """What another replica consumed meanwhile was not seen here; all else was."""
    topic = real_kafka.create_topic()
    place = Partition(topic, 0)
    settings = settings_for(real_kafka, topic)
    await write_at(real_kafka, place, 3, 2)
    await commit(real_kafka, topic, p0=1)
    async with reading(settings, FOUR_HOURS) as reader:
        await reader.read(1)
        await reader.until(lambda: reader.source.positions() == {place: 2})
        assert ages(reader) == [3]
        assert await reader.source.commit({place: 2}) is CommitOutcome.COMMITTED
        await write_at(real_kafka, place, 1, 0.5, 0.25)
        await reader.poll(paused=True)
        # Longer than its session: somebody else owns the partition, and consumes three records.
        time.sleep(3.0)  # noqa: ASYNC251 - a process that stands still
        real_kafka.admin.set_group_offsets(settings.group_id, topic, {0: 5})
        await reader.until(lambda: len(reader.diary.clean) == 2, paused=True)
        assert ages(reader) == [3, 1, 0.5, 0.25]
        assert len(reader.records) == 1
