"""One request to LaunchDarkly: headers and token, its turn at the gate, and what came of it.

Trouble is a value: a request ends in a `Reply` or a `NoAnswer`, never in an exception, except when
it is cancelled. Nothing is tried again here. Every request waits for the gate (`pacing`) first, and
every reply is shown to it.
"""

import asyncio
import math
import time
from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote, urlencode

import structlog
from yarl import URL

from ldsync.launchdarkly.outcome import classify
from ldsync.launchdarkly.pacing import Pacing, Turn, retry_after
from ldsync.launchdarkly.reply import Answer, NoAnswer, Reply, Silence, read_reply
from ldsync.launchdarkly.request import JSON, Method, headers_of, path_of
from ldsync.launchdarkly.token import Token
from ldsync.launchdarkly.transport import Head, Transport, Way
from ldsync.telemetry.metrics import Metrics

#: Seconds a request may wait for the gate before it is given back instead, with data that ages.
MAX_GATE_WAIT: Final = 30.0


class LaunchDarklyClient:
    """Sends requests with the token. Use as an async context manager, or call `close`.

    Args:
        base_url: Of the instance, as in `https://app.launchdarkly.com`; may have a path.
        token: API access token, sent as it is; never logged. A `Token` may change.
        timeout_seconds: For a whole request, from connecting to the end of the body.
        max_in_flight: Connections at most.
        pacing: The gate; other parts of the program look at the same.
        metrics: Where durations go.
        way: Proxy and authorities.
        dry_run: Whether only what reads is sent; everything else is logged, and taken for accepted.
    """

    def __init__(
        self,
        base_url: str,
        token: str | Token,
        *,
        timeout_seconds: float,
        max_in_flight: int,
        pacing: Pacing,
        metrics: Metrics,
        way: Way | None = None,
        dry_run: bool = False,
    ) -> None:
        self.pacing = pacing
        self._base_url = base_url.rstrip("/")
        self._token = token if isinstance(token, Token) else Token(token)
        self._dry_run = dry_run
        self._transport = Transport(timeout_seconds, max_in_flight, way or Way())
        self._metrics = metrics
        self._log = structlog.get_logger()
        metrics.concurrency_limit.set(pacing.concurrency.limit)
        self._ended = asyncio.Event()  # a request: others may have waited for its place

    def __repr__(self) -> str:
        """Without the token."""
        return f"<LaunchDarklyClient {self._base_url}>"

    async def __aenter__(self) -> Self:
        """Nothing is opened before the first request."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all connections."""
        await self.close()

    async def close(self) -> None:
        """Close all connections; a later request opens new ones."""
        await self._transport.close()

    async def request(
        self,
        method: Method,
        route: str,
        names: Mapping[str, str],
        body: bytes | None = None,
        content_type: str = JSON,
        *,
        query: Mapping[str, str] | None = None,
        urgent: bool = False,
    ) -> Answer:
        """Send one request, when the gate is open, and read the answer.

        Args:
            method: HTTP method.
            route: URL pattern, as in `/api/v2/segments/{projectKey}/{environmentKey}`; label of
                metrics.
            names: What to put into the pattern; percent-encoded here.
            body: JSON, already encoded.
            content_type: Of the body.
            query: Parameters behind the path.
            urgent: Whether it goes out although writes are held back: it may find out why.
        """
        url = self._url(route, names, query)
        if self._dry_run and method != "GET":
            return self._pretend(method, route, url, body)
        request = f"{method} {route}"
        token = self._token.value
        answer = await self._paced(request, url, body, content_type, token, urgent=urgent)
        if _is_refused(answer) and await self._token.differs_from(token):
            # It was changed while the old one was in use, and nothing was applied.
            token = self._token.value
            answer = await self._paced(request, url, body, content_type, token, urgent=urgent)
        return answer

    def _pretend(self, method: Method, route: str, url: URL, body: bytes | None) -> Reply:
        """Log a request instead of sending it; the reply repeats it, as one that was accepted."""
        self._metrics.dry_run_requests[method, route].inc()
        self._log.info(
            "launchdarkly.not_sent", method=method, path=url.raw_path, bytes=len(body or b"")
        )
        raw = b'{"version":0,"dryRun":true,"request":%b}' % (body or b"null")
        return Reply(HTTPStatus.OK, classify(HTTPStatus.OK), raw, time.monotonic())

    async def _paced(
        self,
        request: str,
        url: URL,
        body: bytes | None,
        content_type: str,
        token: str,
        *,
        urgent: bool,
    ) -> Answer:
        """Wait for a turn, send, and tell the gate how it ended; `request` is method and route."""
        turn = await self._turn(request, urgent=urgent)
        if isinstance(turn, NoAnswer):
            return turn
        status: int | None = None
        try:
            answer = await self._exchange(request, url, body, content_type, token)
            status = answer.status if isinstance(answer, Reply) else None
        finally:
            now = time.monotonic()
            self.pacing.end(turn, now, status)
            self._metrics.concurrency_limit.set(self.pacing.concurrency.limit)
            self._ended.set()
        shown = answer.kind.value if isinstance(answer, NoAnswer) else str(status)
        method, _, route = request.partition(" ")
        self._metrics.request_duration[method, route, shown].observe(now - turn.began)
        return answer

    async def _turn(self, route: str, *, urgent: bool) -> Turn | NoAnswer:
        """Wait until a request may begin, or say why it may not."""
        while True:
            now = time.monotonic()
            wait = self.pacing.wait(route, now, urgent=urgent)
            if wait <= 0.0 and not self.pacing.may_begin(route, now):
                detail = "not sent: this replica may have lost its partitions"
                return NoAnswer(Silence.LEASE, detail)
            if wait <= 0.0:
                return self.pacing.begin(route, now)
            if MAX_GATE_WAIT < wait < math.inf:
                return NoAnswer(Silence.GATE, f"not sent: {self.pacing.reason}", after=wait)
            self._ended.clear()
            try:
                async with asyncio.timeout(wait if wait < math.inf else None):
                    await self._ended.wait()
            except TimeoutError:
                pass

    async def _exchange(
        self, request: str, url: URL, body: bytes | None, content_type: str, token: str
    ) -> Answer:
        """Send and read, and show the gate what came."""
        headers = headers_of(token)
        if body is not None:
            headers["Content-Type"] = content_type
        waits: list[float] = []
        answer = await self._transport.exchange(
            request.partition(" ")[0],
            url,
            headers,
            body,
            lambda head: waits.append(self._observe(head, request)),
        )
        if isinstance(answer, NoAnswer):
            return answer
        return read_reply(
            answer.head.status,
            answer.raw,
            content_type=answer.head.headers.get("Content-Type", ""),
            secrets=self._token.known,
            started=answer.sent_at,
            after=waits[0],
        )

    def _observe(self, head: Head, route: str) -> float:
        """Show a reply to the gate; give the seconds to wait before the request is tried again."""
        now = time.monotonic()
        pacing, status = self.pacing, head.status
        closed = pacing.observe(head.headers, status, route, now, time.time() * 1000, head.took)
        closed_for = max(0.0, pacing.closed_until(route) - now)
        if closed:
            self._log.info(
                "launchdarkly.gate_closed",
                reason=pacing.reason,
                seconds=round(closed_for, 3),
                route=route,
                status=status,
            )
        for family, window in pacing.latest.items():
            self._metrics.rate_limit_remaining[family].set(window.remaining)
            self._metrics.rate_limit[family].set(window.limit or 0.0)
            self._metrics.rate_limit_reset[family].set((window.reset_ms or 0.0) / 1000)
        return closed_for if status == HTTPStatus.TOO_MANY_REQUESTS else retry_after(head.headers)

    def _url(self, route: str, names: Mapping[str, str], query: Mapping[str, str] | None) -> URL:
        asked = f"?{urlencode(query, quote_via=quote)}" if query else ""
        return URL(self._base_url + path_of(route, names) + asked, encoded=True)


def _is_refused(answer: Answer) -> bool:
    return isinstance(answer, Reply) and answer.status == HTTPStatus.UNAUTHORIZED
