"""The worker when more comes than LaunchDarkly takes: it pauses, remembers the newest, goes on."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from structlog.testing import capture_logs

from ldsync.demo.broker import EmbeddedBroker
from ldsync.demo.simulator import Fault
from ldsync.sync.states import State
from tests.support.worker_rig import Rig, events_of, patches, people, rigged

DOWN = Fault(route="* /api/v2/segments/*", status=503)


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """A cluster of one broker."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
async def rig(broker: EmbeddedBroker) -> AsyncIterator[Rig]:
    """A topic of one partition."""
    async with rigged(broker) as rig:
        yield rig


async def test_a_full_buffer_pauses_consumption_and_keeps_the_membership(rig: Rig) -> None:
    """P3: with LaunchDarkly down the buffer stays within its budget and one poll, for long."""
    rig.sim.faults.add(DOWN)
    hand = rig.work(max_changes=100, kafka={"max_poll_records": 50})
    with capture_logs() as logs:
        for first in range(0, 1000, 100):
            await rig.enter(*people(100, first))
        await hand.until(lambda: hand.worker.state is State.PAUSED, "consumption is paused")
        consumed = hand.parts.journal.consumed
        polls = hand.worker.turns["ingest"]
        # Longer than the session (1.5 s): who did not poll and heartbeat would be thrown out.
        await asyncio.sleep(2.0)
    assert hand.parts.journal.consumed == consumed <= 150
    assert hand.worker.turns["ingest"] > polls + 1.5
    assert hand.metric("ldsync_rebalances_total", kind="assigned") == 1
    assert hand.metric("ldsync_consumer_paused") == 1
    assert hand.metric("ldsync_pauses_total") == 1
    assert len(events_of(logs, "consumption.paused")) == 1

    rig.sim.faults.clear()
    await rig.until_settled()
    await hand.until(lambda: hand.worker.state is State.RUNNING, "consumption goes on")
    assert hand.most <= 150
    assert hand.metric("ldsync_consumer_paused") == 0
    assert hand.outcomes == {"delivered": 1000}


async def test_consumption_goes_on_with_hysteresis(rig: Rig) -> None:
    """Not at the first change below the limit, but at four fifths of it."""
    held = rig.sim.faults.add(Fault(route="patch_segment", skip=1, delay_seconds=float("inf")))
    rig.sim.faults.add(Fault(route="patch_segment", segment="two", delay_seconds=float("inf")))
    hand = rig.work(max_changes=100, max_size=10, timeout=30.0, settle=31.0)
    await rig.write(
        *[rig.event(user, audience="one") for user in people(20)],
        *[rig.event(user, audience="two") for user in people(80)],
        *[rig.event(user, audience="three") for user in people(5)],
    )
    # Of "one" ten are in; everything else waits for an answer or behind it.
    await hand.until(lambda: rig.sim.included("one") == set(people(10)), "a first batch")
    await hand.until(lambda: rig.sim.faults.befallen(held) >= 2, "the others hang")
    assert hand.parts.buffer.changes == 95
    await rig.enter("late", audience="four")
    await hand.until(lambda: hand.worker.state is State.PAUSED, "still paused at 95 of 100")
    assert hand.parts.journal.consumed == 105
    rig.sim.faults.clear()
    await rig.until_settled()
    assert hand.states.count("paused") == 1


async def test_a_flood_of_changes_of_few_members_coalesces(rig: Rig) -> None:
    """An outage costs memory per member, not per event; afterwards few requests are enough."""
    number = rig.sim.faults.add(DOWN)
    hand = rig.work(max_changes=500)
    for turn in range(20):
        await rig.enter(*people(100), entered=turn % 2 == 0)
    await hand.until_consumed(2000)
    await rig.sim.log.until(lambda: rig.sim.faults.befallen(number) >= 2)
    assert hand.most <= 200  # what waits, and what is in flight
    assert hand.worker.state is State.RUNNING
    rig.sim.faults.clear()
    await rig.until_settled()
    assert rig.sim.included("vip") == set()
    assert hand.outcomes == {"delivered": 100, "coalesced": 1900}
    assert len([each for each in patches(rig.sim) if each.status == 200]) == 1


async def test_many_segments_due_at_once_do_not_wait_for_a_timer(rig: Rig) -> None:
    """A slot that becomes free is used at once, also when all become free in one turn."""
    gate = rig.sim.faults.add(Fault(route="patch_segment", delay_seconds=float("inf")))
    hand = rig.work(max_in_flight=4)
    audiences = [f"a{number}" for number in range(16)]
    await rig.write(*[rig.event("u", audience=audience) for audience in audiences])
    await rig.sim.log.until(lambda: rig.sim.faults.befallen(gate) == 4)
    rig.sim.faults.clear()
    await hand.until(lambda: len(patches(rig.sim)) == 16, "all segments are written")
    times = sorted(each.arrived for each in patches(rig.sim))
    # The fallback of the flush task is a look around every second.
    assert times[-1] - times[4] < 0.9
    await rig.until_settled()


async def test_a_batch_is_written_when_it_is_old_enough(rig: Rig) -> None:
    """Not at the next look around: the flush task sleeps exactly until something is due."""
    hand = rig.work(max_age=0.05)
    waited = 0.0
    for number in range(4):
        await rig.enter(f"u-{number}")
        await hand.until_consumed(number + 1)
        consumed = time.monotonic()
        await rig.sim.log.until(lambda: len(rig.sim.included("vip")) == number + 1)  # noqa: B023
        waited += time.monotonic() - consumed
    assert waited < 2.0
