"""`ldsync run` as a process on the embedded broker: its exit codes, and how it gets there."""

import asyncio
import gc
import json
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from pydantic import SecretStr
from structlog.testing import capture_logs

from ldsync import app
from ldsync.config import KafkaSettings, LaunchDarklySettings, Settings
from ldsync.config.sections import AdminSettings
from ldsync.demo.broker import Api, EmbeddedBroker
from ldsync.demo.feed import committed_offsets
from ldsync.demo.simulator import Simulator
from ldsync.launchdarkly import watch
from tests.support.eventually import eventually
from tests.support.ldsync_process import QUICK, TOKEN, LdsyncProcess, Tables, merged
from tests.support.ports import unused_port
from tests.support.traffic import SECRET_EMAIL, entering

TOPIC_DENIED, NOT_LEADER = 29, 6

Launch = Callable[..., LdsyncProcess]


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """A cluster with the topic `events` and that of its dead letters."""
    with EmbeddedBroker() as broker:
        broker.create_topic("events")
        broker.create_topic("events.dead-letters")
        yield broker


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A LaunchDarkly that behaves."""
    async with Simulator(project="p", environment="e", token=TOKEN) as sim:
        yield sim


@pytest.fixture
def launch(broker: EmbeddedBroker, sim: Simulator, tmp_path: Path) -> Iterator[Launch]:
    """Start a process; it is killed at the end if it still runs."""
    processes: list[LdsyncProcess] = []

    def launch(settings: Tables | None = None) -> LdsyncProcess:
        own: Tables = {
            "kafka": {"bootstrap_servers": broker.bootstrap_servers, "topics": ["events"]},
            "launchdarkly": {
                "base_url": sim.url,
                "project_key": "p",
                "environment_key": "e",
            },
            "batch": {"max_age_seconds": 0.1},
        }
        directory = tmp_path / str(len(processes))
        process = LdsyncProcess(directory, merged(QUICK, own, settings or {}))
        processes.append(process)
        process.start()
        return process

    yield launch
    for process in processes:
        process.kill()


async def _produce(broker: EmbeddedBroker, users: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, linger_ms=20)
    await producer.start()
    try:
        sent = [await producer.send("events", value) for _, value in entering(users, "vip")]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


def _lines(process: LdsyncProcess, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in process.output.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


async def test_a_client_that_stopped_fetching_ends_the_process_with_1(
    broker: EmbeddedBroker, launch: Launch
) -> None:
    """Whoever supervises it starts it afresh; the log says where everything stood."""
    process = launch({"kafka": {"stall_timeout_seconds": 2}})
    await process.until_ready()
    broker.fail(Api.FETCH, *[NOT_LEADER] * 100_000)
    await _produce(broker, 5)
    assert await process.exit_code(limit=40) == 1
    (crash,) = _lines(process, "ldsync.crashed")
    assert "5 records behind" in crash["detail"]
    assert any("_ingest" in line["stack"] for line in _lines(process, "watchdog.stack"))
    assert SECRET_EMAIL not in process.output


async def test_it_delivers_commits_and_exits_0(
    broker: EmbeddedBroker, sim: Simulator, launch: Launch
) -> None:
    """Ready, everything delivered, SIGTERM, drained; and no secret in what it wrote."""
    process = launch()
    await process.until_ready()
    await _produce(broker, 50)
    await eventually(lambda: len(sim.included("vip")) == 50, "all are in")
    status = json.loads((await process.ask("/status"))[1])
    assert status["launchdarkly"]["problem"] == ""
    assert (await process.scrape()).unexplained() == 0
    process.signal(signal.SIGHUP)
    await eventually(lambda: _lines(process, "segments.tried"), "it tries what waits")
    process.signal(signal.SIGTERM)
    assert await process.exit_code() == 0
    assert await committed_offsets(broker.bootstrap_servers, "ldsync", "events", 1) == {0: 50}
    assert [line["signal"] for line in _lines(process, "ldsync.stopping")] == ["SIGTERM"]
    assert _lines(process, "drain.complete")
    assert _lines(process, "ldsync.stopped")
    assert TOKEN not in process.output
    assert SECRET_EMAIL not in process.output


@pytest.mark.parametrize(
    ("settings", "segment"),
    [
        pytest.param({"write_path": "big"}, "vip", id="big"),
        pytest.param(
            {"write_path": "big", "exit_action": "exclude", "max_members_per_request": 7},
            "vip",
            id="big that excludes",
        ),
        pytest.param({"exit_action": "exclude"}, "vip", id="standard that excludes"),
        pytest.param({"write_path": "synced"}, "segment-audiences-aud_vip", id="synced"),
    ],
)
async def test_every_write_path_delivers(
    broker: EmbeddedBroker,
    sim: Simulator,
    launch: Launch,
    settings: dict[str, Any],
    segment: str,
) -> None:
    """From Kafka into the segment of its sort; a synced one needs no keys."""
    if settings.get("write_path") == "synced":
        id_alone = {"client_side_id": sim.client_side_id, "project_key": "", "environment_key": ""}
        settings = settings | id_alone
    process = launch({"launchdarkly": settings, "batch": {"max_size": 20}})
    await process.until_ready()
    await _produce(broker, 50)
    await eventually(lambda: len(sim.included(segment)) == 50, "all are in")
    assert sim.segments[segment].unbounded == ("write_path" in settings)
    process.signal(signal.SIGTERM)
    assert await process.exit_code() == 0
    assert await committed_offsets(broker.bootstrap_servers, "ldsync", "events", 1) == {0: 50}


async def test_brokers_that_are_not_there_end_it_with_69(launch: Launch) -> None:
    """After the start deadline; meanwhile it is alive and not ready, and says why."""
    process = launch(
        {
            "kafka": {
                "bootstrap_servers": f"127.0.0.1:{unused_port()}",
                "start_timeout_seconds": 2.0,
            }
        }
    )

    async def not_ready() -> bool:
        status, body = await process.ask("/readyz")
        return status == 503 and "waiting for the consumer group" in body

    await eventually(not_ready, "it says that it waits", pause=0.02)
    assert (await process.ask("/healthz"))[0] == 200
    assert await process.exit_code() == 69
    (line,) = _lines(process, "kafka.unavailable")
    assert "connection refused" in line["detail"]


async def test_a_signal_while_brokers_are_waited_for_ends_it_at_once(launch: Launch) -> None:
    """Nothing was consumed, so nothing is left to do: 0."""
    process = launch({"kafka": {"bootstrap_servers": f"127.0.0.1:{unused_port()}"}})
    await eventually(lambda: _lines(process, "admin.listening"), "it has started")
    process.signal(signal.SIGTERM)
    assert await process.exit_code(limit=5.0) == 0


async def test_an_admin_port_that_is_taken_ends_it_with_78(launch: Launch, sim: Simulator) -> None:
    """Before anything is consumed, with the setting to change."""
    process = launch({"admin": {"port": int(sim.url.rpartition(":")[2])}})
    assert await process.exit_code() == 78
    (line,) = _lines(process, "admin.unavailable")
    assert "admin.port" in line["detail"]


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        pytest.param(
            {"topic": "missing", "create_topic": False}, 69, "no dead-letter topic", id="missing"
        ),
        pytest.param({"topic": "denied"}, 78, "grant Describe, Write and Read", id="denied"),
    ],
)
async def test_a_dead_letter_topic_that_cannot_be_used_ends_it(
    broker: EmbeddedBroker, launch: Launch, settings: dict[str, object], code: int, said: str
) -> None:
    """What may come is waited for (69), what somebody has to grant is not (78)."""
    broker.create_topic("denied")
    broker.fail_topic("denied", TOPIC_DENIED)
    process = launch({"kafka": {"start_timeout_seconds": 1.0}, "dead_letters": settings})
    assert await process.exit_code() == code
    (line,) = _lines(process, "kafka.unavailable") or _lines(process, "kafka.misconfigured")
    assert said in line["detail"]


async def test_a_topic_of_something_else_ends_it_with_1_and_is_not_copied(
    broker: EmbeddedBroker, launch: Launch
) -> None:
    """Nothing was committed either, so that the next start says the same."""
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, linger_ms=20)
    await producer.start()
    sent = [await producer.send("events", b"something else") for _ in range(2000)]
    await asyncio.gather(*sent)
    await producer.stop()
    process = launch()
    assert await process.exit_code(limit=30.0) == 1
    (line,) = _lines(process, "ldsync.crashed")
    assert "dead_letters.max_invalid_ratio" in line["detail"]
    committed = await committed_offsets(broker.bootstrap_servers, "ldsync", "events", 1)
    assert committed.get(0, 0) == 0


async def test_a_topic_that_may_not_be_read_ends_it_with_78(
    broker: EmbeddedBroker, launch: Launch
) -> None:
    """Waiting would not help, so it does not wait."""
    broker.fail_topic("events", TOPIC_DENIED)
    process = launch()
    assert await process.exit_code() == 78
    (line,) = _lines(process, "kafka.misconfigured")
    assert "grant Describe and Read" in line["detail"]


async def test_records_that_retention_took_crash_it_with_1(
    broker: EmbeddedBroker, sim: Simulator, launch: Launch
) -> None:
    """The reason stands in one line of its own, not only in a traceback.

    And nobody says that nothing was lost.
    """
    first = launch()
    await _produce(broker, 5)
    await eventually(lambda: len(sim.included("vip")) == 5, "all are in")
    first.signal(signal.SIGTERM)
    assert await first.exit_code() == 0
    await _produce(broker, 5)
    broker.delete_records("events", 0, before_offset=8)
    second = launch()
    assert await second.exit_code() == 1
    (line,) = _lines(second, "ldsync.crashed")
    assert "kafka.on_out_of_range" in line["detail"]
    assert "consumed again" in line["advice"]
    assert "nothing is lost" not in line["advice"]


async def test_an_environment_that_is_not_there_is_waited_for(
    sim: Simulator, launch: Launch
) -> None:
    """Not ready, with the keys to check; ready as soon as it is there."""
    process = launch({"launchdarkly": {"environment_key": "later"}})
    await eventually(lambda: _lines(process, "environment.unresolved"), "it says so")
    status, body = await process.ask("/readyz")
    assert status == 503
    assert "launchdarkly.environment_key" in body
    sim.world.add_environment("p", "later")
    await process.until_ready()


async def test_an_environment_that_vanishes_is_waited_for_and_written_to_when_it_is_back(
    broker: EmbeddedBroker, sim: Simulator, launch: Launch
) -> None:
    """The write that finds it gone has it looked up; nothing is lost, and nobody restarts it."""
    process = launch({"launchdarkly": {"client_side_id": sim.client_side_id}})
    await process.until_ready()
    hidden = sim.world.projects["p"].environments.pop("e")
    await _produce(broker, 5)

    async def lost() -> bool:
        status, body = await process.ask("/readyz")
        return status == 503 and "environment e of project p" in body

    await eventually(lost, "it says that the environment is gone", pause=0.02)
    sim.world.projects["p"].environments["e"] = hidden
    await process.until_ready(limit=60)
    await eventually(lambda: len(sim.included("vip")) == 5, "all are in", 10.0)
    assert len(_lines(process, "environment.resolved")) == 2


@pytest.fixture
def _collector_as_it_was() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


@pytest.mark.usefixtures("_collector_as_it_was")
async def test_a_defect_of_the_look_up_ends_the_process(
    broker: EmbeddedBroker, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would otherwise be unready for ever, and nobody would know why."""

    async def fail(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(watch, "resolve", fail)
    settings = Settings(
        kafka=KafkaSettings(bootstrap_servers=broker.bootstrap_servers, topics=("events",)),
        launchdarkly=LaunchDarklySettings(
            api_token=SecretStr(TOKEN), base_url=sim.url, project_key="p", environment_key="e"
        ),
        admin=AdminSettings(port=0),
    )
    loop = asyncio.get_running_loop()
    with capture_logs() as logs:
        code = await asyncio.wait_for(app._serve(settings), 15.0)  # noqa: SLF001
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)
    assert code == app.CRASHED
    (line,) = [entry for entry in logs if entry["event"] == "ldsync.crashed"]
    assert line["detail"] == "a defect"
