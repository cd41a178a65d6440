"""Order within one process: whatever way events arrive, the newest of each member wins (P2)."""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from ldsync.demo.broker import EmbeddedBroker
from tests.support.traffic import engage_event
from tests.support.worker_rig import Rig, rigged

IN, OUT = True, False
YEARS = 40 * 365 * 86400.0


class Sent(NamedTuple):
    """An event of the one member: its partition, its time in seconds from now, and which way."""

    partition: int
    seconds: float
    entered: bool

    def value(self, now: datetime) -> bytes:
        """The value of its record."""
        moment = now + timedelta(seconds=self.seconds)
        return json.dumps(engage_event("a", "vip", self.entered, moment)).encode()


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """A cluster of one broker."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
async def rig(broker: EmbeddedBroker) -> AsyncIterator[Rig]:
    """A topic of two partitions."""
    async with rigged(broker, partitions=2) as rig:
        yield rig


@pytest.mark.parametrize("flushed", [False, True], ids=["in_one_batch", "across_flushes"])
@pytest.mark.parametrize(
    ("events", "included"),
    [
        pytest.param([Sent(0, -10, OUT), Sent(0, -20, IN)], OUT, id="late_in_its_partition"),
        pytest.param([Sent(0, -10, IN), Sent(1, -20, OUT)], IN, id="late_in_another_partition"),
        pytest.param([Sent(1, -20, OUT), Sent(0, -10, IN)], IN, id="in_order_over_partitions"),
        pytest.param(
            [Sent(0, -10, OUT), Sent(0, -20, IN), Sent(1, -15, IN)], OUT, id="two_late_ones"
        ),
        pytest.param([Sent(0, -10, IN)] * 3, IN, id="duplicates"),
        pytest.param(
            [Sent(0, -20, IN), Sent(0, -10, OUT), Sent(0, -20, IN)], OUT, id="a_replay_of_an_older"
        ),
        pytest.param([Sent(0, -10, IN), Sent(0, -10, OUT)], OUT, id="equal_times_last_comes_out"),
        pytest.param([Sent(0, -10, OUT), Sent(0, -10, IN)], IN, id="equal_times_last_comes_in"),
        pytest.param([Sent(0, YEARS, IN), Sent(0, 50, OUT)], OUT, id="a_clock_far_ahead"),
        pytest.param([Sent(0, 30, IN), Sent(0, 20, OUT)], IN, id="a_clock_a_little_ahead"),
    ],
)
async def test_the_newest_event_wins(
    rig: Rig, events: list[Sent], *, included: bool, flushed: bool
) -> None:
    """One that is far ahead of its record counts as of its record's time, not for ever."""
    hand = rig.work()
    now = datetime.now(UTC)
    for number, event in enumerate(events):
        await rig.write(event.value(now), partition=event.partition)
        if flushed:
            await hand.until_consumed(number + 1)
            await hand.until(lambda: hand.parts.buffer.empty, "it is written")
    await rig.until_settled()
    assert rig.sim.included("vip") == ({"a"} if included else set())
    assert sum(hand.outcomes.values()) == len(events)
