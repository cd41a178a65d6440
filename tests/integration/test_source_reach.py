"""Whether brokers and topics are there when the source starts, on librdkafka's mock cluster."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable

import pytest

from ldsync.demo.broker import Api, EmbeddedBroker
from ldsync.kafka import (
    SourceError,
    SourceFailed,
    SourceMisconfigured,
    SourceUnavailable,
    opening,
    reach,
)
from ldsync.sync.ledger import Partition
from tests.support.kafka_source import (
    GROUP_DENIED,
    INVALID_TOPIC,
    LEADER_NOT_AVAILABLE,
    P0,
    TOPIC_DENIED,
    Reader,
    Write,
    kafka_settings,
    reading,
)
from tests.support.ports import unused_port

# --- starting ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"topics": ("missing",)}, ["no topic missing", "kafka.topics"], id="topic"),
        pytest.param(
            {"topic_pattern": "nothing-.*"}, ["nothing-.*", "kafka.topic_pattern"], id="pattern"
        ),
    ],
)
async def test_a_topic_that_is_not_there_in_time_is_named(
    broker: EmbeddedBroker, changes: dict[str, object], words: list[str]
) -> None:
    """The message has the topic, the brokers and the time limit."""
    settings = kafka_settings(broker.bootstrap_servers, start_timeout_seconds=0.5, **changes)
    reader = Reader(settings)

    with pytest.raises(SourceUnavailable) as caught:
        await reader.source.start()

    message = str(caught.value)
    for word in (*words, broker.bootstrap_servers, "0.5 s (kafka.start_timeout_seconds)"):
        assert word in message


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        (TOPIC_DENIED, SourceMisconfigured, "grant Describe and Read on it"),
        (INVALID_TOPIC, SourceMisconfigured, "no topic can be named events"),
        (LEADER_NOT_AVAILABLE, SourceUnavailable, "topic events is not ready"),
    ],
    ids=["denied", "invalid", "not ready"],
)
async def test_a_topic_that_cannot_be_read_is_told_apart(
    broker: EmbeddedBroker, code: int, error: type[SourceError], words: str
) -> None:
    """What an operator must correct is said at once, the rest when the time is over."""
    broker.fail_topic("events", code)
    settings = kafka_settings(broker.bootstrap_servers, start_timeout_seconds=0.5)

    with pytest.raises(error, match=words):
        await Reader(settings).source.start()


async def test_a_broker_that_says_nothing_is_not_waited_for_for_ever(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each broker has its time, so that the others get their turn."""
    monkeypatch.setattr(reach, "ANSWER_SECONDS", 0.2)
    broker.slow_down(30.0)
    settings = kafka_settings(broker.bootstrap_servers, start_timeout_seconds=1.0)

    with pytest.raises(SourceUnavailable, match=r"no answer within 0\.2 s"):
        await Reader(settings).source.start()


async def test_a_broker_that_goes_away_during_the_start_is_unavailable(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answered a moment ago; nothing is left open."""

    async def reach_and_lose(*_: object) -> str:
        broker.take_down()
        return broker.bootstrap_servers

    monkeypatch.setattr(opening, "reach", reach_and_lose)

    with pytest.raises(SourceUnavailable, match="went away again"):
        await Reader(kafka_settings(broker.bootstrap_servers)).source.start()


async def test_a_codec_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only when the first batch compressed with it arrives."""
    monkeypatch.setattr(opening, "has_zstd", lambda: False)

    with pytest.raises(SourceMisconfigured, match=r"zstd.*install aiokafka\[lz4,snappy,zstd\]"):
        await Reader(kafka_settings("127.0.0.1:1")).source.start()


async def test_a_topic_that_comes_in_time_is_waited_for(
    broker: EmbeddedBroker, write: Write
) -> None:
    """Whatever creates the topic may start at the same moment."""
    reader = Reader(kafka_settings(broker.bootstrap_servers, topics=("late",)))
    start = asyncio.create_task(reader.source.start())
    await asyncio.sleep(0.2)
    assert not start.done()
    broker.create_topic("late")
    await start
    try:
        await write(Partition("late", 0), b"a")
        assert await reader.read(1) == [b"a"]
    finally:
        await reader.source.stop()


async def test_brokers_that_are_away_are_named_when_the_time_is_over() -> None:
    """Each address with its reason."""
    port = unused_port()
    settings = kafka_settings(f"127.0.0.1:{port},nowhere.invalid:9092", start_timeout_seconds=0.5)

    with pytest.raises(SourceUnavailable) as caught:
        await Reader(settings).source.start()

    message = str(caught.value)
    assert f"127.0.0.1:{port}: connection refused" in message
    assert "nowhere.invalid:9092: the name is not known" in message


async def test_one_broker_that_answers_is_enough(broker: EmbeddedBroker, write: Write) -> None:
    """Others of the list may be away."""
    servers = f"127.0.0.1:{unused_port()},{broker.bootstrap_servers}"
    await write(P0, b"a")

    async with reading(kafka_settings(servers)) as reader:
        assert await reader.read(1) == [b"a"]


async def test_a_cancelled_start_leaves_nothing_open() -> None:
    """A signal may come while brokers are waited for."""
    start = asyncio.create_task(Reader(kafka_settings(f"127.0.0.1:{unused_port()}")).source.start())
    await asyncio.sleep(0.1)
    start.cancel()

    with pytest.raises(asyncio.CancelledError):
        await start


async def test_tls_to_a_broker_without_it_is_a_configuration_error(broker: EmbeddedBroker) -> None:
    """The settings to check are named."""
    settings = kafka_settings(
        broker.bootstrap_servers, security_protocol="SSL", start_timeout_seconds=1.0
    )

    with pytest.raises((SourceMisconfigured, SourceUnavailable), match=r"kafka\.security_protocol"):
        await Reader(settings).source.start()


async def test_a_group_that_we_may_not_join_ends_the_polls(broker: EmbeddedBroker) -> None:
    """The message says which right is missing."""
    broker.fail(Api.JOIN_GROUP, GROUP_DENIED)
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        with pytest.raises(SourceFailed, match=r"grant Read on the group \(kafka\.group_id\)"):
            await reader.until(lambda: False)


# --- brokers that name themselves by other addresses ---------------------------------------------


@contextlib.asynccontextmanager
async def _behind_a_proxy(
    broker: EmbeddedBroker, change: Callable[[bytes], bytes]
) -> AsyncIterator[str]:
    """An address that leads to the broker; what the broker answers goes through `change`."""
    host, port = broker.bootstrap_servers.split(":")

    async def pump(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, change: Callable[[bytes], bytes]
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(change(data))
        writer.close()

    connections: set[asyncio.Task[object] | None] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.current_task())
        there = await asyncio.open_connection(host, int(port))
        await asyncio.gather(
            pump(reader, there[1], lambda data: data), pump(there[0], writer, change)
        )

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await asyncio.gather(*filter(None, connections))


async def test_brokers_are_used_by_the_names_that_the_cluster_has_for_them(
    broker: EmbeddedBroker, write: Write
) -> None:
    """The given address is only where to begin."""
    await write(P0, b"a")
    async with (
        _behind_a_proxy(broker, lambda data: data) as address,
        reading(kafka_settings(address)) as reader,
    ):
        assert await reader.read(1) == [b"a"]


async def test_names_that_lead_nowhere_are_reported(broker: EmbeddedBroker) -> None:
    """The classic of containers: a broker answers and advertises an address that means nothing."""
    port = int(broker.bootstrap_servers.split(":")[1])
    nowhere = unused_port()

    def lie(data: bytes) -> bytes:
        return data.replace(struct.pack(">i", port), struct.pack(">i", nowhere))

    async with _behind_a_proxy(broker, lie) as address:
        settings = kafka_settings(address, start_timeout_seconds=0.5)
        with pytest.raises(SourceUnavailable) as caught:
            await Reader(settings).source.start()

    message = str(caught.value)
    assert f"answers at {address} but names its brokers as 127.0.0.1:{nowhere}" in message
    assert "advertised.listeners" in message
