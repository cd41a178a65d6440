"""What one poll takes from aiokafka, on librdkafka's mock cluster (P3)."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import OffsetOutOfRangeError

from ldsync.demo.broker import EmbeddedBroker
from ldsync.kafka.consumer import Consumer
from ldsync.kafka.opening import open_reader
from tests.support.kafka_source import LIMIT, P0, P1, kafka_settings

MUCH = 1_000_000


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """A cluster with one topic of two partitions."""
    with EmbeddedBroker() as broker:
        broker.create_topic(P0.topic, 2)
        yield broker


@pytest.fixture
async def reader(broker: EmbeddedBroker) -> AsyncIterator[Consumer]:
    """One that takes a megabyte at a time, in as many records as that is."""
    reader = await open_reader(kafka_settings(broker.bootstrap_servers, fetch_max_bytes=MUCH))
    yield reader
    await reader.close()


async def write_compressed(broker: EmbeddedBroker, *values: bytes) -> None:
    """Write values to the first partition as one batch: the mock returns one per fetch."""
    producer = AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap_servers,
        linger_ms=50,
        compression_type="lz4",
        max_batch_size=16 * MUCH,
        max_request_size=16 * MUCH,
    )
    await producer.start()
    try:
        sent = [await producer.send(P0.topic, value, partition=P0.number) for value in values]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def take_all(reader: Consumer, count: int) -> list[list[bytes]]:
    """The values of each poll, until so many came."""
    taken: list[list[bytes]] = []
    async with asyncio.timeout(LIMIT):
        while sum(map(len, taken)) < count:
            found = await reader.take(0.1)
            taken.append([record.value for batch in found.values() for record in batch])
    return [values for values in taken if values]


async def test_no_poll_takes_more_than_a_fetch_may_have(
    broker: EmbeddedBroker, reader: Consumer
) -> None:
    """All of them are one small fetch, and five times as much as that may be when unpacked."""
    values = [b"%03d" % number + b"x" * 100_000 for number in range(50)]
    await write_compressed(broker, *values)
    reader.read_from({P0: 0})
    taken = await take_all(reader, len(values))
    assert [value for poll in taken for value in poll] == values
    assert [len(poll) for poll in taken] == [10, 10, 10, 10, 10]


async def test_small_records_are_taken_all_at_once(
    broker: EmbeddedBroker, reader: Consumer
) -> None:
    """What is there is one poll's, though aiokafka is asked for a few at a time."""
    values = [b"%03d" % number for number in range(500)]
    await write_compressed(broker, *values)
    reader.read_from({P0: 0})
    assert await take_all(reader, len(values)) == [values]


@pytest.mark.parametrize(
    ("records_first", "story"),
    [
        pytest.param(True, ["records", "error"], id="behind_them"),
        pytest.param(False, ["error", "records"], id="before_them"),
    ],
)
async def test_an_error_of_another_partition_costs_no_records(
    broker: EmbeddedBroker,
    reader: Consumer,
    monkeypatch: pytest.MonkeyPatch,
    records_first: bool,
    story: list[str],
) -> None:
    """They come all the same, each once, and the error is raised once, in either order."""

    def put_in_order(partitions: list[Any]) -> None:
        partitions.sort(reverse=not records_first)

    # aiokafka shuffles what it asks for.
    monkeypatch.setattr("aiokafka.consumer.fetcher.random.shuffle", put_in_order)
    values = [b"%03d" % number for number in range(120)]
    await write_compressed(broker, *values)
    reader.read_from({P0: 0, P1: 5})
    told: list[str] = []
    taken: list[bytes] = []
    async with asyncio.timeout(LIMIT):
        while len(told) < len(story):
            try:
                found = await reader.take(0.1)
            except OffsetOutOfRangeError:
                told.append("error")
                continue
            if found:
                told.append("records")
            taken += [record.value for batch in found.values() for record in batch]
    assert told == story
    assert taken == values
