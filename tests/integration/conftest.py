"""What the tests of the source share: a mock cluster with a topic, and a way to write to it.

Other files have a `broker` of their own, with other topics.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from aiokafka import AIOKafkaProducer

from ldsync.demo.broker import EmbeddedBroker
from ldsync.sync.ledger import Partition
from tests.support.kafka_source import Write


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """A cluster with the topic `events` of three partitions."""
    with EmbeddedBroker() as broker:
        broker.create_topic("events", partitions=3)
        yield broker


@pytest.fixture
async def write(broker: EmbeddedBroker) -> AsyncIterator[Write]:
    """Write values to a partition, in order and as one batch: the mock returns one per fetch."""
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, linger_ms=20)
    await producer.start()

    async def write(partition: Partition, *values: bytes) -> None:
        sent = [
            await producer.send(partition.topic, value, partition=partition.number)
            for value in values
        ]
        await asyncio.gather(*sent)

    yield write
    await producer.stop()
