"""Records for Hypothesis: real events changed in a few places, and JSON of any other kind."""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

from tests.support.engage_events import ABSENT, RECORD_MS, cases

EVENTS = [case["event"] for case in cases("events.jsonl")]
AUDIENCE_EVENTS = [event for event in EVENTS if "personas" in event["context"]]

surrogates = st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF)
texts = st.text(st.characters() | surrogates, max_size=12)
tricky = st.sampled_from(
    [
        *("", " ", "\u2003", "u_1", "identify", "track", "audience", "journey_step", "trait"),
        *("true", "FALSE", "first_time_shopper", "j_o_first_purchase__opened_email_dje83h"),
        *(
            "2026-03-04T10:15:30.123Z",
            "2026-03-04T10:15:30.123456789+05:30",
            "2026-02-30T00:00:00Z",
        ),
        *("2099-01-01T00:00:00.000Z", "2026-03-04T10:16:45.000Z", "2026-03-04T10:16:45.001Z"),
        *(2**63, 2**64 + 1, -(2**64), 10**30, 0, -1, 1e21, 1.5, -0.0, float("inf"), float("nan")),
    ]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts | tricky
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
contexts = st.sampled_from([event["context"] for event in AUDIENCE_EVENTS])
records_ms = st.sampled_from([RECORD_MS, RECORD_MS + 999, -1, 0]) | st.integers(-10, 2**63)


@st.composite
def mutated_events(draw: st.DrawFn) -> bytes:
    """A real event of which a few nodes were replaced, removed or added."""
    event: Any = deepcopy(draw(st.sampled_from(EVENTS) | st.sampled_from(AUDIENCE_EVENTS)))
    for _ in range(draw(st.integers(0, 3))):
        paths = list(_paths(event))
        matter = [path for path in _paths_that_matter(event) if path[:-1] in {(), *paths}]
        path = draw(st.sampled_from(matter) | st.sampled_from(paths or matter))
        _put(event, path, draw(documents | st.just(ABSENT)))
    return json.dumps(event, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")


def _paths(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something can be replaced in a document, parents first."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for name, inner in items:
        yield (*path, name)
        if isinstance(inner, (dict, list)):
            yield from _paths(inner, (*path, name))


def _paths_that_matter(event: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Where the rules look, whether there is something or not."""
    for name in ("type", "userId", "timestamp", "receivedAt", "context", "traits", "properties"):
        yield (name,)
    yield ("context", "personas")
    for name in ("computation_class", "computation_id", "computation_key"):
        yield ("context", "personas", name)
    for place in ("traits", "properties"):
        for name in ("first_time_shopper", "j_o_first_purchase__opened_email_dje83h"):
            yield (place, name)


def _put(document: Any, path: tuple[Any, ...], value: Any) -> None:
    """Replace, add or remove one node, if what holds it is of the right kind."""
    for name in path[:-1]:
        document = document[name]
    fits = isinstance(document, dict if isinstance(path[-1], str) else list)
    if not fits:
        return
    if value is not ABSENT:
        document[path[-1]] = value
    elif isinstance(document, list) or path[-1] in document:
        del document[path[-1]]
