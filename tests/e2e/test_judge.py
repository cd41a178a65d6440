"""The main job under the worst that operations do to it, judged from outside.

100,000 events of 20 audiences over six partitions keyed by user, two processes of one group; one is
killed and replaced, the other restarted, while events keep coming and LaunchDarkly answers slowly.
What must hold is told in `tests/support/judge.py`.
"""

import asyncio
import itertools
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from ldsync.demo.simulator import Fault
from tests.support import judge
from tests.support.deployment import Deployment, deployed
from tests.support.eventually import eventually
from tests.support.ldsync_process import LdsyncProcess
from tests.support.offsets_topic import OFFSETS_TOPIC, commits
from tests.support.real_kafka import RealKafka
from tests.support.traffic import Record, back_and_forth, entering

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

EVENTS, PARTITIONS, AUDIENCES, USERS = 100_000, 6, 20, 1_500
TAIL = 3_000  # events of these that are written in a transaction, last
RATE = 7_000  # events a second: long enough for everything to happen while they come
# Small batches and frequent commits: many moments at which something could be lost.
SETTINGS = {
    "batch": {"max_size": 300, "max_age_seconds": 0.3},
    "kafka": {"max_poll_records": 1000, "commit_interval_seconds": 0.3},
}


async def test_a_killed_and_a_restarted_process_lose_nothing(
    real_kafka: RealKafka, tmp_path: Path
) -> None:
    """The end state is the fold of the topic and no commit ever passed an unsettled event."""
    # The broker's own append times, so that all times of the audit are of one clock.
    config = {"message.timestamp.type": "LogAppendTime"}
    async with deployed(real_kafka, tmp_path, PARTITIONS, config) as deployment:
        clock_offset = time.time() - time.monotonic()
        deployment.simulator.faults.add(Fault(route="patch_segment", answer_delay_seconds=0.03))
        survivors = await _live_through_it(deployment)
        await deployment.until_caught_up()
        await _account_for_everything(survivors)
        for process in survivors:
            process.signal(signal.SIGTERM)
        assert [await process.exit_code() for process in survivors] == [0, 0]
        clock_drift = abs(time.time() - time.monotonic() - clock_offset)

        admin = real_kafka.admin
        records = await asyncio.to_thread(admin.read, deployment.topic)
        kept = await asyncio.to_thread(admin.read, OFFSETS_TOPIC)
        changes = judge.read_changes(records)
        passed = commits(kept, deployment.group, deployment.topic)
        assert len(records) == EVENTS
        assert deployment.members() ^ judge.fold(changes) == set()
        verdict = judge.audit(
            changes, deployment.writes(clock_offset), passed, slack=clock_drift + 0.001
        )
        assert verdict.violations == []
        assert deployment.overlapping_patches() == []
        # The audit saw enough: commits all along, and most changes settled by their own delivery.
        assert len(passed) > 10 * PARTITIONS
        assert verdict.delivered > EVENTS / 4
        assert verdict.delivered > 4 * verdict.superseded


async def _live_through_it(deployment: Deployment) -> list[LdsyncProcess]:
    """Write all events while one process is killed and replaced and the other one restarted."""
    killed, restarted = deployment.launch(SETTINGS), deployment.launch(SETTINGS)
    for process in (killed, restarted):
        await process.until_ready()
    events = back_and_forth(EVENTS, users=USERS, audiences=AUDIENCES)
    production = asyncio.create_task(
        deployment.produce(_paced(itertools.islice(events, EVENTS - TAIL)))
    )
    await _until_committed(deployment, EVENTS * 0.2)
    killed.kill()
    replacement = deployment.launch(SETTINGS)
    await _until_committed(deployment, EVENTS * 0.5)
    restarted.signal(signal.SIGTERM)
    assert await restarted.exit_code() == 0
    successor = deployment.launch(SETTINGS)
    await production
    for process in (replacement, successor):
        await process.until_ready()
    # The log ends with control records, which no consumer sees: they must not look like lag.
    admin, topic = deployment.kafka.admin, deployment.topic
    aborted = entering(500, "audience_of_aborted_transactions")
    await asyncio.to_thread(admin.produce_transaction, topic, aborted, commit=False)
    await asyncio.to_thread(admin.produce_transaction, topic, events)
    return [replacement, successor]


async def _until_committed(deployment: Deployment, total: float) -> None:
    async def reached() -> bool:
        return sum((await deployment.committed()).values()) >= total

    await eventually(reached, f"{total:.0f} records are committed", 90)


async def _account_for_everything(processes: list[LdsyncProcess]) -> None:
    """P7: every record that a process consumed has exactly one outcome, and none is pending."""
    scrapes = [await process.scrape() for process in processes]
    for scrape in scrapes:
        assert scrape.total("ldsync_records_consumed_total") > 0
        assert scrape.total("ldsync_records_pending") == 0
        assert scrape.unexplained() == 0
        assert scrape.total("ldsync_records_total", outcome="rejected") == 0
    for outcome in ("ignored", "invalid", "coalesced", "delivered"):
        seen = sum(scrape.total("ldsync_records_total", outcome=outcome) for scrape in scrapes)
        assert seen > 0, outcome


def _paced(records: Iterable[Record]) -> Iterator[Record]:
    """The records at `RATE` a second, in steps of a twentieth."""
    started = time.monotonic()
    for number, record in enumerate(records):
        if number % (RATE // 20) == 0:
            time.sleep(max(0.0, started + number / RATE - time.monotonic()))
        yield record
