"""A segment that alone cannot be written: what it holds too much or too long is parked."""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from ldsync.demo.broker import Api, EmbeddedBroker
from ldsync.demo.simulator import Fault
from tests.support.traffic import engage_event
from tests.support.worker_rig import Hand, Rig, events_of, people, rigged

NOT_ENOUGH_REPLICAS, REBALANCING = 19, 27
REFUSED = [NOT_ENOUGH_REPLICAS] * 100_000
FORBIDDEN = Fault(route="patch_segment", segment="vip", status=403, message="not you")
APPROVAL = Fault(
    route="patch_segment", segment="vip", status=403, message="approval is required for this"
)


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


async def left_alone(rig: Rig, hand: Hand, *users: str, fault: Fault = FORBIDDEN) -> int:
    """Have a segment fail, another one be served, and the first fail again: it is alone."""
    number = rig.sim.faults.add(fault)
    await rig.enter(*users)
    await rig.sim.log.until(lambda: rig.sim.faults.befallen(number) >= 1)
    await rig.enter("neighbour", audience="other")
    await hand.until(lambda: rig.sim.included("other") == {"neighbour"}, "another is served")
    tried = rig.sim.faults.befallen(number)
    await rig.sim.log.until(lambda: rig.sim.faults.befallen(number) > tried)
    return number


def event_of(user: str, moment: datetime) -> bytes:
    """An event that lets its user in."""
    return json.dumps(engage_event(user, "vip", True, moment)).encode()


def parked(hand: Hand) -> float:
    """How many changes were parked."""
    return hand.metric("ldsync_parked_changes_total")


async def test_beyond_a_quarter_of_the_budget_the_oldest_changes_are_parked(rig: Rig) -> None:
    """P5: they are dead letters with what LaunchDarkly said, and the rest is kept."""
    hand = rig.work(max_changes=120, max_size=10)
    with capture_logs() as logs:
        await left_alone(rig, hand, *people(30), fault=APPROVAL)
        await hand.until(lambda: parked(hand) == 10, "what is too much is parked")
        await hand.until(lambda: hand.parts.dead_letters.empty, "it is safe")
    letters = await rig.letters()
    found = [{name: text.decode() for name, text in each.headers} for each in letters]
    assert {each["ldsync-member"] for each in found} == {f"user/{name}" for name in people(10)}
    assert {each["ldsync-reason"] for each in found} == {"parked"}
    assert {each["ldsync-segment"] for each in found} == {"vip"}
    assert all("bypassRequiredSegmentApproval" in each["ldsync-detail"] for each in found)
    assert hand.parts.buffer.changes == 20
    assert hand.outcomes == {"rejected": 10, "delivered": 1}
    assert hand.metric("ldsync_records_total", outcome="rejected", reason="parked") == 10
    assert hand.metric("ldsync_rejected_changes_total", reason="parked") == 0
    assert hand.metric("ldsync_segments_diverged") == 1
    (line,) = events_of(logs, "segment.parked")
    assert (line["segment"], line["changes"]) == ("vip", 10)
    row = hand.report.status()["segments"][0]
    assert (row["key"], row["parked"], row["waiting"]) == ("vip", 10, True)
    assert row["waiting_since"] is not None
    assert "parked" in row["diverged"]


async def test_changes_that_waited_too_long_are_parked_and_new_ones_are_tried(rig: Rig) -> None:
    """The segment goes on being probed, and what came since is written when it recovers."""
    hand = rig.work(park_after=1.0)
    await left_alone(rig, hand, *people(5))
    await hand.until(lambda: parked(hand) == 5, "what is too old is parked")
    await rig.until_committed(6)
    with capture_logs() as logs:
        await rig.enter("young")
        await hand.until(lambda: events_of(logs, "batch.retry"), "it is tried")


async def test_a_segment_that_recovers_gets_what_was_parked(rig: Rig) -> None:
    """R9: also when no other change comes that could show that it is well again."""
    hand = rig.work(park_after=1.0)
    number = await left_alone(rig, hand, *people(5))
    await hand.until(lambda: parked(hand) == 5, "what is too old is parked")
    await rig.until_committed(6)
    assert hand.metric("ldsync_segments_diverged") == 1
    with capture_logs() as logs:
        rig.sim.faults.remove(number)
        await rig.until_settled()
        await hand.until(lambda: events_of(logs, "segment.recovered"), "it is well")
    assert rig.sim.included("vip") == set(people(5))
    (line,) = events_of(logs, "segment.recovered")
    assert (line["segment"], line["replayed"]) == ("vip", 5)
    assert hand.metric("ldsync_segments_diverged") == 0
    assert hand.metric("ldsync_replayed_changes_total") == 5
    assert hand.report.status()["segments"][0]["diverged"] == ""
    await hand.until(lambda: hand.parts.dead_letters.empty, "that is written down")
    values = [dict(each.headers)["ldsync-value"] for each in await rig.letters()]
    assert values.count(b"original") == 5
    assert set(values) == {b"original", b"marker"}


async def test_what_came_while_a_change_was_parked_wins_over_its_replay(rig: Rig) -> None:
    """P2: in any order of arrival, and of two with the same version the later one."""
    hand = rig.work(park_after=1.0, max_size=10)
    older = rig.event("late", entered=False)
    tie = rig.event("tie")
    await left_alone(rig, hand, "left", "stays", "late")
    await rig.write(tie)
    await hand.until(lambda: parked(hand) == 4, "what is too old is parked")
    await rig.enter("left", entered=False)
    await rig.write(older)
    await rig.write(tie.replace(b'"vip": true', b'"vip": false'))
    consumed = "ldsync_records_consumed_total"
    await hand.until(lambda: hand.metric(consumed, topic=rig.topic) == 8, "they are consumed")
    with capture_logs() as logs:
        rig.sim.faults.clear()
        await hand.until(lambda: events_of(logs, "segment.recovered"), "it is well")
    await rig.until_settled()
    assert rig.sim.included("vip") == {"stays", "late"}


async def test_a_replay_wins_over_what_was_as_new_but_came_before(rig: Rig) -> None:
    """P2: of two with the same version the later arrival wins, also if it was never tried."""
    hand = rig.work(max_changes=8, max_size=2)
    tie = rig.event("tie")
    await rig.write(tie)
    await rig.until_settled()
    number = await left_alone(rig, hand, "a")
    gone = tie.replace(b'"vip": true', b'"vip": false')
    await rig.write(rig.event("b"), gone, rig.event("c"), rig.event("d"))
    await hand.until(lambda: parked(hand) >= 4, "what is too much is parked")
    rig.sim.faults.remove(number)
    await rig.until_settled()
    assert rig.sim.included("vip") == {"a", "b", "c", "d"}


async def test_a_segment_that_fails_again_during_its_replay_is_replayed_later(rig: Rig) -> None:
    """Nothing is lost, and nothing counts as well before it is."""
    hand = rig.work(park_after=1.0, max_size=2)
    number = await left_alone(rig, hand, *people(9))
    await hand.until(lambda: parked(hand) == 9, "what is too old is parked")
    again = rig.sim.faults.add(
        Fault(route="patch_segment", segment="vip", status=403, skip=3, times=4)
    )
    with capture_logs() as logs:
        rig.sim.faults.remove(number)
        await hand.until(lambda: events_of(logs, "segment.recovered"), "it is well", 40.0)
    assert rig.sim.faults.befallen(again) == 4
    assert rig.sim.included("vip") == set(people(9))
    await rig.until_settled()


async def test_a_change_older_than_the_horizon_stays_parked(rig: Rig) -> None:
    """R9: what was newer may be forgotten, and the topic does not reach back; all that is told."""
    hand = rig.work(park_after=1.0, max_entries=2)
    number = await left_alone(rig, hand, "old")
    await hand.until(lambda: parked(hand) == 1, "what is too old is parked")
    await hand.until(lambda: hand.parts.dead_letters.empty, "it is safe")
    rig.broker.delete_records(rig.topic, 0, 1)
    with capture_logs() as logs:
        rig.sim.faults.remove(number)
        await rig.write(event_of("new", datetime.now(UTC)))
        await hand.until(lambda: events_of(logs, "segment.replayed"), "it is tried")
    (line,) = events_of(logs, "segment.replayed")
    assert (line["replayed"], line["left"]) == (0, 1)
    assert hand.metric("ldsync_records_total", outcome="skipped", reason="older_than_horizon") >= 1
    assert hand.metric("ldsync_segments_diverged") == 1
    assert "older_than_horizon" in hand.report.status()["segments"][0]["diverged"]
    assert rig.sim.included("vip") == {"new"}


async def test_a_segment_of_which_all_is_parked_and_old_is_tried_with_hindsight(rig: Rig) -> None:
    """R9: nothing else would ever show it well; what came later is read before, as for a replay."""
    hand = rig.work(park_after=1.0, max_entries=2)
    number = await left_alone(rig, hand, "old", "older")
    await hand.until(lambda: parked(hand) == 2, "what is too old is parked")
    with capture_logs() as logs:
        await hand.until(lambda: events_of(logs, "replay.looked_back"), "it is asked what is newer")
        tried = rig.sim.faults.befallen(number)
        await rig.sim.log.until(lambda: rig.sim.faults.befallen(number) > tried)
        rig.sim.faults.remove(number)
        await hand.until(lambda: events_of(logs, "segment.recovered"), "it is well")
    await rig.until_settled()
    assert rig.sim.included("vip") == {"old", "older"}


async def test_without_replays_a_segment_stays_diverged(rig: Rig) -> None:
    """The operator wants to look first."""
    hand = rig.work(park_after=1.0, dead_letters={"replay_on_recovery": False})
    number = await left_alone(rig, hand, "a")
    await hand.until(lambda: parked(hand) == 1, "what is too old is parked")
    rig.sim.faults.remove(number)
    await rig.enter("b")
    await hand.until(lambda: rig.sim.included("vip") == {"b"}, "it is written again")
    await rig.until_committed(3)
    assert hand.metric("ldsync_segments_diverged") == 1
    assert hand.metric("ldsync_replayed_changes_total") == 0


async def test_whoever_owns_the_partition_after_a_revocation_finds_what_was_parked(
    rig: Rig,
) -> None:
    """P6: the owner of before forgets it; the letters stay where they are."""
    hand = rig.work(park_after=1.0, dead_letters={"replay_on_recovery": False})
    number = await left_alone(rig, hand, "a")
    await hand.until(lambda: parked(hand) == 1, "what is too old is parked")
    await rig.until_committed(2)
    rig.broker.fail(Api.HEARTBEAT, REBALANCING)
    with capture_logs() as logs:
        await hand.until(lambda: hand.metric("ldsync_segments_diverged") == 0, "it is forgotten")
        rig.sim.faults.remove(number)
        await rig.enter("b")
        await rig.until_committed(3)
        await hand.until(lambda: events_of(logs, "dead_letters.recalled"), "it is found")
    assert rig.sim.included("vip") == {"b"}
    assert len(await rig.letters()) == 1
    assert hand.metric("ldsync_segments_diverged") == 1


async def test_when_everything_fails_nothing_is_parked_and_consumption_pauses(rig: Rig) -> None:
    """P3: everything waits, in memory and in Kafka, for LaunchDarkly to come back."""
    hand = rig.work(max_changes=40, max_size=10, park_after=0.2, kafka={"max_poll_records": 10})
    await rig.enter("neighbour", audience="other")
    await rig.until_committed(1)
    number = rig.sim.faults.add(Fault(route="patch_segment", status=503))
    for first in range(0, 80, 10):
        await rig.enter(*people(5, first), audience="vip")
        await rig.enter(*people(5, first), audience="other")
    await hand.until(lambda: hand.worker.state.value == "paused", "consumption pauses")
    await rig.sim.log.until(lambda: rig.sim.faults.befallen(number) > 60)
    assert hand.worker.state.value == "paused"
    assert parked(hand) == 0
    rig.sim.faults.clear()
    await rig.until_settled()
    assert parked(hand) == 0
    assert await rig.letters() == []
    assert hand.metric("ldsync_segments_diverged") == 0


async def test_without_dead_letters_nothing_is_parked(rig: Rig) -> None:
    """There is no place for it: the segment holds what it has."""
    hand = rig.work(max_changes=40, max_size=10, park_after=0.1, dead_letters={"enabled": False})
    number = await left_alone(rig, hand, *people(20))
    tried = rig.sim.faults.befallen(number)
    await rig.sim.log.until(lambda: rig.sim.faults.befallen(number) > tried + 2)
    assert parked(hand) == 0
    assert hand.parts.buffer.changes == 20
    rig.sim.faults.clear()
    await rig.until_settled()


async def test_parked_changes_that_are_not_safe_yet_hold_the_commit(rig: Rig) -> None:
    """P1: the topic of dead letters cannot be written for a while."""
    hand = rig.work(park_after=4.0, dead_letters={"timeout_seconds": 0.5})
    await left_alone(rig, hand, *people(5))
    assert parked(hand) == 0
    rig.broker.fail(Api.PRODUCE, *REFUSED)
    await hand.until(lambda: hand.parts.buffer.changes == 0, "they are parked")
    await hand.until(lambda: hand.metric("ldsync_dead_letter_failures_total") >= 1, "not safe")
    assert (await rig.committed()).get(0, 0) == 0
    rig.broker.clear_failures(Api.PRODUCE)
    await rig.until_committed(6)
    assert len(await rig.letters()) == 5


async def test_a_segment_that_was_deleted_and_made_again_is_diverged(rig: Rig) -> None:
    """Who was in it before is not: status and metric say so until the process ends."""
    hand = rig.work()
    await rig.enter("before")
    await rig.until_committed(1)
    rig.sim.environment.delete_segment("vip")
    await rig.enter("after")
    await hand.until(lambda: rig.sim.included("vip") == {"after"}, "it is made again")
    await rig.until_committed(2)
    assert hand.metric("ldsync_segments_diverged") == 1
    (row,) = hand.report.status()["segments"]
    assert row["parked"] == 0
    assert "deleted in LaunchDarkly and created again" in row["diverged"]


async def test_what_waits_for_a_person_is_tried_when_the_person_says_so(rig: Rig) -> None:
    """A segment, and everything: neither waits for an hour then."""
    hand = rig.work(operator=3600.0, longest_operator=3600.0)
    for status in (403, 401):
        number = rig.sim.faults.add(Fault(route="patch_segment", status=status))
        await rig.enter(f"u-{status}")
        await hand.until(lambda: hand.metric("ldsync_segments_waiting") == 1, "it waits")
        rig.sim.faults.remove(number)
        hand.worker.hurry()
        await rig.until_settled()
