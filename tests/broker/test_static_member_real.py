"""A source with an instance id on real Apache Kafka: what aiokafka and the broker leave open."""

import asyncio

import pytest
from confluent_kafka import Consumer

from ldsync.kafka import SourceFailed, opening, static
from ldsync.sync.ledger import Partition
from tests.support.kafka_source import reading, settings_for, write_to
from tests.support.real_kafka import RealKafka

pytestmark = pytest.mark.broker

# A session that outlasts every test: whoever comes back does so in time.
STATIC = {
    "group_instance_id": "pod-0",
    "session_timeout_seconds": 30.0,
    "heartbeat_interval_seconds": 10.0,
}


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes a minute takes a second."""
    monkeypatch.setattr(opening, "METADATA_SECONDS", 1.0)
    monkeypatch.setattr(static, "LOOK_SECONDS", 1.0)


@pytest.mark.parametrize("away", [True, False], ids=["while_it_was_away", "after_it_came_back"])
async def test_partitions_that_are_added_are_read(real_kafka: RealKafka, *, away: bool) -> None:
    """Who came back is not told that it leads the group, and finds them all the same."""
    topic = real_kafka.create_topic()
    settings = settings_for(real_kafka, topic, **STATIC)
    await write_to(real_kafka, Partition(topic, 0), b"a")
    async with reading(settings) as before:
        await before.read(1)
    if away:
        await asyncio.to_thread(real_kafka.admin.add_partitions, topic, 2)
    async with reading(settings) as reader:
        await reader.until(lambda: reader.source.assigned)
        assert reader.source.assigned == {Partition(topic, 0)}
        if not away:
            await asyncio.to_thread(real_kafka.admin.add_partitions, topic, 2)
        await write_to(real_kafka, Partition(topic, 1), b"b")
        await reader.until(lambda: b"b" in reader.values)
        assert reader.diary.kinds == ["assigned", "revoked", "assigned"]


async def test_topics_that_changed_with_a_restart_are_read_and_no_others(
    real_kafka: RealKafka,
) -> None:
    """A broker does not compare what who comes back subscribes to."""
    old, new = real_kafka.create_topic(), real_kafka.create_topic()
    settings = settings_for(real_kafka, old, **STATIC)
    async with reading(settings) as before:
        await before.until(lambda: before.source.assigned)
    changed = settings.model_copy(update={"topics": (new,)})
    async with reading(changed) as reader:
        await write_to(real_kafka, Partition(new, 0), b"b")
        await reader.until(lambda: b"b" in reader.values)
        assert reader.source.assigned == {Partition(new, 0)}


async def test_a_topic_that_only_who_came_back_reads_is_read(real_kafka: RealKafka) -> None:
    """It does not lead the group, and so must say something new to be given it."""
    old, new = real_kafka.create_topic(partitions=2), real_kafka.create_topic()
    settings = settings_for(real_kafka, old, **STATIC)
    leading = settings.model_copy(
        update={"group_instance_id": "pod-1", "heartbeat_interval_seconds": 0.2}
    )
    async with reading(leading) as leader:
        await leader.until(lambda: leader.source.assigned)
        async with reading(settings) as before, asyncio.TaskGroup() as tasks:
            each_has_one = lambda: len(leader.source.assigned) == len(before.source.assigned) == 1  # noqa: E731
            tasks.create_task(leader.until(each_has_one))
            tasks.create_task(before.until(each_has_one))
        changed = settings.model_copy(update={"topics": (old, new)})
        await write_to(real_kafka, Partition(new, 0), b"b")
        async with reading(changed) as reader, asyncio.TaskGroup() as tasks:
            is_read = lambda: b"b" in reader.values  # noqa: E731
            tasks.create_task(leader.until(is_read))
            tasks.create_task(reader.until(is_read))
        assert leader.rebalances("lost") == 0


async def test_a_group_that_has_shared_out_everything_is_left_alone(real_kafka: RealKafka) -> None:
    """Looking costs no rebalance."""
    topic = real_kafka.create_topic(partitions=2)
    settings = settings_for(real_kafka, topic, **STATIC)
    async with reading(settings) as reader:
        looks = 0
        consumer = reader.source._member.consumer  # type: ignore[union-attr]  # noqa: SLF001
        ask = consumer.group_assignment

        async def counted() -> frozenset[Partition] | None:
            nonlocal looks
            found = await ask()
            looks += found == {Partition(topic, 0), Partition(topic, 1)}
            return found

        consumer.group_assignment = counted  # type: ignore[method-assign]
        await reader.until(lambda: looks >= 3)
        assert reader.diary.kinds == ["assigned"]


async def test_who_was_replaced_and_is_not_let_in_again_ends(real_kafka: RealKafka) -> None:
    """A join under the old member id is refused (82), for ever: the message names the setting."""
    topic = real_kafka.create_topic()
    settings = settings_for(real_kafka, topic, **STATIC)
    async with reading(settings) as reader:
        await reader.until(lambda: reader.source.assigned)
        twin = Consumer(
            {
                "bootstrap.servers": real_kafka.bootstrap_servers,
                "group.id": settings.group_id,
                "group.instance.id": "pod-0",
                "partition.assignment.strategy": "roundrobin",
                "session.timeout.ms": 30_000,
            }
        )
        try:
            twin.subscribe([topic])

            def joined() -> bool:
                twin.poll(0.1)
                return bool(twin.assignment())

            while not await asyncio.to_thread(joined):
                pass
            consumer = reader.source._member.consumer  # type: ignore[union-attr]  # noqa: SLF001
            consumer.ask_for_rebalance()
            with pytest.raises(SourceFailed, match=r"kafka\.group_instance_id"):
                await reader.until(lambda: False)
        finally:
            await asyncio.to_thread(twin.close)
