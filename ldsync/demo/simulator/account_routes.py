"""Operations around the account: versions, the token's identity, projects and environments."""

from ldsync.demo.simulator.calls import (
    Call,
    Document,
    Reply,
    Route,
    json_reply,
    page,
    page_document,
)
from ldsync.demo.simulator.refusal import Refusal
from ldsync.demo.simulator.world import Environment, Project, World, stable_id

_VERSIONS = (20160426, 20191212, 20210729, 20220603, 20240415)


def get_versions(_: World, call: Call) -> Reply:
    """The API versions, and which one this call speaks (launchdarkly-api contract 1.3)."""
    asked = call.api_version
    current = int(asked) if asked in map(str, _VERSIONS) else _VERSIONS[-1]
    return json_reply(
        {
            "validVersions": _VERSIONS,
            "latestVersion": _VERSIONS[-1],
            "currentVersion": current,
            "beta": asked == "beta",
        }
    )


def get_caller_identity(_: World, __: Call) -> Reply:
    """Who the token belongs to: names and ids, no keys."""
    return json_reply(
        {
            "accountId": stable_id("account"),
            "authKind": "token",
            "tokenKind": "auth",
            "tokenName": "simulated",
            "tokenId": stable_id("token"),
            "serviceToken": True,
        }
    )


def list_projects(world: World, call: Call) -> Reply:
    """Projects, with `expand=environments` each with the first page of its environments."""
    if "filter" in call.query:
        raise Refusal(400, "the simulator has no project filters")
    expanded = "environments" in call.query.get("expand", "").split(",")
    projects = list(world.projects.values())
    return page(call, "/api/v2/projects", projects, _expanded if expanded else Project.document)


def get_project(world: World, call: Call) -> Reply:
    """One project."""
    project = world.project(call.params["projectKey"])
    expanded = "environments" in call.query.get("expand", "").split(",")
    return json_reply(_expanded(project) if expanded else project.document())


def list_environments(world: World, call: Call) -> Reply:
    """The environments of a project."""
    project = world.project(call.params["projectKey"])
    if "filter" in call.query:
        raise Refusal(400, "the simulator has no environment filters")
    environments = list(project.environments.values())
    return page(call, f"{project.path}/environments", environments, Environment.document)


def get_environment(world: World, call: Call) -> Reply:
    """One environment; its `_id` is the client-side ID."""
    return json_reply(call.environment(world).document())


def find_goals(world: World, call: Call) -> Reply:
    """Whether a client-side ID exists: undocumented, without a token (launchdarkly-api 2.4)."""
    known = world.by_client_side_id(call.params["clientSideId"])
    return Reply(404 if known is None else 200)


def _expanded(project: Project) -> Document:
    first_page = page_document(
        f"{project.path}/environments", list(project.environments.values()), Environment.document
    )
    return project.document() | {"environments": first_page}


_PROJECT = "/api/v2/projects/{projectKey}"

ROUTES = (
    Route("get_versions", "GET", "/api/v2/versions", get_versions),
    Route("get_caller_identity", "GET", "/api/v2/caller-identity", get_caller_identity),
    Route("list_projects", "GET", "/api/v2/projects", list_projects),
    Route("get_project", "GET", _PROJECT, get_project),
    Route("list_environments", "GET", f"{_PROJECT}/environments", list_environments),
    Route("get_environment", "GET", f"{_PROJECT}/environments/{{environmentKey}}", get_environment),
    Route("find_goals", "HEAD", "/sdk/goals/{clientSideId}", find_goals, authenticated=False),
)
