"""The worker between a broker and LaunchDarkly: what becomes of records, and of what goes wrong."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from ldsync.demo.broker import EmbeddedBroker
from ldsync.demo.simulator import Answer, Fault
from ldsync.launchdarkly.environment import Found
from tests.support.eventually import eventually
from tests.support.worker_rig import Rig, events_of, patches, people, rigged


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """A cluster of one broker."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
async def rig(broker: EmbeddedBroker) -> AsyncIterator[Rig]:
    """A topic of one partition, and a LaunchDarkly that behaves."""
    async with rigged(broker) as rig:
        yield rig


async def test_an_event_reaches_the_segment_and_its_offset_is_committed(rig: Rig) -> None:
    """The whole way: the segment is created, the member is in, the offset is behind the record."""
    hand = rig.work()
    await rig.enter("u-1")
    await rig.until_settled()
    assert rig.sim.included("vip") == {"u-1"}
    assert await rig.committed() == {0: 1}
    assert hand.outcomes == {"delivered": 1}


async def test_nothing_is_written_before_the_environment_is_found(rig: Rig) -> None:
    """Records are consumed and wait; as soon as it is known where to, they are delivered."""
    hand = rig.work(resolved=False)
    await rig.enter("u-1", "u-2")
    await hand.until_consumed(2)
    await rig.enter("u-1", entered=False)
    await hand.until_consumed(3)
    assert rig.sim.requests == []
    assert hand.outcomes == {"coalesced": 1}
    hand.parts.environment.resolve(Found("p", "e"))
    await rig.until_settled()
    assert rig.sim.included("vip") == {"u-2"}


async def test_a_dry_run_does_everything_but_write_and_commit(rig: Rig) -> None:
    """Segments are looked up for real; what would be sent is logged and counted."""
    rig.sim.create_segment("theirs")
    before = (await rig.committed(), await rig.marks())
    with capture_logs() as logs:
        hand = rig.work(dry_run=True, kafka={"first_start": "earliest"})
        await rig.enter("u-1", "u-2")
        await rig.enter("u-1", entered=False)
        await rig.enter("u-1", audience="theirs")
        await hand.until(lambda: hand.outcomes.get("delivered", 0) >= 2, "all is pretended")
        await hand.until(lambda: events_of(logs, "batch.retry"), "one may not be adopted")
        await hand.stop()
    assert rig.sim.state() == {"theirs": {}}
    assert {each.method for each in rig.sim.requests} == {"GET"}
    assert (await rig.committed(), await rig.marks()) == before
    not_sent = events_of(logs, "launchdarkly.not_sent")
    assert [each["method"] for each in not_sent][:2] == ["POST", "PATCH"]
    assert not_sent[1]["path"] == "/api/v2/segments/p/e/vip"
    patches_kept = {
        "method": "PATCH",
        "route": "/api/v2/segments/{projectKey}/{environmentKey}/{segmentKey}",
    }
    assert hand.metric("ldsync_launchdarkly_dry_run_requests_total", **patches_kept) >= 1
    assert hand.metric("ldsync_commits_total", outcome="committed") == 0
    assert "u-1" not in repr(not_sent)


async def test_records_that_change_nothing_never_block_the_commit(rig: Rig) -> None:
    """Ignored, skipped and invalid records are passed over, each with one outcome and reason."""
    hand = rig.work()
    with capture_logs() as logs:
        await rig.write(b"{", b"5", None, b'{"type": "page"}', rig.event(" "), b"{", rig.event("a"))
        await rig.write(b"{")
        await rig.until_settled()
    assert rig.sim.included("vip") == {"a"}
    assert hand.outcomes == {"invalid": 4, "ignored": 2, "skipped": 1, "delivered": 1}
    assert hand.parts.journal.outcomes["invalid", "bad_json"] == 3
    said = [entry["reason"] for entry in events_of(logs, "record.invalid")]
    assert sorted(said) == ["bad_json", "not_an_object"]


async def test_a_record_of_several_events_delivers_all_of_them(rig: Rig) -> None:
    """An array: it is one record with one outcome, also where something in it is invalid (P7)."""
    hand = rig.work()
    events = b",".join(rig.event(name) for name in ("a", "b", "c"))
    await rig.write(b"[" + events + b", 5]", b"[" + rig.event("d") + b', {"type": "page"}]')
    await hand.until(lambda: hand.outcomes.get("delivered") == 2, "both are delivered")
    assert rig.sim.included("vip") == {"a", "b", "c", "d"}
    assert hand.outcomes == {"delivered": 2}
    assert hand.parts.journal.consumed == 2


RETRY_SOON = {
    "X-Ratelimit-Reset": None,
    "X-Ratelimit-Auth-Token-Reset": None,
    "Retry-After": "0.1",
}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param(Fault(status=503), "server_error", id="503"),
        pytest.param(Fault(status=429, headers=RETRY_SOON), "rate_limited", id="429"),
        pytest.param(Fault(status=409, code="optimistic_locking_error"), "conflict", id="409"),
        pytest.param(Fault(answer=Answer.RESET), "connection", id="reset"),
        pytest.param(Fault(answer=Answer.HANG), "timeout", id="hang"),
    ],
)
async def test_a_failed_batch_is_given_back_and_the_newest_change_wins(
    rig: Rig, fault: Fault, reason: str
) -> None:
    """What arrives while attempts fail is what the next one carries; nothing is lost."""
    number = rig.sim.faults.add(replace(fault, route="patch_segment"))
    hand = rig.work(timeout=0.4, settle=0.6)
    await rig.enter("a", "b")
    await rig.sim.log.until(lambda: rig.sim.faults.befallen(number) >= 1)
    await rig.enter("a", entered=False)
    await rig.enter("c")
    await hand.until_consumed(4)
    before = hand.metric("ldsync_retries_total", reason=reason)
    await hand.until(
        lambda: hand.metric("ldsync_retries_total", reason=reason) > before, "a failure since"
    )
    rig.sim.faults.clear()
    await rig.until_settled()
    assert rig.sim.included("vip") == {"b", "c"}
    assert hand.outcomes == {"delivered": 3, "coalesced": 1}


async def test_a_member_of_an_ambiguous_attempt_waits_its_settle_time(rig: Rig) -> None:
    """R1: the lost request takes effect late, and the newer change of its member comes after it."""
    rig.sim.faults.add(Fault(route="patch_segment", late_seconds=0.5, times=1))
    rig.work(timeout=0.3, settle=2.0)
    await rig.enter("a")
    await rig.sim.log.until(lambda: len(patches(rig.sim)) == 1)
    first = patches(rig.sim)[0]
    await rig.enter("a", entered=False)
    await rig.enter("b")
    await rig.until_settled()
    writes = list(rig.sim.log.writes("vip", "a"))
    assert first.late
    # Counted from when it was sent, which was a little before it arrived.
    assert writes[1].exchange.arrived - first.arrived >= 1.9
    assert next(iter(rig.sim.log.writes("vip", "b"))).exchange.arrived - first.arrived < 1.9
    assert rig.sim.included("vip") == {"b"}


async def test_writes_of_one_segment_never_overlap_under_faults(rig: Rig) -> None:
    """P4: `rigged` looks at the log; here are many batches, slow answers, losses and conflicts."""
    rig.sim.faults.add(Fault(route="patch_segment", skip=1, times=2, answer_delay_seconds=0.1))
    rig.sim.faults.add(Fault(route="patch_segment", times=2, late_seconds=0.2))
    rig.sim.faults.add(Fault(route="patch_segment", times=3, status=502))
    rig.sim.faults.add(Fault(route="patch_segment", times=2, answer=Answer.RESET))
    rig.work(max_size=10, timeout=0.3, settle=0.6)
    for turn in range(4):
        await rig.enter(*people(60), audience="vip", entered=turn % 2 == 0)
        await rig.enter(*people(60), audience="other", entered=turn % 2 == 1)
    await rig.until_settled()
    assert len(patches(rig.sim)) >= 12


@pytest.mark.parametrize("status", [503, 403])
async def test_a_failing_segment_does_not_stop_others(rig: Rig, status: int) -> None:
    """P5: one segment fails, or is forbidden, for ever; a hundred others do not notice."""
    rig.sim.faults.add(Fault(route="patch_segment", segment="bad", status=status))
    hand = rig.work(max_in_flight=2)
    await rig.enter("a", audience="bad")
    audiences = [f"good_{number}" for number in range(100)]
    await rig.write(*[rig.event("a", audience=audience) for audience in audiences])
    await hand.until(
        lambda: all(rig.sim.included(audience) for audience in audiences), "all others"
    )
    assert rig.sim.included("bad") == set()
    # The record of the bad one is the first: nothing may be committed.
    assert (await rig.committed()).get(0, 0) == 0
    assert hand.metric("ldsync_segments_waiting") == 1
    rig.sim.faults.clear()
    await rig.until_settled()
    assert hand.metric("ldsync_segments_waiting") == 0


async def test_segments_that_hang_leave_half_of_the_slots_to_the_others(rig: Rig) -> None:
    """P5: after their first attempt, however many they are, and until they are written again."""
    ill = [f"ill-{number}" for number in range(6)]
    for segment in ill:
        rig.sim.faults.add(Fault(route="patch_segment", segment=segment, answer=Answer.HANG))
    hand = rig.work(max_in_flight=4, timeout=0.5, settle=0.6)
    for segment in ill:
        await rig.enter("u-1", audience=segment)
    # Without others that are accepted there would soon be one request at a time.
    users = iter(people(1_000))
    while min(len(patches(rig.sim, segment)) for segment in ill) < 5:
        user = next(users)
        await rig.enter(user, audience="well")
        await hand.until(lambda user=user: user in rig.sim.included("well"), "one more is in")
    repeats = [each for segment in ill for each in patches(rig.sim, segment)[1:]]
    for repeat in repeats:
        at_the_same_time = [
            each
            for each in repeats
            if each.arrived <= repeat.arrived
            and (each.ended is None or each.ended > repeat.arrived)
        ]
        assert len(at_the_same_time) <= 2
    rig.sim.faults.clear()
    await rig.until_settled()


async def test_a_member_that_launchdarkly_refuses_is_found_and_counted(rig: Rig) -> None:
    """By halving: it is rejected alone, the others are delivered, and the commit goes on."""
    rig.sim.faults.add(Fault(route="patch_segment", member="poison", status=400))
    hand = rig.work()
    with capture_logs() as logs:
        await rig.enter(*people(40), "poison", *people(40, first=40))
        await hand.until(lambda: rig.sim.included("vip") == set(people(80)), "the others are in")
        await hand.until(lambda: hand.parts.buffer.empty, "all has an outcome")
        await _until_committed(rig, 81)
    assert hand.outcomes == {"delivered": 80, "rejected": 1}
    assert hand.metric("ldsync_rejected_changes_total", reason="bad_request") == 1
    (line,) = events_of(logs, "batch.rejected")
    assert (line["rejected"], line["members"]) == (1, ["user/poison"])


async def _until_committed(rig: Rig, offset: int) -> None:
    async def committed() -> bool:
        return await rig.committed() == {0: offset}

    await eventually(committed, f"offset {offset} is committed", limit=10.0)


async def test_a_refused_token_stops_everything_and_then_all_is_delivered(rig: Rig) -> None:
    """401 closes the gate for every segment, for longer each time, until the token is accepted."""
    rig.sim.token = "another"
    hand = rig.work(operator=0.1, longest_operator=0.8)
    with capture_logs() as logs:
        await rig.enter(*people(10), audience="one")
        await rig.enter(*people(10), audience="two")
        await hand.until(lambda: len(_waits(logs)) >= 8, "refusals of both segments")
    pacing = hand.parts.pacing
    assert "401" in pacing.reason
    assert hand.parts.buffer.changes == 20
    waits = _waits(logs)
    assert waits[0] <= 0.1 < max(waits)
    arrivals = [each.arrived for each in rig.sim.requests]
    # Two segments at a time at the most: no storm of requests while nobody may write.
    assert len(arrivals) <= 2 * len(waits)
    assert hand.metric("ldsync_segments_waiting") == 2
    rig.sim.token = "api-worker-test"
    await rig.until_settled()
    assert hand.outcomes == {"delivered": 20}
    assert hand.metric("ldsync_segments_waiting") == 0


def _waits(logs: Iterable[Mapping[str, Any]]) -> list[float]:
    return [entry["wait_seconds"] for entry in events_of(logs, "batch.retry")]
