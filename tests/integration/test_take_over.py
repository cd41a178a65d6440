"""Taking partitions over: the first write waits, unless the last owner left them clean (R2)."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from ldsync.demo.broker import Api, EmbeddedBroker
from ldsync.demo.simulator import Fault
from ldsync.kafka.take_over import CLEAN
from ldsync.sync.gate import Held
from tests.support.worker_rig import Hand, Rig, patches, people, rigged

REBALANCING = 27
DENIED = 29
NEVER = 600.0  # seconds: longer than anything here is waited for
BOTH_CLEAN, NO_MARKS = {0: CLEAN, 1: CLEAN}, {0: "", 1: ""}
HELD = Fault(route="patch_segment", delay_seconds=float("inf"))


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """A cluster of one broker."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
async def rig(broker: EmbeddedBroker) -> AsyncIterator[Rig]:
    """A topic of two partitions, of a group that never committed anything."""
    async with rigged(broker, partitions=2, clean=False) as rig:
        yield rig


async def held(hand: Hand) -> None:
    """Wait until records come and the take-over holds the writes back."""
    await hand.until(
        lambda: hand.worker.gate.held(time.monotonic()) is Held.TAKE_OVER, "writes are held"
    )


async def test_the_first_write_of_a_group_waits_and_everything_else_goes_on(rig: Rig) -> None:
    """Somebody may have written and died before the first commit: without one there is no mark."""
    await rig.enter(*people(3))
    hand = rig.work(settle=1.5)
    await hand.until_assigned(2)
    assigned = time.monotonic()
    await hand.until_consumed(3)
    await held(hand)
    assert hand.metric("ldsync_writes_held", reason="take_over") == 1
    assert hand.report.status()["buffer"]["writes_held"] == "take_over"
    await rig.until_settled()
    assert patches(rig.sim)[0].arrived - assigned > 1.3
    assert hand.metric("ldsync_writes_held", reason="take_over") == 0
    assert await rig.marks() == NO_MARKS


async def test_who_leaves_in_order_leaves_a_mark_and_the_next_need_not_wait(rig: Rig) -> None:
    """A restart costs no wait; the mark goes before the first write, and comes back at the end."""
    await rig.leave_clean()
    for turn in range(3):
        hand = rig.work(settle=NEVER, timeout=5.0)
        await hand.until_assigned(2)
        await rig.enter(*people(5, first=5 * turn), partition=turn % 2)
        await rig.until_settled()
        assert await rig.marks() == NO_MARKS
        await hand.stop()
        assert await rig.marks() == BOTH_CLEAN
    assert len(rig.sim.included("vip")) == 15


async def test_a_rebalance_costs_no_wait_either(rig: Rig) -> None:
    """It takes all partitions and gives them back: the drain leaves them clean."""
    await rig.leave_clean()
    hand = rig.work(settle=NEVER, timeout=5.0)
    await rig.enter("a")
    await rig.until_settled()
    rig.broker.fail(Api.HEARTBEAT, REBALANCING)
    await hand.until(
        lambda: hand.metric("ldsync_rebalances_total", kind="assigned") == 2, "assigned again"
    )
    await rig.enter("b", partition=1)
    await rig.until_settled()


async def test_nothing_is_written_while_the_marks_cannot_be_removed(rig: Rig) -> None:
    """Who wrote and died now would leave a mark that is not true."""
    await rig.leave_clean()
    await rig.enter("a")
    rig.broker.fail(Api.OFFSET_COMMIT, *[DENIED] * 2)
    hand = rig.work(settle=NEVER, timeout=5.0)
    await hand.until_assigned(2)
    await hand.until(lambda: "warming" in hand.states, "it is taking over")
    while await rig.marks() != NO_MARKS:
        assert hand.parts.journal.consumed == 0
        assert patches(rig.sim) == []
        await asyncio.sleep(0.05)
    await rig.until_settled()
    assert hand.outcomes == {"delivered": 1}


async def test_after_a_crash_the_next_owner_waits(rig: Rig) -> None:
    """What died had removed the marks, and its last request may still be under way."""
    await rig.leave_clean()
    crashed = rig.work(settle=NEVER, timeout=5.0)
    await rig.enter("a")
    await rig.until_settled()
    crashed.task.cancel()
    await asyncio.wait({crashed.task})
    assert await rig.marks() == NO_MARKS
    await rig.enter("b")
    following = rig.work(settle=NEVER, timeout=5.0)
    await held(following)
    await following.until_consumed(1)
    assert rig.sim.included("vip") == {"a"}


async def test_one_partition_without_a_mark_makes_all_wait(rig: Rig) -> None:
    """Its members may have changes in the others; the marks that are there are removed."""
    await rig.leave_clean(partitions=1)
    await rig.enter("a")
    hand = rig.work(settle=NEVER, timeout=5.0)
    await held(hand)
    assert await rig.marks() == {0: ""}


@pytest.mark.parametrize("reason", ["in_flight", "waiting"])
async def test_who_leaves_something_on_its_way_leaves_no_mark(rig: Rig, reason: str) -> None:
    """A request without an answer, or a member that still waits for the end of one (R1)."""
    await rig.leave_clean()
    number = rig.sim.faults.add(HELD)
    hand = rig.work(settle=NEVER, drain=0.4, timeout=0.3 if reason == "waiting" else 5.0)
    await rig.enter("a")
    await rig.sim.log.until(lambda: rig.sim.faults.befallen(number) == 1)
    if reason == "waiting":
        await hand.until(lambda: hand.metric("ldsync_retries_total", reason="timeout"), "a failure")
    await hand.stop()
    assert await rig.marks() == NO_MARKS


async def test_who_leaves_before_its_own_wait_is_over_leaves_no_mark(rig: Rig) -> None:
    """What was sent before it came may still be applied after it has gone."""
    hand = rig.work(settle=NEVER)
    await held(hand)
    await hand.stop()
    assert set((await rig.marks()).values()) <= {""}


async def test_who_leaves_before_it_took_over_leaves_the_marks_alone(rig: Rig) -> None:
    """It has written nothing: what the last owner said of itself is still true."""
    await rig.leave_clean()
    rig.broker.fail(Api.OFFSET_FETCH, *[14] * 1000)
    hand = rig.work(settle=NEVER)
    await hand.until_assigned(2)
    await hand.stop()
    rig.broker.clear_failures(Api.OFFSET_FETCH)
    assert await rig.marks() == BOTH_CLEAN
