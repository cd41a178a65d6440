"""An upgrade: three replicas are restarted one after the other while events keep coming."""

import asyncio
import itertools
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ldsync.demo.simulator import Fault
from tests.support import judge
from tests.support.deployment import Deployment, deployed
from tests.support.eventually import eventually
from tests.support.ldsync_process import LdsyncProcess
from tests.support.offsets_topic import OFFSETS_TOPIC, commits
from tests.support.real_kafka import RealKafka
from tests.support.traffic import Record, entering

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

REPLICAS, PARTITIONS, AUDIENCES = 3, 6, 5
RATE = 1_500  # events a second, until all are restarted
SETTINGS = {
    "batch": {"max_size": 300, "max_age_seconds": 0.3},
    "kafka": {"max_poll_records": 500, "commit_interval_seconds": 0.3},
}


def events(stop: asyncio.Event) -> Iterator[Record]:
    """Events of ever new members at `RATE` a second: every write but one of a member is a repeat.

    Called in a thread; ends soon after `stop` is set, at the latest after two minutes.
    """
    started = time.monotonic()
    streams = [entering(120 * RATE // AUDIENCES, f"audience_{each}") for each in range(AUDIENCES)]
    for number, record in enumerate(itertools.chain.from_iterable(zip(*streams, strict=True))):
        if number % (RATE // 20) == 0:
            time.sleep(max(0.0, started + number / RATE - time.monotonic()))
            if stop.is_set():
                return
        yield record


async def test_a_rolling_restart_loses_nothing_and_repeats_only_what_a_drain_left(
    real_kafka: RealKafka, tmp_path: Path
) -> None:
    """Each replica ends with 0; where all drains were complete nothing is written twice."""
    config = {"message.timestamp.type": "LogAppendTime"}
    async with deployed(real_kafka, tmp_path, PARTITIONS, config) as deployment:
        clock_offset = time.time() - time.monotonic()
        deployment.simulator.faults.add(Fault(route="patch_segment", answer_delay_seconds=0.03))
        replicas = [deployment.launch(SETTINGS) for _ in range(REPLICAS)]
        for replica in replicas:
            await replica.until_ready()
        stop = asyncio.Event()
        production = asyncio.create_task(deployment.produce(events(stop)))
        try:
            replicas = [await _restarted(deployment, replica) for replica in replicas]
        finally:
            stop.set()
            produced = await production
        await deployment.until_caught_up()
        await _nothing_is_lost(deployment, clock_offset)
        for replica in replicas:
            assert (await replica.scrape()).unexplained() == 0
        repeats = _repeats(deployment)
        left = sum(each.output.count("drain.incomplete") for each in deployment.processes)
        abandoned = sum("changes.abandoned" in each.output for each in deployment.processes)
        assert produced > 3 * RATE
        assert left or abandoned or not repeats, f"{len(repeats)} repeats of {produced}"
        assert len(repeats) < produced / 10


async def _restarted(deployment: Deployment, replica: LdsyncProcess) -> LdsyncProcess:
    """End a replica that has work to do, in order, and put a new one in its place."""

    async def at_work() -> bool:
        return await replica.metric("ldsync_records_total", outcome="delivered") > 0

    await eventually(at_work, "it delivers", 60)
    replica.signal(signal.SIGTERM)
    assert await replica.exit_code(30) == 0
    successor = deployment.launch(SETTINGS)
    await successor.until_ready(60)
    return successor


async def _nothing_is_lost(deployment: Deployment, clock_offset: float) -> None:
    admin = deployment.kafka.admin
    changes = judge.read_changes(await asyncio.to_thread(admin.read, deployment.topic))
    kept = await asyncio.to_thread(admin.read, OFFSETS_TOPIC)
    assert deployment.members() ^ judge.fold(changes) == set()
    drift = abs(time.time() - time.monotonic() - clock_offset)
    passed = commits(kept, deployment.group, deployment.topic)
    verdict = judge.audit(changes, deployment.writes(clock_offset), passed, slack=drift + 0.001)
    assert verdict.violations == []
    assert verdict.delivered == len(changes)
    assert deployment.overlapping_patches() == []


def _repeats(deployment: Deployment) -> dict[judge.Member, int]:
    """Members that were written more than once, and how often."""
    written = Counter(each.member for each in deployment.writes(0.0))
    return {member: times for member, times in written.items() if times > 1}
