"""Every operation and documented status of the simulator, held against LaunchDarkly's OpenAPI.

The table is the document itself: an operation or a status that nobody provokes here is a failure.
"""

import json
from collections.abc import AsyncIterator

import pytest

from ldsync.demo.simulator import ROUTES, Fault, Limits, Simulator
from tests.support import launchdarkly_openapi as openapi
from tests.support.launchdarkly_calls import SEMANTIC, Answer, Calls, targets
from tests.support.launchdarkly_openapi import Operation

UNDOCUMENTED = {"sync_targets", "find_goals"}  # see tests/data/launchdarkly-openapi.md

BODIES: dict[str, object] = {
    "create_segment": {
        "key": "new",
        "name": "New",
        "description": "d",
        "tags": ["t"],
        "unbounded": True,
        "unboundedContextKind": "org",
    },
    "patch_segment": {"patch": [{"op": "replace", "path": "/description", "value": "d"}]},
    "update_contexts": {"included": {"add": ["a"], "remove": ["b"]}},
    "update_users": {"excluded": {"add": ["c"], "remove": ["d"]}},
}


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    """A simulator with a standard segment `std` and a big one `big`."""
    async with Simulator(project="p", environment="e", token="t") as sim, Calls(sim) as calls:
        sim.create_segment("std", tags=["ldsync"])
        sim.create_segment("big", unbounded=True)
        await calls.include("std", "u-1", "u-2")
        await calls.patch("std", targets("addExcludedTargets", ["o-1"], "org"))
        yield calls


def name_of(operation: Operation) -> str:
    """The simulator's name of an operation of the document."""
    placeholders = {"{userKey}": "{contextKey}"}
    template = operation.template
    for theirs, ours in placeholders.items():
        template = template.replace(theirs, ours)
    return next(
        route.name
        for route in ROUTES
        if (route.method, route.template) == (operation.method, template)
    )


def path_of(operation: Operation, project: str = "p") -> str:
    """An address that exists."""
    big = "/contexts" in operation.template or "/users" in operation.template
    return (
        operation.template.replace("{projectKey}", project)
        .replace("{environmentKey}", "e")
        .replace("{segmentKey}", "big" if big else "std")
        .replace("{contextKey}", "u%2F1")
        .replace("{userKey}", "u%2F1")
    )


async def provoke(calls: Calls, operation: Operation, status: int) -> Answer:
    """A call of the operation that is answered with that status."""
    name, path = name_of(operation), path_of(operation)
    body, token = BODIES.get(name), None
    if body is not None:
        openapi.check_request(operation, "application/json", json.dumps(body).encode())
    match status:
        case 400 if body is not None:
            body = b"{"
        case 400 if operation.template.endswith(("projects", "environments")):
            path += "?limit=many"
        case 400 if "{contextKey}" in operation.template or "{userKey}" in operation.template:
            path = path.replace("/big/", "/std/")
        case 401:
            token = "Bearer t"
        case 404:
            path = path_of(operation, project="nowhere")
        case 429:
            calls.sim.windows.limits = Limits(account=0, address=0)
        case 400 | 403 | 405 | 409:
            calls.sim.faults.add(Fault(route=name, status=status))
        case _:
            pass
    return await calls.request(operation.method, path, body, token=token)


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        pytest.param(operation, status, id=f"{operation.method} {operation.template} {status}")
        for operation in openapi.operations()
        for status in openapi.statuses(operation)
    ],
)
async def test_a_reply_is_as_documented(calls: Calls, operation: Operation, status: int) -> None:
    """Each operation gives each status it documents, with the body documented for it."""
    answer = await provoke(calls, operation, status)
    assert answer.status == status
    content_type = answer.headers.get("Content-Type", "")
    openapi.check_reply(operation, answer.status, content_type, answer.content)


def test_every_operation_simulated_is_documented() -> None:
    """Nothing is made up, apart from what only prose describes."""
    documented = {name_of(operation) for operation in openapi.operations()}
    assert {route.name for route in ROUTES} == documented | UNDOCUMENTED


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        pytest.param(
            "/api/v2/projects?expand=environments&limit=1",
            Operation("GET", "/api/v2/projects"),
            id="projects with environments",
        ),
        pytest.param(
            "/api/v2/segments/p/e/big",
            Operation("GET", "/api/v2/segments/{projectKey}/{environmentKey}/{segmentKey}"),
            id="big segment",
        ),
        pytest.param(
            "/api/v2/segments/p/e/segment-audiences-aud_1",
            Operation("GET", "/api/v2/segments/{projectKey}/{environmentKey}/{segmentKey}"),
            id="synced segment",
        ),
        pytest.param(
            "/api/v2/segments/p/e",
            Operation("GET", "/api/v2/segments/{projectKey}/{environmentKey}"),
            id="segments of all kinds",
        ),
    ],
)
async def test_other_shapes_of_a_reply_are_as_documented(
    calls: Calls, path: str, operation: Operation
) -> None:
    """What an operation returns for other objects than the plainest fits the document too."""
    member = {"userId": "u-1", "cohortId": "aud_1", "cohortName": "Vip", "value": True}
    body = {"environmentId": calls.sim.client_side_id, "contextKind": "user", "batch": [member]}
    synced = await calls.request("POST", "/api/v2/segment-targets/segment-audiences", body)
    assert (synced.status, synced.content) == (204, b"")
    answer = await calls.get(path)
    openapi.check_reply(operation, 200, answer.headers["Content-Type"], answer.content)


async def test_a_semantic_patch_is_answered_with_the_documented_segment(calls: Calls) -> None:
    """The document lacks the semantic form of the request; the reply is that of any patch."""
    operation = Operation("PATCH", "/api/v2/segments/{projectKey}/{environmentKey}/{segmentKey}")
    body = {"environmentKey": "e", "instructions": [targets("addIncludedTargets", ["u-3"])]}
    answer = await calls.request("PATCH", path_of(operation), body, content_type=SEMANTIC)
    openapi.check_reply(operation, 200, answer.headers["Content-Type"], answer.content)
    assert answer.json()["included"] == ["u-1", "u-2", "u-3"]
    assert answer.json()["excludedContexts"] == [{"contextKind": "org", "values": ["o-1"]}]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(201, b'{"key": "k"}', id="undocumented status"),
        pytest.param(401, b'{"code": "unauthorized"}', id="missing field"),
        pytest.param(401, b'{"code": 401, "message": "m"}', id="wrong type"),
        pytest.param(200, b'{"validVersions": [], "extra": 1}', id="unknown field"),
    ],
)
def test_the_judge_can_condemn(status: int, body: bytes) -> None:
    """Replies that are not as documented are found out."""
    with pytest.raises(Exception, match=r"documents no|required|not of type|unexpected"):
        openapi.check_reply(Operation("GET", "/api/v2/versions"), status, "application/json", body)
