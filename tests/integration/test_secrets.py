"""P8, the whole of it: no token, SDK key or password in anything that ldsync shows of itself.

A process is driven through delivery, refusals that repeat the token, a rotation and a crash dump;
then everything it wrote and served is searched. What is never printed is asked for its `repr`.
"""

import random
import signal
import traceback
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from pydantic import SecretStr

from ldsync.checks.launchdarkly import check_launchdarkly
from ldsync.config import LaunchDarklySettings, Settings
from ldsync.config.secrets import FileSecret
from ldsync.demo.broker import EmbeddedBroker
from ldsync.demo.simulator import Fault, Simulator
from ldsync.launchdarkly.connection import Connection
from ldsync.launchdarkly.reply import Reply
from ldsync.launchdarkly.resolution import resolve
from ldsync.launchdarkly.transport import Head, Received, Way
from ldsync.telemetry.metrics import Metrics
from tests.support.eventually import eventually
from tests.support.ldsync_process import QUICK, LdsyncProcess, Tables, merged
from tests.support.traffic import entering

OLD = "api-0ld0ld0ld-token-that-was-rotated-away"
NEW = f"api-{uuid.UUID(int=0xFEDCBA9876543210FEDCBA9876543210)}"
PASSWORD = "pr0xy-passw0rd"


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """A cluster with the topic `events`, and one for its dead letters."""
    with EmbeddedBroker() as broker:
        broker.create_topic("events")
        broker.create_topic("events.dead-letters")
        yield broker


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A LaunchDarkly that accepts the old token, in an account of many environments."""
    async with Simulator(project="p", environment="e", token=OLD) as sim:
        for number in range(45):
            sim.world.add_environment(f"other-{number}", "production")
        yield sim


def canaries(sim: Simulator) -> list[str]:
    """Everything that must not be seen, and the half of it that a cut would leave."""
    keys = [
        key
        for project in sim.world.projects.values()
        for environment in project.environments.values()
        for key in (environment.sdk_key, environment.mobile_key)
    ]
    return [part for each in [OLD, NEW, PASSWORD, *keys] for part in (each, each[: len(each) // 2])]


def leaks(sim: Simulator, text: str) -> list[str]:
    """The canaries in a text."""
    return [canary for canary in canaries(sim) if canary in text]


def write(file: Path, token: str) -> None:
    """Put a token into a file."""
    file.write_text(token, encoding="utf-8")


async def _produce(broker: EmbeddedBroker, audience: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
        for _, value in entering(3, audience):
            await producer.send_and_wait("events", value)


async def _shown(process: LdsyncProcess) -> str:
    """Everything that its endpoints serve, and all it wrote."""
    pages = [await process.ask(path) for path in ("/metrics", "/status", "/healthz", "/readyz")]
    assert all(status for status, _ in pages)
    return "\n".join([process.output, *(body for _, body in pages)])


async def test_a_process_shows_no_secret_whatever_happens_to_it(
    broker: EmbeddedBroker, sim: Simulator, tmp_path: Path
) -> None:
    """At the level debug, with replies that repeat the token and SDK keys, and a crash dump."""
    file = tmp_path / "token"
    write(file, OLD)
    settings: Tables = {
        "kafka": {"bootstrap_servers": broker.bootstrap_servers, "topics": ["events"]},
        "launchdarkly": {"base_url": sim.url, "client_side_id": sim.client_side_id},
        "batch": {"max_age_seconds": 0.05},
    }
    environ = {
        "LDSYNC_LAUNCHDARKLY__API_TOKEN_FILE": str(file),
        "PYTHONFAULTHANDLER": "1",
        "HTTPS_PROXY": f"http://user:{PASSWORD}@127.0.0.1:9",
    }
    process = LdsyncProcess(tmp_path / "run", merged(QUICK, settings), environ, token="")
    process.start()
    try:
        await process.until_ready()
        await _produce(broker, "vip")
        await eventually(lambda: len(sim.included("vip")) == 3, "they are delivered")

        said = f"who is {OLD} * 9, who is {sim.environment.sdk_key}? {OLD * 40}"
        refusals = [
            Fault(route="patch_segment", status=403, message=said, times=1),
            Fault(route="patch_segment", status=503, body=f"<html>{said}</html>", times=1),
            Fault(route="patch_segment", status=409, code=OLD, message=said, times=2),
        ]
        for number, fault in enumerate(refusals):
            order = sim.faults.add(fault)
            await _produce(broker, f"refused-{number}")
            await eventually(lambda: sim.faults.befallen(order), "it is refused")  # noqa: B023
        await eventually(lambda: "batch.retry" in process.output, "it says so")
        shown = await _shown(process)

        sim.token = NEW
        write(file, NEW)
        await _produce(broker, "later")
        await eventually(lambda: len(sim.included("later")) == 3, "the new token is used")
        await eventually(lambda: "token_renewed" in process.output, "it says so")
        sim.faults.add(Fault(route="patch_segment", status=401, message=f"{OLD} {NEW}", times=1))
        await _produce(broker, "refused")
        await eventually(lambda: "unauthorized" in process.output, "it says so")
        shown += await _shown(process)

        process.signal(signal.SIGABRT)
        assert await process.exit_code() == 134
        shown += process.output
    finally:
        process.kill()
    assert "Fatal Python error: Aborted" in shown
    assert leaks(sim, shown) == []


async def test_nothing_shows_a_secret_in_its_repr_or_in_an_exception(
    sim: Simulator, tmp_path: Path
) -> None:
    """What a debugger, an assertion or a traceback would print."""
    sim.token = NEW
    section = LaunchDarklySettings.model_validate(
        {
            "api_token": FileSecret(NEW, tmp_path / "token"),
            "base_url": sim.url,
            "client_side_id": sim.client_side_id,
            "proxy": SecretStr("none"),
        }
    )
    settings = Settings(launchdarkly=section)
    connection = Connection(section, Metrics(), random.Random(1))
    names = {"projectKey": "p"}
    try:
        listing = await connection.client.request("GET", "/api/v2/projects/{projectKey}", names)
        environments = await connection.client.request(
            "GET", "/api/v2/projects/{projectKey}/environments", names
        )
        found = await resolve(connection.client, connection.environment)
        findings = await check_launchdarkly(settings)
        try:
            await connection.client.request("GET", "{missing}", names)
        except KeyError:
            error = traceback.format_exc()
    finally:
        await connection.close()
    assert isinstance(environments, Reply)
    assert sim.environment.sdk_key.encode() in environments.raw
    way = Way(f"http://user:{PASSWORD}@127.0.0.1:9")
    received = Received(Head(200, {}, 0.0), environments.raw, 0.0)
    things = [settings, section, connection, connection.client, connection.environment]
    things += [listing, environments, found, findings, way, received, error]
    things += [vars(connection)]
    assert leaks(sim, "\n".join(map(repr, things))) == []
