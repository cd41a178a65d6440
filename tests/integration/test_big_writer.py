"""Writing to big segments: creating, adopting, delivering, one context kind, several at a time.

Against the simulator on a real socket. Each request that is sent anywhere here is held against
LaunchDarkly's OpenAPI document when its test ends. Refusals are in `test_writer_refusals.py`,
replies in `test_writer_replies.py`.
"""

import asyncio

import pytest
from structlog.testing import capture_logs

from ldsync.demo.simulator import Answer, Apply, Fault
from ldsync.launchdarkly.outcome import Delivered, Patience, Rejected, RetryReason
from ldsync.launchdarkly.writers.sides import ExitAction
from tests.support.standard_writer import VERSION, Desk, desk, ins, outs, users, vip

WRITE = "update_contexts"


def devices(*keys: str) -> dict[str, str]:
    """Changes that put devices in."""
    return {f"device/{key}": f"{VERSION}+" for key in keys}


async def test_a_missing_segment_is_created_big_and_then_filled() -> None:
    """With the context kind of the members, the contract's name, tags and description."""
    async with desk(path="big") as here:
        with capture_logs() as logs:
            assert await here.write(devices("d-1", "a/b")) == Delivered()
        assert here.routes == ["get_segment", "create_segment", WRITE]
        segment = here.sim.segments["vip"]
        assert (segment.unbounded, segment.kind) == (True, "device")
        assert (segment.name, segment.tags) == ("Vip buyers", ["ldsync", "engage"])
        assert segment.description == "Synced from Segment Engage audience aud_2QZ by ldsync"
        assert here.included("device") == {"d-1", "a/b"}
        assert here.created == 1
        assert [(line["event"], line["segment"]) for line in logs] == [("segment.created", "vip")]
        assert here.vip.context_kind == "device"


async def test_from_the_second_batch_on_one_batch_is_one_request() -> None:
    """In and out in the same."""
    async with desk(path="big") as here:
        await here.write(ins("u-1", "u-2"))
        assert await here.write(outs("u-1") | ins("u-3")) == Delivered()
        assert here.included() == {"u-2", "u-3"}
        assert here.routes == ["get_segment", "create_segment", WRITE, WRITE]


async def test_a_batch_that_is_too_large_takes_several_requests() -> None:
    """As many members as configured in each."""
    async with desk(path="big", max_members=1_000) as here:
        assert await here.write(ins(*users(2_500))) == Delivered()
        assert here.included() == set(users(2_500))
        assert here.writes == 3


async def test_an_empty_batch_needs_no_request() -> None:
    """There is nothing that could fail."""
    async with desk(path="big") as here:
        assert await here.write({}) == Delivered()
        assert here.routes == []


async def test_those_who_left_are_excluded_if_so_configured() -> None:
    """And are no longer when they join again; never in both lists."""
    async with desk(path="big", exit_action=ExitAction.EXCLUDE) as here:
        assert await here.write(ins("u-1", "u-2")) == Delivered()
        assert await here.write(outs("u-1")) == Delivered()
        assert (here.included(), here.excluded()) == ({"u-2"}, {"u-1"})
        assert await here.write(ins("u-1") | outs("u-2")) == Delivered()
        assert (here.included(), here.excluded()) == ({"u-1"}, {"u-2"})
        assert here.writes == 6


async def test_several_batches_of_a_segment_are_written_at_a_time() -> None:
    """And it is looked up and created once for all of them."""
    async with desk(path="big") as here:
        number = here.sim.faults.add(Fault(route=WRITE, delay_seconds=float("inf")))
        batches = [ins(*users(3, first=3 * each)) for each in range(4)]
        writes = [asyncio.create_task(here.write(batch)) for batch in batches]
        await here.sim.log.until(lambda: here.writes == 4)
        assert here.routes == ["get_segment", "create_segment"] + [WRITE] * 4
        here.sim.faults.release(number)
        assert await asyncio.gather(*writes) == [Delivered()] * 4
        assert here.included() == set(users(12))


@pytest.mark.parametrize(
    ("segment", "words"),
    [
        pytest.param({}, "is a standard segment", id="standard"),
        pytest.param(
            {"unbounded": True, "external": "amplitude"}, "is synced from amplitude", id="synced"
        ),
        pytest.param(
            {"unbounded": True, "kind": "account"},
            "the context kind account, not of user",
            id="another kind",
        ),
        pytest.param({"unbounded": True, "tags": []}, "does not carry the tag", id="no tag"),
    ],
)
async def test_a_segment_that_is_not_the_right_sort_is_never_written_to(
    segment: dict[str, object], words: str
) -> None:
    """It waits, and says what to do."""
    async with desk(path="big") as here:
        found = here.sim.create_segment("vip", tags=["ldsync"])
        for name, value in segment.items():
            setattr(found, name, value)
        outcome = await here.waits(ins("u-1"))
        assert (outcome.reason, outcome.patience) == (RetryReason.NOT_ADOPTED, Patience.OPERATOR)
        assert words in outcome.detail
        assert here.included() == set()
        assert here.writes == 0


async def test_a_big_segment_with_our_tag_is_adopted() -> None:
    """Of the kind that its members have."""
    async with desk(path="big") as here:
        here.sim.create_segment("vip", tags=["ldsync"], unbounded=True, kind="device")
        with capture_logs() as logs:
            assert await here.write(devices("d-1")) == Delivered()
        assert [line["event"] for line in logs] == ["segment.adopted"]


async def test_a_segment_that_is_created_as_something_else_is_not_written_to() -> None:
    """Unknown fields are ignored by the API without a word: what was created is looked at."""
    async with desk(path="big") as here:
        made = {"key": "vip", "version": 1, "unbounded": False}
        here.sim.faults.add(Fault(route="create_segment", status=201, body=made))
        outcome = await here.waits(ins("u-1"))
        assert outcome.reason is RetryReason.UNEXPECTED
        assert "what was created is a standard segment" in outcome.detail


async def test_members_of_another_kind_are_rejected_and_the_others_written() -> None:
    """The segment cannot have them, now or later."""
    async with desk(path="big") as here:
        here.sim.create_segment("vip", tags=["ldsync"], unbounded=True)
        outcome = await here.write(devices("d-1") | ins("u-1"))
        assert isinstance(outcome, Rejected)
        assert outcome.reason == "context_kind_conflict"
        assert list(outcome.members) == ["device/d-1"]
        assert "context kind user only" in outcome.members["device/d-1"]
        assert here.included() == {"u-1"}


async def test_the_kind_of_an_existing_segment_wins_over_the_first_that_was_seen() -> None:
    """A stray event must not decide what kind the segment has."""
    async with desk(path="big") as here:
        here.sim.create_segment("vip", tags=["ldsync"], unbounded=True)
        assert (await here.waits(devices("d-1"))).reason is RetryReason.NOT_ADOPTED
        assert here.vip.context_kind == "user", "the decoder lets users in from now on"
        outcome = await here.write(devices("d-1") | ins("u-1"))
        assert isinstance(outcome, Rejected)
        assert list(outcome.members) == ["device/d-1"]
        outcome = await here.write(devices("d-2"))
        assert isinstance(outcome, Rejected)
        assert here.writes == 1


async def test_a_member_of_another_kind_and_one_that_is_refused_are_told_together() -> None:
    """Each with its own words."""
    async with desk(path="big") as here:
        here.sim.create_segment("vip", tags=["ldsync"], unbounded=True)
        here.sim.faults.add(Fault(route=WRITE, member="u-2", status=400, message="no u-2"))
        outcome = await here.write(devices("d-1") | ins("u-1", "u-2"))
        assert isinstance(outcome, Rejected)
        assert outcome.reason == "bad_request"
        assert outcome.members.keys() == {"device/d-1", "user/u-2"}
        assert outcome.members["user/u-2"] == "no u-2"


async def test_trouble_is_not_hidden_by_members_of_another_kind() -> None:
    """Nothing is rejected before the others are written."""
    async with desk(path="big") as here:
        here.sim.create_segment("vip", tags=["ldsync"], unbounded=True)
        here.sim.faults.add(Fault(route=WRITE, status=503, times=1))
        assert (await here.waits(devices("d-1") | ins("u-1"))).reason is RetryReason.SERVER_ERROR


async def test_losing_the_race_to_create_a_segment_adopts_it() -> None:
    """409 `key_exists` is not asked again: the segment is there now."""
    async with desk(path="big") as here:
        here.sim.create_segment("vip", tags=["ldsync"], unbounded=True)
        here.sim.faults.add(Fault(route="get_segment", status=404, times=1))
        assert await here.write(ins("u-1")) == Delivered()
        assert here.routes == ["get_segment", "create_segment", "get_segment", WRITE]
        assert here.created == 0


async def test_a_creation_that_got_no_answer_is_found_next_time() -> None:
    """By the look-up, or by the 409 if that fails."""
    async with desk(path="big", adopt="never", timeout_seconds=1.5) as here:
        here.sim.faults.add(
            Fault(route="create_segment", times=1, answer=Answer.HANG, apply=Apply.NOW)
        )
        assert (await here.waits(ins("u-1"))).reason is RetryReason.TIMEOUT
        here.sim.faults.add(Fault(route="get_segment", status=404, times=1))
        assert await here.write(ins("u-1")) == Delivered()
        assert here.routes[2:] == ["get_segment", "create_segment", "get_segment", WRITE]


async def test_a_segment_that_vanished_is_created_again_as_it_was() -> None:
    """Of the same kind, with a warning: its history is missing."""
    async with desk(path="big") as here:
        await here.write(devices("d-1"))
        here.sim.environment.delete_segment("vip")
        with capture_logs() as logs:
            assert await here.write(devices("d-2")) == Delivered()
        assert here.included("device") == {"d-2"}
        assert [line["event"] for line in logs] == ["segment.recreated"]


async def test_another_segment_object_learns_the_kind_by_looking_again() -> None:
    """What is known goes with the object, which the decoder makes anew when it forgot one."""
    async with desk(path="big") as here:
        await here.write(ins("u-1"))
        again = vip()
        assert await here.write(ins("u-2"), again) == Delivered()
        assert again.context_kind == "user"


async def test_desks_of_two_processes_write_to_one_segment() -> None:
    """The second finds it."""
    async with desk(path="big") as here:
        other = Desk(here.sim, path="big")
        async with other.client:
            assert await here.write(ins("u-1")) == Delivered()
            assert await other.write(ins("u-2")) == Delivered()
        assert here.included() == {"u-1", "u-2"}
        assert here.created + other.created == 1
