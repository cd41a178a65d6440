"""The demo's moving parts one by one: the feed, the endless generator, the child process."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from ldsync.demo.broker import EmbeddedBroker
from ldsync.demo.child import Child, ChildDied, Value
from ldsync.demo.feed import Feed, KafkaNotReady, committed_offsets
from ldsync.demo.generate import generate
from ldsync.demo.generator import Message
from ldsync.demo.shapes import Shape

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

TOPIC = "engage-events"
PARTITIONS = 3


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """One broker with a topic of three partitions."""
    with EmbeddedBroker() as running:
        running.create_topic(TOPIC, PARTITIONS)
        yield running


@contextlib.asynccontextmanager
async def started(feed: Feed) -> AsyncIterator[int]:
    """A feed that is stopped in the end; the number of partitions."""
    try:
        yield await feed.start(timeout_seconds=10.0)
    finally:
        await feed.stop()


async def contents(broker: EmbeddedBroker) -> list[tuple[int, bytes | None, int]]:
    """Everything in the topic: partition, value, timestamp; in the order of each partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap_servers)
    await consumer.start()
    try:
        partitions = [TopicPartition(TOPIC, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        left = sum((await consumer.end_offsets(partitions)).values())
        found: list[tuple[int, bytes | None, int]] = []
        async with asyncio.timeout(20):
            while len(found) < left:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += [(r.partition, r.value, r.timestamp) for r in records]
    finally:
        await consumer.stop()
    return found


async def test_a_feed_writes_what_it_says_where_it_says(broker: EmbeddedBroker) -> None:
    """Values (tombstones too), partitions, order and timestamps are those that it reports."""
    messages = [
        Message(number % PARTITIONS, Shape.BROKEN, None if number == 7 else b"%d" % number)
        for number in range(50)
    ]
    feed = Feed(broker.bootstrap_servers, TOPIC)
    async with started(feed) as partitions:
        assert partitions == PARTITIONS
        sent = [each async for chunk in feed.send(messages, rate=1000.0) for each in chunk]
    assert [each.message for each in sent] == messages
    assert feed.acknowledged == {0: 17, 1: 17, 2: 16}
    expected = [(s.message.partition, s.message.value, s.recorded_ms) for s in sent]
    found = await contents(broker)
    for number in range(PARTITIONS):
        assert [f for f in found if f[0] == number] == [e for e in expected if e[0] == number]


async def test_a_feed_keeps_its_rate(broker: EmbeddedBroker) -> None:
    """It is never faster than it was told."""
    feed = Feed(broker.bootstrap_servers, TOPIC)
    async with started(feed):
        begun = time.monotonic()
        async for _ in feed.send([Message(0, Shape.BROKEN, b"x")] * 100, rate=200.0):
            pass
        assert time.monotonic() - begun >= 0.5


async def test_a_feed_without_a_broker_says_where_it_looked(broker: EmbeddedBroker) -> None:
    """The message names the address and the topic."""
    feed = Feed(broker.bootstrap_servers, TOPIC)
    broker.take_down()
    with pytest.raises(KafkaNotReady, match=f"{broker.bootstrap_servers}.*{TOPIC}"):
        await feed.start(timeout_seconds=0.0)


async def test_committed_offsets_are_read_from_the_group(broker: EmbeddedBroker) -> None:
    """Partitions that were never committed are left out."""
    consumer = AIOKafkaConsumer(
        TOPIC, bootstrap_servers=broker.bootstrap_servers, group_id="g", enable_auto_commit=False
    )
    await consumer.start()
    try:
        await consumer.getmany(timeout_ms=100)
        await consumer.commit({TopicPartition(TOPIC, 1): 42})
    finally:
        await consumer.stop()
    servers = broker.bootstrap_servers
    assert await committed_offsets(servers, "g", TOPIC, PARTITIONS) == {1: 42}


async def test_generate_writes_as_many_events_as_asked(broker: EmbeddedBroker) -> None:
    """Rounds follow each other until the number is reached, over all partitions."""
    progress: list[int] = []
    await generate(broker.bootstrap_servers, TOPIC, 50_000.0, 3, 5200, progress.append)
    assert progress[-1] == 5200
    assert progress == sorted(progress)
    places = Counter(partition for partition, _, _ in await contents(broker))
    assert places.total() == 5200
    assert set(places) == set(range(PARTITIONS))


async def test_generate_goes_on_until_it_is_cancelled(broker: EmbeddedBroker) -> None:
    """Without a number of events it has no end of its own, and stops cleanly."""
    begun = asyncio.Event()
    task = asyncio.create_task(
        generate(broker.bootstrap_servers, TOPIC, 1000.0, on_progress=lambda _: begun.set())
    )
    async with asyncio.timeout(20):
        await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def child_of(directory: Path, program: str) -> Child:
    """A child that runs a Python program instead of `ldsync run`."""
    script = directory / "program.py"
    script.write_text(program, encoding="utf-8")
    settings: dict[str, dict[str, Value]] = {
        "kafka": {"topics": ["a", "b"]},
        "batch": {"max_age_seconds": 1.5},
    }
    return Child(directory, settings, "the-token", [sys.executable, str(script)])


SERVES = """
import http.server, os, sys, tomllib
with open(sys.argv[sys.argv.index("--config") + 1], "rb") as file:
    config = tomllib.load(file)
assert config["kafka"] == {"topics": ["a", "b"]} and config["batch"] == {"max_age_seconds": 1.5}
with open(os.environ["LDSYNC_LAUNCHDARKLY__API_TOKEN_FILE"]) as file:
    assert file.read() == "the-token"
assert "LDSYNC_LOG__LEVEL" not in os.environ
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ldsync_records_pending 3\\n")
http.server.HTTPServer(("127.0.0.1", config["admin"]["port"]), Handler).serve_forever()
"""
OBSTINATE = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVES
BLOCKING = pytest.mark.blocking  # the demo writes its few small files from its own event loop


@BLOCKING
async def test_a_child_gets_its_configuration_and_is_stopped_by_sigterm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings come from the file alone, the token from a file only its owner can read."""
    monkeypatch.setenv("LDSYNC_LOG__LEVEL", "debug")
    child = child_of(tmp_path, SERVES)
    assert (tmp_path / "token").stat().st_mode & 0o077 == 0
    assert "the-token" not in child.config.read_text(encoding="utf-8")
    try:
        await child.start()
        assert (await child.read()).pending == 3
    finally:
        assert await child.stop(10.0) == -15
    assert await child.stop(10.0) == -15


@BLOCKING
async def test_a_child_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    """Nothing is left running, whatever it does with SIGTERM."""
    child = child_of(tmp_path, OBSTINATE)
    await child.start()
    assert await child.stop(0.1) == -9


@BLOCKING
async def test_a_child_that_ends_early_is_quoted(tmp_path: Path) -> None:
    """Exit code and last lines are in the message."""
    child = child_of(tmp_path, "print('no such topic'); raise SystemExit(69)")
    with pytest.raises(ChildDied, match=r"exit code 69(?s:.*)no such topic"):
        await child.start()
    assert await child.stop(1.0) == 69


@BLOCKING
async def test_a_child_that_dies_later_is_noticed(tmp_path: Path) -> None:
    """Reading its metrics says so instead of failing obscurely."""
    child = child_of(tmp_path, SERVES + "\n")
    await child.start()
    await child.stop(10.0)
    with pytest.raises(ChildDied):
        await child.read()
