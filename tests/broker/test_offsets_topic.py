"""The parser of Kafka's offsets topic agrees with Kafka's own answers."""

import asyncio
import time

import pytest

from tests.support.offsets_topic import OFFSETS_TOPIC, commits
from tests.support.real_kafka import RealKafka

pytestmark = pytest.mark.broker


async def test_every_commit_of_a_group_is_found_with_its_time(real_kafka: RealKafka) -> None:
    """Each in the broker's order, by partition, and not those of other groups and topics."""
    admin = real_kafka.admin
    topic, other = real_kafka.create_topic(partitions=2), real_kafka.create_topic()
    before = time.time()

    def commit_and_read() -> list[object]:
        for offset in (3, 5):
            admin.set_group_offsets("group", topic, {1: offset})
        admin.set_group_offsets("group", other, {0: 7})
        admin.set_group_offsets("another", topic, {0: 9})
        return admin.read(OFFSETS_TOPIC)

    found = commits(await asyncio.to_thread(commit_and_read), "group", topic)
    assert [(commit.partition, commit.offset) for commit in found] == [(1, 3), (1, 5)]
    assert all(int(before * 1000) / 1000 <= commit.time <= time.time() for commit in found)
    assert admin.group_offsets("group", topic) == {1: 5}
