"""Writing to standard segments: creating, adopting, delivering, and every reply to a patch.

Against the simulator on a real socket. Each request that is sent anywhere here is held against
LaunchDarkly's OpenAPI document when its test ends. What a refused batch becomes is in
`test_standard_writer_refusals.py`.
"""

import asyncio
import time

import pytest
from structlog.testing import capture_logs

from ldsync.demo.simulator import Answer, Apply, Fault, Limits
from ldsync.launchdarkly.outcome import Delivered, Patience, RetryReason, Scope
from ldsync.sync.change import Segment
from tests.support.standard_writer import CREATE, VERSION, Desk, desk, ins, outs, users

PATCH = "patch_segment"

# No window of ten seconds to sit out.
SOON = {"X-Ratelimit-Reset": None, "X-Ratelimit-Auth-Token-Reset": None, "Retry-After": "0.1"}


async def test_a_missing_segment_is_created_and_then_filled() -> None:
    """Looked for, created with the contract's name, tags and description, and patched."""
    async with desk() as here:
        with capture_logs() as logs:
            assert await here.write(ins("u-1", "u-2") | outs("u-3")) == Delivered()
        assert here.routes == ["get_segment", "create_segment", PATCH]
        assert here.sim.included("vip") == {"u-1", "u-2"}
        segment = here.sim.segments["vip"]
        assert (segment.name, segment.tags) == ("Vip buyers", ["ldsync", "engage"])
        assert segment.description == "Synced from Segment Engage audience aud_2QZ by ldsync"
        assert here.created == 1
        assert [(line["event"], line["segment"]) for line in logs] == [("segment.created", "vip")]


async def test_a_segment_is_looked_up_once_per_process_life() -> None:
    """From the second batch on, one batch is one request."""
    async with desk() as here:
        for key in users(5):
            assert await here.write(ins(key)) == Delivered()
        assert here.routes == ["get_segment", "create_segment"] + [PATCH] * 5


async def test_members_of_all_context_kinds_are_written_in_one_request() -> None:
    """A kind ends at the first slash; keys may hold more."""
    async with desk() as here:
        stamp = f"{VERSION}+"
        changes = {"user/a/b": stamp, "org/x@y:1": stamp, "user/é☃": stamp, "org/ ": stamp}
        assert await here.write(changes) == Delivered()
        assert here.sim.included("vip") == {"a/b", "é☃"}
        assert here.sim.included("vip", "org") == {"x@y:1", " "}
        assert here.routes.count(PATCH) == 1


async def test_a_batch_that_is_too_large_takes_several_requests() -> None:
    """At most 1,500 target operations in each."""
    async with desk() as here:
        assert await here.write(ins(*users(4_000))) == Delivered()
        assert here.sim.included("vip") == set(users(4_000))
        assert here.routes.count(PATCH) == 3


async def test_an_empty_batch_needs_no_request() -> None:
    """There is nothing that could fail."""
    async with desk() as here:
        assert await here.write({}) == Delivered()
        assert here.routes == []


@pytest.mark.parametrize(
    ("adopt", "tags", "description", "adopted"),
    [
        pytest.param("tagged", ["x", "ldsync"], None, True, id="tagged: with our first tag"),
        pytest.param("tagged", ["engage"], None, False, id="tagged: with another tag of ours"),
        pytest.param("tagged", [], None, False, id="tagged: without"),
        pytest.param("any", [], None, True, id="any"),
        pytest.param("never", ["ldsync"], "by hand", False, id="never: made by someone else"),
        pytest.param(
            "never",
            ["ldsync"],
            "Synced from Segment Engage audience aud_1 by ldsync",
            True,
            id="never: our own of an earlier life",
        ),
    ],
)
async def test_an_existing_segment_is_written_to_only_as_agreed(
    adopt: str, tags: list[str], description: str | None, adopted: bool
) -> None:
    """A list made by hand is never edited by surprise."""
    async with desk(adopt=adopt) as here:
        here.sim.create_segment("vip", tags=tags).description = description
        if adopted:
            with capture_logs() as logs:
                assert await here.write(ins("u-1")) == Delivered()
            assert [line["event"] for line in logs] == ["segment.adopted"]
        else:
            outcome = await here.waits(ins("u-1"))
            assert (outcome.reason, outcome.scope, outcome.patience) == (
                RetryReason.NOT_ADOPTED,
                Scope.SEGMENT,
                Patience.OPERATOR,
            )
            assert "segment vip exists already" in outcome.detail
        assert here.sim.included("vip") == ({"u-1"} if adopted else set())
        assert here.created == 0


async def test_a_segment_is_looked_at_again_until_it_may_be_adopted() -> None:
    """The operator adds the tag, and the next attempt goes through."""
    async with desk() as here:
        segment = here.sim.create_segment("vip")
        await here.waits(ins("u-1"))
        segment.tags.append("ldsync")
        assert await here.write(ins("u-1")) == Delivered()


async def test_a_big_segment_is_never_adopted() -> None:
    """Not even with the tag: this writer cannot write it."""
    async with desk(adopt="any") as here:
        here.sim.create_segment("vip", tags=["ldsync"], unbounded=True)
        outcome = await here.waits(ins("u-1"))
        assert outcome.reason is RetryReason.NOT_ADOPTED
        assert "big or synced" in outcome.detail


async def test_losing_the_race_to_create_a_segment_adopts_it() -> None:
    """409 `key_exists` is not asked again: the segment is there now."""
    async with desk() as here:
        here.sim.create_segment("vip", tags=["ldsync"])
        here.sim.faults.add(Fault(route="get_segment", status=404, times=1))
        assert await here.write(ins("u-1")) == Delivered()
        assert here.routes == ["get_segment", "create_segment", "get_segment", PATCH]
        assert here.created == 0


async def test_a_segment_that_is_neither_there_nor_free_waits() -> None:
    """409 on creating, 404 on looking: two answers that do not fit are not argued with."""
    async with desk() as here:
        here.sim.create_segment("vip", tags=["ldsync"])
        number = here.sim.faults.add(Fault(route="get_segment", status=404))
        outcome = await here.waits(ins("u-1"))
        assert outcome.reason is RetryReason.CONFLICT
        assert "Duplicate segment key" in outcome.detail
        assert here.routes == ["get_segment", "create_segment", "get_segment"]
        here.sim.faults.remove(number)
        assert await here.write(ins("u-1")) == Delivered()


async def test_losing_the_race_against_someone_elses_segment_waits() -> None:
    """What appeared in between is subject to adoption like everything else."""
    async with desk() as here:
        here.sim.create_segment("vip")
        here.sim.faults.add(Fault(route="get_segment", status=404, times=1))
        assert (await here.waits(ins("u-1"))).reason is RetryReason.NOT_ADOPTED


async def test_a_creation_that_got_no_answer_is_found_next_time() -> None:
    """It may have been created; nothing about members is ambiguous."""
    async with desk(timeout_seconds=1.5) as here:
        here.sim.faults.add(
            Fault(route="create_segment", times=1, answer=Answer.HANG, apply=Apply.NOW)
        )
        outcome = await here.waits(ins("u-1"))
        assert (outcome.reason, outcome.ambiguous_since) == (RetryReason.TIMEOUT, None)
        assert await here.write(ins("u-1")) == Delivered()
        assert here.routes[2:] == ["get_segment", PATCH]


async def test_a_segment_that_vanished_is_created_again_with_a_warning() -> None:
    """Its history is missing: that is for people to know."""
    async with desk() as here:
        await here.write(ins("u-1"))
        here.sim.environment.delete_segment("vip")
        with capture_logs() as logs:
            assert await here.write(ins("u-2")) == Delivered()
        assert here.sim.included("vip") == {"u-2"}
        assert [(line["event"], line["log_level"]) for line in logs] == [
            ("segment.recreated", "warning")
        ]
        assert here.created == 2


async def test_a_segment_that_keeps_vanishing_is_tried_again_later() -> None:
    """Two rounds inside one write, no more."""
    async with desk() as here:
        here.sim.faults.add(Fault(route=PATCH, status=404))
        outcome = await here.waits(ins("u-1"))
        assert (outcome.reason, outcome.scope) == (RetryReason.NOT_FOUND, Scope.SEGMENT)
        assert here.routes.count(PATCH) == 2


async def test_a_wrong_environment_makes_everything_wait() -> None:
    """Nothing can be created in what is not there."""
    async with desk() as here:
        other = Desk(here.sim, environment="elsewhere")
        async with other.client:
            outcome = await other.waits(ins("u-1"))
        assert (outcome.reason, outcome.scope, outcome.patience) == (
            RetryReason.NOT_FOUND,
            Scope.EVERYTHING,
            Patience.OPERATOR,
        )
        assert "launchdarkly.environment_key" in outcome.detail


@pytest.mark.parametrize("route", ["get_segment", "create_segment", PATCH])
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        pytest.param({"status": 401}, "unauthorized everything operator", id="401"),
        pytest.param({"status": 403}, "forbidden segment operator", id="403"),
        pytest.param(
            {"status": 403, "message": "approval is required"},
            "approval_required segment operator",
            id="approvals",
        ),
        pytest.param(
            {"status": 429, "headers": SOON}, "rate_limited everything transient", id="429"
        ),
        pytest.param({"status": 500}, "server_error segment transient", id="500"),
        pytest.param({"status": 503, "body": "<html>"}, "server_error segment transient", id="503"),
        pytest.param({"status": 302, "body": ""}, "unexpected segment operator", id="302"),
        pytest.param({"status": 200, "body": "<html>"}, "unexpected segment operator", id="login"),
        pytest.param({"answer": Answer.RESET}, "connection segment transient", id="reset"),
    ],
)
async def test_trouble_is_the_same_outcome_wherever_it_strikes(
    route: str, fault: dict[str, object], expected: str
) -> None:
    """Look-up, creation and patch; when it is over, the batch goes through."""
    async with desk() as here:
        number = here.sim.faults.add(Fault(route=route, **fault))  # type: ignore[arg-type]
        outcome = await here.waits(ins("u-1"))
        assert f"{outcome.reason} {outcome.scope} {outcome.patience}" == expected
        assert "segment vip" in outcome.detail
        here.sim.faults.remove(number)
        assert await here.write(ins("u-1")) == Delivered()
        assert here.sim.included("vip") == {"u-1"}


@pytest.mark.parametrize(
    ("fault", "ambiguous"),
    [
        pytest.param(Fault(route=PATCH, answer=Answer.RESET), True, id="reset, not applied"),
        pytest.param(
            Fault(route=PATCH, answer=Answer.RESET, apply=Apply.NOW), True, id="reset, applied"
        ),
        pytest.param(Fault(route=PATCH, answer=Answer.HANG), True, id="no answer"),
        pytest.param(Fault(route=PATCH, late_seconds=2.0), True, id="applied late"),
        pytest.param(Fault(route=PATCH, status=504), True, id="a gateway's answer"),
        pytest.param(Fault(route=PATCH, status=500), False, id="a server's answer"),
        pytest.param(Fault(route=PATCH, status=429), False, id="a refusal"),
        pytest.param(Fault(route="get_segment", answer=Answer.HANG), False, id="look-up"),
    ],
)
async def test_only_a_patch_without_an_answer_is_ambiguous(fault: Fault, ambiguous: bool) -> None:
    """R1: since the time the request began."""
    async with desk(timeout_seconds=1.5 if fault.outcome is Answer.HANG else 10.0) as here:
        here.sim.faults.add(fault)
        began = time.monotonic()
        outcome = await here.waits(ins("u-1"))
        if ambiguous:
            assert outcome.ambiguous_since is not None
            assert began < outcome.ambiguous_since < time.monotonic()
        else:
            assert outcome.ambiguous_since is None


async def test_a_late_application_happens_after_the_outcome() -> None:
    """What R1 is about: the batch is back in the buffer, and then it is applied after all."""
    async with desk(timeout_seconds=1.5) as here:
        assert await here.write(ins("u-0")) == Delivered()
        here.sim.faults.add(Fault(route=PATCH, times=1, late_seconds=2.0))
        outcome = await here.waits(ins("u-1"))
        assert outcome.ambiguous_since is not None
        assert here.sim.included("vip") == {"u-0"}
        await here.sim.log.until(lambda: here.sim.included("vip") == {"u-0", "u-1"}, timeout=5)


async def test_success_without_effect_is_not_believed() -> None:
    """A 200 that shows the segment without the member that was put in."""
    async with desk() as here:
        segment = {"key": "vip", "version": 4, "included": ["u-0"]}
        here.sim.faults.add(Fault(route=PATCH, status=200, body=segment))
        outcome = await here.waits(ins("u-1"))
        assert (outcome.reason, outcome.patience) == (RetryReason.UNEXPECTED, Patience.OPERATOR)
        assert outcome.ambiguous_since is not None
        assert "lacks a member" in outcome.detail


async def test_a_lost_race_is_repeated_at_once() -> None:
    """409 optimistic locking: nothing was applied, the same body is right."""
    async with desk() as here:
        here.sim.faults.add(Fault(route=PATCH, status=409, times=3))
        assert await here.write(ins("u-1")) == Delivered()
        assert here.routes.count(PATCH) == 4


@pytest.mark.parametrize(
    ("code", "patience"),
    [("optimistic_locking_error", Patience.TRANSIENT), ("key_exists", Patience.OPERATOR)],
)
async def test_a_conflict_is_not_repeated_for_ever(code: str, patience: Patience) -> None:
    """The same status stands for things that no repetition cures."""
    async with desk() as here:
        here.sim.faults.add(Fault(route=PATCH, status=409, code=code))
        outcome = await here.waits(ins("u-1"))
        assert (outcome.reason, outcome.patience) == (RetryReason.CONFLICT, patience)
        assert here.routes.count(PATCH) == 4


async def test_writes_to_one_segment_never_overlap() -> None:
    """P4, and one look-up for all of them."""
    async with desk() as here:
        here.sim.faults.add(Fault(route=PATCH, delay_seconds=0.05))
        batches = [ins(*users(3, first=3 * number)) for number in range(6)]
        outcomes = await asyncio.gather(*(here.write(batch) for batch in batches))
        assert outcomes == [Delivered()] * 6
        assert here.sim.log.patch_overlaps() == []
        assert here.routes == ["get_segment", "create_segment"] + [PATCH] * 6


async def test_segments_do_not_wait_for_each_other() -> None:
    """P5: one that hangs leaves the others alone."""
    async with desk() as here:
        number = here.sim.faults.add(Fault(route=PATCH, segment="vip", delay_seconds=float("inf")))
        stuck = asyncio.create_task(here.write(ins("u-1")))
        other = Segment(key="new", name="New", audience_id="aud_3", audience_key="new")
        assert await here.write(ins("u-1"), other) == Delivered()
        assert not stuck.done()
        here.sim.faults.release(number)
        assert await stuck == Delivered()


async def test_a_cancelled_write_does_not_block_the_segment() -> None:
    """Cancellation goes through, and the next write finds everything in order."""
    async with desk() as here:
        number = here.sim.faults.add(Fault(route="create_segment", delay_seconds=float("inf")))
        task = asyncio.create_task(here.write(ins("u-1")))
        await here.sim.log.until(lambda: "create_segment" in here.routes)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        here.sim.faults.remove(number)
        assert await here.write(ins("u-2")) == Delivered()
        assert here.sim.included("vip") == {"u-2"}


async def test_the_rate_limit_is_respected_before_it_is_hit() -> None:
    """With half of a small budget to use, many batches go through without one 429."""
    limits = Limits(window_seconds=0.5, account=None, route=10, token=None)
    async with desk(limits=limits) as here:
        for key in users(12):
            assert await here.write(ins(key)) == Delivered()
        assert here.sim.included("vip") == set(users(12))
        assert {exchange.status for exchange in here.sim.requests} == {200, 201, 404}


async def test_the_simulator_knows_the_route_that_segments_are_created_on() -> None:
    """The table of operations that requests are held against is the simulator's, too."""
    async with desk() as here:
        await here.write(ins("u-1"))
        (post,) = [each for each in here.sim.requests if each.route == "create_segment"]
        assert (post.method, post.path) == (CREATE.method, "/api/v2/segments/p/e")
        assert here.vip.key == post.segment
