"""Steering the simulator over HTTP, as another process does."""

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial

import aiohttp
import pytest

from ldsync.demo.simulator import Simulator, serve
from tests.support.launchdarkly_calls import Calls, targets


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    """A simulator with a segment `vip` and a member in each list."""
    async with Simulator(project="p", environment="e", token="t") as sim, Calls(sim) as calls:
        await calls.create("vip", tags=["ldsync"])
        await calls.patch(
            "vip", targets("addIncludedTargets", ["a"]), targets("addExcludedTargets", ["x"])
        )
        yield calls


async def test_the_front_page_counts_members(calls: Calls) -> None:
    """It is for people, needs no token, and shows names as text."""
    await calls.create("odd", name="<script>")
    page = await calls.request("GET", "/", token="")
    text = page.content.decode()
    assert page.headers["Content-Type"].startswith("text/html")
    assert "<td>vip</td><td>vip</td><td>1</td><td>1</td><td>2</td>" in text
    assert "<script>" not in text


async def test_the_state_shows_segments_and_members(calls: Calls) -> None:
    """All of them, or the one asked for; 404 for one that is not there."""
    await calls.create("other")
    state = (await calls.get("/simulator/state")).json()
    assert set(state) == {"vip", "other"}
    assert state["vip"] == {
        "included": {"user": ["a"]},
        "excluded": {"user": ["x"]},
        "name": "vip",
        "version": 2,
        "generation": 1,
        "unbounded": False,
        "tags": ["ldsync"],
    }
    assert set((await calls.get("/simulator/state?segment=vip")).json()) == {"vip"}
    assert (await calls.get("/simulator/state?segment=none")).status == 404
    assert (await calls.get("/simulator/state?project=none")).status == 404


async def test_the_log_is_read_in_parts(calls: Calls) -> None:
    """From a sequence number on, to a limit, by segment or member; control calls are not in it."""
    await calls.create("other")
    await calls.include("other", "b")

    async def sequences(query: str) -> list[int]:
        answer = (await calls.get(f"/simulator/log?{query}")).json()
        return [exchange["sequence"] for exchange in answer["exchanges"]]

    assert await sequences("") == [1, 2, 3, 4]
    assert await sequences("after=1&limit=2") == [2, 3]
    assert await sequences("segment=other") == [3, 4]
    assert await sequences("key=b") == [4]


async def test_an_exchange_of_the_log_tells_times_and_members(calls: Calls) -> None:
    """Whoever judges a writer finds here who was written when, and where in the order."""
    answer = (await calls.get("/simulator/log?key=a")).json()
    (exchange,) = answer["exchanges"]
    assert exchange["arrived"] <= exchange["applied"] <= exchange["ended"]
    assert (exchange["order"], exchange["late"], exchange["status"]) == (2, False, 200)
    assert exchange["ending"] == "answered"
    assert exchange["writes"] == [
        {
            "segment": "vip",
            "changes": [
                {"action": "include", "kind": "user", "keys": ["a"]},
                {"action": "exclude", "kind": "user", "keys": ["x"]},
            ],
        }
    ]
    assert answer["dropped"] == 0
    assert abs(answer["wall_offset"] + exchange["arrived"] - time.time()) < 60


async def test_the_log_can_be_forgotten(calls: Calls) -> None:
    """Sequence numbers go on."""
    assert (await calls.request("DELETE", "/simulator/log")).status == 204
    await calls.include("vip", "b")
    (exchange,) = (await calls.get("/simulator/log")).json()["exchanges"]
    assert exchange["sequence"] == 3


async def test_a_fault_is_ordered_shown_and_taken_back(calls: Calls) -> None:
    """Its number is the handle."""
    order = {"route": "patch_segment", "status": 503, "headers": {"Retry-After": "1"}}
    number = (await calls.request("POST", "/simulator/faults", order)).json()["id"]
    assert (await calls.include("vip", "b")).status == 503
    (shown,) = (await calls.get("/simulator/faults")).json()["faults"]
    assert (shown["id"], shown["befallen"], shown["status"]) == (number, 1, 503)
    assert (await calls.request("DELETE", f"/simulator/faults/{number}")).status == 204
    assert (await calls.include("vip", "b")).status == 200


async def test_waits_are_released_over_http(calls: Calls) -> None:
    """One by one, or all by clearing the faults."""
    sim = calls.sim
    order = {"route": "patch_segment", "delay_seconds": "release", "times": 1}

    def befallen(number: int) -> bool:
        return sim.requests[-1].fault == number

    for end in ("release", "clear"):
        number = (await calls.request("POST", "/simulator/faults", order)).json()["id"]
        held = asyncio.create_task(calls.include("vip", end))
        await sim.log.until(partial(befallen, number))
        if end == "release":
            path = f"/simulator/faults/{number}/release"
            assert (await calls.request("POST", path)).status == 204
        else:
            assert (await calls.request("DELETE", "/simulator/faults")).status == 204
        assert (await held).status == 200
    assert (await calls.request("POST", "/simulator/faults/99/release")).status == 404


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("POST", "/simulator/faults", {"rout": "x"}, id="unknown field"),
        pytest.param("POST", "/simulator/faults", [], id="no object"),
        pytest.param("POST", "/simulator/faults", b"{", id="no JSON"),
        pytest.param("PUT", "/simulator/limits", {"route": "many"}, id="no number"),
        pytest.param("PUT", "/simulator/limits", {"window_seconds": 0}, id="no window"),
        pytest.param("PUT", "/simulator/approvals", {"required": 1}, id="no boolean"),
        pytest.param("POST", "/simulator/environments", {"environment": 1}, id="no text"),
        pytest.param("POST", "/simulator/environments", {"environment": "e"}, id="there already"),
        pytest.param("GET", "/simulator/log?after=x", None, id="no sequence number"),
    ],
)
async def test_a_wrong_order_is_refused_in_words(
    calls: Calls, method: str, path: str, body: object
) -> None:
    """400, and nothing is in force."""
    answer = await calls.request(method, path, body)
    assert answer.status == 400
    assert answer.json()["message"]
    assert (await calls.include("vip", "b")).status == 200


async def test_limits_approvals_and_environments_are_set_over_http(calls: Calls) -> None:
    """Each takes effect at once."""
    made = {"environment": "test", "client_side_id": "f" * 24}
    assert (await calls.request("POST", "/simulator/environments", made)).status == 201
    path = "/api/v2/projects/p/environments/test"
    assert (await calls.get(path)).json()["_id"] == "f" * 24
    required = {"required": True}
    assert (await calls.request("PUT", "/simulator/approvals", required)).status == 204
    assert (await calls.include("vip", "b")).status == 403
    limits = {"window_seconds": 3600, "route": 0, "account": None}
    assert (await calls.request("PUT", "/simulator/limits", limits)).status == 204
    refused = await calls.include("vip", "b")
    assert refused.status == 429
    assert "X-Ratelimit-Global-Remaining" not in refused.headers


async def test_serve_runs_until_it_is_cancelled() -> None:
    """It tells its address once it listens, and frees it when it ends."""
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(
        serve("127.0.0.1", 0, "p", "e", "t", on_ready=ready.set_result, client_side_id="c")
    )
    url = await ready
    async with aiohttp.ClientSession(headers={"Authorization": "t"}) as session:
        async with session.head(f"{url}/sdk/goals/c") as response:
            assert response.status == 200
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(url)


async def test_a_port_that_is_taken_is_an_error(calls: Calls) -> None:
    """It is raised, and nothing is left behind."""
    port = int(calls.sim.url.rpartition(":")[2])
    other = Simulator(project="p", environment="e", token="t")
    with pytest.raises(OSError, match="address already in use"):
        await other.start(port=port)
