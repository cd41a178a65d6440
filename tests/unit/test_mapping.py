"""The decoder: one segment per key, one target per audience, and what makes up a change."""

from weakref import WeakSet

import pytest

from ldsync.engage import decoder as decoding
from ldsync.engage import verdict
from ldsync.engage.decoder import Decoder
from ldsync.engage.mapping import Mapping
from ldsync.engage.times import Fallback
from ldsync.sync.change import Change, Segment
from tests.support.engage_events import (
    ABSENT,
    AUDIENCE_ID,
    AUDIENCE_KEY,
    RECEIVED_AT,
    RECORD_MS,
    TIMESTAMP,
    about,
    change,
    encode,
    identify,
    read,
    track,
)


def test_a_change_says_who_where_and_when() -> None:
    """Everything that the rest of the program needs, and no more."""
    found = change(identify())

    assert type(found) is Change
    assert found.member == "user/u_1"
    assert found.stamp == f"{TIMESTAMP}{RECEIVED_AT}+"
    assert found.target.context_kind == "user"
    assert found.target.prefix == "user/"
    assert found.target.batch_events
    assert found.target.audience_key == AUDIENCE_KEY
    assert _facts(found.target.segment) == (
        AUDIENCE_KEY,
        "First time shopper",
        AUDIENCE_ID,
        AUDIENCE_KEY,
    )


def test_leaving_is_in_the_stamp() -> None:
    """The same version, another sign."""
    assert change(track(False)).stamp == f"{TIMESTAMP}{RECEIVED_AT}-"


def test_the_mapping_decides_on_kind_batching_and_key() -> None:
    """What is not the preset is carried through."""
    custom = Mapping(
        context_kind="account",
        batch_events=False,
        segment_key="engage-{audience_key}.{audience_id}",
    )

    found = change(about(computation_id="aud_1"), Decoder(custom))

    assert found.member == "account/u_1"
    assert found.target.context_kind == "account"
    assert not found.target.batch_events
    assert found.target.segment.key == "engage-first_time_shopper.aud_1"


def test_events_of_an_audience_share_one_target_and_segment() -> None:
    """They are compared by identity from here on."""
    decoder = Decoder(Mapping())

    first, second = change(identify(), decoder), change(track(False, userId="u_2"), decoder)

    assert first.target is second.target


def test_audiences_do_not_share_targets() -> None:
    """Interleaved events keep to their own."""
    decoder = Decoder(Mapping())
    events = [
        about(computation_id=f"aud_{n}", computation_key=f"key_{n}")
        | {"traits": {f"key_{n}": True}}
        for n in (1, 2, 1, 2)
    ]

    a1, b1, a2, b2 = (change(event, decoder).target for event in events)

    assert a1 is a2
    assert b1 is b2
    assert [a1.segment.key, b1.segment.key] == ["key_1", "key_2"]


def test_an_audience_made_again_writes_to_the_same_segment() -> None:
    """Two ids with one key render to one segment key: one segment, two targets."""
    decoder = Decoder(Mapping())

    old = change(about(computation_id="aud_1"), decoder)
    new = change(about(computation_id="aud_2"), decoder)

    assert new.target.segment is old.target.segment
    assert new.target.segment.audience_id == "aud_1", "the one that it was first seen for"


def test_an_id_with_another_key_gets_another_target() -> None:
    """An anomaly (keys cannot be edited); the flag is looked for under the key of the event."""
    decoder = Decoder(Mapping(segment_key="{audience_id}"))
    renamed = about(computation_key="renamed") | {"traits": {"renamed": False, AUDIENCE_KEY: True}}

    before, after, again = (change(e, decoder) for e in (identify(), renamed, identify()))

    assert [found.stamp[-1] for found in (before, after, again)] == ["+", "-", "+"]
    assert [found.target.audience_key for found in (after, again)] == ["renamed", AUDIENCE_KEY]
    assert before.target.segment is after.target.segment is again.target.segment


def test_a_known_audience_still_needs_a_sound_event() -> None:
    """That its id is known does not make a broken key or flag good."""
    decoder = Decoder(Mapping())
    change(identify(), decoder)

    assert read(about(computation_key=None), decoder) == "invalid: bad_audience_key"
    assert read(about(computation_id=["x"]), decoder) == "invalid: bad_audience_id"
    assert read(identify(ABSENT), decoder) == "invalid: membership_missing"
    assert read(identify(userId=" "), decoder) == "skipped: no_context_key"
    assert read(identify(), decoder) == "+user/u_1"


def test_an_integer_id_is_the_audience_of_its_decimal_text() -> None:
    """However it is written, it is one target."""
    decoder = Decoder(Mapping())

    number, text, again = (change(about(computation_id=one), decoder).target for one in (5, "5", 5))

    assert number is text is again


def test_targets_are_bounded_and_segments_stay_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Endless audiences do not fill the memory; a segment in use keeps its identity."""
    monkeypatch.setattr(decoding, "_MOST_TARGETS", 10)
    decoder = Decoder(Mapping(segment_key="{audience_id}"))
    held = change(about(computation_id="aud_held"), decoder).target.segment

    alive: WeakSet[Segment] = WeakSet()

    for number in range(25):
        alive.add(change(about(computation_id=f"aud_{number}"), decoder).target.segment)
        assert 0 < len(alive) <= 10

    assert change(about(computation_id="aud_held"), decoder).target.segment is held


def test_the_last_target_within_the_bound_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly as many audiences as may be kept cost nothing."""
    monkeypatch.setattr(decoding, "_MOST_TARGETS", 3)
    decoder = Decoder(Mapping(segment_key="{audience_id}"))
    events = [about(computation_id=f"aud_{number}") for number in range(3)]

    first = [change(event, decoder).target for event in events]

    assert [change(event, decoder).target for event in events] == first


def test_events_ordered_by_another_time_are_counted_once() -> None:
    """The decoder shows the counts of its versions; events without a change do not count."""
    decoder = Decoder(Mapping())

    change(identify(timestamp=ABSENT), decoder)
    change(identify(timestamp="yesterday"), decoder)
    change(identify(timestamp="2099-01-01T00:00:00Z"), decoder)
    change(identify(timestamp=5, receivedAt=None), decoder)
    change(identify(), decoder)
    read(identify(ABSENT, timestamp=None), decoder)
    read(identify(userId=None, timestamp=None), decoder)

    assert decoder.fallbacks == dict.fromkeys(Fallback, 1)


def test_the_time_of_the_record_bounds_that_of_the_event() -> None:
    """It is the given record's, not an earlier one's and not the current time."""
    decoder = Decoder(Mapping())
    event = encode(identify())

    late, early = decoder.read(event, RECORD_MS), decoder.read(event, RECORD_MS - 3_600_000)

    assert isinstance(late, Change)
    assert isinstance(early, Change)
    assert late.stamp.startswith(TIMESTAMP)
    assert early.stamp.startswith("2026-03-04T09:15:45.000Z")


def test_verdicts_are_the_known_objects() -> None:
    """They are counted by identity."""
    decoder = Decoder(Mapping())

    assert decoder.read(b"", RECORD_MS) is verdict.BAD_JSON
    assert decoder.read(b"[]", RECORD_MS) is verdict.EMPTY_BATCH


def _facts(segment: Segment) -> tuple[str, str, str, str]:
    return segment.key, segment.name, segment.audience_id, segment.audience_key
