"""One call of the API as its rules see it: plain values in, a reply or a refusal out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import orjson

from ldsync.demo.simulator.membership import Change
from ldsync.demo.simulator.refusal import Refusal
from ldsync.demo.simulator.world import Environment, World

#: Entries of a page when the call does not say (launchdarkly-api contract 2.3).
DEFAULT_LIMIT = 20

#: A JSON object.
Document = dict[str, object]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """A request that is to be carried out.

    Attributes:
        params: Placeholders of the route's template.
        query: Query parameters.
        content_type: The header as sent, or "".
        api_version: The header `LD-API-Version` as sent, or "".
        body: The raw body.
        now_ms: Wall clock in milliseconds since the epoch.
    """

    params: Mapping[str, str]
    query: Mapping[str, str]
    content_type: str
    api_version: str
    body: bytes
    now_ms: int

    def environment(self, world: World) -> Environment:
        """The environment of the path.

        Raises:
            Refusal: There is none.
        """
        return world.environment(self.params["projectKey"], self.params["environmentKey"])

    def media_type(self) -> tuple[str, dict[str, str]]:
        """The content type and its parameters, in lower case."""
        essence, *parameters = (part.strip() for part in self.content_type.lower().split(";"))
        pairs = (parameter.partition("=") for parameter in parameters)
        return essence, {name: value.strip('"') for name, _, value in pairs}

    def document(self) -> object:
        """The decoded body.

        Raises:
            Refusal: It is not JSON, or not said to be.
        """
        if self.media_type()[0] != "application/json":
            raise Refusal(400, "the content type must be application/json")
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            raise Refusal(400, "the body is not valid JSON") from None

    def fields(self) -> Document:
        """The decoded body, which must be an object.

        Raises:
            Refusal: It is none.
        """
        document = self.document()
        if not isinstance(document, dict):
            raise Refusal(400, "the body must be a JSON object")
        return document

    def number(self, name: str, default: int) -> int:
        """A query parameter that is a whole number, not negative.

        Raises:
            Refusal: It is something else.
        """
        text = self.query.get(name, str(default))
        if not text.isdecimal():
            raise Refusal(400, f"{name} must be a whole number")
        return int(text)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the API answers; a header that is None is left out.

    A fault may have the body sent over `seconds`, or have the connection end in the middle of it.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str | None] = field(default_factory=dict)
    content_type: str = "application/json"
    seconds: float = 0.0
    cut: bool = False


def json_reply(document: object, status: int = 200) -> Reply:
    """A reply with a JSON body."""
    return Reply(status, orjson.dumps(document))


def refusal_reply(refusal: Refusal) -> Reply:
    """A refusal as the reply it is."""
    return json_reply(refusal.document(), refusal.status)


def page(call: Call, path: str, items: Sequence[T], render: Callable[[T], Document]) -> Reply:
    """One page of a listing; only what is on it is rendered.

    Raises:
        Refusal: `limit` or `offset` is not a number.
    """
    limit, offset = call.number("limit", DEFAULT_LIMIT), call.number("offset", 0)
    return json_reply(page_document(path, items, render, limit or DEFAULT_LIMIT, offset))


def page_document(
    path: str,
    items: Sequence[T],
    render: Callable[[T], Document],
    limit: int = DEFAULT_LIMIT,
    offset: int = 0,
) -> Document:
    """The body of one page; `next` is a relative address and missing on the last page."""
    links = {"self": {"href": f"{path}?limit={limit}&offset={offset}", "type": "application/json"}}
    if offset + limit < len(items):
        following = f"{path}?limit={limit}&offset={offset + limit}"
        links["next"] = {"href": following, "type": "application/json"}
    return {
        "items": [render(item) for item in items[offset : offset + limit]],
        "totalCount": len(items),
        "_links": links,
    }


@dataclass(frozen=True, slots=True)
class Write:
    """What a request would write to one segment if it were carried out, for the journal."""

    segment: str
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of the API.

    Attributes:
        name: What faults and the journal call it.
        method: HTTP verb.
        template: Path with placeholders, as in the OpenAPI document.
        handle: Carries a call out at once, without waiting; raises `Refusal`.
        intent: Reads what a call would write, or None for operations that write nothing.
        authenticated: Whether it asks for the token.
        unauthorized: Status of the reply to a wrong token.
    """

    name: str
    method: str
    template: str
    handle: Callable[[World, Call], Reply]
    intent: Callable[[World, Call], tuple[Write, ...]] | None = None
    authenticated: bool = True
    unauthorized: int = 401
