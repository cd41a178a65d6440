"""What LaunchDarkly refuses: one poisoned member must not stop its neighbours (P5).

And the other way round: where it is not the members, nothing is given up. On every write path,
against the simulator on a real socket.
"""

import random
from collections.abc import Iterable

import pytest

from ldsync.demo.simulator import Answer, Fault, Limits
from ldsync.demo.simulator.membership import Action, Change
from ldsync.launchdarkly.outcome import Delivered, Patience, Rejected, Retry, RetryReason, Scope
from ldsync.launchdarkly.writers.delivery import MAX_REFUSALS, MAX_REQUESTS
from ldsync.launchdarkly.writers.sides import CONTROL_KEY, ExitAction
from ldsync.launchdarkly.writers.suspects import MAX_ALONE
from tests.support.standard_writer import Desk, desk, ins, outs, users

PATCH = "patch_segment"
PATHS = pytest.mark.parametrize("path", ["standard", "big", "synced"])


def poison(here: Desk, *keys: str, status: int = 400) -> list[int]:
    """Have every request refused that names one of these keys."""
    return [
        here.sim.faults.add(
            Fault(route=here.write_route, member=key, status=status, message=f"no {key}")
        )
        for key in keys
    ]


def refused(keys: Iterable[str]) -> Rejected:
    """The outcome if these keys, and no others, are refused."""
    return Rejected("bad_request", {f"user/{key}": f"no {key}" for key in keys})


@PATHS
@pytest.mark.parametrize(
    "places",
    [
        pytest.param([0, 1, 2], id="neighbours at the front"),
        pytest.param([749, 750, 751], id="neighbours in the middle"),
        pytest.param([1497, 1498, 1499], id="neighbours at the end"),
        pytest.param([0, 750, 1499], id="far apart"),
        pytest.param([374, 1000, 1124], id="anywhere"),
    ],
)
async def test_three_bad_members_cost_65_requests_and_nobody_else(
    path: str, places: list[int]
) -> None:
    """In a batch of 1,500, looking up and creating the segment included."""
    async with desk(path=path, max_members=1_500) as here:
        keys = users(1_500)
        bad = {keys[place] for place in places}
        poison(here, *bad)
        outcome = await here.write(ins(*keys))
        assert outcome == refused(bad)
        assert here.included() == set(keys) - bad
        assert len(here.routes) <= 65


@PATHS
@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_poisoned_member_is_found_and_everyone_else_is_written(
    path: str, status: int
) -> None:
    """By halving: some two requests per level."""
    async with desk(path=path, max_members=1_500) as here:
        keys = users(1_500)
        poison(here, keys[777], status=status)
        assert await here.write(ins(*keys)) == refused([keys[777]])
        assert here.included() == set(keys) - {keys[777]}
        assert here.writes <= 2 * 12


@PATHS
@pytest.mark.parametrize("seed", range(6))
async def test_exactly_the_poisoned_members_are_rejected(path: str, seed: int) -> None:
    """Whatever the batch, in and out, as long as one member is accepted."""
    rng = random.Random(seed)
    keys = users(rng.randint(2, 60))
    bad = set(rng.sample(keys, rng.randint(1, min(6, len(keys) - 1))))
    async with desk(path=path) as here:
        await here.write(ins("gone"))
        poison(here, *bad)
        joins = {key for key in keys if rng.random() < 0.7}
        outcome = await here.write(ins(*joins) | outs("gone", *(set(keys) - joins)))
        assert outcome == refused(bad)
        assert here.included() == joins - bad


@pytest.mark.parametrize("path", ["standard", "big"])
@pytest.mark.parametrize("seed", range(4))
async def test_exactly_the_poisoned_members_are_rejected_where_leaving_excludes(
    path: str, seed: int
) -> None:
    """In either of the two requests: who is refused in the first is left out of the second."""
    rng = random.Random(seed)
    keys = users(rng.randint(4, 40))
    bad = set(rng.sample(keys, 2))
    async with desk(path=path, exit_action=ExitAction.EXCLUDE) as here:
        poison(here, *bad)
        joins = {key for key in keys if rng.random() < 0.5}
        outcome = await here.write(ins(*joins) | outs(*(set(keys) - joins)))
        assert outcome == refused(bad)
        assert here.included() == joins - bad
        assert here.excluded() == set(keys) - joins - bad


async def test_members_that_leave_are_searched_too() -> None:
    """Leaving needs no room, so nothing is looked up first."""
    async with desk() as here:
        await here.write(ins("u-1", "u-2", "u-3"))
        poison(here, "u-2")
        assert await here.write(outs("u-1", "u-2", "u-3")) == refused(["u-2"])
        assert here.included() == {"u-2"}
        assert here.routes.count("get_segment") == 1


@PATHS
async def test_a_request_that_is_only_too_large_is_delivered_in_parts(path: str) -> None:
    """413: nobody is at fault, and nobody is rejected."""
    async with desk(path=path) as here:
        here.sim.faults.add(Fault(route=here.write_route, more_than=400, status=413))
        assert await here.write(ins(*users(1_500))) == Delivered()
        assert here.included() == set(users(1_500))


@PATHS
@pytest.mark.parametrize("count", [1, 2, 3, 40, 1_500])
async def test_when_nothing_is_accepted_the_request_is_wrong_and_not_the_members(
    path: str, count: int
) -> None:
    """The segment waits for someone to look; few requests are spent on finding out."""
    async with desk(path=path, max_members=1_500) as here:
        here.sim.faults.add(Fault(route=here.write_route, status=400, message="what is this?"))
        outcome = await here.waits(ins(*users(count)))
        assert (outcome.reason, outcome.scope, outcome.patience) == (
            RetryReason.BAD_REQUEST,
            Scope.SEGMENT,
            Patience.OPERATOR,
        )
        assert "what is this?" in outcome.detail
        assert here.writes == min(2 * count - 1, MAX_REFUSALS) + 1, "and the control"


@PATHS
async def test_a_member_that_is_refused_alone_is_rejected_on_the_evidence_of_a_control(
    path: str,
) -> None:
    """One request more, which changes nothing and is accepted: it is the member."""
    async with desk(path=path) as here:
        poison(here, "u-1")
        assert await here.write(ins("u-1")) == refused(["u-1"])
        assert here.writes == 2
        assert here.included() == set()
        assert await here.write(outs("u-1")) == refused(["u-1"])
        assert await here.write(ins("u-2")) == Delivered()
        assert here.included() == {"u-2"}


async def test_the_control_of_a_patch_is_a_dry_run_of_the_same_instruction() -> None:
    """It tries what was refused, for a context that nobody has, and stores nothing."""
    async with desk() as here:
        poison(here, "u-1")
        await here.write(outs("u-1"))
        control = here.sim.requests[-1]
        assert control.query == "dryRun=true"
        assert b"removeIncludedTargets" in (control.body or b"")
        assert CONTROL_KEY.encode() in (control.body or b"")
        version = here.sim.segments["vip"].version
        await here.write(ins("u-1"))
        assert b"addIncludedTargets" in (here.sim.requests[-1].body or b"")
        assert here.sim.segments["vip"].version == version


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param({"status": 503}, RetryReason.SERVER_ERROR, id="503"),
        pytest.param({"status": 409}, RetryReason.CONFLICT, id="409"),
        pytest.param({"status": 404}, RetryReason.NOT_FOUND, id="404"),
        pytest.param({"status": 200, "body": "<html>"}, RetryReason.UNEXPECTED, id="login page"),
        pytest.param({"answer": Answer.RESET}, RetryReason.CONNECTION, id="reset"),
    ],
)
@PATHS
async def test_a_control_that_shows_nothing_rejects_nobody(
    path: str, fault: dict[str, object], reason: RetryReason
) -> None:
    """Its trouble is the trouble of the attempt."""
    async with desk(path=path) as here:
        poison(here, "u-1")
        here.sim.faults.add(Fault(route=here.write_route, **fault))  # type: ignore[arg-type]
        assert (await here.waits(ins("u-1"))).reason is reason


@PATHS
async def test_many_bad_members_are_found_over_several_attempts(path: str) -> None:
    """Every second of 400: each attempt remembers what it found, so that the search ends."""
    async with desk(path=path) as here:
        keys = users(400)
        poison(here, *keys[::2])
        attempts = 0
        while isinstance(outcome := await here.write(ins(*keys)), Retry):
            attempts += 1
            assert (outcome.reason, outcome.patience) == (
                RetryReason.BAD_REQUEST,
                Patience.TRANSIENT,
            )
            assert "goes on with the next attempt" in outcome.detail
            assert here.writes <= attempts * MAX_REQUESTS
            assert attempts < 5
        assert outcome == refused(keys[::2])
        assert here.included() == set(keys[1::2])
        assert attempts > 0, "otherwise nothing was remembered"


async def test_a_newer_change_of_a_remembered_member_is_a_new_case() -> None:
    """What was refused is a member with its stamp."""
    async with desk() as here:
        keys = users(400)
        faults = poison(here, *keys[::2])
        assert isinstance(await here.write(ins(*keys)), Retry)
        for number in faults:
            here.sim.faults.remove(number)
        assert await here.write(outs(*keys)) == Delivered()


@pytest.mark.parametrize("status", [503, 401], ids=["rejected since", "someone has to look"])
async def test_what_was_remembered_is_forgotten_in_time(status: int) -> None:
    """Once rejected, or when a person may have changed something, a change is tried anew."""
    async with desk() as here:
        (bad,) = poison(here, "u-1")
        broken = here.sim.faults.add(Fault(route=PATCH, status=status))  # strikes the control
        assert isinstance(await here.write(ins("u-1")), Retry)
        here.sim.faults.remove(broken)
        if status == 503:
            assert await here.write(ins("u-1")) == refused(["u-1"])
        here.sim.faults.remove(bad)
        assert await here.write(ins("u-1")) == Delivered()
        assert here.included() == {"u-1"}


@PATHS
async def test_where_all_members_were_refused_before_the_control_decides(path: str) -> None:
    """The second attempt has nothing to send but the control."""
    async with desk(path=path) as here:
        bad = users(4)
        poison(here, *bad)
        broken = here.sim.faults.add(Fault(route=here.write_route, status=503))
        assert (await here.waits(ins(*bad))).reason is RetryReason.SERVER_ERROR
        before = here.writes
        assert (await here.waits(ins(*bad))).reason is RetryReason.SERVER_ERROR
        assert here.writes == before + 1
        here.sim.faults.remove(broken)
        assert await here.write(ins(*bad)) == refused(bad)
        assert here.writes == before + 2


@pytest.mark.parametrize("path", ["standard", "big"])
async def test_who_is_refused_in_the_first_of_two_requests_is_not_tried_in_the_second(
    path: str,
) -> None:
    """Nobody is left for it, and the first has its control already."""
    async with desk(path=path, exit_action=ExitAction.EXCLUDE) as here:
        poison(here, "u-1")
        assert await here.write(outs("u-1")) == refused(["u-1"])
        assert here.writes == 2


async def test_many_refused_in_a_row_are_no_longer_believed_to_be_at_fault() -> None:
    """With batches of one, controls are the only evidence; after a hundred someone must look."""
    async with desk() as here:
        keys = users(MAX_ALONE + 1)
        poison(here, *keys)
        for key in keys[:-1]:
            assert await here.write(ins(key)) == refused([key])
        outcome = await here.waits(ins(keys[-1]))
        assert (outcome.reason, outcome.patience) == (RetryReason.BAD_REQUEST, Patience.OPERATOR)
        assert await here.write(ins("fine")) == Delivered()
        assert await here.write(ins(keys[-1])) == refused([keys[-1]])


@PATHS
@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        pytest.param({"status": 503}, RetryReason.SERVER_ERROR, id="503"),
        pytest.param({"answer": Answer.HANG}, RetryReason.TIMEOUT, id="timeout"),
        pytest.param({"status": 401}, RetryReason.UNAUTHORIZED, id="401"),
    ],
)
async def test_trouble_in_the_middle_of_the_search_gives_the_whole_batch_back(
    path: str, trouble: dict[str, object], reason: RetryReason
) -> None:
    """Nothing is rejected by a search that did not end."""
    async with desk(path=path, timeout_seconds=2.0 if trouble.get("answer") else 10.0) as here:
        assert await here.write(ins("u-x")) == Delivered()
        keys = users(64)
        poison(here, keys[50])
        here.sim.faults.add(Fault(route=here.write_route, skip=1, times=1, **trouble))  # type: ignore[arg-type]
        outcome = await here.waits(ins(*keys))
        assert outcome.reason is reason
        assert (outcome.ambiguous_since is not None) == (reason is RetryReason.TIMEOUT)
        assert isinstance(await here.write(ins(*keys)), Rejected)
        assert here.included() == {"u-x", *keys} - {keys[50]}


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
        assert here.included() == {"u-1", "u-3"}


@PATHS
async def test_what_cannot_be_said_in_json_is_rejected_alone(path: str) -> None:
    """Half of a surrogate pair is no text; it must not stop the writer."""
    async with desk(path=path) as here:
        outcome = await here.write(ins("u-1", "\ud800", "u-2"))
        assert isinstance(outcome, Rejected)
        assert outcome.members.keys() == {"user/\ud800"}
        assert here.included() == {"u-1", "u-2"}
