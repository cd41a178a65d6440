"""Thousands of parked changes and their replay, on a real Apache Kafka."""

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from ldsync.demo.simulator import Fault
from tests.support.real_kafka import RealKafka
from tests.support.worker_rig import Rig, events_of, people, rigged

pytestmark = pytest.mark.broker

COUNT = 6_000


@pytest.fixture
async def rig(real_kafka: RealKafka) -> AsyncIterator[Rig]:
    """A topic of three partitions, whose dead-letter topic ldsync makes."""
    async with rigged(real_kafka, partitions=3, dead_letters=False) as rig:
        yield rig


@pytest.mark.timeout(300)
async def test_what_was_parked_of_a_segment_is_there_when_it_recovers(rig: Rig) -> None:
    """Others go on meanwhile; the newest wins, whether it was parked, waiting or came later."""
    number = rig.sim.faults.add(
        Fault(route="patch_segment", segment="vip", status=403, message="approval is required")
    )
    hand = rig.work(
        max_changes=8_000,
        dead_letters={"timeout_seconds": 20.0},
        kafka={"session_timeout_seconds": 30.0},
    )
    with capture_logs() as logs:
        for place in range(3):
            users = people(COUNT // 3, first=place * COUNT // 3)
            await rig.enter(*users, partition=place)
        await hand.until(lambda: rig.sim.faults.befallen(number) >= 1, "the segment fails")
        await rig.enter("neighbour", audience="other")
        parked = "ldsync_parked_changes_total"
        await hand.until(lambda: hand.metric(parked) >= 3_000, "most of it is parked", 60.0)
        await hand.until(lambda: hand.parts.dead_letters.empty, "the letters are safe", 60.0)
        assert rig.sim.included("other") == {"neighbour"}
        await rig.enter(*people(COUNT)[::10], entered=False)
        rig.sim.faults.remove(number)
        await hand.until(lambda: events_of(logs, "segment.recovered"), "it is well", 60.0)
    await rig.until_settled(60.0)
    assert rig.sim.included("vip") == set(people(COUNT)) - set(people(COUNT)[::10])
    assert hand.metric("ldsync_segments_diverged") == 0
    (line,) = events_of(logs, "segment.recovered")
    assert line["replayed"] == hand.metric(parked)
