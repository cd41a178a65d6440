"""How the worker ends: in good order, in time, or with the reason of a crash."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from structlog.testing import capture_logs

from ldsync.demo.broker import Api, EmbeddedBroker
from ldsync.demo.simulator import Fault
from ldsync.kafka.errors import SourceFailed, SourceUnavailable
from ldsync.sync.states import State
from tests.support.worker_rig import LIMIT, Hand, Rig, events_of, patches, people, rigged

NEVER = 600.0
DOWN = Fault(route="* /api/v2/segments/*", status=503)
LATE = Fault(route="patch_segment", late_seconds=0.4, times=1)
GROUP_DENIED = 30


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


async def test_a_stop_writes_and_commits_everything_consumed(rig: Rig) -> None:
    """However young the batches are; over the budget as well."""
    hand = rig.work(max_age=NEVER, max_changes=100)
    await rig.enter(*people(50), audience="one")
    await rig.enter(*people(60), audience="two")
    await hand.until_consumed(110)
    assert patches(rig.sim) == []
    with capture_logs() as logs:
        await hand.stop()
    assert rig.is_settled
    assert await rig.committed() == {0: 110}
    assert hand.worker.state is State.STOPPED
    assert events_of(logs, "drain.complete")
    assert {entry["trigger"] for entry in events_of(logs, "batch.delivered")} == {"drain"}


async def test_an_incomplete_drain_ends_in_time_and_leaves_the_rest_to_the_next(rig: Rig) -> None:
    """With LaunchDarkly down it says so, commits nothing, and a second worker delivers."""
    rig.sim.faults.add(DOWN)
    hand = rig.work(drain=0.5)
    await rig.enter(*people(20))
    await hand.until_consumed(20)
    started = time.monotonic()
    with capture_logs() as logs:
        await hand.stop()
    assert time.monotonic() - started < 4.0
    (line,) = events_of(logs, "drain.incomplete")
    assert (line["log_level"], line["changes"]) == ("warning", 20)
    assert (await rig.committed()).get(0, 0) == 0
    rig.sim.faults.clear()
    second = rig.work()
    await rig.until_settled()
    assert second.outcomes == {"delivered": 20}


async def test_a_drain_waits_for_members_in_their_settle_time(rig: Rig) -> None:
    """R1 holds at the end too; a drain that has the time for it is complete."""
    rig.sim.faults.add(LATE)
    hand = rig.work(timeout=0.3, settle=0.7, drain=5.0)
    await rig.enter("a")
    await hand.until(lambda: hand.metric("ldsync_segments_waiting") == 1, "no answer")
    with capture_logs() as logs:
        await hand.stop()
    assert events_of(logs, "drain.complete")
    assert rig.sim.included("vip") == {"a"}
    assert await rig.committed() == {0: 1}


async def test_a_drain_does_not_wait_for_what_is_put_off_for_longer(rig: Rig) -> None:
    """As that of a segment which waits for a person: nobody gains, and neighbours would wait."""
    hand = rig.work(operator=3600.0, longest_operator=3600.0, drain=LIMIT + 10.0)
    rig.sim.faults.add(Fault(route="patch_segment", segment="vip", status=403))
    await rig.enter("a")
    await hand.until(lambda: hand.metric("ldsync_segments_waiting") == 1, "it waits")
    await rig.enter("neighbour", audience="other")
    await rig.write(b"no JSON")
    await hand.until_consumed(3)
    with capture_logs() as logs:
        await hand.stop()
    assert rig.sim.included("other") == {"neighbour"}
    (line,) = events_of(logs, "drain.incomplete")
    assert line["changes"] == 1
    assert len(await rig.letters()) == 1


async def test_a_stop_before_the_assignment_ends_at_once(rig: Rig) -> None:
    """Nothing was consumed, so there is nothing to wait for."""
    rig.broker.fail(Api.JOIN_GROUP, *[14] * 1000)
    hand = rig.work()
    await hand.until(lambda: hand.worker.turns, "the loops turn")
    started = time.monotonic()
    await hand.stop()
    assert time.monotonic() - started < 4.0
    assert hand.states == ["starting", "joining", "draining", "stopped"]


async def test_a_stop_while_brokers_are_waited_for_ends_at_once(
    rig: Rig,
) -> None:
    """The container is given 40 seconds; the start may take longer than that."""
    rig.broker.take_down()
    hand = rig.work(kafka={"start_timeout_seconds": 60.0})
    await hand.until(lambda: hand.worker.state is State.JOINING, "brokers are waited for")
    started = time.monotonic()
    await hand.stop()
    assert time.monotonic() - started < 2.0
    assert hand.worker.state is State.STOPPED
    rig.broker.bring_up()


async def test_brokers_that_are_never_there_end_the_worker(rig: Rig) -> None:
    """With the error that says why."""
    rig.broker.take_down()
    hand = rig.work(kafka={"start_timeout_seconds": 0.5})
    with pytest.raises(SourceUnavailable, match="cannot be reached"):
        await hand.task
    assert hand.worker.state is State.STOPPED
    rig.broker.bring_up()


async def test_a_stop_twice_is_one_stop(rig: Rig) -> None:
    """Whoever is impatient changes nothing here."""
    hand = rig.work()
    await rig.enter("a")
    await hand.until_consumed(1)
    hand.worker.stop()
    await hand.stop()
    assert rig.is_settled


async def test_a_worker_that_is_cancelled_leaves_nothing_running(rig: Rig) -> None:
    """With a write in flight: its batch is back in the buffer, and nothing was committed."""
    number = rig.sim.faults.add(Fault(route="patch_segment", delay_seconds=float("inf")))
    hand = rig.work()
    await rig.enter("a")
    await rig.sim.log.until(lambda: rig.sim.faults.befallen(number) == 1)
    hand.task.cancel()
    await asyncio.wait({hand.task}, timeout=LIMIT)
    assert hand.task.cancelled()
    assert hand.worker.state is State.STOPPED
    assert (hand.parts.buffer.in_flight, hand.parts.buffer.changes) == (0, 1)
    assert (await rig.committed()).get(0, 0) == 0


async def _failure(hand: Hand) -> BaseException:
    with pytest.raises(ExceptionGroup) as caught:
        await hand.task
    (error,) = caught.value.exceptions
    return error


async def test_a_source_that_fails_ends_the_worker_with_its_reason(rig: Rig) -> None:
    """Out of range, by default: the process ends instead of losing records unseen."""
    first = rig.work()
    await rig.enter(*people(5))
    await rig.until_settled()
    await first.stop()
    await rig.enter(*people(5, first=5))
    rig.broker.delete_records(rig.topic, 0, before_offset=8)
    second = rig.work()
    error = await _failure(second)
    assert isinstance(error, SourceFailed)
    assert "kafka.on_out_of_range" in str(error)
    assert second.worker.state is State.STOPPED
    assert await rig.committed() == {0: 5}


async def test_a_group_that_may_not_be_joined_ends_the_worker(rig: Rig) -> None:
    """What a poll raises is not swallowed by the loop."""
    rig.broker.fail(Api.JOIN_GROUP, GROUP_DENIED)
    error = await _failure(rig.work())
    assert isinstance(error, SourceFailed)
    assert "kafka.group_id" in str(error)


@pytest.mark.parametrize("where", ["write", "assigned", "revoked", "commit", "letters"])
async def test_a_defect_anywhere_ends_the_worker(
    rig: Rig, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No task and no callback dies unseen while the others go on as if nothing had happened."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a defect")

    hand = rig.work()
    await hand.until_assigned()
    match where:
        case "write":
            monkeypatch.setattr(hand.parts.journal, "delivered", fail)
            await rig.enter("a")
        case "assigned":
            monkeypatch.setattr(hand.worker.offsets, "begin", fail)
        case "revoked":
            monkeypatch.setattr(hand.worker.offsets, "revoke", fail)
        case "letters":
            monkeypatch.setattr(hand.parts.dead_letters, "_settle", fail)
            await rig.write(b"{")
        case "commit":
            monkeypatch.setattr(hand.worker.offsets, "measure", fail)
    if where in ("assigned", "revoked"):
        rig.broker.fail(Api.HEARTBEAT, 27)
    hand._observer.cancel()  # noqa: SLF001 - after a defect the books need not balance
    error = await _failure(hand)
    cause = error.__cause__ if isinstance(error, SourceFailed) else error
    assert isinstance(cause, ZeroDivisionError)
    rig.hands.remove(hand)
    await hand.client.close()
