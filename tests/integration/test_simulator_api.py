"""How the simulator behaves over HTTP when nothing is wrong with it."""

import time
from collections.abc import AsyncIterator

import pytest

from ldsync.demo.simulator import Action, Ending, Limits, Simulator
from tests.support.launchdarkly_calls import SEMANTIC, Calls, targets


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    """A simulator without segments."""
    async with (
        Simulator(project="web", environment="prod", token="api-1", keep_bodies=True) as sim,
        Calls(sim) as calls,
    ):
        yield calls


async def test_a_segment_is_created_filled_and_read_back(calls: Calls) -> None:
    """Create, patch and get; the version and the date of change grow, targets keep their kind."""
    created = await calls.create("vip", tags=["ldsync"], description="Engage audience aud_1")
    assert (created.status, created.json()["version"]) == (201, 1)
    patched = await calls.patch(
        "vip",
        targets("addIncludedTargets", ["a", "b/ü@:"]),
        targets("addIncludedTargets", ["o"], "organization"),
    )
    assert (patched.status, patched.json()["version"]) == (200, 2)
    read = (await calls.get(f"{calls.segments}/vip")).json()
    assert read == patched.json() | {"_flags": []}
    assert read["included"] == ["a", "b/ü@:"]
    assert read["includedContexts"] == [{"contextKind": "organization", "values": ["o"]}]
    assert read["lastModifiedDate"] >= read["creationDate"] > time.time_ns() // 1_000_000 - 60_000
    assert calls.sim.state() == {"vip": {"user": {"a", "b/ü@:"}, "organization": {"o"}}}
    assert calls.sim.included("vip", "organization") == {"o"}
    assert calls.sim.included("nobody made this") == set()


async def test_membership_in_a_create_call_is_ignored(calls: Calls) -> None:
    """So are fields that nobody knows; the answer is success and an empty segment."""
    created = await calls.create(
        "vip",
        included=["a"],
        excluded=["b"],
        includedContexts=[{"contextKind": "org", "values": ["o"]}],
        rules=[{}],
        tagz=["typo"],
    )
    assert created.status == 201
    document = created.json()
    lists = ("included", "excluded", "includedContexts", "excludedContexts", "rules", "tags")
    assert [document[name] for name in lists] == [[]] * 6


async def test_a_key_that_is_taken_is_a_conflict(calls: Calls) -> None:
    """409 `key_exists`, as LaunchDarkly answers though it does not document it."""
    await calls.create("vip")
    again = await calls.create("vip")
    assert again.status == 409
    assert (again.json()["code"], again.json()["message"]) == (
        "key_exists",
        "Duplicate segment key",
    )


async def test_a_deleted_segment_is_gone_and_comes_back_as_the_next_generation(
    calls: Calls,
) -> None:
    """Members are gone with it; the generation counts how often it was created."""
    await calls.create("vip")
    await calls.include("vip", "a")
    deleted = await calls.request("DELETE", f"{calls.segments}/vip")
    assert (deleted.status, deleted.content) == (204, b"")
    assert (await calls.include("vip", "a")).status == 404
    assert (await calls.create("vip")).json()["generation"] == 2
    assert calls.sim.included("vip") == set()


@pytest.mark.parametrize(
    ("token", "status"),
    [
        pytest.param("api-1", 200, id="raw token"),
        pytest.param("Bearer api-1", 401, id="bearer"),
        pytest.param("", 401, id="none"),
        pytest.param("api-2", 401, id="another"),
    ],
)
async def test_only_the_raw_token_opens(calls: Calls, token: str, status: int) -> None:
    """The token is sent as it is; anything else is 401 and changes nothing."""
    answer = await calls.request("GET", "/api/v2/versions", token=token)
    assert answer.status == status


async def test_a_revoked_token_opens_nothing(calls: Calls) -> None:
    """Setting another token refuses the one before."""
    calls.sim.token = "api-2"
    refused = await calls.request("GET", "/api/v2/versions", token="api-1")
    assert (refused.status, refused.json()["code"]) == (401, "unauthorized")


async def test_a_wrong_token_on_synced_segments_is_forbidden(calls: Calls) -> None:
    """segment-targets documents 403 for it, not 401."""
    path = "/api/v2/segment-targets/segment-audiences"
    assert (await calls.request("POST", path, {}, token="wrong")).status == 403


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "text/plain", "application/json; domain-model=launchdarkly.other"],
)
async def test_a_semantic_patch_needs_its_content_type(calls: Calls, content_type: str) -> None:
    """Without it the body is read as a JSON patch, and that it is not."""
    await calls.create("vip")
    body = {"instructions": [targets("addIncludedTargets", ["a"])]}
    path = f"{calls.segments}/vip"
    answer = await calls.request("PATCH", path, body, content_type=content_type)
    assert (answer.status, answer.json()["code"]) == (400, "invalid_request")
    assert calls.sim.included("vip") == set()
    spaced = "Application/JSON;domain-model=launchdarkly.semanticpatch"
    assert (await calls.request("PATCH", path, body, content_type=spaced)).status == 200


async def test_a_patch_for_another_environment_is_refused(calls: Calls) -> None:
    """The environment key of the body must be that of the path, if it is there."""
    await calls.create("vip")
    body = {"environmentKey": "test", "instructions": [targets("addIncludedTargets", ["a"])]}
    path = f"{calls.segments}/vip"
    assert (await calls.request("PATCH", path, body, content_type=SEMANTIC)).status == 400


async def test_a_dry_run_shows_and_keeps_nothing(calls: Calls) -> None:
    """`dryRun=true` answers with what would be."""
    await calls.create("vip")
    answer = await calls.patch("vip", targets("addIncludedTargets", ["a"]), query="?dryRun=true")
    assert (answer.status, answer.json()["included"]) == (200, ["a"])
    assert calls.sim.included("vip") == set()
    assert calls.sim.requests[-1].writes == (), "the log is about what is kept"


async def test_a_full_segment_is_returned_whole(calls: Calls) -> None:
    """15,000 long keys come back with a patch of 1,500, and one more key is refused."""
    calls.sim.create_segment("full")
    keys = [f"{'k' * 60}-{number:06}" for number in range(15_000)]
    for start in range(0, 15_000, 1500):
        answer = await calls.include("full", *keys[start : start + 1500])
        assert answer.status == 200
    assert answer.json()["included"] == keys
    assert len(answer.content) > 1_000_000
    refused = await calls.include("full", "one more")
    assert (refused.status, refused.json()["code"]) == (400, "invalid_request")


async def test_a_client_side_id_can_be_looked_up(calls: Calls) -> None:
    """By HEAD without a token, and by walking the environments of all projects."""
    sim = calls.sim
    for number in range(25):
        sim.world.add_environment("web", f"e{number}")
    for client_side_id, status in ((sim.client_side_id, 200), ("0" * 24, 404)):
        path = f"/sdk/goals/{client_side_id}"
        assert (await calls.request("HEAD", path, token="")).status == status
    projects = (await calls.get("/api/v2/projects?expand=environments")).json()
    embedded = projects["items"][0]["environments"]
    assert (len(embedded["items"]), embedded["totalCount"]) == (20, 26)
    first = (await calls.get("/api/v2/projects/web/environments")).json()
    second = (await calls.get(first["_links"]["next"]["href"])).json()
    assert "next" not in second["_links"]
    ids = [item["_id"] for item in first["items"] + second["items"]]
    assert len(set(ids)) == 26
    assert ids[0] == sim.client_side_id


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        pytest.param("", ["a", "b", "c"], id="all"),
        pytest.param("?limit=1&offset=1", ["b"], id="page"),
        pytest.param("?sort=-name", ["c", "b", "a"], id="sorted"),
        pytest.param('?filter=tags anyOf ["ldsync","x"]', ["b"], id="by tag"),
        pytest.param("?filter=unbounded equals true", ["c"], id="by size"),
    ],
)
async def test_segments_are_listed_by_page_order_and_filter(
    calls: Calls, query: str, keys: list[str]
) -> None:
    """The part of listing that a worker needs."""
    await calls.create("a")
    await calls.create("b", tags=["ldsync"])
    await calls.create("c", unbounded=True)
    listed = (await calls.get(calls.segments + query)).json()
    assert [item["key"] for item in listed["items"]] == keys


async def test_rate_headers_come_with_every_reply_and_429_when_used_up(calls: Calls) -> None:
    """The route's window is used up by its own calls alone; the reset is a time to come."""
    calls.sim.windows.limits = Limits(window_seconds=3600, account=100, route=2, token=50)
    await calls.create("a")
    second = await calls.create("b")
    assert second.headers["X-Ratelimit-Route-Remaining"] == "0"
    refused = await calls.create("c")
    assert (refused.status, refused.json()["code"]) == (429, "rate_limited")
    assert int(refused.headers["X-Ratelimit-Reset"]) > time.time() * 1000
    assert "Retry-After" not in refused.headers
    read = await calls.get(f"{calls.segments}/a")
    assert (read.status, read.headers["X-Ratelimit-Global-Remaining"]) == (200, "97")
    assert read.headers["X-Ratelimit-Auth-Token-Remaining"] == "47"
    assert set(calls.sim.segments) == {"a", "b"}


async def test_required_approvals_gate_targets_only(calls: Calls) -> None:
    """Creating, renaming and tagging go on; the environment says that approvals are required."""
    calls.sim.environment.approvals_required = True
    assert (await calls.create("vip")).status == 201
    refused = await calls.include("vip", "a")
    assert refused.status == 403
    assert (refused.json()["code"], refused.json()["message"]) == (
        "forbidden",
        "approval is required",
    )
    assert (await calls.patch("vip", {"kind": "addTags", "values": ["t"]})).status == 200
    environment = (await calls.get("/api/v2/projects/web/environments/prod")).json()
    assert environment["resourceApprovalSettings"]["segment"]["required"] is True


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/v2/nothing", 404), ("PUT", "/api/v2/segments/web/prod/vip", 405)],
)
async def test_what_the_api_does_not_have_is_refused_in_its_form(
    calls: Calls, method: str, path: str, status: int
) -> None:
    """Unknown paths and verbs get an error body with a code."""
    answer = await calls.request(method, path)
    assert answer.status == status
    assert set(answer.json()) == {"code", "message", "id"}


async def test_every_request_is_written_down(calls: Calls) -> None:
    """With members, times in order, status and body, and without the token."""
    await calls.create("vip")
    await calls.patch(
        "vip", targets("addIncludedTargets", ["a", "b"]), targets("removeIncludedTargets", ["c"])
    )
    await calls.include("vip", "")
    create, patch, refused = calls.sim.requests
    assert [each.route for each in calls.sim.requests] == ["create_segment"] + ["patch_segment"] * 2
    assert patch.applied is not None
    assert patch.ended is not None
    assert create.arrived < patch.arrived <= patch.applied <= patch.ended
    assert (patch.status, patch.ending, patch.segment) == (200, Ending.ANSWERED, "vip")
    assert (refused.status, refused.applied, refused.order) == (400, None, None)
    assert (create.order, patch.order) == (1, 2)
    assert patch.body is not None
    assert b"removeIncludedTargets" in patch.body
    assert "api-1" not in str([each.headers for each in calls.sim.requests])
    assert "api-1" not in repr(calls.sim.log)
    written = [(each.key, each.action) for each in calls.sim.log.writes(segment="vip")]
    assert written == [("a", Action.INCLUDE), ("b", Action.INCLUDE), ("c", Action.REMOVE)]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"key": "-dash first"}, id="bad key"),
        pytest.param({"key": None}, id="no key"),
        pytest.param({"name": ""}, id="empty name"),
        pytest.param({"tags": "ldsync"}, id="tags are no array"),
        pytest.param({"tags": ["t" * 65]}, id="long tag"),
        pytest.param({"description": 1}, id="description is no text"),
        pytest.param({"unbounded": "true"}, id="unbounded is no boolean"),
        pytest.param({"unbounded": True, "unboundedContextKind": "kind"}, id="bad context kind"),
    ],
)
async def test_a_wrong_create_call_makes_nothing(calls: Calls, fields: dict[str, object]) -> None:
    """400 for a known field with a wrong value."""
    body = {"key": "vip", "name": "Vip"} | fields
    assert (await calls.request("POST", calls.segments, body)).status == 400
    assert calls.sim.segments == {}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("GET", "?sort=size", None, id="unknown order"),
        pytest.param("GET", "?filter=query equals 'x'", None, id="unknown filter"),
        pytest.param("GET", "?filter=tags anyOf [x]", None, id="filter without quotes"),
        pytest.param("GET", "?limit=-1", None, id="negative limit"),
        pytest.param("POST", "", ["no object"], id="array for an object"),
    ],
)
async def test_what_the_simulator_cannot_do_is_refused_not_ignored(
    calls: Calls, method: str, path: str, body: object
) -> None:
    """A client must not take an unfiltered list for a filtered one."""
    assert (await calls.request(method, calls.segments + path, body)).status == 400


async def test_a_body_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """413, and it is in the log."""
    monkeypatch.setattr("ldsync.demo.simulator.app.MAX_BODY", 1000)
    async with Simulator(project="p", environment="e", token="t") as sim, Calls(sim) as calls:
        assert (await calls.create("vip", description="d" * 1000)).status == 413
        assert (sim.requests[0].status, sim.segments) == (413, {})
