"""Memory stays within what the configured budgets say, however much waits in the topic (P3)."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ldsync.demo.simulator import Fault
from tests.bench.usage import usage
from tests.support.deployment import Deployment, deployed
from tests.support.eventually import eventually
from tests.support.ldsync_process import LdsyncProcess, Tables
from tests.support.real_kafka import RealKafka
from tests.support.traffic import Record, engage_event, keyed

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

MIB = 2**20
BUFFER = 4 * MIB
FETCH = 2 * MIB
SETTINGS: Tables = {
    "buffer": {"max_bytes": BUFFER},
    "batch": {"max_bytes": MIB // 4},
    "kafka": {
        "fetch_max_bytes": FETCH,
        "max_partition_fetch_bytes": MIB,
        "max_poll_records": 1000,
    },
    "ordering": {"max_entries": 1000},
    "log": {"level": "info"},
}
# buffer.max_bytes is an estimate: the allocator and the one poll by which it is passed add to it.
# Of what was fetched there are the answer, the one before, and the records of both.
HELD = 2 * BUFFER
FETCHED = 4 * FETCH
# What the first event of a process costs: code, connections, a version store of 1,000 members.
WORKING = 16 * MIB

AWAY = Fault(route="* /api/*", status=503)
OUTAGE = 7.0  # seconds; longer than the session (6 s): who did not poll would be thrown out
PATIENCE = 90.0  # seconds; all of it takes a tenth where nothing else runs
LONG_KEY = "x" * 600


@pytest.fixture
async def deployment(real_kafka: RealKafka, tmp_path: Path) -> AsyncIterator[Deployment]:
    """A topic of two partitions and a LaunchDarkly that behaves."""
    async with deployed(real_kafka, tmp_path, 2) as deployment:
        yield deployment


def joins(count: int, audiences: int, *, tail: str = "", padding: int = 0) -> Iterator[Record]:
    """So many users, one after the other, each of whom enters one of the audiences."""
    moment = datetime.now(UTC) - timedelta(hours=1)
    event = engage_event("USER", "AUDIENCE", True, moment)
    _, template = keyed({"padding": "0123456789" * (padding // 10), **event})
    for number in range(count):
        user = f"user-{number:05}{tail}".encode()
        audience = b"audience-%05d" % (number % audiences)
        yield user, template.replace(b"USER", user).replace(b"AUDIENCE", audience)


async def peak(process: LdsyncProcess) -> int:
    """The most memory that it had resident so far, in bytes."""
    return (await asyncio.to_thread(usage, process.pid)).peak_bytes


async def until_consumed(process: LdsyncProcess, count: float) -> None:
    """Wait until a process has consumed at least so many records."""

    async def consumed() -> bool:
        return await process.metric("ldsync_records_consumed_total") >= count

    await eventually(consumed, f"{count:.0f} records are consumed", PATIENCE)


async def live_through_an_outage(
    deployment: Deployment, process: LdsyncProcess, count: int
) -> float:
    """Wait for the pause, and for longer than a session; return how many records were consumed."""

    async def paused() -> bool:
        return await process.metric("ldsync_consumer_paused") == 1

    await eventually(paused, "consumption is paused", PATIENCE)
    group = await owners(deployment)
    await asyncio.sleep(OUTAGE)  # the outage itself: nothing is waited for
    scrape = await process.scrape()
    assert scrape.total("ldsync_consumer_paused") == 1
    assert scrape.total("ldsync_pauses_total") == 1
    assert scrape.total("ldsync_retries_total") > 0
    assert scrape.total("ldsync_records_total", outcome="delivered") == 0
    assert BUFFER <= scrape.total("ldsync_buffered_bytes") < 1.5 * BUFFER
    # Whoever polls no more, or is no member any more, is told by these.
    assert (await process.ask("/healthz"))[0] == 200
    assert scrape.total("ldsync_rebalances_total") == 1
    assert await owners(deployment) == group
    assert [sorted(number for _, number in places) for places in group.values()] == [[0, 1]]
    consumed = scrape.total("ldsync_records_consumed_total")
    assert consumed < count / 4
    return consumed


async def owners(deployment: Deployment) -> dict[str, list[tuple[str, int]]]:
    """Who has which partitions, as the group says."""
    return await asyncio.to_thread(deployment.kafka.admin.group_members, deployment.group)


async def test_a_backlog_waits_in_the_topic_while_launchdarkly_is_away(
    deployment: Deployment,
) -> None:
    """Ten times the budget: it pauses, keeps its partitions, and delivers all of it afterwards."""
    count, audiences = 60_000, 8
    process = deployment.launch(SETTINGS)
    await process.until_ready()
    before = await peak(process)
    deployment.simulator.faults.add(AWAY)
    await deployment.produce(joins(count, audiences, tail=LONG_KEY))
    consumed = await live_through_an_outage(deployment, process, count)
    assert await peak(process) - before < HELD + FETCHED + WORKING

    deployment.simulator.faults.clear()
    # By retry.max_seconds (1 s) everything that waited has been tried again.
    await eventually(deployment.members, "the first members are delivered")
    await until_consumed(process, consumed + 1)
    await deployment.until_caught_up(PATIENCE)
    assert len(deployment.members()) == count
    assert await process.metric("ldsync_rebalances_total") == 1


async def test_very_many_audiences_count_though_each_has_one_change(
    deployment: Deployment,
) -> None:
    """A segment costs several times what a change does, and that is in the budget of bytes."""
    count = 40_000
    process = deployment.launch(SETTINGS)
    await process.until_ready()
    before = await peak(process)
    deployment.simulator.faults.add(AWAY)
    await deployment.produce(joins(count, count))
    consumed = await live_through_an_outage(deployment, process, count)
    assert await peak(process) - before < HELD + FETCHED + WORKING

    deployment.simulator.faults.clear()
    await until_consumed(process, consumed + 1)
    assert await process.metric("ldsync_rebalances_total") == 1
    assert await peak(process) - before < HELD + FETCHED + WORKING


@pytest.mark.parametrize("compression", ["none", "lz4"])
async def test_large_events_are_taken_a_few_at_a_time(
    deployment: Deployment, compression: str
) -> None:
    """Brokers count the bytes of a fetch as they are stored: compressed, all of these are one."""
    count, size = 200, 950_000
    process = deployment.launch(SETTINGS)
    await process.until_ready()
    before = await peak(process)
    deployment.simulator.faults.add(Fault(route="patch_segment", delay_seconds=0.5))
    # All of them are there when the first is fetched.
    process.signal(signal.SIGSTOP)
    produce, events = deployment.kafka.admin.produce, joins(count, 4, padding=size)
    await asyncio.to_thread(produce, deployment.topic, events, compression_type=compression)
    process.signal(signal.SIGCONT)
    await deployment.until_caught_up(PATIENCE)
    assert len(deployment.members()) == count
    assert await peak(process) - before < FETCHED + WORKING
