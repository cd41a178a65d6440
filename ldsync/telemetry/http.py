"""The admin endpoints: metrics, health, and the status of every segment.

They run on the event loop of the program, so an answer is proof that the loop turns. They are for
operators and have no authentication: `admin.host` is the loopback unless told otherwise.
"""

import errno
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import orjson
from aiohttp import web
from prometheus_client.aiohttp import make_aiohttp_handler

from ldsync.telemetry import page
from ldsync.telemetry.health import Health
from ldsync.telemetry.metrics import Metrics

Status: TypeAlias = Mapping[str, Any]
"""What `/status` shows, in data that JSON has; `page.render` names the keys it knows."""

_STOP_SECONDS = 2.0
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}
_ADVICE = {
    errno.EADDRINUSE: "Another program listens there, perhaps another ldsync. Stop it, or set "
    "admin.port (LDSYNC_ADMIN__PORT) to a free port.",
    errno.EACCES: "Ports below 1024 need rights that ldsync should not have. Set admin.port "
    "(LDSYNC_ADMIN__PORT) to a higher one.",
    errno.EADDRNOTAVAIL: "This machine does not have that address. Set admin.host "
    "(LDSYNC_ADMIN__HOST) to one it has, or to 0.0.0.0 for all.",
}
_OTHER_ADVICE = "Check admin.host (LDSYNC_ADMIN__HOST) and admin.port (LDSYNC_ADMIN__PORT)."


class AdminError(Exception):
    """The admin endpoints cannot be served; the message says why and what to change."""


class AdminServer:
    """Serves `/metrics`, `/healthz`, `/readyz` and `/status` from `start` to `stop`."""

    def __init__(
        self,
        host: str,
        port: int,
        metrics: Metrics,
        health: Callable[[], Health],
        status: Callable[[], Status],
    ) -> None:
        """Prepare the endpoints; nothing is listened on yet.

        Args:
            host: Address to listen on.
            port: Port to listen on; 0 takes a free one, see `port`.
            metrics: What `/metrics` shows.
            health: Asked at every `/healthz` and `/readyz`. Must be quick.
            status: Asked at every `/status`. Must be quick, and bounded in what it returns.
        """
        self._host = host
        self._port = port
        self._health = health
        self._status = status
        app = web.Application()
        app.on_response_prepare.append(_add_headers)
        app.add_routes(
            [
                web.get("/", _index),
                web.get("/metrics", make_aiohttp_handler(metrics.registry)),
                web.get("/healthz", self._healthz),
                web.get("/livez", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/status", self._show_status),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_SECONDS)

    @property
    def port(self) -> int:
        """The port it listens on; before `start`, the one it was told."""
        addresses = self._runner.addresses
        return int(addresses[0][1]) if addresses else self._port

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104 - compared, not bound
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    async def start(self) -> None:
        """Listen.

        Raises:
            AdminError: The address cannot be listened on.
        """
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except (OSError, UnicodeError) as error:  # the latter: a host that can be no name
            await self._runner.cleanup()
            number = getattr(error, "errno", None) or 0
            # asyncio's own words would repeat the address.
            reason = os.strerror(number) if number in _ADVICE else str(error)
            raise AdminError(
                f"The admin endpoints cannot listen on {self._host}:{self._port}: {reason}. "
                f"{_ADVICE.get(number, _OTHER_ADVICE)}"
            ) from error

    async def stop(self) -> None:
        """Listen no more; requests that are being answered get a moment. Stopping twice is fine."""
        await self._runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        health = self._health()
        word = "ok" if health.alive else "stalled"
        return _json({"status": word, "checks": _checks(health)}, ok=health.alive)

    async def _readyz(self, _request: web.Request) -> web.Response:
        health = self._health()
        body = {
            "status": "ready" if health.ready else "not_ready",
            "reasons": health.reasons,
            "checks": _checks(health),
        }
        return _json(body, ok=health.ready)

    async def _show_status(self, request: web.Request) -> web.Response:
        status = self._status()
        if _wants_html(request):
            text = page.render(status, now=time.time())
            return web.Response(text=text, content_type="text/html")
        return _json(status, ok=True)


async def _index(_request: web.Request) -> web.Response:
    return web.Response(text=page.INDEX, content_type="text/html")


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)


def _checks(health: Health) -> dict[str, dict[str, object]]:
    return {
        check.name: {
            "age_seconds": round(check.age_seconds, 3),
            "limit_seconds": check.limit_seconds,
            "ok": check.ok,
        }
        for check in health.checks
    }


def _json(body: Status, *, ok: bool) -> web.Response:
    return web.Response(
        body=orjson.dumps(body), status=200 if ok else 503, content_type="application/json"
    )


def _wants_html(request: web.Request) -> bool:
    """Whether a browser asks: it names text/html, and JSON not or with less weight."""
    asked = request.query.get("format")
    if asked is not None:
        return asked == "html"
    weights = {"text/html": 0.0, "application/json": 0.0}
    for part in ",".join(request.headers.getall("Accept", [])).split(","):
        kind, _, parameters = part.partition(";")
        name = kind.strip().lower()
        if name in weights:
            weights[name] = _weight(parameters)
    return weights["text/html"] > weights["application/json"]


def _weight(parameters: str) -> float:
    _, found, text = parameters.replace(" ", "").lower().partition("q=")
    try:
        return float(text.partition(";")[0]) if found else 1.0
    except ValueError:
        return 0.0
