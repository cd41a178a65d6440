"""One request to LaunchDarkly, and everything HTTP about it. Nothing else imports aiohttp's client.

Trouble is a value: a request ends in a `Reply` or a `NoAnswer`, never in an exception, except when
it is cancelled. Nothing is tried again here. Every request waits for the gate (`pacing`) first, and
every reply is shown to it.
"""

import asyncio
import math
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Literal, Self
from urllib.parse import quote, urlencode

import aiohttp
import structlog
from yarl import URL

import ldsync
from ldsync.launchdarkly.pacing import Pacing, Turn, retry_after
from ldsync.launchdarkly.reply import MAX_BODY, Answer, NoAnswer, Reply, Silence, read_reply
from ldsync.launchdarkly.token import Token
from ldsync.telemetry.metrics import Metrics

API_VERSION: Final = "20240415"

JSON: Final = "application/json"
SEMANTIC_PATCH: Final = "application/json; domain-model=launchdarkly.semanticpatch"

#: Seconds a request may wait for the gate before it is given back instead, with data that ages.
MAX_GATE_WAIT: Final = 30.0

# Four times what aiohttp reads ahead by default: a tenth less work for a full segment.
_READ_BUFFER = 256 * 1024

Method = Literal["GET", "POST", "PATCH"]


class LaunchDarklyClient:
    """Sends requests with the token. Use as an async context manager, or call `close`.

    Args:
        base_url: Of the instance, as in `https://app.launchdarkly.com`; may have a path.
        token: API access token, sent as it is; never logged. A `Token` may change.
        timeout_seconds: For a whole request, from connecting to the end of the body.
        max_in_flight: Connections at most.
        pacing: The gate; other parts of the program look at the same.
        metrics: Where durations go.
        proxy: Address of an HTTP proxy, with its password if it wants one; empty for none.
        ca_file: PEM file of the authorities to trust; empty for the system's.
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
        proxy: str = "",
        ca_file: str = "",
    ) -> None:
        self.pacing = pacing
        self._base_url = base_url.rstrip("/")
        self._token = token if isinstance(token, Token) else Token(token)
        self._proxy = URL(proxy) if proxy else None
        self._tls = ssl.create_default_context(cafile=ca_file) if ca_file else True
        self._metrics = metrics
        self._log = structlog.get_logger()
        self._headers = {
            "LD-API-Version": API_VERSION,
            "User-Agent": f"ldsync/{ldsync.__version__}",
            # Replies are large and of little interest: to unpack them costs more than to read them,
            # and MAX_BODY then bounds what is held in memory.
            "Accept-Encoding": "identity",
        }
        # A connection that cannot be made fails early, and then certainly nothing was sent.
        self._timeout = aiohttp.ClientTimeout(
            total=timeout_seconds, sock_connect=timeout_seconds / 2
        )
        self._max_in_flight = max_in_flight
        self._session: aiohttp.ClientSession | None = None
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
        session, self._session = self._session, None
        if session is not None:
            await session.close()

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
        token = self._token.value
        answer = await self._paced(method, route, url, body, content_type, token, urgent=urgent)
        if _is_refused(answer) and await self._token.differs_from(token):
            # It was changed while the old one was in use, and nothing was applied.
            token = self._token.value
            answer = await self._paced(method, route, url, body, content_type, token, urgent=urgent)
        return answer

    async def _paced(
        self,
        method: Method,
        route: str,
        url: URL,
        body: bytes | None,
        content_type: str,
        token: str,
        *,
        urgent: bool,
    ) -> Answer:
        """Wait for a turn, send, and tell the gate how it ended."""
        turn = await self._turn(f"{method} {route}", urgent=urgent)
        if isinstance(turn, float):
            return NoAnswer(Silence.GATE, f"not sent: {self.pacing.reason}", after=turn)
        status: int | None = None
        try:
            answer = await self._exchange(method, route, url, body, content_type, token)
            status = answer.status if isinstance(answer, Reply) else None
        finally:
            now = time.monotonic()
            self.pacing.end(turn, now, status)
            self._metrics.concurrency_limit.set(self.pacing.concurrency.limit)
            self._ended.set()
        shown = answer.kind.value if isinstance(answer, NoAnswer) else str(status)
        self._metrics.request_duration[method, route, shown].observe(now - turn.began)
        return answer

    async def _turn(self, route: str, *, urgent: bool) -> Turn | float:
        """Wait until a request may begin; if that takes too long, give the seconds it would."""
        while True:
            now = time.monotonic()
            wait = self.pacing.wait(route, now, urgent=urgent)
            if wait <= 0.0:
                return self.pacing.begin(route, now)
            if MAX_GATE_WAIT < wait < math.inf:
                return wait
            self._ended.clear()
            try:
                async with asyncio.timeout(wait if wait < math.inf else None):
                    await self._ended.wait()
            except TimeoutError:
                pass

    async def _exchange(
        self,
        method: Method,
        route: str,
        url: URL,
        body: bytes | None,
        content_type: str,
        token: str,
    ) -> Answer:
        """Send and read; say of trouble whether the request may have arrived nevertheless."""
        headers = {**self._headers, "Authorization": token}
        if body is not None:
            headers["Content-Type"] = content_type
        sent = _Sent(began := time.monotonic(), began)
        try:
            async with self._opened().request(
                method,
                url,
                data=body,
                headers=headers,
                allow_redirects=False,  # the token is for this host alone
                proxy=self._proxy,
                trace_request_ctx=sent,
            ) as response:
                after = self._observe(response, f"{method} {route}", sent.began)
                raw = await _read(response)
        except aiohttp.ConnectionTimeoutError as error:
            return NoAnswer(Silence.TIMEOUT, _words(error))
        except (aiohttp.ClientConnectorError, UnicodeError) as error:  # the latter: no host name
            return NoAnswer(Silence.CONNECTION, _words(error))
        except aiohttp.ClientHttpProxyError as error:  # it did not let us through to LaunchDarkly
            detail = f"the proxy answered {error.status}: check launchdarkly.proxy or HTTPS_PROXY"
            return NoAnswer(Silence.CONNECTION, detail)
        except TimeoutError:
            detail = f"none within {self._timeout.total:g} s"
            return NoAnswer(Silence.TIMEOUT, detail, ambiguous_since=sent.at)
        except (aiohttp.ClientError, OSError) as error:
            return NoAnswer(Silence.CONNECTION, _words(error), ambiguous_since=sent.at)
        return read_reply(
            response.status,
            raw,
            content_type=response.headers.get("Content-Type", ""),
            secret=token,
            started=sent.at,
            after=after,
        )

    def _observe(self, response: aiohttp.ClientResponse, route: str, began: float) -> float:
        """Show a reply to the gate; give the seconds to wait before the request is tried again."""
        now = time.monotonic()
        pacing, headers, status = self.pacing, response.headers, response.status
        closed = pacing.observe(headers, status, route, now, time.time() * 1000, now - began)
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
        return closed_for if status == HTTPStatus.TOO_MANY_REQUESTS else retry_after(headers)

    def _url(self, route: str, names: Mapping[str, str], query: Mapping[str, str] | None) -> URL:
        path = route.format_map({name: quote(value, safe="") for name, value in names.items()})
        asked = f"?{urlencode(query, quote_via=quote)}" if query else ""
        return URL(self._base_url + path + asked, encoded=True)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_request_headers_sent.append(_note_sent)
            trace.on_request_chunk_sent.append(_note_sent)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._max_in_flight, ssl=self._tls),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
                read_bufsize=_READ_BUFFER,
                trace_configs=[trace],
            )
        return self._session


@dataclass(slots=True)
class _Sent:
    """When the last part of a request was sent; until then, when it began (monotonic seconds)."""

    at: float
    began: float


async def _note_sent(_session: object, context: Any, _part: object) -> None:
    """For aiohttp: connecting may have taken a while, and what counts is what LaunchDarkly has."""
    context.trace_request_ctx.at = time.monotonic()


def _is_refused(answer: Answer) -> bool:
    return isinstance(answer, Reply) and answer.status == HTTPStatus.UNAUTHORIZED


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body, or the first part of one that is too large."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_BODY:
            response.close()
            break
    return b"".join(chunks)


def _words(error: Exception) -> str:
    """What went wrong, in one line; some errors have a name and no words."""
    return " ".join(str(error).split())[:300] or type(error).__name__
