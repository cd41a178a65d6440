"""The wire: one HTTP request over kept connections, and everything that can go wrong with it.

Nothing else imports aiohttp's client. Trouble is a value; of each it is known whether LaunchDarkly
may have the request nevertheless (rule R1).
"""

import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from yarl import URL

from ldsync.launchdarkly.reply import MAX_BODY, NoAnswer, Silence

# Four times what aiohttp reads ahead by default: a tenth less work for a full segment.
_READ_BUFFER = 256 * 1024


@dataclass(frozen=True, slots=True)
class Way:
    """How to get to LaunchDarkly.

    Attributes:
        proxy: Address of an HTTP proxy, with its password if it wants one; empty for none.
        ca_file: PEM file of the authorities to trust; empty for the system's.
    """

    proxy: str = field(default="", repr=False)
    ca_file: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of an answer.

    Attributes:
        status: HTTP status.
        headers: Looked up without regard to case.
        took: Seconds from the beginning of the request.
    """

    status: int
    headers: Mapping[str, str]
    took: float


@dataclass(frozen=True, slots=True)
class Received:
    """A whole answer.

    Attributes:
        head: Its beginning.
        raw: The body; of one larger than `MAX_BODY` the beginning. Not in the `repr` (P8).
        sent_at: Monotonic seconds at which the last part of the request was sent.
    """

    head: Head
    raw: bytes = field(repr=False)
    sent_at: float


@dataclass(slots=True)
class _Sent:
    """When the last part of a request was sent; until then, when it began (monotonic seconds)."""

    at: float


class Transport:
    """A pool of connections that are kept. Opened by the first request.

    Args:
        timeout_seconds: For a whole request, from connecting to the end of the body.
        max_connections: At most.
        way: Proxy and authorities.
    """

    def __init__(self, timeout_seconds: float, max_connections: int, way: Way) -> None:
        # A connection that cannot be made fails early, and then certainly nothing was sent.
        self._timeout = aiohttp.ClientTimeout(
            total=timeout_seconds, sock_connect=timeout_seconds / 2
        )
        self._max_connections = max_connections
        self._proxy = URL(way.proxy) if way.proxy else None
        self._tls = ssl.create_default_context(cafile=way.ca_file) if way.ca_file else True
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections; a later request opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def exchange(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        body: bytes | None,
        on_head: Callable[[Head], None],
    ) -> Received | NoAnswer:
        """Send and read. Nothing is raised but cancellation.

        Args:
            method: HTTP method.
            url: Already encoded.
            headers: All but those that HTTP itself needs.
            body: As it is to be sent.
            on_head: Called when an answer begins, also if it then breaks off.
        """
        began = time.monotonic()
        sent = _Sent(began)
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
                head = Head(response.status, response.headers, time.monotonic() - began)
                on_head(head)
                return Received(head, await _read(response), sent.at)
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

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_request_headers_sent.append(_note_sent)
            trace.on_request_chunk_sent.append(_note_sent)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._max_connections, ssl=self._tls),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
                read_bufsize=_READ_BUFFER,
                trace_configs=[trace],
            )
        return self._session


async def _note_sent(_session: object, context: Any, _part: object) -> None:
    """For aiohttp: connecting may have taken a while, and what counts is what LaunchDarkly has."""
    context.trace_request_ctx.at = time.monotonic()


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
