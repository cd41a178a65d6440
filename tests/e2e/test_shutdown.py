"""SIGTERM at every bad moment: how `ldsync run` ends, how soon, and what is left to the next one.

A drain takes at most 3 s here, its commit 2 s, leaving the group of a broker that does not answer
some 6 s. `SLACK` is for Python on a busy machine.
"""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ldsync.demo.simulator import Fault
from tests.support import judge
from tests.support.deployment import Deployment, deployed
from tests.support.eventually import eventually
from tests.support.ldsync_process import LdsyncProcess, Tables, merged
from tests.support.ports import unused_port
from tests.support.real_kafka import RealKafka
from tests.support.traffic import entering

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

SLACK = 12.0
SHORT: Tables = {"shutdown": {"drain_seconds": 3, "commit_seconds": 2}}
DRAIN = 3.0 + 2.0
LEAVING = 7.0
# Longer than any of these tests takes: nothing here ends because a request or a start timed out.
PATIENT: Tables = {"kafka": {"start_timeout_seconds": 300}}
NEVER = float("inf")


@pytest.fixture
async def deployment(real_kafka: RealKafka, tmp_path: Path) -> AsyncIterator[Deployment]:
    """A topic of two partitions and a LaunchDarkly that behaves."""
    async with deployed(real_kafka, tmp_path, 2) as deployment:
        yield deployment


@pytest.fixture
async def own_broker(kafka_directory: Path, tmp_path: Path) -> AsyncIterator[Deployment]:
    """The same on a broker of its own, to do harm to."""
    kafka = RealKafka(kafka_directory / f"own-{tmp_path.name}")
    try:
        await asyncio.to_thread(kafka.start)
        async with deployed(kafka, tmp_path, 2) as deployment:
            yield deployment
    finally:
        await asyncio.to_thread(kafka.stop)


async def until_said(process: LdsyncProcess, event: str, times: int = 1) -> None:
    """Wait until its log has a line of that name."""
    words = f'"event":"{event}"'
    await eventually(lambda: process.output.count(words) >= times, f"it logs {event}", 30)


async def until_consumed(process: LdsyncProcess, count: int) -> None:
    """Wait until it has consumed so many records."""

    async def consumed() -> bool:
        return await process.metric("ldsync_records_consumed_total") == count

    await eventually(consumed, f"{count} records are consumed", 30)


async def ends_in_order(process: LdsyncProcess, seconds: float) -> None:
    """One SIGTERM ends it with 0 within that time, without a traceback."""
    process.signal(signal.SIGTERM)
    assert await process.exit_code(seconds + SLACK) == 0
    assert '"event":"ldsync.stopped"' in process.output
    assert "Traceback" not in process.output


async def all_is_left_to_the_next(deployment: Deployment) -> None:
    """One more process delivers everything, and the segments are the fold of the topic."""
    deployment.simulator.faults.clear()
    deployment.launch()
    await deployment.until_caught_up()
    records = await asyncio.to_thread(deployment.kafka.admin.read, deployment.topic)
    assert deployment.members() == judge.fold(judge.read_changes(records)) != set()


@pytest.mark.parametrize("listens", [False, True], ids=["refused", "no answer"])
async def test_during_a_start_that_waits_for_kafka(deployment: Deployment, listens: bool) -> None:
    """At once, though `kafka.start_timeout_seconds` is not over."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1] if listens else unused_port()
        address = {"kafka": {"bootstrap_servers": f"127.0.0.1:{port}"}}
        process = deployment.launch(merged(PATIENT, address))
        await until_said(process, "admin.listening")
        assert (await process.ask("/readyz"))[0] == 503
        await ends_in_order(process, 2.0)


async def test_during_a_start_that_waits_for_launchdarkly(deployment: Deployment) -> None:
    """Nothing can be written, so the drain takes all its time; nothing is committed."""
    unanswered = deployment.simulator.faults.add(Fault(route="*", delay_seconds=NEVER))
    await deployment.produce(entering(100, "vip"))
    process = deployment.launch(SHORT)
    await until_consumed(process, 100)
    assert deployment.simulator.faults.befallen(unanswered)
    await ends_in_order(process, DRAIN + 2.0)
    assert '"event":"drain.incomplete"' in process.output
    assert sum((await deployment.committed()).values()) == 0
    await all_is_left_to_the_next(deployment)


async def test_during_an_outage_of_launchdarkly(deployment: Deployment) -> None:
    """Requests are refused: what is not written within the drain is left uncommitted."""
    process = deployment.launch(SHORT)
    await process.until_ready()
    outage = deployment.simulator.faults.add(Fault(route="* /api/v2/segments/*", status=503))
    await deployment.produce(entering(100, "vip"))
    await until_consumed(process, 100)
    await eventually(lambda: deployment.simulator.faults.befallen(outage) > 2, "it tries in vain")
    await ends_in_order(process, DRAIN)
    assert '"event":"drain.incomplete"' in process.output
    assert sum((await deployment.committed()).values()) == 0
    await all_is_left_to_the_next(deployment)


async def test_during_an_outage_of_kafka(own_broker: Deployment) -> None:
    """What was written cannot be committed, and the group cannot be left: it is consumed again."""
    process = own_broker.launch(merged(SHORT, {"kafka": {"commit_interval_seconds": 60}}))
    await process.until_ready()
    await own_broker.produce(entering(100, "vip"))
    await until_consumed(process, 100)
    await eventually(lambda: len(own_broker.members()) == 100, "they are written")
    own_broker.kafka.kill()
    await ends_in_order(process, DRAIN + LEAVING)
    assert '"event":"drain.incomplete"' in process.output
    await asyncio.to_thread(own_broker.kafka.start)
    await all_is_left_to_the_next(own_broker)


async def test_during_a_rebalance_that_waits_for_launchdarkly(deployment: Deployment) -> None:
    """The revocation is draining already: the stop waits for that, or for its own time."""
    first = deployment.launch(SHORT)
    await first.until_ready()
    hanging = deployment.simulator.faults.add(Fault(route="patch_segment", delay_seconds=NEVER))
    await deployment.produce(entering(100, "vip"))
    await eventually(lambda: deployment.simulator.faults.befallen(hanging), "a request hangs", 30)
    second = deployment.launch()
    await until_said(first, "partitions.revoked")
    await ends_in_order(first, 2 * DRAIN)
    await second.until_ready()
    await all_is_left_to_the_next(deployment)


async def test_of_a_process_that_is_just_joining(deployment: Deployment) -> None:
    """Others have the partitions until it is let in; they go on, and nothing moves to and fro."""
    first = deployment.launch()
    await first.until_ready()
    await deployment.produce(entering(100, "vip"))
    joining = deployment.launch()
    await until_said(joining, "consumer.started")
    await ends_in_order(joining, DRAIN)
    await deployment.produce(entering(100, "other"))
    await deployment.until_caught_up()
    assert len(deployment.members()) == 200


async def test_during_a_warm_up_that_does_not_end(deployment: Deployment) -> None:
    """History can be noted nowhere, so that nothing is consumed yet: there is nothing to drain."""
    await deployment.produce(entering(100, "vip"))
    deployment.launch()
    await deployment.until_caught_up()
    await ends_in_order(deployment.processes[0], DRAIN)
    away = f"redis://127.0.0.1:{unused_port()}/0"
    process = deployment.launch(
        {"ordering": {"store": "redis", "redis_timeout_seconds": 1}},
        {"LDSYNC_ORDERING__REDIS_URL": away},
    )
    await until_said(process, "warm_up.started")
    assert await process.metric("ldsync_state", state="warming") == 1
    await deployment.produce(entering(100, "other"))
    await ends_in_order(process, DRAIN)
    assert sum((await deployment.committed()).values()) == 100
    await all_is_left_to_the_next(deployment)


async def test_a_second_signal_ends_a_process_that_waits_for_kafka_to_let_it_go(
    own_broker: Deployment,
) -> None:
    """A broker that stands still answers neither the commit nor the goodbye; nobody need wait."""
    process = own_broker.launch(
        {
            "shutdown": {"drain_seconds": 60, "commit_seconds": 60},
            "kafka": {"rebalance_timeout_seconds": 150, "request_timeout_seconds": 200},
        }
    )
    await process.until_ready()
    with own_broker.kafka.frozen():
        process.signal(signal.SIGTERM)
        await until_said(process, "ldsync.stopping")
        process.signal(signal.SIGTERM)
        assert await process.exit_code(SLACK) == 143


async def test_with_few_files_it_works_and_says_so(deployment: Deployment) -> None:
    """`ulimit -n 64`: enough for one broker, not surely for a cluster. A warning, no crash."""
    process = deployment.launch(files=64)
    await deployment.produce(entering(100, "vip"))
    await deployment.until_caught_up()
    assert len(deployment.members()) == 100
    assert "may have 64 files and connections open, and may need" in process.output
    await ends_in_order(process, DRAIN)


async def test_with_too_few_files_it_does_not_start(deployment: Deployment) -> None:
    """`ulimit -n 16`: one line that says what to do, and 78: a restart is no use."""
    process = deployment.launch(files=16)
    assert await process.exit_code(SLACK) == 78
    (line,) = process.output.splitlines()
    assert '"event":"process.too_few_files"' in line
    assert "Raise the limit to " in line
