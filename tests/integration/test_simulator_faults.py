"""What the simulator does to its clients when it is told to misbehave."""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest

from ldsync.demo.simulator import Answer, Apply, Ending, Exchange, Fault, Simulator
from tests.support.launchdarkly_calls import Calls, targets

PATCH = "patch_segment"


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    """A simulator with an empty segment `vip`."""
    async with Simulator(project="p", environment="e", token="t") as sim, Calls(sim) as calls:
        sim.create_segment("vip")
        yield calls


async def give_up(calls: Calls, *members: str) -> Exchange:
    """A patch whose client leaves as soon as a fault has befallen it."""
    sim, before = calls.sim, len(calls.sim.requests)
    patching = asyncio.create_task(calls.include("vip", *members))
    await sim.log.until(
        lambda: len(sim.requests) > before and sim.requests[before].fault is not None
    )
    patching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await patching
    exchange = sim.requests[before]
    await sim.log.until(lambda: exchange.ending is Ending.ABANDONED)
    return exchange


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        pytest.param(Fault(status=400), "invalid_request", "Invalid request", id="400"),
        pytest.param(Fault(status=401), "unauthorized", "Invalid access token", id="401"),
        pytest.param(
            Fault(status=403, message="approval is required"),
            "forbidden",
            "approval is required",
            id="403 approval",
        ),
        pytest.param(Fault(status=404), "not_found", "Invalid resource identifier", id="404"),
        pytest.param(
            Fault(status=409),
            "optimistic_locking_error",
            "someone else changed this segment first",
            id="409",
        ),
        pytest.param(
            Fault(status=409, code="key_exists", message="Duplicate"),
            "key_exists",
            "Duplicate",
            id="409 of another kind",
        ),
        pytest.param(Fault(status=413), "request_too_large", "Request body is too large", id="413"),
        pytest.param(
            Fault(status=422),
            "unprocessable_entity",
            "Update description was not understood",
            id="422",
        ),
        pytest.param(Fault(status=503), "service_unavailable", "The server failed", id="503"),
    ],
)
async def test_a_status_is_answered_and_nothing_applied(
    calls: Calls, fault: Fault, code: str, message: str
) -> None:
    """The body is the documented one, unless the fault says otherwise."""
    number = calls.sim.faults.add(fault)
    answer = await calls.include("vip", "a")
    assert answer.status == fault.status
    assert (answer.json()["code"], answer.json()["message"]) == (code, message)
    assert calls.sim.included("vip") == set()
    assert calls.sim.faults.befallen(number) == 1
    assert calls.sim.requests[-1].fault == number


@pytest.mark.parametrize(
    ("body", "content"),
    [
        pytest.param("<h1>Bad gateway</h1>", b"<h1>Bad gateway</h1>", id="html"),
        pytest.param("", b"", id="empty"),
        pytest.param({"message": "no code"}, b'{"message":"no code"}', id="without a code"),
    ],
)
async def test_a_body_can_be_anything(calls: Calls, body: str, content: bytes) -> None:
    """Proxies answer in HTML, or not at all; some real bodies have no code."""
    calls.sim.faults.add(Fault(status=502, body=body))
    assert (await calls.include("vip", "a")).content == content


async def test_rate_limit_headers_can_be_set_and_taken_out(calls: Calls) -> None:
    """A 429 with a reset to come, one in the past, and one that says nothing."""
    faults = calls.sim.faults
    names = [
        f"X-Ratelimit-{name}"
        for name in (
            *("Global-Limit", "Global-Remaining", "Route-Limit", "Route-Remaining", "Reset"),
            *("Auth-Token-Limit", "Auth-Token-Remaining", "Auth-Token-Reset"),
        )
    ]
    faults.add(Fault(status=429, reset_seconds=60, headers={"Retry-After": "7"}, times=1))
    faults.add(Fault(status=429, reset_seconds=-60, times=1))
    faults.add(Fault(status=429, headers=dict.fromkeys(names), times=1))
    soon, past, silent = [await calls.include("vip", "a") for _ in range(3)]
    now_ms = time.time() * 1000
    assert soon.headers["X-Ratelimit-Route-Remaining"] == "0"
    assert now_ms < int(soon.headers["X-Ratelimit-Reset"]) <= now_ms + 60_000
    assert soon.headers["Retry-After"] == "7"
    assert int(past.headers["X-Ratelimit-Reset"]) < now_ms
    assert not [name for name in silent.headers if name.lower().startswith("x-ratelimit")]


@pytest.mark.parametrize(("apply", "members"), [(Apply.NEVER, set()), (Apply.NOW, {"a"})])
async def test_the_connection_is_reset_before_or_after_applying(
    calls: Calls, apply: Apply, members: set[str]
) -> None:
    """The client learns nothing; only the state tells which it was."""
    calls.sim.faults.add(Fault(route=PATCH, answer=Answer.RESET, apply=apply, times=1))
    with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
        await calls.include("vip", "a")
    assert calls.sim.included("vip") == members
    exchange = calls.sim.requests[-1]
    assert (exchange.ending, exchange.status) == (Ending.RESET, None)
    assert (exchange.applied is not None) == (apply is Apply.NOW)
    assert (await calls.include("vip", "b")).status == 200


@pytest.mark.parametrize(("apply", "members"), [(Apply.NEVER, set()), (Apply.NOW, {"a"})])
async def test_a_request_hangs_until_the_client_gives_up(
    calls: Calls, apply: Apply, members: set[str]
) -> None:
    """Its giving up is noticed and written down."""
    calls.sim.faults.add(Fault(route=PATCH, answer=Answer.HANG, apply=apply, times=1))
    exchange = await give_up(calls, "a")
    assert exchange.status is None
    assert calls.sim.included("vip") == members


async def test_a_request_is_applied_after_the_client_gave_up(calls: Calls) -> None:
    """And after a later request of the same member: the state ends as the earlier one says."""
    sim = calls.sim
    fault = sim.faults.add(Fault(route=PATCH, late_seconds=math.inf, times=1))
    late = await give_up(calls, "a")
    assert late.applied is None
    assert (await calls.patch("vip", targets("removeIncludedTargets", ["a"]))).status == 200
    sim.faults.release(fault)
    await sim.log.until(lambda: late.applied is not None)
    assert sim.included("vip") == {"a"}
    assert (late.late, late.order, sim.requests[-1].order) == (True, 2, 1)
    ((before, after),) = sim.log.member_overlaps()
    assert (before.exchange, after.exchange) == (late, sim.requests[-1])
    assert sim.log.patch_overlaps() == []


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(late_seconds=0.05, status=504), id="told of a failure"),
        pytest.param(Fault(late_seconds=0.05, answer=Answer.RESET), id="told nothing"),
    ],
)
async def test_a_request_is_applied_late_by_itself(calls: Calls, fault: Fault) -> None:
    """After its time, whatever the client was told."""
    calls.sim.faults.add(fault)
    if fault.status is not None:
        assert (await calls.include("vip", "a")).status == 504
    else:
        with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
            await calls.include("vip", "a")
    exchange = calls.sim.requests[-1]
    await calls.sim.log.until(lambda: exchange.applied is not None)
    assert calls.sim.included("vip") == {"a"}
    assert exchange.late
    assert exchange.applied is not None
    assert exchange.applied - exchange.arrived >= 0.05


async def test_a_segment_can_be_created_late(calls: Calls) -> None:
    """Late application is not only for patches: the next create finds the key taken."""
    fault = calls.sim.faults.add(
        Fault(route="create_segment", late_seconds=math.inf, status=500, times=1)
    )
    assert (await calls.create("new")).status == 500
    assert "new" not in calls.sim.segments
    calls.sim.faults.release(fault)
    await calls.sim.log.until(lambda: "new" in calls.sim.segments)
    assert (await calls.create("new")).status == 409


async def test_a_late_request_that_is_refused_then_changes_nothing(calls: Calls) -> None:
    """The segment it was for is gone when its time comes."""
    fault = calls.sim.faults.add(Fault(late_seconds=math.inf, status=500, times=1))
    await calls.include("vip", "a")
    assert (await calls.request("DELETE", f"{calls.segments}/vip")).status == 204
    calls.sim.faults.release(fault)
    assert (await calls.create("vip")).status == 201
    assert calls.sim.requests[0].applied is None
    assert calls.sim.included("vip") == set()


async def test_a_delay_ends_when_it_is_released(calls: Calls) -> None:
    """Until then nothing is applied; other segments are not held up."""
    sim = calls.sim
    sim.create_segment("other")
    fault = sim.faults.add(Fault(segment="vip", delay_seconds=math.inf, times=1))
    held = asyncio.create_task(calls.include("vip", "a"))
    await sim.log.until(lambda: bool(sim.requests) and sim.requests[0].fault == fault)
    assert (await calls.include("other", "a")).status == 200
    assert sim.included("vip") == set()
    sim.faults.release(fault)
    assert (await held).status == 200
    assert sim.included("vip") == {"a"}


async def test_a_delayed_answer_comes_after_applying(calls: Calls) -> None:
    """The true reply is sent when the wait is over, and two patches at once are seen as such."""
    sim = calls.sim
    fault = sim.faults.add(Fault(route=PATCH, answer_delay_seconds=math.inf, times=1))
    held = asyncio.create_task(calls.include("vip", "a"))
    await sim.log.until(lambda: sim.included("vip") == {"a"})
    assert (await calls.include("vip", "b")).status == 200
    sim.faults.release(fault)
    assert (await held).json()["included"] == ["a"]
    assert sim.log.patch_overlaps() == [tuple(sim.requests)]
    assert sim.log.member_overlaps() == []


async def test_a_body_can_come_slowly(calls: Calls) -> None:
    """Head at once, body in pieces: who reads to the end has a whole answer."""
    fault = calls.sim.faults.add(Fault(route=PATCH, body_seconds=0.2, times=1))
    answer = await calls.include("vip", "a")
    assert answer.json()["included"] == ["a"]
    exchange = calls.sim.requests[-1]
    assert (exchange.fault, exchange.ending, exchange.status) == (fault, Ending.ANSWERED, 200)
    assert exchange.ended is not None
    assert exchange.applied is not None
    assert exchange.ended - exchange.applied >= 0.19


async def test_a_client_that_leaves_a_slow_body_is_noticed(calls: Calls) -> None:
    """What was asked for is applied all the same."""
    calls.sim.faults.add(Fault(route=PATCH, body_seconds=600, times=1))
    exchange = await give_up(calls, "a")
    assert exchange.status is None
    assert calls.sim.included("vip") == {"a"}


async def test_a_body_can_end_in_the_middle(calls: Calls) -> None:
    """The length says more than comes; what was asked for is applied."""
    calls.sim.faults.add(Fault(route=PATCH, answer=Answer.CUT, times=1))
    with pytest.raises(aiohttp.ClientPayloadError):
        await calls.include("vip", "a")
    assert calls.sim.included("vip") == {"a"}
    exchange = calls.sim.requests[-1]
    assert (exchange.ending, exchange.status) == (Ending.RESET, 200)
    assert (await calls.include("vip", "b")).status == 200


async def test_what_has_begun_does_not_stop_when_the_client_leaves(calls: Calls) -> None:
    """A slow server applies a request whose client gave up during the delay."""
    fault = calls.sim.faults.add(Fault(route=PATCH, delay_seconds=math.inf, times=1))
    await give_up(calls, "a")
    assert calls.sim.included("vip") == set()
    calls.sim.faults.release(fault)
    await calls.sim.log.until(lambda: calls.sim.included("vip") == {"a"})


async def test_poison_is_refused_in_whatever_company(calls: Calls) -> None:
    """A fault on a member befalls every request that names it, for tests of bisection."""
    calls.sim.faults.add(Fault(route=PATCH, member="poison", status=400))
    calls.sim.faults.add(Fault(route=PATCH, more_than=2, status=413))
    assert (await calls.include("vip", "a", "poison")).status == 400
    assert (await calls.include("vip", "a", "b", "c")).status == 413
    assert (await calls.include("vip", "a", "b")).status == 200


async def test_stopping_does_not_wait_for_what_hangs() -> None:
    """Hanging requests are cut, late applications dropped, and the port is free again."""
    sim = Simulator(project="p", environment="e", token="t")
    await sim.start()
    async with Calls(sim) as calls:
        sim.create_segment("vip")
        sim.faults.add(Fault(late_seconds=math.inf))
        hanging = asyncio.create_task(calls.include("vip", "a"))
        await sim.log.until(lambda: bool(sim.requests) and sim.requests[0].fault is not None)
        async with asyncio.timeout(5):
            await sim.stop()
            with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
                await hanging
        with pytest.raises(aiohttp.ClientConnectorError):
            await calls.get("/")
    assert sim.included("vip") == set()
