"""How the simulator takes members of big segments: by segment key, and synced from an audience."""

from collections.abc import AsyncIterator

import pytest

from ldsync.demo.simulator import Simulator
from tests.support.launchdarkly_calls import Calls


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    """A simulator without segments."""
    async with Simulator(project="web", environment="prod", token="t") as sim, Calls(sim) as calls:
        yield calls


async def test_a_big_segment_is_written_by_contexts_or_users(calls: Calls) -> None:
    """Keys have the segment's kind; the reply is empty; counts show in the segment."""
    await calls.create("big", unbounded=True, unboundedContextKind="org")
    for tail, key in (("contexts", "a"), ("users", "b")):
        body = {"included": {"add": [key, "c"], "remove": ["z"]}, "excluded": {"add": ["x"]}}
        answer = await calls.request("POST", f"{calls.segments}/big/{tail}", body)
        assert (answer.status, answer.content) == (204, b"")
    assert calls.sim.included("big", "org") == {"a", "b", "c"}
    document = (await calls.get(f"{calls.segments}/big")).json()
    assert document["_unboundedMetadata"]["includedCount"] == 3
    assert document["_unboundedMetadata"]["excludedCount"] == 1
    assert document["version"] == 1
    found = (await calls.get(f"{calls.segments}/big/contexts/x")).json()
    assert found == {"userKey": "x", "included": False, "excluded": True}


@pytest.mark.parametrize(
    ("segment", "body"),
    [
        pytest.param("std", {"included": {"add": ["a"]}}, id="standard segment"),
        pytest.param("big", {"included": {"add": ["a"]}, "excluded": {"add": ["a"]}}, id="both"),
        pytest.param("big", {"included": {"add": ["a"], "remove": ["a"]}}, id="in and out"),
        pytest.param("big", {"included": {"add": ["a", ""]}}, id="empty key"),
        pytest.param("big", {"included": ["a"]}, id="no object"),
    ],
)
async def test_a_wrong_call_on_a_big_segment_changes_nothing(
    calls: Calls, segment: str, body: dict[str, object]
) -> None:
    """400, and none of the keys is in."""
    await calls.create("std")
    await calls.create("big", unbounded=True)
    answer = await calls.request("POST", f"{calls.segments}/{segment}/contexts", body)
    assert answer.status == 400
    assert calls.sim.state() == {"std": {}, "big": {}}


def a_member(key: object, value: object, cohort: str = "aud_1") -> dict[str, object]:
    """A member of a segment-targets call."""
    return {"userId": key, "cohortId": cohort, "cohortName": "Vip buyers", "value": value}


async def sync(calls: Calls, *batch: dict[str, object], kind: str = "user") -> int:
    """A segment-targets call; gives the status."""
    body = {
        "environmentId": calls.sim.client_side_id,
        "contextKind": kind,
        "batch": list(batch),
    }
    path = "/api/v2/segment-targets/segment-audiences"
    return (await calls.request("POST", path, body)).status


async def test_a_synced_segment_is_made_by_its_first_members(calls: Calls) -> None:
    """Its key comes from the cohort's id, its name from the cohort; it is big and external."""
    assert await sync(calls, a_member("a", value=True), a_member("b", value=True)) == 204
    assert await sync(calls, a_member("a", value=False)) == 204
    assert calls.sim.state() == {"segment-audiences-aud_1": {"user": {"b"}}}
    document = (await calls.get(f"{calls.segments}/segment-audiences-aud_1")).json()
    assert (document["name"], document["unbounded"]) == ("Vip buyers", True)
    assert document["_external"] == "segment-audiences"
    refused = await calls.patch(
        "segment-audiences-aud_1", {"kind": "addBigSegmentIncludedTargets", "values": ["c"]}
    )
    assert refused.status == 400


@pytest.mark.parametrize(
    ("batch", "status"),
    [
        pytest.param([], 400, id="empty"),
        pytest.param([a_member("", value=True)], 400, id="empty key"),
        pytest.param([a_member("a", value="true")], 400, id="text for a boolean"),
        pytest.param([a_member("a", value=True, cohort="no spaces")], 400, id="bad key"),
        pytest.param([a_member("a", value=True, cohort="taken")], 409, id="another kind"),
    ],
)
async def test_one_wrong_member_fails_the_whole_call(
    calls: Calls, batch: list[dict[str, object]], status: int
) -> None:
    """Results per member do not exist: nothing of the call is applied."""
    assert await sync(calls, a_member("o", value=True, cohort="taken"), kind="org") == 204
    good = [a_member("a", value=True)] if batch else []
    assert await sync(calls, *good, *batch) == status
    assert calls.sim.state() == {"segment-audiences-taken": {"org": {"o"}}}
