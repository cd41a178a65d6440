"""The simulator as a thing to start, talk to and stop."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from types import TracebackType
from typing import Self

from aiohttp import web

from ldsync.demo.simulator import account_routes, member_routes, segment_routes
from ldsync.demo.simulator.calls import refusal_reply
from ldsync.demo.simulator.control import Control
from ldsync.demo.simulator.faults import Faults
from ldsync.demo.simulator.front import Front
from ldsync.demo.simulator.journal import DEFAULT_CAP, Exchange, Journal
from ldsync.demo.simulator.limits import Limits, RateWindows
from ldsync.demo.simulator.membership import Side
from ldsync.demo.simulator.refusal import Refusal
from ldsync.demo.simulator.segment import Segment
from ldsync.demo.simulator.world import Environment, World

#: Every operation that is simulated.
ROUTES = account_routes.ROUTES + segment_routes.ROUTES + member_routes.ROUTES

#: Bytes of a request body that are taken; LaunchDarkly documents no limit.
MAX_BODY = 64 * 1024 * 1024

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Simulator:
    """A LaunchDarkly account with one project and environment, on a port of its own.

    Use it as `async with Simulator(...) as sim:`, or with `start` and `stop`. More environments can
    be added to `world`.

    Attributes:
        url: Where it listens, for example `http://127.0.0.1:40123`; "" before the start.
        world: Projects, environments and segments.
        environment: The environment it was made with.
        faults: The misbehaviour ordered; add to it.
        log: Every request, with times and members.
        windows: The rate limits; set `windows.limits` to change them.
    """

    def __init__(
        self,
        *,
        project: str,
        environment: str,
        token: str,
        client_side_id: str | None = None,
        log_cap: int = DEFAULT_CAP,
        keep_bodies: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self.url = ""
        self.world = World()
        self.environment: Environment = self.world.add_environment(
            project, environment, client_side_id
        )
        self.faults = Faults()
        self.log = Journal(cap=log_cap, keep_bodies=keep_bodies)
        self.windows = RateWindows(limits or Limits())
        self._front = Front(token, self.world, self.windows, self.faults, self.log)
        self._runner: web.AppRunner | None = None

    @property
    def client_side_id(self) -> str:
        """The client-side ID of its environment."""
        return self.environment.id

    @property
    def token(self) -> str:
        """The token that is accepted; set it to revoke the one before."""
        return self._front.token

    @token.setter
    def token(self, token: str) -> None:
        self._front.token = token

    @property
    def segments(self) -> dict[str, Segment]:
        """The segments of its environment by key."""
        return self.environment.segments

    @property
    def requests(self) -> list[Exchange]:
        """The requests that are kept in the log, oldest first."""
        return list(self.log.exchanges)

    def included(self, segment_key: str, kind: str = "user") -> set[str]:
        """The included context keys of a segment; none if there is no such segment."""
        segment = self.segments.get(segment_key)
        return set() if segment is None else segment.included(kind)

    def state(self) -> dict[str, dict[str, set[str]]]:
        """The included context keys of every segment by context kind."""
        return {
            key: {kind: segment.included(kind) for kind in segment.membership.kinds(Side.INCLUDED)}
            for key, segment in self.segments.items()
        }

    def create_segment(
        self, key: str, *, tags: Collection[str] = (), unbounded: bool = False, kind: str = "user"
    ) -> Segment:
        """A segment that was there before anybody asked for it.

        Raises:
            Refusal: The key is taken or invalid.
        """
        segment = self.environment.create_segment(key, key, now_ms=0)
        segment.tags, segment.unbounded, segment.kind = list(tags), unbounded, kind
        return segment

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen.

        Args:
            host: Address to bind.
            port: Port to bind; 0 takes a free one.

        Returns:
            `url`.

        Raises:
            OSError: The address cannot be bound.
        """
        app = web.Application(middlewares=[_documented_errors], client_max_size=MAX_BODY)
        for route in ROUTES:
            app.router.add_route(route.method, route.template, self._front.handler(route))
        control = Control(self.world, self.environment, self.faults, self.windows, self.log)
        app.add_routes(control.routes())
        # Handlers are cancelled when the client leaves, so that its leaving can be written down;
        # what is being applied has a task of its own. A hanging request must not hold up the stop.
        runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.05
        )
        self._runner = runner
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError:
            await self.stop()
            raise
        self.url = f"http://{host}:{runner.addresses[0][1]}"
        return self.url

    async def stop(self) -> None:
        """Close every connection and drop late applications that have not taken place."""
        if self._runner is not None:
            await self._front.stop()
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        if self._runner is None:
            await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()


async def serve(
    host: str,
    port: int,
    project: str,
    environment: str,
    token: str,
    *,
    client_side_id: str | None = None,
    log_cap: int = DEFAULT_CAP,
    on_ready: Callable[[str], object] | None = None,
) -> None:
    """Run a simulator until the calling task is cancelled; prints nothing itself.

    Args:
        host: Address to bind.
        port: Port to bind; 0 takes a free one.
        project: Key of its project.
        environment: Key of its environment.
        token: The token it accepts.
        client_side_id: Client-side ID of the environment; derived from the keys by default.
        log_cap: Member writes kept in the log.
        on_ready: Called with the URL once it listens.

    Raises:
        OSError: The address cannot be bound.
    """
    simulator = Simulator(
        project=project,
        environment=environment,
        token=token,
        client_side_id=client_side_id,
        log_cap=log_cap,
    )
    url = await simulator.start(host, port)
    try:
        if on_ready is not None:
            on_ready(url)
        await asyncio.Event().wait()
    finally:
        await simulator.stop()


@web.middleware
async def _documented_errors(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Unknown paths, wrong verbs and bad control requests get the error body of the API too."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        refusal = Refusal(error.status)
    except ValueError as error:
        refusal = Refusal(400, str(error))
    except Refusal as error:
        refusal = error
    reply = refusal_reply(refusal)
    return web.Response(status=reply.status, body=reply.body, content_type=reply.content_type)
