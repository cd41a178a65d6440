"""A request to LaunchDarkly as a value: what would be sent, before anything sends it. Pure.

Builders make requests (`semantic_patch`, `big_contexts` and `segment_targets` in `writers`), the
client sends them, and `ldsync explain` shows them: all three mean the same bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import quote

import orjson

import ldsync

API_VERSION: Final = "20240415"

JSON: Final = "application/json"
SEMANTIC_PATCH: Final = "application/json; domain-model=launchdarkly.semanticpatch"

SEGMENTS_ROUTE: Final = "/api/v2/segments/{projectKey}/{environmentKey}"
SEGMENT_ROUTE: Final = f"{SEGMENTS_ROUTE}/{{segmentKey}}"
CONTEXTS_ROUTE: Final = f"{SEGMENT_ROUTE}/contexts"
TARGETS_ROUTE: Final = "/api/v2/segment-targets/{integrationKey}"

Method = Literal["GET", "POST", "PATCH"]


@dataclass(frozen=True, slots=True)
class Request:
    """One request, without host and token.

    Attributes:
        method: HTTP method.
        route: URL pattern, as in `SEGMENT_ROUTE`; label of metrics.
        names: What to put into the pattern, as it is: `path` encodes it.
        body: What is sent as JSON; None for no body.
        content_type: Of the body.
    """

    method: Method
    route: str
    names: Mapping[str, str]
    body: Mapping[str, Any] | None = None
    content_type: str = JSON

    @property
    def path(self) -> str:
        """The path to ask for, percent-encoded."""
        return path_of(self.route, self.names)

    def encoded(self) -> bytes | None:
        """Return the bytes of the body, None if it has none.

        Raises:
            orjson.JSONEncodeError: A text in it is none that UTF-8 can carry.
        """
        return None if self.body is None else orjson.dumps(self.body)


def headers_of(token: str) -> dict[str, str]:
    """Return the headers of every request; one with a body also has its `Content-Type`."""
    return {
        "Authorization": token,
        "LD-API-Version": API_VERSION,
        "User-Agent": f"ldsync/{ldsync.__version__}",
        # Replies are large and of little interest: to unpack them costs more than to read them, and
        # the limit of what is read then bounds what is held in memory.
        "Accept-Encoding": "identity",
    }


def path_of(route: str, names: Mapping[str, str]) -> str:
    """Return a route with its names put in, percent-encoded: a key may hold any character."""
    return route.format_map({name: quote(value, safe="") for name, value in names.items()})
