"""Replicas with instance ids: restarted, stopped for good, killed, and two with one id."""

import asyncio
import json
import signal
import time
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

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

PARTITIONS = 4
SESSION, SETTLE = 6.0, 4.0  # as in QUICK
START = datetime.now(UTC) - timedelta(minutes=30)

# A wait that no test would outlast: who writes has taken over from one that left in order.
SETTLES_LATE: Tables = {"ordering": {"settle_seconds": 300}}


@pytest.fixture
async def deployment(real_kafka: RealKafka, tmp_path: Path) -> AsyncIterator[Deployment]:
    """A topic of some partitions and a LaunchDarkly that behaves."""
    async with deployed(real_kafka, tmp_path, PARTITIONS) as deployment:
        yield deployment


def member(instance_id: str, settings: Tables | None = None) -> Tables:
    """Settings of a replica with this instance id."""
    own: Tables = {"kafka": {"group_instance_id": instance_id}, "batch": {"max_age_seconds": 0.2}}
    return merged(own, settings or {})


async def say(deployment: Deployment, minute: int, users: int = 40, *, entered: bool) -> set[str]:
    """Write an event of that time for so many users, in all partitions; return who they are."""
    names = {f"user-{number}" for number in range(users)}
    when = START + timedelta(minutes=minute)
    await deployment.produce(
        (name.encode(), json.dumps(engage_event(name, "vip", entered, when)).encode())
        for name in sorted(names)
    )
    return names


async def two_replicas(deployment: Deployment) -> list[LdsyncProcess]:
    """Two that share the partitions and have delivered something."""
    replicas = []
    for name in ("pod-0", "pod-1"):
        replicas.append(deployment.launch(member(name, SETTLES_LATE)))
        await replicas[-1].until_ready()

    async def shared() -> bool:
        admin = deployment.kafka.admin
        members = await asyncio.to_thread(admin.group_members, deployment.group)
        return sorted(map(len, members.values())) == [2, 2]

    await eventually(shared, "each has two partitions")
    await say(deployment, 1, entered=True)
    await deployment.until_caught_up()
    return replicas


async def test_a_restart_within_the_session_is_no_rebalance_for_the_others(
    deployment: Deployment,
) -> None:
    """First the one that leads the group, then the other; the new lives take over in order (R2)."""
    replicas = await two_replicas(deployment)
    for number, minute in ((0, 2), (1, 3)):
        other = replicas[1 - number]
        before = await other.metric("ldsync_rebalances_total")
        replicas[number].signal(signal.SIGTERM)
        assert await replicas[number].exit_code() == 0
        await say(deployment, minute, entered=minute % 2 == 1)
        replicas[number] = deployment.launch(member(f"pod-{number}", SETTLES_LATE))
        await replicas[number].until_ready()
        await deployment.until_caught_up()
        assert await other.metric("ldsync_rebalances_total") == before
        scrape = await replicas[number].scrape()
        assert scrape.total("ldsync_rebalances_total", kind="assigned") == 1
        assert scrape.total("ldsync_records_total", outcome="delivered") > 0
    assert deployment.members() == {("vip", f"user-{number}") for number in range(40)}
    assert [(await each.scrape()).unexplained() for each in replicas] == [0, 0]
    assert all("group.static_member" in each.output for each in deployment.processes)


async def test_who_is_stopped_for_good_is_followed_when_its_session_is_over(
    deployment: Deployment,
) -> None:
    """Nobody leaves the group: the partitions wait for a session, and then go in order."""
    gone, stays = await two_replicas(deployment)
    before = await stays.metric("ldsync_rebalances_total")
    gone.signal(signal.SIGTERM)
    assert await gone.exit_code() == 0
    ended = time.monotonic()
    users = await say(deployment, 2, entered=False)
    await deployment.until_caught_up()
    assert time.monotonic() - ended > SESSION / 2  # the last heartbeat was a little before
    assert await stays.metric("ldsync_rebalances_total") > before
    assert deployment.members() == set()
    assert len(users) == 40
    assert (await stays.scrape()).unexplained() == 0


async def test_what_a_killed_process_had_sent_does_not_win_over_the_next_of_its_id(
    real_kafka: RealKafka, tmp_path: Path
) -> None:
    """It comes back at once, and waits for a session more than another would (R2, R4)."""
    async with deployed(real_kafka, tmp_path, 1) as deployment:
        fault = Fault(route="patch_segment", late_seconds=3.0, times=1)
        late = deployment.simulator.faults.add(fault)
        killed = deployment.launch(member("pod-0"))
        await killed.until_ready()
        await say(deployment, 1, 1, entered=True)
        await eventually(lambda: deployment.simulator.faults.befallen(late), "it sends a request")
        killed.kill()
        await say(deployment, 2, 1, entered=False)
        launched = time.monotonic()
        deployment.launch(member("pod-0"))
        await deployment.until_caught_up()
        (applied, written) = deployment.simulator.log.writes("vip", "user-0")
        assert applied.exchange.applied is not None
        assert written.exchange.arrived > applied.exchange.applied
        assert written.exchange.arrived > launched + SESSION + SETTLE
        assert deployment.members() == set()


async def test_two_processes_with_one_id_do_no_harm_and_say_so(deployment: Deployment) -> None:
    """They evict each other until one of them ends; then everything is as it should be."""
    one = deployment.launch(member("pod-0"))
    await one.until_ready()
    await say(deployment, 1, entered=True)
    await deployment.until_caught_up()
    twin = deployment.launch(member("pod-0"))
    await say(deployment, 2, entered=False)

    async def said() -> bool:
        return all("group.instance_id_contested" in each.output for each in (one, twin))

    await eventually(said, "both name the likely cause", 60)
    written = len(list(deployment.simulator.log.writes()))
    evictions = await one.metric("ldsync_rebalances_total", kind="lost")
    await say(deployment, 3, 20, entered=True)

    async def evicted_again() -> bool:
        return await one.metric("ldsync_rebalances_total", kind="lost") >= evictions + 3

    await eventually(evicted_again, "it is evicted again and again")
    assert len(list(deployment.simulator.log.writes())) == written
    twin.signal(signal.SIGTERM)
    assert await twin.exit_code() == 0
    await deployment.until_caught_up()
    assert deployment.members() == {("vip", f"user-{number}") for number in range(20)}
    assert deployment.overlapping_patches() == []
    assert (await one.scrape()).unexplained() == 0
