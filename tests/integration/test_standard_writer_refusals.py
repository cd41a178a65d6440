"""What LaunchDarkly refuses: one poisoned member must not stop its neighbours (P5).

And the other way round: where it is not the members, nothing is given up.
"""

import random

import pytest

from ldsync.demo.simulator import Answer, Fault, Limits
from ldsync.demo.simulator.membership import Action, Change
from ldsync.launchdarkly.outcome import Delivered, Patience, Rejected, Retry, RetryReason, Scope
from ldsync.launchdarkly.writers.standard import MAX_REFUSALS, MAX_REQUESTS, MAX_TARGETS
from tests.support.standard_writer import VERSION, Desk, desk, ins, outs, users

PATCH = "patch_segment"


def poison(here: Desk, *keys: str, status: int = 400) -> None:
    """Have every patch refused that names one of these keys."""
    for key in keys:
        here.sim.faults.add(Fault(route=PATCH, member=key, status=status, message=f"no {key}"))


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_poisoned_member_is_found_and_everyone_else_is_written(status: int) -> None:
    """By halving: some two requests per level, for 1,500 members."""
    async with desk() as here:
        keys = users(1_500)
        poison(here, keys[777], status=status)
        outcome = await here.write(ins(*keys))
        assert outcome == Rejected("bad_request", {f"user/{keys[777]}": f"no {keys[777]}"})
        assert here.sim.included("vip") == set(keys) - {keys[777]}
        assert here.routes.count(PATCH) <= 2 * 12
        assert here.routes.count("get_segment") == 2  # before the first write, and for room


@pytest.mark.parametrize("seed", range(8))
async def test_exactly_the_poisoned_members_are_rejected(seed: int) -> None:
    """Whatever the batch, in and out, as long as one member is accepted."""
    rng = random.Random(seed)
    keys = users(rng.randint(2, 60))
    bad = set(rng.sample(keys, rng.randint(1, min(6, len(keys) - 1))))
    async with desk() as here:
        await here.write(ins("gone"))
        poison(here, *bad)
        joins = {key for key in keys if rng.random() < 0.7}
        outcome = await here.write(ins(*joins) | outs("gone", *(set(keys) - joins)))
        assert outcome == Rejected("bad_request", {f"user/{key}": f"no {key}" for key in bad})
        assert here.sim.included("vip") == joins - bad


async def test_members_that_leave_are_searched_too() -> None:
    """Leaving needs no room, so nothing is looked up first."""
    async with desk() as here:
        await here.write(ins("u-1", "u-2", "u-3"))
        poison(here, "u-2")
        outcome = await here.write(outs("u-1", "u-2", "u-3"))
        assert outcome == Rejected("bad_request", {"user/u-2": "no u-2"})
        assert here.sim.included("vip") == {"u-2"}
        assert here.routes.count("get_segment") == 1


async def test_a_request_that_is_only_too_large_is_delivered_in_parts() -> None:
    """413: nobody is at fault, and nobody is rejected."""
    async with desk() as here:
        here.sim.faults.add(Fault(route=PATCH, more_than=400, status=413))
        assert await here.write(ins(*users(1_500))) == Delivered()
        assert here.sim.included("vip") == set(users(1_500))


@pytest.mark.parametrize("count", [1, 2, 3, 40, 1_500])
async def test_when_nothing_is_accepted_the_request_is_wrong_and_not_the_members(
    count: int,
) -> None:
    """The segment waits for someone to look; few requests are spent on finding out."""
    async with desk() as here:
        here.sim.faults.add(Fault(route=PATCH, status=400, message="what is this?"))
        outcome = await here.write(ins(*users(count)))
        assert isinstance(outcome, Retry)
        assert (outcome.reason, outcome.scope, outcome.patience) == (
            RetryReason.BAD_REQUEST,
            Scope.SEGMENT,
            Patience.OPERATOR,
        )
        assert "what is this?" in outcome.detail
        assert here.routes.count(PATCH) == min(2 * count - 1, MAX_REFUSALS)


async def test_the_search_is_bounded() -> None:
    """Where every second of many members is refused, the segment waits: nobody is given up."""
    async with desk() as here:
        fine, mixed = users(200), users(200, first=200)
        poison(here, *mixed[::2])
        outcome = await here.write(ins(*fine, *mixed))
        assert isinstance(outcome, Retry)
        assert (outcome.reason, outcome.patience) == (RetryReason.BAD_REQUEST, Patience.OPERATOR)
        assert here.routes.count(PATCH) == MAX_REQUESTS
        assert here.sim.included("vip") >= set(fine)


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        pytest.param({"status": 503}, RetryReason.SERVER_ERROR, id="503"),
        pytest.param({"answer": Answer.HANG}, RetryReason.TIMEOUT, id="timeout"),
        pytest.param({"status": 401}, RetryReason.UNAUTHORIZED, id="401"),
    ],
)
async def test_trouble_in_the_middle_of_the_search_gives_the_whole_batch_back(
    trouble: dict[str, object], reason: RetryReason
) -> None:
    """Nothing is rejected by a search that did not end; the next attempt begins anew."""
    async with desk(timeout_seconds=2.0 if trouble.get("answer") else 10.0) as here:
        assert await here.write(ins("u-x")) == Delivered()
        keys = users(64)
        poison(here, keys[50])
        here.sim.faults.add(Fault(route=PATCH, skip=1, times=1, **trouble))  # type: ignore[arg-type]
        outcome = await here.write(ins(*keys))
        assert isinstance(outcome, Retry)
        assert outcome.reason is reason
        assert (outcome.ambiguous_since is not None) == (reason is RetryReason.TIMEOUT)
        assert isinstance(await here.write(ins(*keys)), Rejected)
        assert here.sim.included("vip") == {"u-x", *keys} - {keys[50]}


async def test_the_search_stays_within_the_rate_limit() -> None:
    """It waits for the gate between its requests, so that it comes to an end at all."""
    limits = Limits(window_seconds=0.4, account=None, route=12, token=None)
    async with desk(limits=limits) as here:
        keys = users(32)
        poison(here, keys[9])
        assert isinstance(await here.write(ins(*keys)), Rejected)
        assert 429 not in {exchange.status for exchange in here.sim.requests}


async def test_a_member_that_is_excluded_by_hand_is_rejected_with_the_reason() -> None:
    """A key in both lists is an error of the whole patch; the lists of others are not touched."""
    async with desk() as here:
        segment = here.sim.create_segment("vip", tags=["ldsync"])
        segment.write_members([Change(Action.EXCLUDE, "user", ["u-2"])], now_ms=0)
        outcome = await here.write(ins("u-1", "u-2", "u-3"))
        assert isinstance(outcome, Rejected)
        assert outcome.members.keys() == {"user/u-2"}
        assert "both included and excluded" in outcome.members["user/u-2"]
        assert here.sim.included("vip") == {"u-1", "u-3"}


async def test_what_cannot_be_said_in_json_is_rejected_alone() -> None:
    """Half of a surrogate pair is no text; it must not stop the writer."""
    async with desk() as here:
        outcome = await here.write(ins("u-1", "\ud800", "u-2"))
        assert isinstance(outcome, Rejected)
        assert outcome.members.keys() == {"user/\ud800"}
        assert here.sim.included("vip") == {"u-1", "u-2"}


async def test_a_full_segment_waits_and_rejects_nobody() -> None:
    """The members are fine; those that leave are removed, which needs no room."""
    async with desk() as here:
        segment = here.sim.create_segment("vip", tags=["ldsync"])
        held = users(MAX_TARGETS - 10)
        segment.write_members([Change(Action.INCLUDE, "user", held)], now_ms=0)
        segment.write_members([Change(Action.EXCLUDE, "org", ["o-1", "o-2"])], now_ms=0)
        changes = ins(*users(30, first=MAX_TARGETS)) | outs(*held[:5])
        outcome = await here.write(changes)
        assert isinstance(outcome, Retry)
        assert (outcome.reason, outcome.scope, outcome.patience) == (
            RetryReason.SEGMENT_FULL,
            Scope.SEGMENT,
            Patience.OPERATOR,
        )
        assert "15,017" in outcome.detail
        assert here.sim.included("vip") == set(held[5:])
        assert here.routes == ["get_segment", PATCH, "get_segment", PATCH]


async def test_a_segment_with_just_enough_room_is_not_full() -> None:
    """Members that are in already need no room, and those that leave make some."""
    async with desk() as here:
        segment = here.sim.create_segment("vip", tags=["ldsync"])
        held = users(MAX_TARGETS)
        segment.write_members([Change(Action.INCLUDE, "user", held)], now_ms=0)
        assert await here.write(ins(*held[:100], "new-1", "new-2") | outs(*held[200:202])) == (
            Delivered()
        )
        poison(here, held[0])
        assert isinstance(await here.write(ins(*held[:4])), Rejected)


async def test_room_is_counted_over_all_context_kinds() -> None:
    """15,000 is the limit of the segment, not of a kind."""
    async with desk() as here:
        segment = here.sim.create_segment("vip", tags=["ldsync"])
        segment.write_members([Change(Action.INCLUDE, "user", users(8_000))], now_ms=0)
        segment.write_members([Change(Action.INCLUDE, "org", users(7_000))], now_ms=0)
        outcome = await here.write({"device/d-1": f"{VERSION}+"})
        assert isinstance(outcome, Retry)
        assert outcome.reason is RetryReason.SEGMENT_FULL


@pytest.mark.parametrize("status", [404, 503])
async def test_trouble_while_room_is_counted_is_an_outcome_like_any_other(status: int) -> None:
    """The look-up fails: gone means created again, anything else waits."""
    async with desk() as here:
        await here.write(ins("u-0"))
        poison(here, "u-2")
        here.sim.faults.add(Fault(route="get_segment", status=status, times=1))
        outcome = await here.write(ins("u-1", "u-2"))
        if status == 404:
            assert isinstance(outcome, Rejected)
        else:
            assert isinstance(outcome, Retry)
            assert outcome.reason is RetryReason.SERVER_ERROR
