"""The control endpoints: what is in the simulator, what it was asked, and how it shall misbehave.

They are described in `ldsync.demo.simulator`; they need no token, for they are not LaunchDarkly's.
"""

import html
import math
from collections.abc import Mapping
from enum import StrEnum
from itertools import islice
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import orjson
from aiohttp import web

from ldsync.demo.simulator.faults import Answer, Apply, Fault, Faults
from ldsync.demo.simulator.journal import Journal
from ldsync.demo.simulator.limits import Limits, RateWindows
from ldsync.demo.simulator.membership import Side
from ldsync.demo.simulator.refusal import Refusal
from ldsync.demo.simulator.segment import Segment
from ldsync.demo.simulator.world import Environment, World

#: Exchanges in one reply of the log.
LOG_PAGE = 1_000


class Control:
    """Handlers of the control endpoints.

    `home` is the environment meant when a request names none.
    """

    def __init__(
        self,
        world: World,
        home: Environment,
        faults: Faults,
        windows: RateWindows,
        journal: Journal,
    ) -> None:
        self._world = world
        self._home = home
        self._faults = faults
        self._windows = windows
        self._journal = journal

    def routes(self) -> list[web.RouteDef]:
        """The endpoints for aiohttp."""
        return [
            web.get("/", self._front_page),
            web.get("/simulator/state", self._state),
            web.get("/simulator/log", self._log),
            web.delete("/simulator/log", self._clear_log),
            web.get("/simulator/faults", self._list_faults),
            web.post("/simulator/faults", self._add_fault),
            web.delete("/simulator/faults", self._clear_faults),
            web.delete("/simulator/faults/{id:[0-9]+}", self._remove_fault),
            web.post("/simulator/faults/{id:[0-9]+}/release", self._release_fault),
            web.put("/simulator/limits", self._set_limits),
            web.put("/simulator/approvals", self._set_approvals),
            web.post("/simulator/environments", self._add_environment),
        ]

    async def _front_page(self, _: web.Request) -> web.Response:
        rows = "".join(
            f"<tr><td>{html.escape(segment.key)}</td><td>{html.escape(segment.name)}</td>"
            f"<td>{segment.membership.count(Side.INCLUDED)}</td>"
            f"<td>{segment.membership.count(Side.EXCLUDED)}</td><td>{segment.version}</td></tr>"
            for segment in self._home.segments.values()
        )
        title = html.escape(f"{self._home.project_key} / {self._home.key}")
        page = (
            "<!doctype html><title>LaunchDarkly simulator</title>"
            f"<h1>LaunchDarkly simulator: {title}</h1>"
            f"<p>{len(self._journal.exchanges) + self._journal.dropped} requests, "
            f"{len(list(self._faults))} faults in force. "
            '<a href="/simulator/state">state</a> <a href="/simulator/log">log</a> '
            '<a href="/simulator/faults">faults</a></p>'
            "<table border=1 cellpadding=4><tr><th>segment<th>name<th>included<th>excluded"
            f"<th>version</tr>{rows}</table>"
        )
        return web.Response(text=page, content_type="text/html")

    async def _state(self, request: web.Request) -> web.Response:
        environment = self._environment(request.query)
        wanted = request.query.get("segment")
        segments = (
            environment.segments.values() if wanted is None else [environment.segment(wanted)]
        )
        return _json({segment.key: _segment_state(segment) for segment in segments})

    async def _log(self, request: web.Request) -> web.Response:
        query = request.query
        after, limit = int(query.get("after", "0")), int(query.get("limit", str(LOG_PAGE)))
        segment, key = query.get("segment"), query.get("key")
        found = (
            exchange
            for exchange in self._journal.exchanges
            if exchange.sequence > after
            and (segment is None or any(write.segment == segment for write in exchange.writes))
            and (key is None or any(key in c.keys for w in exchange.writes for c in w.changes))
        )
        exchanges = [exchange.summary() for exchange in islice(found, limit)]
        return _json(
            {
                "exchanges": exchanges,
                "dropped": self._journal.dropped,
                "wall_offset": self._journal.wall_offset,
            }
        )

    async def _clear_log(self, _: web.Request) -> web.Response:
        self._journal.clear()
        return web.Response(status=204)

    async def _list_faults(self, _: web.Request) -> web.Response:
        return _json({"faults": [standing.summary() for standing in self._faults]})

    async def _add_fault(self, request: web.Request) -> web.Response:
        return _json({"id": self._faults.add(fault_from(await _object(request)))}, status=201)

    async def _clear_faults(self, _: web.Request) -> web.Response:
        self._faults.clear()
        return web.Response(status=204)

    async def _remove_fault(self, request: web.Request) -> web.Response:
        self._faults.remove(int(request.match_info["id"]))
        return web.Response(status=204)

    async def _release_fault(self, request: web.Request) -> web.Response:
        try:
            self._faults.release(int(request.match_info["id"]))
        except KeyError:
            raise Refusal(404) from None
        return web.Response(status=204)

    async def _set_limits(self, request: web.Request) -> web.Response:
        document = await _object(request)
        self._windows.limits = Limits(**_typed(Limits, document))
        return web.Response(status=204)

    async def _set_approvals(self, request: web.Request) -> web.Response:
        document = await _object(request)
        required = document.get("required")
        if not isinstance(required, bool):
            raise Refusal(400, "required must be true or false")
        named = {name: str(value) for name, value in document.items()}
        self._environment(named).approvals_required = required
        return web.Response(status=204)

    async def _add_environment(self, request: web.Request) -> web.Response:
        document = await _object(request)
        project, key = document.get("project", self._home.project_key), document.get("environment")
        client_side_id = document.get("client_side_id")
        if not isinstance(project, str) or not isinstance(key, str):
            raise Refusal(400, "project and environment must be strings")
        if client_side_id is not None and not isinstance(client_side_id, str):
            raise Refusal(400, "client_side_id must be a string")
        return _json(self._world.add_environment(project, key, client_side_id).document(), 201)

    def _environment(self, query: Mapping[str, str]) -> Environment:
        return self._world.environment(
            query.get("project", self._home.project_key), query.get("environment", self._home.key)
        )


def fault_from(document: dict[str, object]) -> Fault:
    """A fault from the JSON object that describes it.

    Raises:
        ValueError: A field is unknown, has the wrong type, or contradicts another.
    """
    document = {
        # JSON has no infinity.
        name: math.inf if name in _WAITS and value == "release" else value
        for name, value in document.items()
    }
    values = _typed(Fault, document)
    for name, choices in (("answer", Answer), ("apply", Apply)):
        if values.get(name) is not None:
            values[name] = choices(values[name])
    return Fault(**values)


_WAITS = ("delay_seconds", "answer_delay_seconds", "late_seconds")


def _typed(kind: type[Fault] | type[Limits], document: dict[str, object]) -> dict[str, Any]:
    """The fields of a document, each checked against the annotation of the field it fills."""
    hints = get_type_hints(kind)
    for name, value in document.items():
        if name not in hints:
            raise ValueError(f"{name} is unknown; known are {', '.join(sorted(hints))}")
        hint = hints[name]
        choices = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        if not any(_fits(value, choice) for choice in choices):
            raise ValueError(f"{name} cannot be {value!r}")
    return dict(document)


def _fits(value: object, hint: type) -> bool:
    if isinstance(value, bool):
        return False
    if hint is float:
        return isinstance(value, int | float)
    origin = get_origin(hint) or hint
    return isinstance(value, str if issubclass(origin, StrEnum) else origin)


def _segment_state(segment: Segment) -> dict[str, object]:
    membership = segment.membership
    lists: dict[str, object] = {
        side.value: {kind: list(membership.keys(side, kind)) for kind in membership.kinds(side)}
        for side in Side
    }
    return lists | {
        "name": segment.name,
        "version": segment.version,
        "generation": segment.generation,
        "unbounded": segment.unbounded,
        "tags": segment.tags,
    }


async def _object(request: web.Request) -> dict[str, object]:
    try:
        document = orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        raise Refusal(400, "the body is not valid JSON") from None
    if not isinstance(document, dict):
        raise Refusal(400, "the body must be a JSON object")
    return document


def _json(document: object, status: int = 200) -> web.Response:
    body = orjson.dumps(document)
    return web.Response(status=status, body=body, content_type="application/json")
