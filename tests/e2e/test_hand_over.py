"""Partitions move between processes that end in order, are killed, or stand still (R2, R4, R5)."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ldsync.demo.simulator import Fault
from tests.support.deployment import Deployment, deployed
from tests.support.eventually import eventually
from tests.support.ldsync_process import LdsyncProcess, Tables, merged
from tests.support.real_kafka import RealKafka
from tests.support.traffic import engage_event

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

START = datetime.now(UTC) - timedelta(minutes=30)

# Whoever is silent for two seconds is taken for dead, long before its last request has settled.
IMPATIENT: Tables = {
    "kafka": {"session_timeout_seconds": 2, "heartbeat_interval_seconds": 0.4},
    "batch": {"max_age_seconds": 0.2},
    "ordering": {"settle_seconds": 8},
}
# A wait that no test would outlast.
SETTLES_LATE: Tables = {"ordering": {"settle_seconds": 300}}


@pytest.fixture
async def deployment(real_kafka: RealKafka, tmp_path: Path) -> AsyncIterator[Deployment]:
    """A topic of one partition and a LaunchDarkly that behaves."""
    async with deployed(real_kafka, tmp_path, 1) as deployment:
        yield deployment


async def say(deployment: Deployment, user: str, minute: float, *, entered: bool) -> None:
    """Write an event of that time."""
    event = engage_event(user, "vip", entered, START + timedelta(minutes=minute))
    await deployment.produce([(user.encode(), json.dumps(event).encode())])


async def until_consumed(process: LdsyncProcess, count: int) -> None:
    """Wait until a process has consumed so many records."""

    async def consumed() -> bool:
        return await process.metric("ldsync_records_consumed_total") == count

    await eventually(consumed, f"{count} records are consumed")


def patches_of(deployment: Deployment, number: int) -> int:
    """How many patches the nth process has sent."""
    address = deployment.address(number)
    return sum(
        each.route == "patch_segment" and each.headers["host"].startswith(f"{address}:")
        for each in deployment.simulator.log.exchanges
    )


async def test_an_older_event_after_a_restart_does_not_win(deployment: Deployment) -> None:
    """Stopped in order or killed: what it had consumed is known to the next one."""
    for number, how in enumerate((signal.SIGTERM, signal.SIGKILL)):
        process = deployment.launch()
        await say(deployment, f"user-{number}", 10, entered=False)
        await deployment.until_caught_up()
        process.signal(how)
        await process.exit_code()
    last = deployment.launch()
    for number in range(2):
        await say(deployment, f"user-{number}", 5, entered=True)
    await deployment.until_caught_up()
    assert deployment.members() == set()
    scrape = await last.scrape()
    assert scrape.total("ldsync_history_records_total") == 2
    assert scrape.total("ldsync_records_total", outcome="skipped", reason="stale") == 2
    assert scrape.unexplained() == 0


async def test_partitions_move_in_order_without_a_wait(deployment: Deployment) -> None:
    """A second replica comes, the first one goes: nobody waits for a request that was answered."""
    first = deployment.launch(SETTLES_LATE)
    await first.until_ready()
    await say(deployment, "a", 1, entered=True)
    await deployment.until_caught_up()
    second = deployment.launch(SETTLES_LATE)
    await second.until_ready()
    await say(deployment, "b", 2, entered=True)
    await deployment.until_caught_up()
    first.signal(signal.SIGTERM)
    assert await first.exit_code() == 0
    await say(deployment, "c", 3, entered=True)
    await deployment.until_caught_up()
    assert deployment.members() == {("vip", "a"), ("vip", "b"), ("vip", "c")}

    async def claimed() -> bool:
        admin = deployment.kafka.admin
        marks = await asyncio.to_thread(admin.group_marks, deployment.group, deployment.topic)
        return marks == {0: ""}

    # The group may learn only now that the first one is gone, and move the partition once more.
    await eventually(claimed, "whoever has the partition has removed the mark")


async def test_what_a_killed_owner_had_sent_does_not_win(deployment: Deployment) -> None:
    """Its request is applied when its partition is somebody else's already."""
    late = deployment.simulator.faults.add(Fault(route="patch_segment", late_seconds=6.0, times=1))
    killed = deployment.launch(IMPATIENT)
    await killed.until_ready()
    await say(deployment, "a", 1, entered=True)
    await eventually(lambda: deployment.simulator.faults.befallen(late), "it sends a request")
    killed.kill()
    await say(deployment, "a", 2, entered=False)
    deployment.launch(IMPATIENT)
    await deployment.until_caught_up()
    (applied, written) = deployment.simulator.log.writes("vip", "a")
    assert applied.exchange.applied is not None
    assert written.exchange.arrived > applied.exchange.applied
    assert deployment.members() == set()


async def test_a_process_that_stood_still_does_not_write_when_it_goes_on(
    deployment: Deployment,
) -> None:
    """The partition was somebody else's meanwhile, and what it had buffered is old."""
    frozen = deployment.launch(merged(IMPATIENT, {"batch": {"max_age_seconds": 3}}))
    await frozen.until_ready()
    await say(deployment, "a", 1, entered=True)
    await until_consumed(frozen, 1)
    frozen.signal(signal.SIGSTOP)
    assert patches_of(deployment, 0) == 0
    await say(deployment, "a", 2, entered=False)
    deployment.launch(IMPATIENT)
    await deployment.until_caught_up()
    assert patches_of(deployment, 1) == 1

    frozen.signal(signal.SIGCONT)

    async def noticed() -> bool:
        return await frozen.metric("ldsync_records_total", outcome="abandoned") == 1

    await eventually(noticed, "it has learnt of it")
    assert patches_of(deployment, 0) == 0
    await say(deployment, "b", 3, entered=True)
    await deployment.until_caught_up()
    assert deployment.members() == {("vip", "b")}
    assert deployment.overlapping_patches() == []
