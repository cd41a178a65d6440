"""Segment's way: whatever an event says, the members are those that Segment's destination sends."""

import json
from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ldsync.engage.decoder import Decoder, Several
from ldsync.engage.javascript import number_text
from ldsync.engage.mapping import Mapping, MembershipMode, Priority
from ldsync.engage.paths import Path
from ldsync.sync.change import Change, includes
from tests.support import reference_oracle as oracle
from tests.support.engage_events import RECORD_MS, cases

EVENTS = [case["event"] for case in cases("events.jsonl")]
AUDIENCE_EVENTS = [event for event in EVENTS if "personas" in event["context"]]
KIND = ["context", "kind"]
MATTER = [
    *(("type",), ("userId",), ("anonymousId",), ("context",), ("traits",), ("properties",)),
    *(("traits", "email"), ("context", "traits"), ("context", "traits", "email"), tuple(KIND)),
    *(("context", "personas"), ("context", "personas", "computation_class")),
    *(("context", "personas", "computation_id"), ("context", "personas", "computation_key")),
    *(("traits", "first_time_shopper"), ("properties", "first_time_shopper")),
]

texts = st.sampled_from(
    [
        *("", " ", "u_1", "audience", "journey_step", "identify", "track", "first_time_shopper"),
        *(
            "true",
            "false",
            "0",
            "constructor",
            "toString",
            "\ud83d",
            "日本",
            "user",
            "multi",
            "a/b",
        ),
    ]
)
numbers = st.integers() | st.floats(allow_nan=False) | st.sampled_from([0, -0.0, 1, 2**63, 10**21])
scalars = st.none() | st.booleans() | texts | numbers
values = scalars | st.lists(scalars, max_size=2) | st.dictionaries(texts, scalars, max_size=2)


@st.composite
def changed_events(draw: st.DrawFn) -> dict[str, Any]:
    """A real audience event, in which some of what matters was replaced or removed."""
    event: dict[str, Any] = deepcopy(draw(st.sampled_from(AUDIENCE_EVENTS)))
    event["context"]["kind"] = "device"
    for path in draw(st.lists(st.sampled_from(MATTER), max_size=4)):
        holder: Any = event
        for step in path[:-1]:
            holder = holder.get(step) if isinstance(holder, dict) else None
        if isinstance(holder, dict):
            holder[path[-1]] = draw(values)
            if draw(st.integers(0, 4)) == 0:
                del holder[path[-1]]
    return event


@given(
    st.lists(changed_events(), min_size=1, max_size=3),
    st.sampled_from(Priority),
    st.booleans(),
    st.sampled_from(["user", KIND]),
)
def test_the_same_members_are_sent(
    events: list[dict[str, Any]], priority: Priority, batched: bool, kind: Any
) -> None:
    """Compared with a second, independent reading."""
    mapping = Mapping(
        context_key=priority,
        batch_events=batched,
        context_kind=Path(tuple(kind)) if isinstance(kind, list) else kind,
    )
    decoder = Decoder(mapping, membership_mode=MembershipMode.SEGMENT)

    for event in events * 2:
        # JSON has no word for what is beyond all doubles, but numbers that are.
        value = json.dumps(event).replace("Infinity", "1e999")
        found = decoder.read(value.encode(), RECORD_MS)
        assert not isinstance(found, Several)
        try:
            expected = oracle.entry(event, priority=priority, kind=kind, batched=batched)
        except oracle.Refused:
            expected = None
        if expected is None or not _can_be_told(expected):
            assert not isinstance(found, Change)
            if expected and not expected.user and _can_be_told(expected, "any"):
                assert found.reason == "no_context_key"
        else:
            assert isinstance(found, Change)
            assert found.member == f"{expected.kind}/{expected.user}"
            assert includes(found.stamp) is expected.value
            assert found.target.audience_key == expected.audience_key


def _can_be_told(entry: oracle.Entry, user: str | None = None) -> bool:
    """Whether LaunchDarkly can be told: a key, a possible kind, and nothing UTF-8 cannot carry."""
    texts = [entry.audience_id, entry.audience_key, user or entry.user or ""]
    if not all(char < "\ud800" or char > "\udfff" for text in texts for char in text):
        return False
    kind = entry.kind.replace(".", "a").replace("_", "a").replace("-", "a")
    known = kind.isascii() and kind.isalnum() and entry.kind not in {"kind", "multi"}
    return known and texts[-1] != ""


@given(st.floats(allow_nan=False) | st.integers())
def test_numbers_are_written_as_javascript_writes_them(value: float) -> None:
    """Both notations of Python's are turned into those of JavaScript, in two ways."""
    assert number_text(value) == oracle.number(value)
    assert number_text(value) in {"Infinity", "-Infinity"} or float(number_text(value)) == float(
        value
    )
