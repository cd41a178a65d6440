"""Looking at records without a group, on librdkafka's mock cluster."""

import asyncio
import time
from typing import Any

import pytest

from ldsync.demo.broker import Api, EmbeddedBroker
from ldsync.kafka import (
    RecordMissing,
    SourceFailed,
    SourceMisconfigured,
    SourceUnavailable,
    lookup,
    read_record,
    sample,
)
from ldsync.kafka.lookup import shared_out
from ldsync.sync.ledger import Partition
from tests.support.commands import start
from tests.support.engage_events import encode, identify
from tests.support.kafka_source import P0, P1, P2, TOPIC_DENIED, Write, kafka_settings


async def sampled(
    broker: EmbeddedBroker, *topics: str, limit: int, newest: bool, **more: Any
) -> dict[int, list[bytes]]:
    """The values of a sample, by partition."""
    found: dict[int, list[bytes]] = {}
    settings = kafka_settings(broker.bootstrap_servers, **more)
    async for records in sample(settings, topics, limit=limit, newest=newest):
        for record in records:
            found.setdefault(record.partition, []).append(record.value)
    return found


async def test_one_record_is_read_with_its_time(broker: EmbeddedBroker, write: Write) -> None:
    """Of all that there are, exactly that one."""
    before = time.time() * 1000
    await write(P1, b"a", b"b", b"c")

    record = await read_record(kafka_settings(broker.bootstrap_servers), P1, 1)

    assert (record.topic, record.partition, record.offset) == ("events", 1, 1)
    assert record.value == b"b"
    assert before - 1000 <= record.timestamp <= time.time() * 1000 + 1000


@pytest.mark.parametrize(
    ("place", "offset", "words"),
    [
        pytest.param(P0, 0, "offset 0 of events, partition 0 is gone", id="deleted"),
        pytest.param(P0, 5, "is not there yet: the records end at 4", id="behind the end"),
        pytest.param(P2, 0, "events, partition 2 has no records that can be read", id="empty"),
        pytest.param(Partition("events", 3), 0, "has no partition 3: it has 3", id="no partition"),
    ],
)
async def test_a_record_that_is_not_there_is_explained(
    broker: EmbeddedBroker, write: Write, place: Partition, offset: int, words: str
) -> None:
    """Why, and where records are."""
    await write(P0, b"a", b"b")
    await write(P0, b"c", b"d", b"e")
    broker.delete_records("events", 0, before_offset=2)

    with pytest.raises(RecordMissing) as caught:
        await read_record(kafka_settings(broker.bootstrap_servers), place, offset)

    assert words in str(caught.value)


async def test_nothing_is_committed_and_no_group_is_joined(
    broker: EmbeddedBroker, write: Write
) -> None:
    """A group whose coordinator refuses everybody is not even noticed."""
    await write(P0, b"a")
    for api in (Api.JOIN_GROUP, Api.OFFSET_COMMIT, Api.FIND_COORDINATOR):
        broker.fail(api, *[TOPIC_DENIED] * 20)

    assert await sampled(broker, limit=5, newest=True) == {0: [b"a"]}


@pytest.mark.parametrize(
    ("newest", "expected"),
    [
        pytest.param(True, {0: [b"c", b"d"], 1: [b"x"]}, id="newest"),
        pytest.param(False, {0: [b"a", b"b"], 1: [b"x"]}, id="oldest"),
    ],
)
async def test_a_sample_is_shared_out_among_partitions(
    broker: EmbeddedBroker, write: Write, newest: bool, expected: dict[int, list[bytes]]
) -> None:
    """So many of each as there are, from one end."""
    for value in (b"a", b"b", b"c", b"d"):
        await write(P0, value)
    await write(P1, b"x")

    assert await sampled(broker, "events", limit=3, newest=newest) == expected


async def test_a_sample_ends_where_the_topic_ended(broker: EmbeddedBroker, write: Write) -> None:
    """What is written meanwhile is not waited for, and not in it."""
    await write(P0, b"a", b"b")
    settings = kafka_settings(broker.bootstrap_servers)
    values = []
    async with asyncio.timeout(20):
        async for records in sample(settings, (), limit=100, newest=False):
            values += [record.value for record in records]
            await write(P0, b"later")

    assert values == [b"a", b"b"]


async def test_a_sample_of_an_empty_topic_is_empty(broker: EmbeddedBroker) -> None:
    """And takes no time."""
    assert await sampled(broker, "events", limit=10, newest=True) == {}


async def test_a_pattern_names_the_topics(broker: EmbeddedBroker, write: Write) -> None:
    """As it does for the worker."""
    broker.create_topic("events-eu")
    broker.create_topic("events-eu.dead-letters")
    await write(P0, b"a")
    await write(Partition("events-eu", 0), b"b")
    await write(Partition("events-eu.dead-letters", 0), b"c")

    found = await sampled(broker, limit=10, newest=True, topics=(), topic_pattern="events.*")

    assert sorted(found[0]) == [b"a", b"b"]


async def test_a_topic_that_does_not_exist_is_not_waited_for_long(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Someone is waiting for the answer."""
    monkeypatch.setattr(lookup, "PATIENCE_SECONDS", 1.0)

    with pytest.raises(SourceUnavailable, match=r"no topic nowhere.*tried for 1 s$"):
        await read_record(kafka_settings(broker.bootstrap_servers), Partition("nowhere", 0), 0)


async def test_a_topic_that_may_not_be_read_is_said_at_once(
    broker: EmbeddedBroker, write: Write
) -> None:
    """Told apart by who has to correct something: the rights to describe, and those to read."""
    await write(P0, b"a")
    settings = kafka_settings(broker.bootstrap_servers)
    broker.fail(Api.FETCH, *[TOPIC_DENIED] * 20)
    with pytest.raises(SourceFailed, match="grant Read"):
        await read_record(settings, P0, 0)

    broker.fail_topic("events", TOPIC_DENIED)
    with pytest.raises(SourceMisconfigured, match="does not allow this user to describe"):
        await read_record(settings, P0, 0)


async def test_brokers_that_go_away_end_the_reading(
    broker: EmbeddedBroker, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bounded time, with words."""
    monkeypatch.setattr(lookup, "PATIENCE_SECONDS", 2.0)
    await write(P0, b"a")
    reading = sample(kafka_settings(broker.bootstrap_servers), (), limit=9, newest=True)
    broker.fail(Api.FETCH, *[5] * 100)  # leader not available

    with pytest.raises(SourceUnavailable, match="was reached, but reading from it failed"):
        async for _ in reading:
            pass


@pytest.mark.parametrize(
    ("available", "limit", "expected"),
    [
        pytest.param({}, 5, [], id="no partitions"),
        pytest.param({P0: 3}, 5, [3], id="less than asked for"),
        pytest.param({P0: 9, P1: 9}, 5, [2, 3], id="evenly"),
        pytest.param({P0: 1, P1: 9, P2: 9}, 9, [1, 4, 4], id="what one lacks others give"),
        pytest.param({P0: 9, P1: 9, P2: 9}, 1, [0, 0, 1], id="fewer than partitions"),
    ],
)
def test_a_number_is_shared_out(
    available: dict[Partition, int], limit: int, expected: list[int]
) -> None:
    """Evenly, and in all no more than asked for."""
    shares = shared_out(available, limit)

    assert sorted(shares.values()) == sorted(expected)
    assert sum(shares.values()) <= limit
    assert all(shares[place] <= available[place] for place in shares)


async def test_the_commands_read_from_kafka(broker: EmbeddedBroker, write: Write) -> None:
    """As processes: a record explained, one that is missing, a topic summed up, no broker."""
    await write(P0, encode(identify()), b"{")
    environ = {"LDSYNC_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers}
    record = ("explain", "--topic", "events", "--partition", "0", "--offset")

    explained = await asyncio.to_thread(start, *record, "1", environ=environ)
    missing = await asyncio.to_thread(start, *record, "7", environ=environ)
    topic = await asyncio.to_thread(start, "check-events", "--topic", "events", environ=environ)
    configured = await asyncio.to_thread(
        start,
        *("check-events", "--kafka", "--limit", "1", "--from", "earliest", "--json"),
        environ=environ | {"LDSYNC_KAFKA__TOPICS": "events"},
    )

    assert explained.stdout.startswith("topic events, partition 0, offset 1, timestamp ")
    assert "invalid: bad_json" in explained.stdout
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "is not there yet" in missing.stderr
    assert topic.stdout.startswith("2 records")
    assert configured.stdout.startswith('{"records":1,')


async def test_without_a_broker_the_commands_exit_with_69(broker: EmbeddedBroker) -> None:
    """And with 78 if what is configured cannot work."""
    wrong = {"LDSYNC_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    login = {
        "LDSYNC_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "LDSYNC_KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "LDSYNC_KAFKA__SASL_MECHANISM": "OAUTHBEARER",
        "LDSYNC_KAFKA__SASL_OAUTH_TOKEN_PROVIDER": "no.such:module",
    }

    unreachable = await asyncio.to_thread(start, "check-events", "--kafka", environ=wrong)
    misconfigured = await asyncio.to_thread(start, "check-events", "--kafka", environ=login)

    assert unreachable.returncode == 69
    assert "connection refused" in unreachable.stderr
    assert misconfigured.returncode == 78
    assert "sasl_oauth_token_provider" in misconfigured.stderr
