"""`ldsync check`, LaunchDarkly's half: what it says, what it asks, and that nothing is changed."""

from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Any

import pytest
from pydantic import SecretStr

from ldsync.checks import launchdarkly
from ldsync.checks.finding import Finding, State
from ldsync.checks.launchdarkly import check_launchdarkly
from ldsync.config import LaunchDarklySettings, Settings
from ldsync.demo.simulator import Fault, Simulator
from tests.support import launchdarkly_openapi as openapi
from tests.support.launchdarkly_openapi import Operation

TOKEN = "api-77777777-check"


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A LaunchDarkly with one segment of ours and one of somebody else."""
    async with Simulator(project="p", environment="e", token=TOKEN, keep_bodies=True) as sim:
        sim.create_segment("theirs")
        sim.create_segment("vip", tags=["ldsync"])
        yield sim


async def findings(sim: Simulator, **settings: Any) -> dict[str, Finding]:
    """What is found, by name."""
    values: dict[str, Any] = {
        "api_token": SecretStr(TOKEN),
        "base_url": sim.url,
        "client_side_id": sim.client_side_id,
        "proxy": SecretStr("none"),
        "timeout_seconds": 2.0,
    }
    section = LaunchDarklySettings.model_validate(values | settings)
    found = await check_launchdarkly(Settings(launchdarkly=section))
    assert TOKEN not in repr(found)
    assert "sdk-" not in repr(found)
    return {finding.name: finding for finding in found}


async def test_an_environment_that_is_ready_is_found_so(sim: Simulator) -> None:
    """Everything that can be known without writing is; nothing was written."""
    found = await findings(sim)
    assert {name: each.state for name, each in found.items()} == {
        "token": State.OK,
        "clock": State.OK,
        "environment": State.OK,
        "approvals": State.OK,
        "createSegment": State.UNKNOWN,
        "updateIncluded": State.OK,
    }
    assert "simulated" in found["token"].detail
    assert sim.client_side_id in found["environment"].detail
    assert sim.state() == {"theirs": {}, "vip": {}}
    assert sim.segments["vip"].version == 1


async def test_every_question_is_one_that_the_api_documents(sim: Simulator) -> None:
    """Paths and queries; the patch is a dry run on a segment of ours."""
    await findings(sim)
    known = {(each.method, each.template) for each in openapi.operations()}
    routes = {
        "get_caller_identity": ("GET", "/api/v2/caller-identity"),
        "list_projects": ("GET", "/api/v2/projects"),
        "list_segments": ("GET", "/api/v2/segments/{projectKey}/{environmentKey}"),
        "patch_segment": ("PATCH", "/api/v2/segments/{projectKey}/{environmentKey}/{segmentKey}"),
    }
    assert [each.route for each in sim.requests] == list(routes)
    for each in sim.requests:
        operation = Operation(*routes[each.route])
        assert operation in known
        described = openapi.document()["paths"][operation.template][operation.method.lower()]
        allowed = {parameter["name"] for parameter in described.get("parameters", [])}
        asked = {part.partition("=")[0] for part in each.query.split("&") if part}
        assert asked <= allowed
    assert sim.requests[-1].path.endswith("/vip")
    assert sim.requests[-1].query == "dryRun=true"


async def test_a_wrong_token_is_all_there_is_to_say(sim: Simulator) -> None:
    """Everything else would only fail for the same reason."""
    found = await findings(sim, api_token=SecretStr("api-88888888-wrong"))
    assert list(found) == ["token", "clock"]
    assert found["token"].state is State.FAILED
    assert "401" in found["token"].detail
    assert "launchdarkly.api_token" in found["token"].advice


async def test_a_launchdarkly_that_does_not_answer_is_told(sim: Simulator) -> None:
    """With what to look at."""
    await sim.stop()
    found = await findings(sim)
    assert list(found) == ["LaunchDarkly"]
    assert found["LaunchDarkly"].state is State.FAILED
    assert "proxies" in found["LaunchDarkly"].advice


async def test_something_else_at_the_address_is_told(sim: Simulator) -> None:
    """A login page answers 200, too."""
    sim.faults.add(Fault(route="get_caller_identity", status=200, body="<html>"))
    assert "base_url" in (await findings(sim))["token"].advice


async def test_a_personal_token_is_a_warning(sim: Simulator) -> None:
    """It works until its owner leaves."""
    sim.faults.add(Fault(route="get_caller_identity", status=200, body={"memberId": "x"}))
    found = await findings(sim)
    assert found["token"].state is State.WARNING
    assert "service token" in found["token"].advice
    assert found["updateIncluded"].state is State.OK


async def test_an_environment_that_is_not_there_is_told(sim: Simulator) -> None:
    """And what would be done in it is not asked."""
    found = await findings(sim, client_side_id="0" * 24)
    assert list(found) == ["token", "clock", "environment"]
    assert found["environment"].state is State.FAILED
    assert "client_side_id" in found["environment"].detail


@pytest.mark.parametrize(("offset", "direction"), [(90, "behind"), (-90, "ahead of")])
async def test_a_clock_that_is_wrong_is_a_warning(
    sim: Simulator, offset: float, direction: str
) -> None:
    """Told from the `Date` of a reply."""
    import time

    date = formatdate(time.time() + offset, usegmt=True)
    sim.faults.add(Fault(route="get_caller_identity", status=401, headers={"Date": date}))
    found = await findings(sim)
    assert found["clock"].state is State.WARNING
    assert direction in found["clock"].detail


async def test_required_approvals_are_told_with_the_action_that_is_needed(sim: Simulator) -> None:
    """The dry run is refused as the write would be."""
    sim.environment.approvals_required = True
    found = await findings(sim)
    assert found["approvals"].state is State.WARNING
    assert "bypassRequiredSegmentApproval" in found["approvals"].advice
    assert found["updateIncluded"].state is State.FAILED
    assert "bypassRequiredSegmentApproval" in found["updateIncluded"].advice


@pytest.mark.parametrize("route", ["list_segments", "patch_segment"])
@pytest.mark.parametrize(
    ("status", "state", "words"),
    [
        (403, State.FAILED, "Allow updateIncluded"),
        (503, State.UNKNOWN, "Try again"),
        (429, State.UNKNOWN, "Try again"),
    ],
)
async def test_what_the_token_may_not_do_is_told(
    sim: Simulator, route: str, status: int, state: State, words: str
) -> None:
    """What passes by itself is not a failure, but not a success either."""
    sim.faults.add(Fault(route=route, status=status))
    found = await findings(sim)
    assert found["updateIncluded"].state is state
    assert words in found["updateIncluded"].advice


async def test_without_a_segment_of_ours_nothing_is_tried(sim: Simulator) -> None:
    """Somebody else's segment is left alone, also by a dry run; a big one takes no such patch."""
    sim.environment.delete_segment("vip")
    sim.create_segment("big", tags=["ldsync"], unbounded=True)
    found = await findings(sim)
    assert found["updateIncluded"].state is State.UNKNOWN
    assert "patch_segment" not in {each.route for each in sim.requests}


@pytest.mark.parametrize(("side", "state"), [("allowed", State.OK), ("denied", State.FAILED)])
async def test_permissions_that_launchdarkly_shows_are_read(
    sim: Simulator, side: str, state: State
) -> None:
    """`_access` of the environment and of the segment, where a reply has it."""
    other = "denied" if side == "allowed" else "allowed"
    entry = {"action": "createSegment", "reason": {"effect": "allow"}}
    body = {"key": "e", "_id": "0" * 24, "_access": {side: [entry], other: []}}
    sim.faults.add(Fault(route="get_environment", status=200, body=body))
    listing = {"items": [{"key": "vip", "_access": {"denied": [{"action": "updateIncluded"}]}}]}
    sim.faults.add(Fault(route="list_segments", status=200, body=listing))
    found = await findings(sim, client_side_id="", project_key="p", environment_key="e")
    assert found["createSegment"].state is state
    assert found["updateIncluded"].state is State.FAILED
    assert "Allow updateIncluded" in found["updateIncluded"].advice


async def test_excluding_takes_a_permission_of_its_own(sim: Simulator) -> None:
    """Tried only where it is needed, and apart: one may be allowed without the other."""
    sim.faults.add(Fault(route="patch_segment", status=403, times=1))
    found = await findings(sim, exit_action="exclude")
    assert found["updateIncluded"].state is State.FAILED
    assert found["updateExcluded"].state is State.OK
    assert sim.state() == {"theirs": {}, "vip": {}}


async def test_big_segments_have_no_dry_run(sim: Simulator) -> None:
    """So what they need is named, and nothing is tried."""
    found = await findings(sim, write_path="big")
    assert found["updateIncluded"].state is State.UNKNOWN
    assert "no big segment of ldsync" in found["updateIncluded"].detail
    assert "patch_segment" not in {each.route for each in sim.requests}


@pytest.mark.parametrize(
    ("access", "state"),
    [
        pytest.param({"allowed": [{"action": "updateIncluded"}]}, State.OK, id="allowed"),
        pytest.param({"denied": [{"action": "updateIncluded"}]}, State.FAILED, id="denied"),
        pytest.param({}, State.UNKNOWN, id="not said"),
    ],
)
async def test_what_a_big_segment_says_of_permissions_is_read(
    sim: Simulator, access: dict[str, Any], state: State
) -> None:
    """There is nothing to try, but LaunchDarkly may tell."""
    shown = [{"key": "vip"}, {"key": "many", "unbounded": True, "_access": access}]
    sim.faults.add(Fault(route="list_segments", status=200, body={"items": shown}))
    found = await findings(sim, write_path="big")
    assert found["updateIncluded"].state is state
    assert "many" in found["updateIncluded"].detail
    assert "patch_segment" not in {each.route for each in sim.requests}


async def test_synced_segments_need_no_look_up(sim: Simulator) -> None:
    """The id is all that their requests carry: the token need not see any project."""
    found = await findings(sim, write_path="synced")
    assert list(found) == ["token", "clock", "environment"]
    assert found["environment"].state is State.UNKNOWN
    assert [each.route for each in sim.requests] == ["get_caller_identity"]


async def test_a_dry_run_that_is_not_answered_leaves_it_unknown(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check says so instead of guessing."""
    monkeypatch.setattr(launchdarkly, "_SKEW", 5.0)
    sim.faults.add(Fault(route="patch_segment", delay_seconds=float("inf")))
    found = await findings(sim, timeout_seconds=0.3)
    assert found["updateIncluded"].state is State.UNKNOWN
