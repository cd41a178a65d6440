"""The client on real sockets: what it sends, and every way in which no answer can come."""

import asyncio
import random
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

import ldsync
from ldsync.launchdarkly.client import MAX_GATE_WAIT, LaunchDarklyClient
from ldsync.launchdarkly.outcome import RetryReason, Verdict
from ldsync.launchdarkly.pacing import Pacing
from ldsync.launchdarkly.reply import MAX_BODY, NoAnswer, Reply, Silence
from ldsync.launchdarkly.request import SEMANTIC_PATCH
from ldsync.sync.lease import Lease
from ldsync.telemetry.metrics import Metrics
from tests.support.certificates import make_certificates
from tests.support.raw_server import Script, raw_server, read_request, reset

TOKEN = "api-11111111-not-for-logs"
ROUTE = "/api/v2/segments/{projectKey}/{environmentKey}/{segmentKey}"
NAMES = {"projectKey": "shop", "environmentKey": "production", "segmentKey": "vip"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Bench:
    """A client and what it reports to."""

    def __init__(self, url: str, timeout_seconds: float = 5.0, max_in_flight: int = 8) -> None:
        self.metrics = Metrics()
        self.lease = Lease(60.0, 60.0)
        self.lease.confirm(time.monotonic(), stable=True)
        self.pacing = Pacing(budget_share=0.5, rng=random.Random(1), lease=self.lease)
        self.client = LaunchDarklyClient(
            url,
            TOKEN,
            timeout_seconds=timeout_seconds,
            max_in_flight=max_in_flight,
            pacing=self.pacing,
            metrics=self.metrics,
        )

    async def patch(self, body: bytes = b"{}") -> Reply | NoAnswer:
        """A request that could change something."""
        return await self.client.request("PATCH", ROUTE, NAMES, body, SEMANTIC_PATCH)

    def observed(self, status: str, method: str = "PATCH") -> float:
        """How many requests were measured with that status."""
        count = self.metrics.registry.get_sample_value(
            "ldsync_launchdarkly_request_duration_seconds_count",
            {"method": method, "route": ROUTE, "status": status},
        )
        return count or 0.0


@asynccontextmanager
async def talking_to(
    handler: Handler, *, timeout_seconds: float = 5.0, max_in_flight: int = 8
) -> AsyncIterator[Bench]:
    """A client of a server that answers everything with `handler`."""
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", handler)
    async with TestServer(app) as server:
        # By name: cookies of bare addresses are never kept anyway.
        bench = Bench(f"http://localhost:{server.port}", timeout_seconds, max_in_flight)
        async with bench.client:
            yield bench


@asynccontextmanager
async def suffering(
    script: Script,
    *,
    timeout_seconds: float = 5.0,
    scheme: str = "http",
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Bench]:
    """A client of a server that follows a script."""
    async with raw_server(script, tls) as port:
        bench = Bench(f"{scheme}://127.0.0.1:{port}", timeout_seconds)
        async with bench.client:
            yield bench


@contextmanager
def served_by_a_thread(body: bytes) -> Iterator[int]:
    """A server that answers every request with that body, and costs this loop nothing."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PATCH(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing to standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def silence(answer: Reply | NoAnswer) -> NoAnswer:
    """The answer, which must be none."""
    assert isinstance(answer, NoAnswer)
    return answer


def reply(answer: Reply | NoAnswer) -> Reply:
    """The answer, which must be one."""
    assert isinstance(answer, Reply)
    return answer


async def test_a_request_carries_the_documented_headers_and_the_body_as_it_is() -> None:
    """The raw token, the API version, the content type of semantic patches."""
    seen: list[tuple[web.Request, bytes]] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append((request, await request.read()))
        return web.json_response({"version": 3})

    async with talking_to(handle) as bench:
        answer = reply(await bench.patch(b'{"instructions":[]}'))
        await bench.client.request("GET", ROUTE, NAMES)
    assert (answer.status, answer.ruling.verdict, answer.document()) == (
        200,
        Verdict.ACCEPTED,
        {"version": 3},
    )
    (patch, body), (get, nothing) = seen
    assert patch.raw_path == "/api/v2/segments/shop/production/vip"
    assert body == b'{"instructions":[]}'
    assert patch.headers["Authorization"] == TOKEN
    assert patch.headers["LD-API-Version"] == "20240415"
    assert patch.headers["User-Agent"] == f"ldsync/{ldsync.__version__}"
    assert (
        patch.headers["Content-Type"] == "application/json; domain-model=launchdarkly.semanticpatch"
    )
    assert "Content-Type" not in get.headers
    assert nothing == b""


async def test_names_are_percent_encoded_into_the_path() -> None:
    """A key cannot lead elsewhere, and a base URL may have a path of its own."""
    paths: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        paths.append(request.raw_path)
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with TestServer(app) as server, Bench(f"{server.make_url('/proxy/')}").client as client:
        await client.request("GET", ROUTE, {**NAMES, "segmentKey": "../a/b?c#d é%2F"})
    assert paths == ["/proxy/api/v2/segments/shop/production/..%2Fa%2Fb%3Fc%23d%20%C3%A9%252F"]


async def test_every_answer_is_measured_by_method_route_and_status() -> None:
    """Routes are patterns, so that the labels are bounded."""
    statuses = iter([200, 200, 404, 503])

    async def handle(request: web.Request) -> web.Response:
        return web.Response(status=next(statuses))

    async with talking_to(handle) as bench:
        for _ in range(4):
            await bench.patch()
    assert [bench.observed(status) for status in ("200", "404", "503")] == [2, 1, 1]


async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take the request and say nothing."""
    await read_request(reader)
    await asyncio.Event().wait()


async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say a little, again and again, without ever coming to an end."""
    await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


async def reset_unread(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Break off before anything was read."""
    reset(writer)


async def reset_after_reading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Break off with the whole request in hand."""
    await read_request(reader)
    reset(writer)


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """End the connection politely, without an answer."""
    await read_request(reader)


async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Promise more than is sent."""
    await read_request(reader)
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"version":')
    await writer.drain()


async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speak something that is not HTTP."""
    await read_request(reader)
    writer.write(b"\x00\xff SSH-2.0 hello\r\n\r\n")
    await writer.drain()


async def bad_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Begin well, and then lose count."""
    await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nnope\r\n")
    await writer.drain()


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        pytest.param(never_answer, Silence.TIMEOUT, id="never answers"),
        pytest.param(trickle, Silence.TIMEOUT, id="slow-loris"),
        pytest.param(reset_unread, Silence.CONNECTION, id="reset before reading"),
        pytest.param(reset_after_reading, Silence.CONNECTION, id="reset after reading"),
        pytest.param(hang_up, Silence.CONNECTION, id="end without answer"),
        pytest.param(break_off, Silence.CONNECTION, id="answer cut short"),
        pytest.param(babble, Silence.CONNECTION, id="not HTTP"),
        pytest.param(bad_chunks, Silence.CONNECTION, id="broken chunks"),
    ],
)
async def test_a_request_that_was_sent_and_not_answered_is_ambiguous(
    script: Script, kind: Silence
) -> None:
    """R1: it may still be applied; the time that counts is when it began."""
    async with suffering(script, timeout_seconds=0.3) as bench:
        began = time.monotonic()
        answer = silence(await bench.patch(b"x" * 100_000))
        ended = time.monotonic()
    assert answer.kind is kind
    assert answer.ambiguous_since is not None
    assert began <= answer.ambiguous_since < ended
    assert ended - began < 3.0
    assert answer.detail
    assert "\n" not in answer.detail
    assert bench.observed(kind.value) == 1


async def test_a_refused_connection_is_not_ambiguous() -> None:
    """Nothing was sent: the members need not wait."""
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        bench = Bench(f"http://127.0.0.1:{unused.getsockname()[1]}")
        async with bench.client:
            answer = silence(await bench.patch())
    assert (answer.kind, answer.ambiguous_since) == (Silence.CONNECTION, None)
    assert "Cannot connect" in answer.detail
    assert bench.observed("connection") == 1


async def test_a_name_that_cannot_be_resolved_is_not_ambiguous() -> None:
    """Here one that cannot even be looked up, so that the test needs no name server."""
    bench = Bench(f"http://{'a' * 64}.invalid")
    async with bench.client:
        answer = silence(await bench.patch())
    assert (answer.kind, answer.ambiguous_since) == (Silence.CONNECTION, None)


async def test_a_connection_that_is_not_accepted_in_time_is_not_ambiguous() -> None:
    """A full backlog drops what comes in: the request never left."""
    with closing(socket.socket()) as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        bench = Bench(f"http://127.0.0.1:{deaf.getsockname()[1]}", timeout_seconds=0.4)
        async with bench.client:
            answer = silence(await bench.patch())
        for filler in fillers:
            filler.close()
    assert (answer.kind, answer.ambiguous_since) == (Silence.TIMEOUT, None)


@pytest.mark.parametrize("speaks_tls", [True, False], ids=["unknown authority", "no TLS at all"])
async def test_a_failed_tls_handshake_is_not_ambiguous(tmp_path: Path, speaks_tls: bool) -> None:
    """Neither the request nor the token was sent."""

    async def speak_plainly(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    context = None
    if speaks_tls:
        server = make_certificates(tmp_path).server
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server.keystore)
    async with suffering(speak_plainly, scheme="https", tls=context) as bench:
        answer = silence(await bench.patch())
    assert (answer.kind, answer.ambiguous_since) == (Silence.CONNECTION, None)


async def test_a_reply_without_end_is_cut_short() -> None:
    """The memory for a reply is bounded, and what was read is judged as it is."""

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")
            await writer.drain()

    async with suffering(flood, timeout_seconds=20) as bench:
        answer = reply(await bench.patch())
    assert answer.status == 200
    assert MAX_BODY < len(answer.raw) < MAX_BODY + 2**21


async def test_a_full_segment_is_read_whole() -> None:
    """15,000 targets come back with every write."""
    body = b'{"version":2,"included":[' + b",".join(b'"%036d"' % n for n in range(15_000)) + b"]}"

    async def handle(request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    async with talking_to(handle) as bench:
        answer = reply(await bench.patch())
    assert answer.raw == body


async def test_a_full_segment_is_read_without_holding_up_the_loop() -> None:
    """15,000 targets, as often as they come: no turn of the loop takes 10 ms of processor time."""
    body = b'{"version":2,"included":[' + b",".join(b'"%036d"' % n for n in range(15_000)) + b"]}"
    turns: list[float] = []

    async def watch() -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            turns.append(time.thread_time() - before)

    with served_by_a_thread(body) as port:
        bench = Bench(f"http://127.0.0.1:{port}", timeout_seconds=20.0)
        async with bench.client:
            await bench.patch()  # what is imported and opened once
            watching = asyncio.create_task(watch())
            answers = await asyncio.gather(*(bench.patch() for _ in range(20)))
            watching.cancel()
    assert all(reply(answer).raw == body for answer in answers)
    # A collection of garbage or a page that was not there yet may fall into one of them.
    assert sorted(turns)[-3] < 0.01


async def test_redirects_are_not_followed() -> None:
    """The token is for one host; where a redirect leads is not for the client to trust."""
    followed: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        followed.append(request.headers.get("Authorization", ""))
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", elsewhere)
    async with TestServer(app) as other:

        async def handle(request: web.Request) -> web.Response:
            return web.Response(status=307, headers={"Location": str(other.make_url("/x"))})

        async with talking_to(handle) as bench:
            answer = reply(await bench.patch())
    assert followed == []
    assert answer.retry("writing").reason is RetryReason.UNEXPECTED


async def test_connections_are_kept_and_bounded() -> None:
    """`max_in_flight` connections at most, used again and again; cookies are not kept."""
    peers: set[object] = set()
    cookies: list[str] = []
    busy = most = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal busy, most
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        cookies.append(request.headers.get("Cookie", ""))
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0.01)
        busy -= 1
        return web.Response(headers={"Set-Cookie": "session=1"})

    async with talking_to(handle, max_in_flight=3) as bench:
        await asyncio.gather(*(bench.patch() for _ in range(12)))
        await bench.patch()  # cookies would be sent with what comes after them
    assert most == 3
    assert len(peers) == 3
    assert set(cookies) == {""}


async def test_cancelling_a_request_cancels_it_and_nothing_else() -> None:
    """No answer is made up, and the client goes on working."""
    arrived, release = asyncio.Event(), asyncio.Event()

    async def handle(request: web.Request) -> web.Response:
        if not arrived.is_set():
            arrived.set()
            await release.wait()
        return web.Response()

    async with talking_to(handle) as bench:
        task = asyncio.create_task(bench.patch())
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert reply(await bench.patch()).status == 200
        release.set()


async def test_a_429_closes_the_gate_of_what_it_is_about() -> None:
    """The next request of the route is sent when its window is over; that is logged once."""
    arrivals: list[float] = []

    async def handle(request: web.Request) -> web.Response:
        arrivals.append(time.monotonic())
        if len(arrivals) > 1:
            return web.Response()
        headers = {
            "X-Ratelimit-Reset": str(int((time.time() + 0.4) * 1000)),
            "X-Ratelimit-Route-Remaining": "0",
        }
        return web.json_response({"code": "rate_limited"}, status=429, headers=headers)

    async with talking_to(handle) as bench:
        with capture_logs() as logs:
            refused = reply(await bench.patch())
            await bench.client.request("GET", ROUTE, NAMES)
            await bench.patch()
    assert 0.3 < refused.after <= 1.4
    assert arrivals[1] - arrivals[0] < 0.39
    assert arrivals[2] - arrivals[0] >= 0.39
    (line,) = [line for line in logs if line["event"] == "launchdarkly.gate_closed"]
    assert (line["status"], line["route"]) == (429, f"PATCH {ROUTE}")
    assert line["seconds"] == pytest.approx(refused.after, abs=0.05)
    remaining = {"family": "route"}
    assert (
        bench.metrics.registry.get_sample_value(
            "ldsync_launchdarkly_rate_limit_remaining", remaining
        )
        == 0.0
    )


async def test_a_gate_that_stays_closed_for_long_gives_the_request_back() -> None:
    """A batch must not wait inside a request while newer changes arrive."""
    asked = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response()

    async with talking_to(handle) as bench:
        bench.pacing.close_until(time.monotonic() + MAX_GATE_WAIT + 5, "told to")
        answer = silence(await bench.patch())
    assert asked == 0
    assert (answer.kind, answer.ambiguous_since) == (Silence.GATE, None)
    assert MAX_GATE_WAIT < answer.after <= MAX_GATE_WAIT + 5
    assert answer.retry("writing").reason is RetryReason.RATE_LIMITED


async def test_nothing_is_written_while_it_is_not_sure_that_the_partitions_are_ours() -> None:
    """R4: looked at when the request goes out, after all waiting; asking does no harm."""
    asked = []

    async def handle(request: web.Request) -> web.Response:
        asked.append(request.method)
        return web.Response()

    async with talking_to(handle) as bench:
        bench.pacing.close_until(time.monotonic() + 0.1, "told to")
        patch = asyncio.create_task(bench.patch())
        await asyncio.sleep(0)
        bench.lease.end()
        answer = silence(await patch)
        reply = await bench.client.request("GET", ROUTE, NAMES)
    assert (answer.kind, answer.ambiguous_since) == (Silence.LEASE, None)
    assert isinstance(reply, Reply)
    assert asked == ["GET"]


async def test_an_overloaded_server_may_say_when_to_come_back() -> None:
    """`Retry-After` counts for 503 as well, for this request alone: the gate stays open."""

    async def handle(request: web.Request) -> web.Response:
        return web.Response(status=503, headers={"Retry-After": "7"})

    async with talking_to(handle) as bench:
        answer = reply(await bench.patch())
    assert answer.retry("writing").after == 7.0
    assert bench.pacing.open_at == 0.0


async def test_the_token_is_in_no_log_message_or_repr() -> None:
    """P8: also when the server repeats it, and when nothing works at all."""

    async def handle(request: web.Request) -> web.Response:
        text = request.headers["Authorization"]
        return web.json_response({"code": "unauthorized", "message": text}, status=401)

    async with talking_to(handle) as bench:
        with capture_logs() as logs:
            answers = [await bench.patch()]
            await bench.client.close()
        answers.append(await bench.patch())
    async with suffering(babble) as other:
        answers.append(await other.patch())
    shown = repr((bench.client, logs, [answer.retry("writing") for answer in answers]))
    assert TOKEN not in shown
    assert "[redacted]" in shown
