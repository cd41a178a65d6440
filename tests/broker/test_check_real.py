"""`ldsync check` on real Apache Kafka: the group's offsets, and a group it may not see."""

import pytest

from ldsync.checks.finding import State
from ldsync.checks.kafka import check_kafka
from ldsync.config import Settings
from ldsync.sync.ledger import Partition
from tests.support.kafka_source import reading, settings_for, write_to
from tests.support.real_kafka import RealKafka

pytestmark = pytest.mark.broker


async def test_offsets_are_seen_without_disturbing_the_member_that_committed_them(
    real_kafka: RealKafka,
) -> None:
    """The member keeps its partitions, and the check sees how far it is."""
    topic = real_kafka.create_topic()
    place = Partition(topic, 0)
    await write_to(real_kafka, place, b"a", b"b", b"c")
    settings = settings_for(real_kafka, topic)
    async with reading(settings) as reader:
        await reader.read(3)
        await reader.source.commit({place: 2})
        found = {each.name: each for each in await check_kafka(Settings(kafka=settings))}
        assert reader.source.is_member
        assert reader.source.assigned == {place}
    assert {each.state for each in found.values()} == {State.OK}
    assert found["topics"].detail == f"{topic} (1 partition)"
    assert "has committed 1 of 1 partition and is 1 record behind" in found["group"].detail
