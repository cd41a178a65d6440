"""History: what records say that are read again (R5)."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson

from ldsync.engage.decoder import Decoder
from ldsync.engage.history import newest
from ldsync.engage.mapping import Mapping
from ldsync.sync.change import includes
from tests.support.traffic import engage_event

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class Stored:
    """A record of a topic."""

    value: bytes | None
    timestamp: int = NOON_MS
    offset: int = 0


def event(user: str, seconds: float, *, entered: bool, audience: str = "vip") -> bytes:
    """An event some seconds after noon."""
    moment = NOON + timedelta(seconds=seconds)
    return orjson.dumps(engage_event(user, audience, entered, moment))


def test_of_each_member_the_newest_change_counts_whatever_the_order() -> None:
    """By segment; records that change nothing say nothing."""
    records = [
        Stored(event("a", 2, entered=False)),
        Stored(b"{"),
        Stored(None),
        Stored(event("a", 1, entered=True)),
        Stored(event("b", 1, entered=True)),
        Stored(b"[" + event("b", 3, entered=False) + b"," + event("c", 1, entered=True) + b"]"),
        Stored(event("a", 1, entered=True, audience="other")),
    ]
    found = newest(Decoder(Mapping()), records)
    said = {
        segment.key: {member: includes(stamp) for member, stamp in changes.items()}
        for segment, changes in found.items()
    }
    assert said == {
        "vip": {"user/a": False, "user/b": False, "user/c": True},
        "other": {"user/a": True},
    }


def test_of_equal_versions_the_later_record_counts() -> None:
    """As for live records of one partition, whatever their signs."""
    for first in (True, False):
        records = [
            Stored(event("a", 1, entered=first)),
            Stored(event("a", 1, entered=not first)),
        ]
        ((changes),) = newest(Decoder(Mapping()), records).values()
        assert includes(changes["user/a"]) is not first


def test_segments_are_those_of_live_records() -> None:
    """One object a key: the version store compares them by identity."""
    decoder = Decoder(Mapping())
    (known,) = newest(decoder, [Stored(event("a", 1, entered=True))])
    changes, _, _ = decoder.read_all([Stored(event("b", 2, entered=True))])
    assert changes[0].target.segment is known


def test_what_is_read_again_needs_no_other_time_again() -> None:
    """Events without a time of their own were counted when they were new."""
    decoder = Decoder(Mapping())
    timeless = event("a", 1, entered=True).replace(b'"timestamp"', b'"no_timestamp"')
    decoder.read_all([Stored(timeless)])
    assert any(decoder.fallbacks.values())
    newest(decoder, [Stored(timeless)])
    assert not any(decoder.fallbacks.values())
