"""Finding the environment: by keys, by client-side ID, and what is said when it is not there."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from ldsync.demo.simulator import Fault
from ldsync.demo.simulator.world import Environment as Simulated
from ldsync.launchdarkly.environment import Environment, Found
from ldsync.launchdarkly.outcome import Patience, Retry, RetryReason, Scope
from ldsync.launchdarkly.resolution import resolve
from ldsync.launchdarkly.watch import keep_resolved
from tests.support import launchdarkly_openapi as openapi
from tests.support.eventually import eventually
from tests.support.standard_writer import Desk, desk

SOUGHT = "0123456789abcdef01234567"
OTHER = "76543210fedcba9876543210"


def by_keys(project: str = "p", environment: str = "e", identity: str = "") -> Environment:
    """An environment that was configured by its keys."""
    return Environment(project, environment, identity)


async def found(here: Desk, environment: Environment) -> Found:
    """What is found, which must be something."""
    result = await resolve(here.client, environment)
    assert isinstance(result, Found), result
    return result


async def refused(here: Desk, environment: Environment) -> Retry:
    """Why nothing is found; every such answer makes all writes wait."""
    result = await resolve(here.client, environment)
    assert isinstance(result, Retry), result
    assert result.ambiguous_since is None
    return result


def hide(here: Desk, projects: int, environments: int, at: int | None) -> Simulated | None:
    """Fill the account: so many more projects of so many environments; the sought one is in one."""
    for number in range(projects):
        for inner in range(environments):
            last = number == at and inner == environments - 1
            added = here.sim.world.add_environment(
                f"project-{number}", f"env-{inner}", SOUGHT if last else None
            )
            if last:
                sought = added
    return sought if at is not None else None


async def test_an_environment_given_by_its_keys_takes_one_request() -> None:
    """Nothing of the answer is in the log: it carries SDK keys."""
    async with desk() as here:
        with capture_logs() as logs:
            result = await found(here, by_keys())
        assert here.routes == ["get_environment"]
        assert result == Found("p", "e", here.sim.client_side_id)
        assert logs == []


async def test_synced_segments_need_the_id_alone() -> None:
    """Nothing is asked; given with keys, these are compared as ever."""
    async with desk() as here:
        alone = Environment(client_side_id=SOUGHT, needs_keys=False)
        assert await found(here, alone) == Found("", "", SOUGHT)
        assert here.routes == []
        await refused(here, Environment("p", "e", SOUGHT, needs_keys=False))
        assert here.routes == ["get_environment"]


async def test_keys_and_client_side_id_that_agree_take_one_request() -> None:
    """The id may be written in capitals."""
    async with desk() as here:
        identity = here.sim.client_side_id
        assert (await found(here, by_keys(identity=identity))).client_side_id == identity
        assert here.routes == ["get_environment"]


async def test_keys_and_client_side_id_that_disagree_are_told() -> None:
    """A mix-up of environments is found before anything is written to the wrong one."""
    async with desk() as here:
        problem = await refused(here, by_keys(identity=OTHER))
        assert here.sim.client_side_id in problem.detail
    assert (problem.reason, problem.patience) == (RetryReason.NOT_FOUND, Patience.OPERATOR)
    assert OTHER in problem.detail
    assert "launchdarkly.client_side_id" in problem.detail


@pytest.mark.parametrize(
    ("projects", "environments", "at", "requests"),
    [
        pytest.param(1, 1, 0, 1, id="on the first page"),
        pytest.param(45, 2, 44, 3, id="on the third page of projects"),
        pytest.param(3, 21, 2, 7, id="behind a page of environments"),
        pytest.param(2, 65, 1, 9, id="on the fourth page of environments"),
    ],
)
async def test_a_client_side_id_alone_is_enough(
    projects: int, environments: int, at: int, requests: int
) -> None:
    """Projects are walked, and the environments of those whose page is short of its total."""
    async with desk() as here:
        sought = hide(here, projects, environments, at)
        assert sought is not None
        result = await found(here, Environment(client_side_id=SOUGHT))
        assert result == Found(sought.project_key, sought.key, SOUGHT)
        assert len(here.routes) == requests
        assert set(here.routes) <= {"list_projects", "list_environments"}
        for exchange in here.sim.requests:
            assert set(exchange.query.replace("&", "=").split("=")[::2]) <= {
                parameter["name"]
                for parameter in openapi.document()["paths"][
                    "/api/v2/projects"
                    if exchange.route == "list_projects"
                    else "/api/v2/projects/{projectKey}/environments"
                ]["get"]["parameters"]
            }


async def test_an_id_that_no_project_has_is_told_with_what_was_seen() -> None:
    """Private projects are simply missing for a token that may not see them."""
    async with desk() as here:
        hide(here, 21, 21, None)
        problem = await refused(here, Environment(client_side_id=SOUGHT))
    assert (problem.reason, problem.scope, problem.patience) == (
        RetryReason.NOT_FOUND,
        Scope.EVERYTHING,
        Patience.OPERATOR,
    )
    assert "22 projects" in problem.detail
    assert "launchdarkly.client_side_id" in problem.detail


def _environment(identity: str) -> dict[str, Any]:
    return {"_id": identity, "key": "e", "apiKey": "sdk-x", "mobileKey": "mob-x"}


PAGES: dict[str, list[dict[str, Any]]] = {
    "no totals, no links": [
        {
            "items": [
                {"key": f"p{n}", "environments": {"items": [{}], "totalCount": 1}}
                for n in range(20)
            ]
        },
        {"items": [{"key": "q", "environments": {"items": [_environment(SOUGHT)]}}]},
    ],
    "a link to another host": [
        {
            "items": [{"key": "p", "environments": {"items": [], "totalCount": 0}}],
            "_links": {"next": {"href": "https://elsewhere.invalid/steal?limit=1&offset=1"}},
        },
        {"items": [{"key": "q", "environments": {"items": [_environment(SOUGHT)]}}]},
    ],
    "a page that is shorter than asked for": [
        {"items": [{"key": "p", "environments": {"totalCount": 0}}], "totalCount": 2},
        {"items": [{"key": "q", "environments": {"items": [_environment(SOUGHT.upper())]}}]},
    ],
    "projects without environments": [
        {"items": [{"key": "q"}, {"no key": 1}, 7], "totalCount": 3},
        {"items": [{"_id": 1}, {"key": "e", "_id": SOUGHT}]},
    ],
    "environments that are no page": [
        {"items": [{"key": "q", "environments": ["x"]}], "totalCount": 1},
        {"items": [{"key": "e", "_id": SOUGHT}], "_links": "none"},
    ],
}


@pytest.mark.parametrize("pages", PAGES.values(), ids=PAGES)
async def test_every_form_of_page_is_understood(pages: list[dict[str, Any]]) -> None:
    """Totals and links may be missing; of a link only its query is used, never its host."""
    async with desk() as here:
        for page in pages:
            here.sim.faults.add(Fault(route="list_*", status=200, body=page, times=1))
        assert await found(here, Environment(client_side_id=SOUGHT)) == Found("q", "e", SOUGHT)
        assert len(here.routes) == 2


async def test_a_listing_that_goes_round_in_circles_ends() -> None:
    """A link that does not lead on is not followed."""
    async with desk() as here:
        page = {
            "items": [{"key": "p", "environments": {"items": [], "totalCount": 0}}],
            "_links": {"next": {"href": "/api/v2/projects?limit=20&offset=0"}},
        }
        here.sim.faults.add(Fault(route="list_projects", status=200, body=page))
        problem = await refused(here, Environment(client_side_id=SOUGHT))
        assert len(here.routes) == 1
    assert "1 project that" in problem.detail


async def test_a_listing_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the replies say, there is a last request."""
    monkeypatch.setattr("ldsync.launchdarkly.resolution.MAX_PAGES", 3)
    async with desk() as here:
        hide(here, 100, 1, 99)
        problem = await refused(here, Environment(client_side_id=SOUGHT))
        assert len(here.routes) == 3
    assert problem.reason is RetryReason.UNEXPECTED


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        pytest.param(by_keys("p", "x"), "environment x of project p", id="environment"),
        pytest.param(by_keys("x", "e"), "environment e of project x", id="project"),
    ],
)
async def test_wrong_keys_are_told_with_the_settings_to_look_at(
    environment: Environment, named: str
) -> None:
    """404 does not say which of the two is wrong."""
    async with desk() as here:
        problem = await refused(here, environment)
    assert (problem.reason, problem.scope, problem.patience) == (
        RetryReason.NOT_FOUND,
        Scope.EVERYTHING,
        Patience.OPERATOR,
    )
    assert named in problem.detail
    assert "launchdarkly.project_key and launchdarkly.environment_key" in problem.detail


async def test_a_wrong_token_is_told() -> None:
    """And not shown."""
    async with desk() as here:
        other = Desk(here.sim, token="api-99999999-wrong")
        async with other.client:
            problem = await refused(other, by_keys())
    assert problem.reason is RetryReason.UNAUTHORIZED
    assert "launchdarkly.api_token" in problem.detail
    assert "99999999" not in repr(problem)


async def test_a_token_that_may_not_see_projects_is_told_what_it_needs() -> None:
    """Not that it may not write segments, which is another permission."""
    async with desk() as here:
        here.sim.faults.add(Fault(route="list_projects", status=403))
        problem = await refused(here, Environment(client_side_id=SOUGHT))
    assert problem.reason is RetryReason.FORBIDDEN
    assert "viewProject" in problem.detail


async def test_an_archived_environment_is_told() -> None:
    """It is there, and cannot be written to."""
    async with desk() as here:
        body = {"key": "e", "_id": SOUGHT, "archived": True}
        here.sim.faults.add(Fault(route="get_environment", status=200, body=body))
        problem = await refused(here, by_keys())
    assert "is archived" in problem.detail


@pytest.mark.parametrize("body", ["<html>", '{"key": "other"}', "[]", '{"key": 1}'])
async def test_an_answer_about_something_else_is_not_believed(body: str) -> None:
    """A login page answers 200, too."""
    async with desk() as here:
        here.sim.faults.add(Fault(route="get_environment", status=200, body=body))
        problem = await refused(here, by_keys())
    assert problem.reason is RetryReason.UNEXPECTED


async def test_a_listing_that_is_no_json_is_not_believed() -> None:
    """A login page in the middle of the walk."""
    async with desk() as here:
        here.sim.faults.add(Fault(route="list_projects", status=200, body="<html>"))
        problem = await refused(here, Environment(client_side_id=SOUGHT))
    assert problem.reason is RetryReason.UNEXPECTED
    assert "launchdarkly.base_url" in problem.detail


async def test_an_unreachable_launchdarkly_is_a_passing_problem() -> None:
    """Readiness waits; nothing needs to be done about the configuration."""
    async with desk() as here:
        here.sim.faults.add(Fault(route="get_environment", status=503))
        problem = await refused(here, by_keys())
        await here.sim.stop()
        silence = await refused(here, by_keys())
    assert (problem.reason, problem.patience) == (RetryReason.SERVER_ERROR, Patience.TRANSIENT)
    assert silence.reason is RetryReason.CONNECTION


@asynccontextmanager
async def kept(here: Desk, environment: Environment) -> AsyncIterator[None]:
    """Keep an environment resolved in the background."""
    task = asyncio.create_task(keep_resolved(here.client, environment, random.Random(1)))
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_environment_is_filled_in_when_it_is_found() -> None:
    """The keys that writes need, the id, and a warning about approvals."""
    async with desk() as here:
        sought = hide(here, 1, 1, 0)
        assert sought is not None
        sought.approvals_required = True
        environment = Environment(client_side_id=SOUGHT)
        assert not environment.resolved
        assert str(environment) == f"the environment with client-side ID {SOUGHT}"
        with capture_logs() as logs:
            async with kept(here, environment):
                await eventually(lambda: environment.resolved, "it is resolved")
        assert (environment.project_key, environment.environment_key) == ("project-0", "env-0")
        assert repr(environment) == "<Environment environment env-0 of project project-0>"
        assert environment.approvals_required
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("environment.resolved", "info"),
        ("launchdarkly.approvals_required", "warning"),
    ]


async def test_an_environment_that_is_doubted_and_gone_makes_writes_wait_until_it_is_back() -> None:
    """And what held the writes back is ended when it is."""
    async with desk() as here:
        environment = by_keys()
        async with kept(here, environment):
            await eventually(lambda: environment.resolved, "it is resolved")
            here.pacing.close_until(here.now() + 3000, "it is not there")
            project = here.sim.world.projects["p"].environments
            hidden = project.pop("e")
            environment.doubt()
            await eventually(lambda: not environment.resolved, "it is lost")
            assert "environment e of project p" in environment.problem
            project["e"] = hidden
            await eventually(lambda: environment.resolved, "it is found again")
            assert here.pacing.open_at <= here.now()


async def test_an_environment_that_is_doubted_and_there_changes_nothing() -> None:
    """What holds the writes back then is something else, and goes on."""
    async with desk() as here:
        environment = by_keys()
        with capture_logs() as logs:
            async with kept(here, environment):
                await eventually(lambda: environment.resolved, "it is resolved")
                here.sim.faults.add(Fault(route="get_environment", status=503, times=1))
                held = here.now() + 3000
                here.pacing.close_until(held, "something else")
                environment.doubt()
                await eventually(
                    lambda: logs[-1]["event"] == "environment.confirmed", "it is confirmed"
                )
                assert environment.resolved
                assert here.pacing.open_at == held
