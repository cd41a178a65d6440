"""The worker when partitions come and go: flush, commit, fence, forget (R3, P6)."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from ldsync.demo.broker import Api, EmbeddedBroker, leader_syncs_last
from ldsync.demo.simulator import Fault
from ldsync.engage.decoder import Record
from ldsync.kafka.commits import CommitOutcome
from ldsync.sync.states import State
from tests.support.worker_rig import Hand, Rig, events_of, patches, people, rigged

UNKNOWN_MEMBER, REBALANCING = 25, 27
NEVER = 600.0  # seconds: nothing becomes due by itself
HELD = Fault(route="patch_segment", delay_seconds=float("inf"))
DOWN = Fault(route="* /api/v2/segments/*", status=503)


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


async def test_a_revocation_writes_and_commits_what_is_there(rig: Rig) -> None:
    """Nothing is left for the next owner to do again, whatever the age of batches."""
    hand = rig.work(max_age=NEVER)
    await rig.enter(*people(20), partition=0)
    await rig.enter(*people(20, first=20), partition=1)
    await hand.until_consumed(40)
    assert rig.sim.included("vip") == set()
    rig.broker.fail(Api.HEARTBEAT, REBALANCING)
    await hand.until(lambda: _rebalances(hand) == 2, "partitions are assigned again")
    assert rig.sim.included("vip") == set(people(40))
    await rig.until_settled()
    await hand.until(lambda: hand.states[-1] == "running", "it works again")
    assert hand.outcomes == {"delivered": 40}
    assert [each for each in hand.states if each != "starting"] == [
        *("joining", "warming", "running"),
        *("joining", "warming", "running"),
    ]


def _rebalances(hand: Hand) -> float:
    return hand.metric("ldsync_rebalances_total", kind="assigned")


async def test_a_second_member_takes_over_and_nothing_is_lost(rig: Rig) -> None:
    """Events go on while the group changes twice; the final state is the fold of all of them."""
    with leader_syncs_last():
        first = rig.work()
        await first.until_assigned(2)
        # Of one member all changes are in one partition, as on a topic keyed by user.
        for turn in range(3):
            await _traffic(rig, turn)
        second = rig.work()
        await second.until_assigned(1)
        for turn in range(3, 6):
            await _traffic(rig, turn)
        await rig.until_settled()
        await first.until_assigned(1)
        await first.stop()
        for turn in range(6, 9):
            await _traffic(rig, turn)
        await second.until_assigned(2)
        await rig.until_settled()
    assert second.parts.journal.consumed > 0


async def _traffic(rig: Rig, turn: int) -> None:
    for partition in (0, 1):
        await rig.enter(
            *people(50, first=1000 * partition), partition=partition, entered=turn % 2 == 0
        )


async def test_an_attempt_in_flight_at_the_end_of_an_epoch_settles_nothing(rig: Rig) -> None:
    """It is cancelled and not given back; its member waits its settle time and is written again."""
    number = rig.sim.faults.add(HELD)
    hand = rig.work(drain=0.3, timeout=5.0, settle=3.0)
    await rig.enter("a", "b")
    await rig.sim.log.until(lambda: rig.sim.faults.befallen(number) == 1)
    await rig.enter("c")
    await hand.until_consumed(3)
    with capture_logs() as logs:
        rig.broker.fail(Api.HEARTBEAT, REBALANCING)
        await hand.until(lambda: hand.outcomes.get("abandoned"), "the epoch has ended")
    assert hand.outcomes == {"abandoned": 3}
    assert [each["changes"] for each in events_of(logs, "changes.abandoned")] == [3]
    assert (await rig.committed()).get(0, 0) == 0
    await rig.sim.log.until(lambda: patches(rig.sim)[0].ended is not None)
    ended = patches(rig.sim)[0].ended
    rig.sim.faults.clear()
    await rig.until_settled()
    assert hand.outcomes == {"abandoned": 3, "delivered": 3}
    again = [each.exchange.arrived for each in rig.sim.log.writes("vip", "a")][1]
    assert ended is not None
    assert again - ended >= 2.9
    assert hand.parts.buffer.in_flight == 0


async def test_a_write_that_is_cancelled_before_it_begins_is_not_lost(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that never ran leaves no batch in flight, no member held back and no slot taken."""
    hand = rig.work(drain=0.1, settle=0.3)
    await hand.until_assigned(2)
    parts, offsets = hand.parts, hand.worker.offsets

    async def commit_until_a_batch_is_taken(*_: object, **_clean: bool) -> CommitOutcome:
        while not parts.buffer.in_flight:  # noqa: ASYNC110 - not a turn of the loop too late
            await asyncio.sleep(0)
        # The epoch ends in this very turn: the write has not begun.
        assert rig.sim.requests == []
        return CommitOutcome.FAILED

    parts.pacing.close_until(time.monotonic() + 1.0, "a test")
    await rig.enter("a")
    await hand.until_consumed(1)
    with monkeypatch.context() as patch:
        patch.setattr(offsets, "commit", commit_until_a_batch_is_taken)
        # As if it were taken in the turn in which the flush ended.
        patch.setattr("ldsync.sync.gate.Gate.close", lambda _: None)
        rig.broker.fail(Api.HEARTBEAT, REBALANCING)
        await hand.until(lambda: hand.outcomes.get("abandoned") == 1, "the epoch has ended")
    assert rig.sim.requests == []
    await rig.until_settled()
    assert rig.sim.included("vip") == {"a"}
    assert parts.buffer.in_flight == 0


async def test_a_lost_session_discards_instead_of_writing(rig: Rig) -> None:
    """P6: others may own the partitions already; they are consumed again by whoever does."""
    hand = rig.work(max_age=NEVER, max_size=30)
    await rig.enter(*people(20))
    await hand.until_consumed(20)
    rig.broker.fail(Api.HEARTBEAT, UNKNOWN_MEMBER)
    await hand.until(lambda: hand.outcomes.get("abandoned") == 20, "changes are abandoned")
    assert patches(rig.sim) == []
    await hand.until_consumed(40)
    await rig.enter(*people(10, first=20))
    await rig.until_settled()
    assert hand.outcomes == {"abandoned": 20, "delivered": 30}
    assert hand.metric("ldsync_rebalances_total", kind="lost") == 1


async def test_who_stood_still_writes_nothing_before_the_group_has_answered(rig: Rig) -> None:
    """R4: the batch was taken before; when the process wakes up others may own its partition."""
    number = rig.sim.faults.add(replace(HELD, route="get_segment"))
    hand = rig.work()
    await rig.enter("a")
    await rig.sim.log.until(lambda: rig.sim.faults.befallen(number) == 1)
    rig.broker.fail(Api.HEARTBEAT, UNKNOWN_MEMBER)
    time.sleep(1.4)  # noqa: ASYNC251 - a loop that stands still: longer than the lease
    rig.sim.faults.clear()
    await hand.until(lambda: hand.outcomes.get("abandoned"), "the epoch has ended")
    assert hand.outcomes == {"abandoned": 1}
    assert [each.route for each in rig.sim.requests if each.method != "GET"] == []
    await rig.until_settled()
    assert hand.outcomes == {"abandoned": 1, "delivered": 1}


async def test_a_stop_that_the_group_did_not_notice_costs_nothing(rig: Rig) -> None:
    """The next heartbeat renews the lease, and what waits is written."""
    hand = rig.work(kafka={"session_timeout_seconds": 6.0})
    await rig.enter("a")
    await rig.until_settled()
    hand.parts.lease.end()
    await rig.enter("b")
    await rig.until_settled()
    assert hand.outcomes == {"delivered": 2}
    assert hand.metric("ldsync_rebalances_total", kind="revoked") == 0


async def test_a_revocation_without_a_membership_does_not_wait_for_the_drain(rig: Rig) -> None:
    """The group no longer knows us when it should wait for us: nothing is flushed, all is left."""
    rig.sim.faults.add(DOWN)
    hand = rig.work(drain=6.0)
    await rig.enter("a")
    await hand.until(lambda: hand.metric("ldsync_segments_waiting") == 1, "the segment waits")
    rig.broker.fail(Api.HEARTBEAT, REBALANCING, UNKNOWN_MEMBER)
    began = time.monotonic()
    await hand.until(lambda: hand.outcomes.get("abandoned"), "the epoch has ended")
    assert time.monotonic() - began < 4.0
    rig.sim.faults.clear()
    await rig.until_settled()


async def test_a_revocation_in_an_outage_ends_in_time_and_loses_nothing(rig: Rig) -> None:
    """The group waits for a hand-over no longer than the drain may take."""
    rig.sim.faults.add(DOWN)
    hand = rig.work(drain=0.5)
    await rig.enter(*people(20))
    await hand.until_consumed(20)
    await hand.until(lambda: hand.metric("ldsync_segments_waiting") == 1, "the segment waits")
    rig.broker.fail(Api.HEARTBEAT, REBALANCING)
    await hand.until(lambda: hand.outcomes.get("abandoned") == 20, "changes are abandoned")
    assert 0.4 <= hand.metric("ldsync_drain_duration_seconds") < 2.0
    rig.sim.faults.clear()
    await rig.until_settled()


async def test_a_segment_does_not_wait_here_when_its_partitions_are_gone(rig: Rig) -> None:
    """What a replica lost is not its trouble any more; what went wrong last stays to be read."""
    rig.sim.faults.add(DOWN)
    hand = rig.work(drain=0.2)
    await rig.enter("a")
    await hand.until(lambda: hand.metric("ldsync_segments_waiting") == 1, "the segment waits")
    rig.broker.fail(Api.JOIN_GROUP, *[14] * 100)
    rig.broker.fail(Api.HEARTBEAT, REBALANCING)
    await hand.until(lambda: hand.worker.state is State.JOINING, "the partitions are gone")
    await hand.until(lambda: not hand.parts.buffer.in_flight, "nothing is in flight")
    assert hand.metric("ldsync_segments_waiting") == 0
    (row,) = hand.parts.journal.fortunes.rows({})
    assert (row["waiting"], row["attempts"]) == (False, 0)
    assert "503" in row["last_error"]
    rig.broker.clear_failures(Api.JOIN_GROUP)
    rig.sim.faults.clear()
    await rig.until_settled()


async def test_records_polled_before_a_revocation_do_not_enter_the_next_epoch(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rebalance amid a large poll: what of it was not taken in yet is consumed again."""
    monkeypatch.setattr("ldsync.kafka.chunks.RECORDS", 1)
    rig.sim.faults.add(DOWN)
    hand = rig.work(drain=0.1)
    await hand.until_assigned(2)
    read = hand.parts.decoder.read_all

    def slowly(records: Iterable[Record]) -> object:
        end = time.perf_counter() + 0.004
        while time.perf_counter() < end:
            pass
        return read(records)

    monkeypatch.setattr(hand.parts.decoder, "read_all", slowly)
    await rig.enter(*people(300), partition=0)
    await hand.until(lambda: hand.parts.journal.consumed, "the first of them is taken in")
    rig.broker.fail(Api.HEARTBEAT, REBALANCING)
    await hand.until(lambda: hand.outcomes.get("abandoned"), "the epoch has ended")
    monkeypatch.setattr(hand.parts.decoder, "read_all", read)
    abandoned = hand.outcomes["abandoned"]
    assert 1 <= abandoned < 300
    rig.sim.faults.clear()
    await rig.until_settled()
    assert hand.parts.journal.consumed == abandoned + 300
    assert hand.outcomes == {"abandoned": abandoned, "delivered": 300}


async def test_a_drain_during_a_revocation_ends_with_it(rig: Rig) -> None:
    """SIGTERM while the group waits for us: both flush, one of them empties the buffer for both."""
    number = rig.sim.faults.add(DOWN)
    hand = rig.work(drain=1.5)
    await rig.enter(*people(20))
    await hand.until_consumed(20)
    await rig.sim.log.until(lambda: rig.sim.faults.befallen(number) >= 1)
    rig.broker.fail(Api.HEARTBEAT, REBALANCING)
    await hand.until(lambda: hand.metric("ldsync_rebalances_total", kind="revoked") == 1, "revoked")
    started = asyncio.get_running_loop().time()
    await hand.stop()
    # Not one drain after the other, and no wait for a buffer that the revocation has emptied.
    assert asyncio.get_running_loop().time() - started < 2.5
    assert hand.worker.state is State.STOPPED
    rig.sim.faults.clear()
    rig.work()
    await rig.until_settled()


async def test_a_drain_ends_when_a_lost_session_leaves_nothing_to_write(rig: Rig) -> None:
    """The buffer is emptied by the end of the epoch, not by a write that lands."""
    hand = rig.work(max_age=NEVER, drain=15.0)
    await hand.until_assigned(2)
    hand.parts.pacing.close_until(time.monotonic() + 60.0, "a test")
    await rig.enter(*people(20))
    await hand.until_consumed(20)
    started = time.monotonic()
    hand.worker.stop()
    await hand.until(lambda: hand.worker.state is State.DRAINING, "it drains")
    rig.broker.fail(Api.HEARTBEAT, UNKNOWN_MEMBER)
    await hand.stop()
    assert time.monotonic() - started < 8.0
    assert hand.outcomes == {"abandoned": 20}
    rig.work()
    await rig.until_settled()


async def test_status_is_json_in_every_state_of_a_rebalance(rig: Rig) -> None:
    """Whoever asks amid a rebalance gets an answer."""
    hand = rig.work()
    seen = set()
    rig.broker.fail(Api.HEARTBEAT, 0, REBALANCING)

    def look() -> bool:
        status = hand.report.status()
        json.dumps(status)
        seen.add(status["state"])
        return _rebalances(hand) == 2

    await hand.until(look, "partitions are assigned again")
    assert {"joining", "running"} <= seen
