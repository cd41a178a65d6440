"""Every answer to a write, on every write path: what it means, and what happens next.

One row per answer, one column per writer. An entry says the outcome (for what waits: reason, scope,
patience, and whether the request may still be applied), how many requests about members were sent,
and "gate" if no request of the process may start for now. docs/launchdarkly.md has the same table
in words.
"""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest

from ldsync.demo.simulator import Answer, Apply, Fault
from ldsync.launchdarkly.outcome import Delivered, Outcome, Rejected, Retry, Scope
from ldsync.launchdarkly.schedule import Schedule
from ldsync.sync.backoff import Backoff
from tests.support.raw_server import raw_server, reset
from tests.support.standard_writer import Desk, desk, ins

PATHS = ("standard", "big", "synced")

GOOD = "delivered, 1 sent"
WRONG = "bad_request segment operator, 4 sent"
PASSES = "server_error segment transient, 1 sent"
LATE = "server_error segment transient ambiguous, 1 sent"
LIMITED = "rate_limited everything transient, 1 sent, gate"
NO_API = "unexpected segment operator ambiguous, 1 sent"
STRANGE = "unexpected segment operator, 1 sent"
LOST = "connection segment transient ambiguous, 1 sent"


class Row(NamedTuple):
    """An answer, what it is about with each writer, and how often it is given (None: always)."""

    name: str
    fault: dict[str, Any]
    standard: str
    big: str = ""
    synced: str = ""
    times: int | None = None


def limited(**headers: str | None) -> dict[str, Any]:
    """A 429 with these headers, and none of the simulator's own."""
    own = ("X-Ratelimit-Reset", "X-Ratelimit-Auth-Token-Reset")
    return {"status": 429, "headers": {**dict.fromkeys(own), **headers}}


ROWS = (
    # what says that all is well
    Row("the documented answer", {}, GOOD),
    Row("204", {"status": 204, "body": ""}, NO_API, GOOD, GOOD),
    Row("200 with nothing in it", {"status": 200, "body": {}}, NO_API, GOOD, GOOD),
    Row("200 with HTML", {"status": 200, "body": "<html>log in</html>"}, NO_API),
    # what refuses the request
    Row("400", {"status": 400}, WRONG),
    Row("400 without code", {"status": 400, "body": {"message": "no"}}, WRONG),
    Row("400 without body", {"status": 400, "body": ""}, WRONG),
    Row("400 with HTML", {"status": 400, "body": "<html>"}, WRONG),
    Row("413", {"status": 413}, WRONG),
    Row("422", {"status": 422}, WRONG),
    Row("400 for one member", {"status": 400, "member": "u-1"}, "rejected, 3 sent"),
    # what refuses the caller
    Row("401", {"status": 401}, "unauthorized everything operator, 1 sent, gate"),
    Row("403", {"status": 403}, "forbidden segment operator, 1 sent"),
    Row(
        "403 approvals",
        {"status": 403, "message": "approval is required"},
        "approval_required segment operator, 1 sent",
    ),
    # what does not find it
    Row(
        "404 once",
        {"status": 404},
        "delivered, 2 sent",
        "delivered, 2 sent",
        "not_found everything operator, 1 sent, gate",
        times=1,
    ),
    Row(
        "404 for ever",
        {"status": 404},
        "not_found segment transient, 2 sent",
        "not_found segment transient, 2 sent",
        "not_found everything operator, 1 sent, gate",
    ),
    # what collides
    Row("409 thrice", {"status": 409}, "delivered, 4 sent", times=3),
    Row("409 for ever", {"status": 409}, "conflict segment transient, 4 sent"),
    Row(
        "409 of another sort for ever",
        {"status": 409, "code": "duplicate"},
        "conflict segment operator, 4 sent",
    ),
    # what asks to wait
    Row("429 with a reset", {"status": 429, "reset_seconds": 5.0}, LIMITED),
    Row("429 with a reset in the past", {"status": 429, "reset_seconds": -60.0}, LIMITED),
    Row("429 with garbage", limited(**{"X-Ratelimit-Reset": "soon"}), LIMITED),
    Row("429 without headers", limited(), LIMITED),
    Row("429 with Retry-After", limited(**{"Retry-After": "3"}), LIMITED),
    # what passes
    Row("408", {"status": 408}, PASSES),
    Row("500", {"status": 500}, PASSES),
    Row("503 with HTML, without end", {"status": 503, "body": "<html>"}, PASSES),
    Row("502", {"status": 502}, LATE),
    Row("504", {"status": 504}, LATE),
    Row("520", {"status": 520}, LATE),
    # what no API says
    Row("302", {"status": 302, "body": ""}, STRANGE),
    Row("405", {"status": 405}, STRANGE),
    Row("418", {"status": 418}, STRANGE),
    # what is no answer
    Row("reset before it is applied", {"answer": Answer.RESET}, LOST),
    Row("reset after it is applied", {"answer": Answer.RESET, "apply": Apply.NOW}, LOST),
    Row("no answer", {"answer": Answer.HANG}, "timeout segment transient ambiguous, 1 sent"),
    Row("applied late", {"late_seconds": 30.0}, "timeout segment transient ambiguous, 1 sent"),
)


def told(here: Desk, outcome: Outcome) -> str:
    """An outcome and what follows from it, as the table writes it."""
    words = [type(outcome).__name__.lower()]
    if isinstance(outcome, Retry):
        ambiguous = ["ambiguous"] if outcome.ambiguous_since is not None else []
        words = [outcome.reason, outcome.scope, outcome.patience, *ambiguous]
        now = time.monotonic()
        schedule = Schedule(
            Backoff(0.5, 30.0), Backoff(30.0, 3600.0, 0.5), here.pacing, random.Random(1)
        )
        wait = schedule.failed(here.vip, 1, outcome, now)
        assert wait >= outcome.after
        least = 15.0 if outcome.patience == "operator" else 0.0
        assert least <= wait <= max(30.0, outcome.after + 0.5)
        assert (outcome.scope is Scope.EVERYTHING) == (here.pacing.open_at > now)
    gate = ", gate" if here.pacing.open_at > time.monotonic() else ""
    return f"{' '.join(words)}, {here.writes} sent{gate}"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
async def test_an_answer_has_one_meaning_and_one_consequence(row: Row, path: str) -> None:
    """And when it is over the batch goes through; nobody is lost."""
    silent = row.fault.get("answer") is Answer.HANG or "late_seconds" in row.fault
    async with desk(path=path, timeout_seconds=0.5 if silent else 10.0) as here:
        number = here.sim.faults.add(Fault(route=here.write_route, times=row.times, **row.fault))
        outcome = await here.write(ins("u-1", "u-2"))
        expected = getattr(row, path) or row.standard
        assert told(here, outcome) == expected
        here.sim.faults.remove(number)
        if isinstance(outcome, Rejected):
            assert set(outcome.members) == {"user/u-1"}
            assert here.included() == {"u-2"}
        if isinstance(outcome, Retry) and here.pacing.open_at <= time.monotonic():
            assert await here.write(ins("u-1", "u-2")) == Delivered()
            assert here.included() == {"u-1", "u-2"}


Respond = Callable[[asyncio.StreamWriter], Awaitable[None]]


async def slow_body(writer: asyncio.StreamWriter) -> None:
    """A body that does not come to its end in time."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    await asyncio.Event().wait()


async def truncated_body(writer: asyncio.StreamWriter) -> None:
    """A body that ends before its end."""
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"version":3')
    await writer.drain()


async def reset_body(writer: asyncio.StreamWriter) -> None:
    """A connection that breaks in the middle of a body."""
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"version":3')
    await writer.drain()
    reset(writer)


async def no_http(writer: asyncio.StreamWriter) -> None:
    """Something that is not HTTP."""
    writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
    await writer.drain()


async def closed(_: asyncio.StreamWriter) -> None:
    """Nothing at all: the connection is closed."""


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("respond", "expected"),
    [
        (slow_body, "timeout segment transient ambiguous"),
        (truncated_body, "connection segment transient ambiguous"),
        (reset_body, "connection segment transient ambiguous"),
        (no_http, "connection segment transient ambiguous"),
        (closed, "connection segment transient ambiguous"),
    ],
    ids=["slow body", "truncated body", "body cut by a reset", "no HTTP", "closed"],
)
async def test_an_answer_that_does_not_end_leaves_open_whether_it_was_applied(
    path: str, respond: Respond, expected: str
) -> None:
    """Whatever its first bytes said."""
    shown = {"key": "vip", "version": 1, "tags": ["ldsync"], "unbounded": path == "big"}

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if head.startswith(b"get "):
                body = json.dumps(shown).encode()
                length = str(len(body)).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n\r\n" + body)
                await writer.drain()
                continue
            length = head.partition(b"content-length:")[2].split(b"\r\n")[0]
            await reader.readexactly(int(length))
            await respond(writer)
            return

    async with desk(path=path) as here, raw_server(script) as port:
        other = Desk(here.sim, path=path, url=f"http://127.0.0.1:{port}", timeout_seconds=0.5)
        async with other.client:
            outcome = await other.waits(ins("u-1"))
    ambiguous = " ambiguous" if outcome.ambiguous_since is not None else ""
    assert f"{outcome.reason} {outcome.scope} {outcome.patience}{ambiguous}" == expected
