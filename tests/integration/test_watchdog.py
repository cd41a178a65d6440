"""The watchdog: a worker that consumes nothing although there is lag is ended."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from structlog.testing import capture_logs

from ldsync.demo.broker import Api, EmbeddedBroker
from ldsync.demo.simulator import Fault
from ldsync.sync.states import State
from ldsync.watchdog import Stalled, Watchdog
from tests.support.worker_rig import Hand, Rig, events_of, people, rigged

LIMIT = 300.0
NOT_LEADER = 6
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


def watching(hand: Hand) -> Watchdog:
    """A watchdog of that worker."""
    return Watchdog(hand.worker, hand.parts.journal, LIMIT)


async def stuck(rig: Rig, hand: Hand) -> None:
    """Let the client fetch nothing any more, without a word, while records come."""
    await hand.until(lambda: hand.worker.state is State.RUNNING, "it works")
    rig.broker.fail(Api.FETCH, *[NOT_LEADER] * 100_000)
    await rig.enter(*people(5))
    await hand.until(lambda: sum(hand.worker.offsets.lags.values()) == 5, "it lags behind")


async def test_a_client_that_fetches_nothing_is_found_out(rig: Rig) -> None:
    """Not before the time is over; where everything stands is in the log."""
    hand = rig.work()
    await stuck(rig, hand)
    watchdog = watching(hand)
    watchdog.look(1000.0)
    watchdog.look(1000.0 + LIMIT - 1)
    with capture_logs() as logs, pytest.raises(Stalled, match="5 records behind"):
        watchdog.look(1000.0 + LIMIT)
    stacks = [line["stack"] for line in events_of(logs, "watchdog.stack")]
    assert any("_ingest" in stack for stack in stacks)
    assert any("watchdog.py" in stack for stack in stacks)


async def test_progress_and_an_empty_topic_keep_it_quiet(rig: Rig) -> None:
    """Without lag there is nothing to do."""
    hand = rig.work()
    watchdog = watching(hand)
    for turn in range(3):
        watchdog.look(1000.0 * turn)
        await rig.enter(f"u-{turn}")
        await rig.until_settled()
    watchdog.look(5000.0)
    watchdog.look(9000.0)


async def test_an_outage_of_launchdarkly_is_no_reason(rig: Rig) -> None:
    """A full buffer pauses consumption, for as long as it takes."""
    rig.sim.faults.add(DOWN)
    hand = rig.work(max_changes=10)
    await rig.enter(*people(10))
    await hand.until(lambda: hand.worker.state is State.PAUSED, "consumption is paused")
    await rig.enter(*people(10, first=10))
    await hand.until(lambda: sum(hand.worker.offsets.lags.values()) == 10, "it lags behind")
    watchdog = watching(hand)
    watchdog.look(1000.0)
    watchdog.look(1000.0 + 10 * LIMIT)


async def test_it_looks_by_itself(rig: Rig) -> None:
    """Often enough to be in time."""
    hand = rig.work()
    await stuck(rig, hand)
    async with asyncio.timeout(5.0):
        with pytest.raises(Stalled):
            await Watchdog(hand.worker, hand.parts.journal, 0.2).run()
