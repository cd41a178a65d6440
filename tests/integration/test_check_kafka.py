"""`ldsync check`, Kafka's half, on librdkafka's mock cluster, and the command around both."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from ldsync.checks.finding import Finding, State
from ldsync.checks.kafka import check_dead_letters, check_kafka
from ldsync.config import DeadLettersSettings, Settings
from ldsync.demo.broker import Api, EmbeddedBroker
from ldsync.demo.simulator import Simulator
from tests.support.commands import start
from tests.support.configs import TOKEN
from tests.support.kafka_source import kafka_settings
from tests.support.ports import unused_port

GROUP_DENIED = 30
TOPIC_DENIED = 29


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """A cluster with two topics."""
    with EmbeddedBroker() as broker:
        broker.create_topic("events", partitions=3)
        broker.create_topic("journeys")
        yield broker


async def findings(broker: EmbeddedBroker | str, **changes: Any) -> dict[str, Finding]:
    """What is found, by name."""
    servers = broker if isinstance(broker, str) else broker.bootstrap_servers
    changes = {"topics": ("events", "journeys"), "group_id": "g"} | changes
    settings = Settings(kafka=kafka_settings(servers, **changes))
    return {finding.name: finding for finding in await check_kafka(settings)}


async def write(broker: EmbeddedBroker, count: int) -> None:
    """Write records into the first partition of `events`."""
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
        for number in range(count):
            await producer.send_and_wait("events", b"%d" % number, partition=0)


async def commit(broker: EmbeddedBroker, offset: int) -> None:
    """Commit an offset of that partition for the group."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker.bootstrap_servers, group_id="g", enable_auto_commit=False
    )
    await consumer.start()
    try:
        place = TopicPartition("events", 0)
        consumer.assign([place])
        await consumer.commit({place: offset})
    finally:
        await consumer.stop()


async def test_a_new_group_begins_where_the_setting_says(broker: EmbeddedBroker) -> None:
    """Brokers, topics with their partitions, and no committed offset."""
    found = await findings(broker)
    assert {name: each.state for name, each in found.items()} == {
        "Kafka": State.OK,
        "topics": State.OK,
        "group": State.OK,
    }
    assert found["topics"].detail == "events (3 partitions), journeys (1 partition)"
    assert "begins at earliest" in found["group"].detail


async def test_an_instance_id_is_told_with_what_it_means(broker: EmbeddedBroker) -> None:
    """Only where there is one; the group is not joined for it."""
    assert "instance id" not in await findings(broker)
    changes = {"group_instance_id": "pod-0", "session_timeout_seconds": 45.0}
    found = (await findings(broker, **changes))["instance id"]
    assert found.state is State.OK
    assert found.detail.startswith("pod-0: a restart within 45 s moves no partitions")
    assert "No other process may have this id" in found.detail


async def test_a_pattern_shows_what_it_matches(broker: EmbeddedBroker) -> None:
    """The whole name, as the subscription does."""
    found = await findings(broker, topics=(), topic_pattern="ev.*")
    assert found["topics"].detail == "events (3 partitions)"


async def test_a_group_that_has_committed_shows_how_far_it_is(broker: EmbeddedBroker) -> None:
    """What lies behind its offsets; partitions without are counted."""
    await write(broker, 10)
    await commit(broker, 4)
    found = await findings(broker)
    assert found["group"].detail == "g has committed 1 of 4 partitions and is 6 records behind"


@pytest.mark.parametrize(("policy", "state"), [("stop", State.FAILED), ("earliest", State.WARNING)])
async def test_an_offset_that_retention_has_overtaken_is_told(
    broker: EmbeddedBroker, policy: str, state: State
) -> None:
    """`ldsync run` would stop, or go on with a gap."""
    await write(broker, 10)
    await commit(broker, 4)
    broker.delete_records("events", 0, before_offset=7)
    found = await findings(broker, on_out_of_range=policy)
    assert found["group"].state is state
    assert "events/0" in found["group"].detail
    assert "kafka.on_out_of_range" in found["group"].advice


async def test_brokers_that_are_away_are_told() -> None:
    """Soon: a person waits."""
    found = await findings(f"127.0.0.1:{unused_port()}", start_timeout_seconds=0.3)
    assert list(found) == ["Kafka"]
    assert found["Kafka"].state is State.FAILED
    assert "connection refused" in found["Kafka"].detail
    assert found["Kafka"].advice


async def test_a_topic_that_is_missing_is_told(broker: EmbeddedBroker) -> None:
    """With its name."""
    found = await findings(broker, topics=("nothing",), start_timeout_seconds=0.3)
    assert found["Kafka"].state is State.FAILED
    assert "no topic nothing" in found["Kafka"].detail


async def test_a_group_that_may_not_be_used_is_told(broker: EmbeddedBroker) -> None:
    """What to grant, and on what."""
    broker.fail(Api.FIND_COORDINATOR, *[GROUP_DENIED] * 20)
    found = await findings(broker)
    assert found["Kafka"].state is State.FAILED
    assert "group g (kafka.group_id)" in found["Kafka"].detail


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        pytest.param({}, State.UNKNOWN, "ldsync makes it", id="to be made"),
        pytest.param({"create_topic": False}, State.FAILED, "is not to make it", id="not to be"),
        pytest.param({"topic": "journeys"}, State.OK, "exist", id="there"),
        pytest.param({"enabled": False}, State.OK, "only counted", id="none wanted"),
    ],
)
async def test_topics_for_dead_letters_are_looked_for_and_not_made(
    broker: EmbeddedBroker, changes: dict[str, Any], state: State, words: str
) -> None:
    """Missing is no failure if they are made at the start."""
    settings = Settings(
        kafka=kafka_settings(broker.bootstrap_servers, topics=("events",)),
        dead_letters=DeadLettersSettings.model_validate(changes),
    )
    for _ in range(2):
        finding, *others = await check_dead_letters(settings)
        assert finding.state is state
        assert {each.name for each in others} == ({"replays"} if "exist" in words else set())
        assert words in finding.detail


async def test_dead_letters_that_may_not_be_described_are_told(broker: EmbeddedBroker) -> None:
    """Brokers that are away leave it unknown: there is a line about them already."""
    broker.create_topic("events.dead-letters")
    broker.fail_topic("events.dead-letters", TOPIC_DENIED)
    settings = Settings(kafka=kafka_settings(broker.bootstrap_servers, topics=("events",)))
    (finding,) = await check_dead_letters(settings)
    assert finding.state is State.FAILED
    assert "grant Describe, Write and Read" in finding.detail
    away = Settings(kafka=kafka_settings(f"127.0.0.1:{unused_port()}", topics=("events",)))
    (finding,) = await check_dead_letters(away)
    assert finding.state is State.UNKNOWN


async def test_nobody_is_moved_by_the_check(broker: EmbeddedBroker) -> None:
    """It does not join the group: a running ldsync keeps its partitions."""
    consumer = AIOKafkaConsumer("events", bootstrap_servers=broker.bootstrap_servers, group_id="g")
    await consumer.start()
    try:
        async with asyncio.timeout(20):
            while not consumer.assignment():
                await consumer.getmany(timeout_ms=50)
        before = consumer._coordinator.generation  # noqa: SLF001 - the only place that has it
        await findings(broker)
        await consumer.getmany(timeout_ms=300)
        assert consumer._coordinator.generation == before  # noqa: SLF001
    finally:
        await consumer.stop()


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A LaunchDarkly that behaves."""
    async with Simulator(project="p", environment="e", token=TOKEN) as sim:
        yield sim


def _environ(broker: EmbeddedBroker, sim: Simulator) -> dict[str, str]:
    return {
        "LDSYNC_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "LDSYNC_KAFKA__TOPICS": "events",
        "LDSYNC_KAFKA__START_TIMEOUT_SECONDS": "2",
        "LDSYNC_LAUNCHDARKLY__BASE_URL": sim.url,
        "LDSYNC_LAUNCHDARKLY__CLIENT_SIDE_ID": sim.client_side_id,
        "LDSYNC_LAUNCHDARKLY__PROXY": "none",
        "LDSYNC_LAUNCHDARKLY__API_TOKEN": TOKEN,
    }


async def test_the_command_shows_a_line_for_each_and_exits_with_0(
    broker: EmbeddedBroker, sim: Simulator
) -> None:
    """Marks, names, details, and what to do below them."""
    done = await asyncio.to_thread(start, "check", environ=_environ(broker, sim))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["✓", "configuration", "can", "be", "used"]
    assert [line.split()[1] for line in lines if line[0] in "✓!?✗"] == [
        "configuration",
        "Kafka",
        "topics",
        "group",
        "dead",
        "token",
        "clock",
        "environment",
        "approvals",
        "createSegment",
        "updateIncluded",
        "version",
    ]
    assert any(line.strip().startswith("→ ") for line in lines)
    assert TOKEN not in done.stdout + done.stderr


async def test_what_fails_makes_the_command_exit_with_1(
    broker: EmbeddedBroker, sim: Simulator, tmp_path: Path
) -> None:
    """The same as JSON, with nothing else on standard output."""
    environ = _environ(broker, sim) | {"LDSYNC_LAUNCHDARKLY__API_TOKEN": "api-99999999-wrong"}
    done = await asyncio.to_thread(start, "check", "--json", environ=environ)
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert document["passed"] is False
    by_name = {each["name"]: each for each in document["findings"]}
    assert by_name["group"]["state"] == "ok"
    assert by_name["token"]["state"] == "failed"
    assert "99999999" not in done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [[], ["--json"]], ids=["text", "JSON"])
async def test_a_configuration_that_cannot_be_used_exits_with_78(arguments: list[str]) -> None:
    """Nothing else is looked at."""
    environ = {"LDSYNC_LAUNCHDARKLY__API_TOKEN": TOKEN}
    done = await asyncio.to_thread(start, "check", *arguments, environ=environ)
    assert done.returncode == 78
    if arguments:
        (finding,) = json.loads(done.stdout)["findings"]
        assert finding["name"] == "launchdarkly.client_side_id"
    else:
        assert "launchdarkly.client_side_id" in done.stderr
