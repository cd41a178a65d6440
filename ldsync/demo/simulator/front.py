"""Where HTTP ends: takes requests in, lets faults befall them, applies them, sends the answers."""

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace

from aiohttp import web

from ldsync.demo.simulator.calls import Call, Reply, Route, Write, json_reply, refusal_reply
from ldsync.demo.simulator.faults import Answer, Apply, Fault, Faults, Standing
from ldsync.demo.simulator.journal import Ending, Exchange, Journal
from ldsync.demo.simulator.limits import RateWindows
from ldsync.demo.simulator.refusal import Refusal
from ldsync.demo.simulator.world import World

_PIECES = 20  # that a slow body is sent in


@dataclass(slots=True)
class Front:
    """The API's side of the connection.

    Attributes:
        token: The one token that is accepted, sent raw, without `Bearer`.
        world: What requests read and change.
        windows: The rate limits.
        faults: The misbehaviour ordered.
        journal: What is written down.
    """

    token: str = field(repr=False)
    world: World
    windows: RateWindows
    faults: Faults
    journal: Journal
    _tasks: set[asyncio.Task[Reply | None]] = field(default_factory=set)

    def handler(self, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """The handler of one operation for aiohttp."""

        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._serve(route, request)

        return handle

    async def stop(self) -> None:
        """Drop late applications that have not taken place."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, route: Route, request: web.Request) -> web.StreamResponse:
        headers = {
            name.lower(): value
            for name, value in request.headers.items()
            if name.lower() != "authorization"
        }
        url = request.rel_url
        exchange = self.journal.open(
            route.name, request.method, url.raw_path, url.raw_query_string, headers
        )
        try:
            call = Call(
                params=request.match_info,
                query=request.query,
                content_type=headers.get("content-type", ""),
                api_version=headers.get("ld-api-version", ""),
                body=await request.read(),
                now_ms=_now_ms(),
            )
            self.journal.describe(exchange, call.body, self._intent(route, call))
            reply = await self._reply(route, request, call, exchange)
            if reply is None:
                return self._reset(request, exchange)
            return await self._send(request, reply, exchange)
        except asyncio.CancelledError:
            # aiohttp cancels the handler when the client closes the connection.
            self.journal.end(exchange, Ending.ABANDONED, exchange.status)
            raise
        except web.HTTPRequestEntityTooLarge:
            return await self._send(request, refusal_reply(Refusal(413)), exchange)

    def _intent(self, route: Route, call: Call) -> tuple[Write, ...]:
        if route.intent is None:
            return ()
        try:
            return route.intent(self.world, call)
        except Refusal:
            return (Write(call.params["segmentKey"]),) if "segmentKey" in call.params else ()

    async def _reply(
        self, route: Route, request: web.Request, call: Call, exchange: Exchange
    ) -> Reply | None:
        """What to send, or None for a connection that is to be reset."""
        token = request.headers.get("Authorization", "")
        if route.authenticated and token != self.token:
            return refusal_reply(Refusal(route.unauthorized, "Invalid access token"))
        admission = self.windows.admit(route.name, token, request.remote or "", time.time())
        if not admission.admitted:
            reply: Reply | None = refusal_reply(Refusal(429))
        elif (standing := self.faults.take(route, exchange)) is None:
            reply = self._apply(route, call, exchange)
        else:
            # In a task of its own: what the server has begun does not stop when the client leaves.
            befall = self._spawn(self._befall(standing, route, call, exchange))
            reply = await asyncio.shield(befall)
        if reply is None:
            return None
        return replace(reply, headers={**admission.headers, **reply.headers})

    async def _befall(
        self, standing: Standing, route: Route, call: Call, exchange: Exchange
    ) -> Reply | None:
        fault, reply = standing.fault, None
        await standing.pause(fault.delay_seconds)
        if fault.apply is Apply.NOW:
            reply = self._apply(route, replace(call, now_ms=_now_ms()), exchange)
        elif fault.apply is Apply.LATE:
            self._spawn(self._apply_late(standing, route, call, exchange))
        await standing.pause(fault.answer_delay_seconds)
        if fault.outcome is Answer.HANG:
            await _forever()
        if fault.outcome is Answer.STATUS:
            reply = _ordered(fault)
        if reply is None or fault.outcome is Answer.RESET:
            return None
        return replace(reply, seconds=fault.body_seconds, cut=fault.outcome is Answer.CUT)

    async def _apply_late(
        self, standing: Standing, route: Route, call: Call, exchange: Exchange
    ) -> None:
        await standing.pause(standing.fault.late_seconds or 0.0)
        self._apply(route, replace(call, now_ms=_now_ms()), exchange, late=True)

    def _apply(self, route: Route, call: Call, exchange: Exchange, *, late: bool = False) -> Reply:
        try:
            reply = route.handle(self.world, call)
        except Refusal as refusal:
            return refusal_reply(refusal)
        if route.intent is not None:
            self.journal.apply(exchange, late=late)
        return reply

    async def _send(
        self, request: web.Request, reply: Reply, exchange: Exchange
    ) -> web.StreamResponse:
        headers = {name: value for name, value in reply.headers.items() if value is not None}
        if reply.body:
            headers["Content-Type"] = reply.content_type
        if reply.cut or reply.seconds:
            return await self._send_badly(request, reply, headers, exchange)
        response = web.Response(status=reply.status, body=reply.body, headers=headers)
        # Sent here, not by aiohttp after the handler, so that its end can be written down.
        try:
            await response.prepare(request)
            await response.write_eof()
        except ConnectionError:
            self.journal.end(exchange, Ending.ABANDONED, reply.status)
        else:
            self.journal.end(exchange, Ending.ANSWERED, reply.status)
        return response

    async def _send_badly(
        self, request: web.Request, reply: Reply, headers: dict[str, str], exchange: Exchange
    ) -> web.StreamResponse:
        """Send the body in pieces that take their time, or half of it and no more."""
        response = web.StreamResponse(status=reply.status, headers=headers)
        response.content_length = len(reply.body)
        ending = Ending.ANSWERED
        try:
            await response.prepare(request)
            for piece in _pieces(reply):
                await asyncio.sleep(reply.seconds / _PIECES)
                await response.write(piece)
            if reply.cut:
                ending = Ending.RESET
                if request.transport is not None:
                    request.transport.close()
            else:
                await response.write_eof()
        except ConnectionError:
            ending = Ending.ABANDONED
        self.journal.end(exchange, ending, reply.status)
        return response

    def _reset(self, request: web.Request, exchange: Exchange) -> web.StreamResponse:
        transport = request.transport
        if transport is not None:
            # Lingering for no time at all makes the kernel send RST, not FIN.
            connection = transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        self.journal.end(exchange, Ending.RESET)
        return web.Response(status=500)

    def _spawn(self, work: Coroutine[object, object, Reply | None]) -> "asyncio.Task[Reply | None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _ordered(fault: Fault) -> Reply:
    """The reply a fault asks for."""
    refusal = Refusal(fault.status or 500, fault.message, fault.code)
    if fault.body is None:
        reply = refusal_reply(refusal)
    elif isinstance(fault.body, str):
        reply = Reply(refusal.status, fault.body.encode(), content_type="text/html")
    else:
        reply = json_reply(fault.body, refusal.status)
    headers = dict(fault.headers)
    if fault.reset_seconds is not None:
        reset_ms = _now_ms() + round(fault.reset_seconds * 1000)
        used_up = {"X-Ratelimit-Route-Remaining": "0", "X-Ratelimit-Reset": str(reset_ms)}
        headers = {**used_up, **headers}
    return replace(reply, headers=headers)


def _pieces(reply: Reply) -> list[bytes]:
    """What is sent of a body, in at most `_PIECES` pieces."""
    body = reply.body[: len(reply.body) // 2] if reply.cut else reply.body
    size = max(1, -(-len(body) // _PIECES))
    return [body[at : at + size] for at in range(0, len(body), size)]


async def _forever() -> None:
    await asyncio.Event().wait()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
