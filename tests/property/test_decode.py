"""Reading records: whatever is in them, there is one answer, and it is that of the rules."""

import json
from collections import Counter
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from ldsync.engage.decoder import Decoder, Found, Several
from ldsync.engage.mapping import Mapping
from ldsync.engage.naming import segment_key
from ldsync.engage.verdict import VERDICTS, Verdict
from ldsync.sync.change import Change, includes
from tests.support import engage_oracle as oracle
from tests.support.engage_events import RECORD_MS
from tests.support.engage_records import (
    AUDIENCE_EVENTS,
    contexts,
    documents,
    mutated_events,
    records_ms,
    texts,
)

KNOWN = set(VERDICTS)


@given(st.binary(max_size=200), records_ms)
def test_any_bytes_have_an_answer(value: bytes, record_ms: int) -> None:
    """Nothing on a topic can stop the worker."""
    _assert_answer(Decoder(Mapping()), value, record_ms)


@given(st.lists(documents, min_size=1, max_size=4), records_ms)
def test_any_json_has_an_answer(values: list[Any], record_ms: int) -> None:
    """Nor can any JSON, whatever was read before."""
    decoder = Decoder(Mapping())

    for value in values:
        _assert_answer(decoder, json.dumps(value).encode(), record_ms)


@given(st.lists(st.tuples(mutated_events(), records_ms), min_size=1, max_size=4))
def test_a_changed_event_is_read_as_the_rules_say(records: list[tuple[bytes, int]]) -> None:
    """Compared with a second, independent reading; one decoder reads all, twice."""
    decoder = Decoder(Mapping())

    for value, record_ms in records * 2:
        _assert_answer(decoder, value, record_ms)


@given(st.data(), records_ms)
def test_nested_events_are_read_one_by_one(data: st.DataObject, record_ms: int) -> None:
    """Arrays, batches with a context, and arrays of batches; compared as above."""
    decoder = Decoder(Mapping())
    parts = st.builds(_loads, mutated_events()) | st.sampled_from(AUDIENCE_EVENTS) | documents
    arrays = st.lists(parts, max_size=4)
    batches = st.fixed_dictionaries(
        {"batch": arrays}, optional={"context": parts | contexts, "type": st.none() | texts}
    )
    value = data.draw(arrays | batches | st.lists(parts | batches, max_size=3))

    _assert_answer(decoder, json.dumps(value).encode(), record_ms)


@given(mutated_events(), st.data())
def test_an_event_cut_or_corrupted_has_an_answer(value: bytes, data: st.DataObject) -> None:
    """Damage in any place, as on a faulty way here."""
    place = data.draw(st.integers(0, len(value) - 1))
    damaged = value[:place] + data.draw(st.binary(max_size=2)) + value[place + 1 :]

    _assert_answer(Decoder(Mapping()), damaged, RECORD_MS)


class Seen(NamedTuple):
    """A record."""

    value: bytes
    timestamp: int
    offset: int = 7


def _assert_answer(decoder: Decoder, value: bytes, record_ms: int) -> None:
    """The answer is the same among many records and alone, for a new audience and a known one."""
    _assert_expected(decoder, value, record_ms, among_many=True)
    _assert_expected(decoder, value, record_ms, among_many=False)
    _assert_expected(decoder, value, record_ms, among_many=True)


def _assert_expected(decoder: Decoder, value: bytes, record_ms: int, *, among_many: bool) -> None:
    """The answer is that of the second reading, and one of the known kinds."""
    before = dict(decoder.fallbacks)
    found = _read_among_many(decoder, value, record_ms) if among_many else None
    found = found or decoder.read(value, record_ms)
    expected = oracle.read_parts(value, record_ms)
    readings = [part for part in expected if isinstance(part, oracle.Reading)]
    worst = min((one for one in expected if isinstance(one, str)), key=_severity, default="")

    if not readings:
        assert isinstance(found, Verdict)
        assert found in KNOWN
        assert found.reason == worst
    elif len(readings) == 1 and _severity(worst) > 0:
        assert isinstance(found, Change)
        _assert_change(found, readings[0])
    else:
        assert isinstance(found, Several)
        assert (found.worst.reason if found.worst else "") == worst
        for change, reading in zip(found.changes, readings, strict=True):
            _assert_change(change, reading)
    counted = Counter(reading.fallback for reading in readings if reading.fallback)
    assert {one: decoder.fallbacks[one] - before[one] for one in decoder.fallbacks} == {
        one: counted[one] for one in decoder.fallbacks
    }


def _read_among_many(decoder: Decoder, value: bytes, record_ms: int) -> Found:
    record = Seen(value, record_ms)
    changes, refused, several = decoder.read_all([record])
    assert [found_in for _, found_in in refused] == [record] * len(refused)
    assert [found_in for _, found_in, _ in several] == [record] * len(several)
    found: list[Found] = [*changes]
    found += [one for one, _ in refused]
    found += [one for one, _, _ in several]
    assert len(found) == 1
    return found[0]


def _severity(reason: str) -> int:
    """Lower is worse, and 0 the worst; no reason is the least."""
    if not reason:
        return 3
    outcomes = {one.reason: one.outcome.value for one in VERDICTS}
    return ("invalid", "skipped", "ignored").index(outcomes[reason])


def _assert_change(found: Change, expected: oracle.Reading) -> None:
    segment = found.target.segment
    assert found.member == f"user/{expected.user}"
    assert includes(found.stamp) is expected.entered
    assert found.target.audience_key == expected.audience_key
    assert oracle.times_of_version(found.stamp[:-1]) == (expected.time, expected.received)
    assert segment.key == segment_key(
        "{audience_key}", audience_key=expected.audience_key, audience_id=expected.audience_id
    )
    assert segment.name == oracle.segment_name(segment.audience_key)
    assert segment.audience_key == expected.audience_key


def _loads(value: bytes) -> Any:
    return json.loads(value.decode("utf-8", "surrogatepass"))
