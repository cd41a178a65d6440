"""Any record under any mappings: one answer, whatever it is, and never an exception."""

import json
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from ldsync.engage.decoder import Decoder, Several
from ldsync.engage.mapping import MembershipMode
from ldsync.engage.segments import OnCollision
from ldsync.engage.verdict import VERDICTS, Verdict
from ldsync.sync.change import Change
from tests.support.engage_events import RECORD_MS, encode, facts
from tests.support.engage_strategies import events, one_for_each_audience, several_mappings

KNOWN = set(VERDICTS)

decoders = st.builds(
    lambda mappings, mode, on_collision, most_bytes: Decoder(
        *mappings, membership_mode=mode, on_collision=on_collision, most_bytes=most_bytes
    ),
    several_mappings | one_for_each_audience,
    st.sampled_from(MembershipMode),
    st.sampled_from(OnCollision),
    st.sampled_from([2_000_000, 2_000_000, 2_000_000, 300]),
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
documents = st.recursive(
    scalars | events(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["batch", "context", "type", "traits"]), inner)
    ),
    max_leaves=6,
)
damaged = st.builds(
    lambda value, place, put: value[:place] + put + value[place + 1 :],
    events().map(encode),
    st.integers(0, 600),
    st.binary(max_size=2),
)
values = st.one_of(
    st.none(),
    st.binary(max_size=60),
    documents.map(encode),
    events().map(encode),
    st.lists(events(), max_size=3).map(encode),
    damaged,
)
records_ms = st.sampled_from([RECORD_MS, -1, 0]) | st.integers(-(2**70), 2**70)


@given(decoders, st.lists(st.tuples(values, records_ms), min_size=1, max_size=5))
def test_any_record_has_one_answer(
    decoder: Decoder, records: list[tuple[bytes | None, int]]
) -> None:
    """A change, one of the known verdicts, or several changes with at most one verdict."""
    for value, record_ms in records * 2:
        found = decoder.read(value, record_ms)
        if isinstance(found, Several):
            assert found.changes
            assert all(type(change) is Change for change in found.changes)
            assert found.worst is None or found.worst in KNOWN
        else:
            assert isinstance(found, Change) or found in KNOWN


@given(decoders, st.lists(events(), min_size=1, max_size=3), records_ms)
def test_how_an_event_is_written_does_not_matter(
    decoder: Decoder, found_events: list[dict[str, Any]], record_ms: int
) -> None:
    """Read, written and read again it says the same: in any order, with any escapes and blanks."""
    for event in found_events:
        value = orjson.dumps(event)
        backwards = dict(reversed(event.items()))
        forms = [
            json.dumps(orjson.loads(value), ensure_ascii=False, separators=(",", ":")),
            json.dumps(backwards, sort_keys=True),
            json.dumps(backwards),
        ]
        expected = decoder.read(value, record_ms)
        if isinstance(expected, Verdict) and expected.reason == "too_large":
            continue
        for form in forms:
            found = decoder.read(form.encode(), record_ms)
            if not (isinstance(found, Verdict) and found.reason == "too_large"):
                assert facts(found) == facts(expected)
