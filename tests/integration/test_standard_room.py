"""Standard segments are finite: what becomes of a batch when the 15,000 targets are used up.

Against the simulator on a real socket, which refuses a patch that would exceed them.
"""

import pytest

from ldsync.demo.simulator import Fault
from ldsync.demo.simulator.membership import Action, Change
from ldsync.launchdarkly.outcome import Delivered, Patience, Rejected, Retry, RetryReason, Scope
from ldsync.launchdarkly.writers.room import MAX_TARGETS
from ldsync.launchdarkly.writers.sides import ExitAction
from tests.support.standard_writer import VERSION, Desk, desk, ins, outs, users

PATCH = "patch_segment"


def fill(here: Desk, count: int, excluded: int = 0) -> list[str]:
    """A segment that holds so many users, and excludes so many organisations."""
    segment = here.sim.create_segment("vip", tags=["ldsync"])
    held = users(count)
    segment.write_members([Change(Action.INCLUDE, "user", held)], now_ms=0)
    segment.write_members([Change(Action.EXCLUDE, "org", users(excluded))], now_ms=0)
    return held


def full(here: Desk) -> float:
    """The gauge of segments without room."""
    return here.metrics.registry.get_sample_value("ldsync_segments_full") or 0.0


async def test_a_full_segment_waits_and_rejects_nobody() -> None:
    """Known from the look-up: the API is not asked to refuse. Who leaves is removed."""
    async with desk() as here:
        held = fill(here, MAX_TARGETS - 10, excluded=2)
        outcome = await here.waits(ins(*users(30, first=MAX_TARGETS)) | outs(*held[:5]))
        assert (outcome.reason, outcome.scope, outcome.patience) == (
            RetryReason.SEGMENT_FULL,
            Scope.SEGMENT,
            Patience.TRANSIENT,  # removals go on, and they make room
        )
        assert "15,017" in outcome.detail
        assert 'write_path = "big"' in outcome.detail
        assert here.included() == set(held[5:])
        assert here.routes == ["get_segment", "get_segment", PATCH]
        assert {each.status for each in here.sim.requests} == {200}
        assert full(here) == 1


async def test_a_full_segment_goes_on_when_there_is_room_again() -> None:
    """Whoever makes it: members that leave, or a person."""
    async with desk() as here:
        held = fill(here, MAX_TARGETS)
        await here.waits(ins("new"))
        assert full(here) == 1
        here.sim.segments["vip"].write_members([Change(Action.REMOVE, "user", held[:1])], now_ms=0)
        assert await here.write(ins("new")) == Delivered()
        assert here.included() == {"new", *held[1:]}
        assert full(here) == 0


async def test_a_batch_that_only_joins_a_full_segment_sends_nothing() -> None:
    """There is nothing that could be written."""
    async with desk() as here:
        fill(here, MAX_TARGETS)
        assert (await here.waits(ins("new"))).reason is RetryReason.SEGMENT_FULL
        assert here.writes == 0


async def test_a_segment_that_fills_up_is_known_to_be_full_from_replies() -> None:
    """Each reply shows all targets; nothing is looked up far from the limit."""
    async with desk() as here:
        for first in range(0, 13_500, 1_500):
            assert await here.write(ins(*users(1_500, first))) == Delivered()
        assert here.routes == ["get_segment", "create_segment"] + [PATCH] * 9
        assert await here.write(ins(*users(1_400, 13_500))) == Delivered()
        outcome = await here.waits(ins(*users(200, 14_900)) | outs(*users(10)))
        assert outcome.reason is RetryReason.SEGMENT_FULL
        assert len(here.included()) == 14_890
        assert 400 not in {each.status for each in here.sim.requests}


async def test_a_segment_that_someone_else_fills_is_found_full_when_it_refuses() -> None:
    """Replies are of the past; the first refusal is looked into before anybody is suspected."""
    async with desk() as here:
        assert await here.write(ins("u-1", "u-2")) == Delivered()
        others = [f"x-{number}" for number in range(MAX_TARGETS - 2)]
        segment = here.sim.segments["vip"]
        segment.write_members([Change(Action.INCLUDE, "user", others)], now_ms=0)
        outcome = await here.waits(ins("u-3", "u-4") | outs("u-1"))
        assert outcome.reason is RetryReason.SEGMENT_FULL
        assert here.included() == {"u-2", *others}
        assert here.routes[2:] == [PATCH, PATCH, "get_segment", PATCH]


async def test_a_segment_with_just_enough_room_is_not_full() -> None:
    """Members that are in already need no room, and those that leave make some."""
    async with desk() as here:
        held = fill(here, MAX_TARGETS)
        changes = ins(*held[:100], "new-1", "new-2") | outs(*held[200:202])
        assert await here.write(changes) == Delivered()
        here.sim.faults.add(Fault(route=PATCH, member=held[0], status=400))
        assert isinstance(await here.write(ins(*held[:4])), Rejected)


async def test_room_is_counted_over_all_context_kinds() -> None:
    """15,000 is the limit of the segment, not of a kind."""
    async with desk() as here:
        segment = here.sim.create_segment("vip", tags=["ldsync"])
        segment.write_members([Change(Action.INCLUDE, "user", users(8_000))], now_ms=0)
        segment.write_members([Change(Action.INCLUDE, "org", users(7_000))], now_ms=0)
        outcome = await here.waits({"device/d-1": f"{VERSION}+"})
        assert outcome.reason is RetryReason.SEGMENT_FULL


async def test_where_leaving_excludes_it_makes_no_room() -> None:
    """Moved from one list to the other. Without room they are taken out of the one, at least."""
    async with desk(exit_action=ExitAction.EXCLUDE) as here:
        held = fill(here, MAX_TARGETS)
        assert await here.write(outs(held[0])) == Delivered()
        assert here.excluded() == {held[0]}
        outcome = await here.waits(outs(held[1], "never-in"))
        assert outcome.reason is RetryReason.SEGMENT_FULL
        assert here.included() == set(held[2:])
        assert here.excluded() == {held[0]}
        assert await here.write(ins(held[0])) == Delivered()
        assert here.excluded() == set()


@pytest.mark.parametrize("status", [404, 503])
async def test_trouble_while_room_is_counted_is_an_outcome_like_any_other(status: int) -> None:
    """The look-up fails: gone means created again, anything else waits."""
    async with desk() as here:
        await here.write(ins("u-0"))
        here.sim.faults.add(Fault(route=PATCH, member="u-2", status=400))
        here.sim.faults.add(Fault(route="get_segment", status=status, times=1))
        outcome = await here.write(ins("u-1", "u-2"))
        if status == 404:
            assert isinstance(outcome, Rejected)
        else:
            assert isinstance(outcome, Retry)
            assert outcome.reason is RetryReason.SERVER_ERROR


async def test_trouble_while_the_removals_of_a_full_segment_are_written_is_told() -> None:
    """It is what has to end first."""
    async with desk() as here:
        held = fill(here, MAX_TARGETS)
        here.sim.faults.add(Fault(route=PATCH, status=503, times=1))
        outcome = await here.waits(ins("new", "newer") | outs(held[0]))
        assert outcome.reason is RetryReason.SERVER_ERROR
        assert here.included() == set(held)
