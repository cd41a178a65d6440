"""The version of an event: what orders the changes of a member (P2), as a string that compares.

A version is the event's `timestamp` followed by its `receivedAt`, both as UTC with milliseconds in
the form `2026-03-04T10:15:30.123Z`. Most events carry exactly that form already, so the common case
is a concatenation and one regular expression. Digits below the millisecond become `…30.123a456789`:
`a` sorts after `Z`, so such a time comes after its bare millisecond and before the next one, and no
version is a prefix of another.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum

CLAMP_MS = 60_000
"""An event time so far after its record's (milliseconds) is believed; a later one is not."""

NO_TIME = "0000-00-00T00:00:00.000Z"
"""Stands for a time that is not there; it sorts before every real one."""

_WIDTH = len(NO_TIME)

# 29 February takes the careful way, which knows leap years. There is no year 0.
_DATE = (
    r"(?!0000)\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])"
    r"|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)"
    r"|02-(?:0[1-9]|1\d|2[0-8]))"
)
_COMMON = rf"{_DATE}T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{{3}}Z"
_is_common_time = re.compile(_COMMON, re.ASCII).fullmatch
_is_common_pair = re.compile(_COMMON + _COMMON, re.ASCII).fullmatch
_parts_of = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?"
    r"(?:[Zz]|([+-])(\d\d):?([0-5]\d))?",
    re.ASCII,
).fullmatch
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Fallback(StrEnum):
    """Why an event is not ordered by its own `timestamp`; an event has at most one reason."""

    MISSING_TIMESTAMP = "missing_timestamp"
    """It has none, and is ordered by its `receivedAt`."""
    BAD_TIMESTAMP = "bad_timestamp"
    """It cannot be read, and the event is ordered by its `receivedAt`."""
    NO_EVENT_TIME = "no_event_time"
    """Neither can be read, and the event is ordered by the time of its record."""
    FUTURE_TIMESTAMP = "future_timestamp"
    """The time is too far after the record's, and the event is ordered by the record's."""


class Versions:
    """Makes the versions of events and counts, in `fallbacks`, those that needed another time.

    An event is ordered by its `timestamp`, else `receivedAt`, else the time of its Kafka record. A
    time more than a minute after the record's is replaced by the record's: never by the current
    time, because a replay has to give the same version. `receivedAt` behind it only decides ties,
    and is taken as it is.
    """

    __slots__ = ("_limit", "_second", "fallbacks")

    def __init__(self) -> None:
        """Start with nothing counted."""
        self.fallbacks: dict[Fallback, int] = dict.fromkeys(Fallback, 0)
        self._second = 0
        self._limit = from_epoch_ms(CLAMP_MS)

    def version(self, timestamp: object, received_at: object, record_ms: int) -> str:
        """Return the version of an event.

        `record_ms` is the time of its Kafka record in epoch milliseconds, negative if it has none.
        """
        second = record_ms // 1000
        if second != self._second:
            self._second = second
            # A little early, by the record's milliseconds: what passes here passes the exact test.
            self._limit = from_epoch_ms(second * 1000 + CLAMP_MS)
        if type(timestamp) is str and type(received_at) is str and len(timestamp) == _WIDTH:
            version = timestamp + received_at
            if version <= self._limit and _is_common_pair(version):
                return version
        return self._careful_version(timestamp, received_at, record_ms)

    def _careful_version(self, timestamp: object, received_at: object, record_ms: int) -> str:
        own = normalise(timestamp)
        received = normalise(received_at)
        fallback = None
        if own is not None:
            time = own
        elif received is not None:
            time = received
            missing = timestamp is None or timestamp == ""
            fallback = Fallback.MISSING_TIMESTAMP if missing else Fallback.BAD_TIMESTAMP
        else:
            time = from_epoch_ms(record_ms) if record_ms >= 0 else NO_TIME
            fallback = Fallback.NO_EVENT_TIME
        if record_ms >= 0 and time > from_epoch_ms(record_ms + CLAMP_MS):
            time = from_epoch_ms(record_ms)
            fallback = Fallback.FUTURE_TIMESTAMP
        if fallback is not None:
            self.fallbacks[fallback] += 1
        return time + (received or NO_TIME)


def from_epoch_ms(milliseconds: int) -> str:
    """Write a time given in epoch milliseconds as the sortable text that versions are made of.

    What lies beyond the calendar (9999) is written as its last moment.
    """
    try:
        moment = _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        moment = datetime.max.replace(tzinfo=UTC)
    return _to_seconds(moment) + f".{moment.microsecond // 1000:03d}Z"


def to_epoch_seconds(time: str) -> float | None:
    """Read back the time that begins a version or stamp, as epoch seconds; None for NO_TIME."""
    text = time[: _WIDTH - 1]
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def split(version: str) -> tuple[str, str]:
    """Return the two times of a version as people write them: ISO 8601, each to its last digit."""
    first = version[: _WIDTH + len("456789")] if version[_WIDTH - 1] == "a" else version[:_WIDTH]
    return _readable(first), _readable(version[len(first) :])


def _readable(time: str) -> str:
    return time if time.endswith("Z") else time.replace("a", "") + "Z"


def normalise(value: object) -> str | None:
    """Bring an ISO 8601 time into the sortable form, None if it cannot be read as one.

    Accepts `Z`, `±hh:mm` or nothing (UTC) and up to nine digits of fraction.
    """
    if type(value) is not str:
        return None
    if _is_common_time(value):
        return value
    found = _parts_of(value)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, sign, hours, minutes = found.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    try:
        zone = timezone(-offset if sign == "-" else offset)
        local = datetime(
            int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=zone
        )
        moment = local.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    digits = (fraction or "").ljust(9, "0")
    below = digits[3:]
    tail = "Z" if below == "000000" else f"a{below}"
    return f"{_to_seconds(moment)}.{digits[:3]}{tail}"


def _to_seconds(moment: datetime) -> str:
    """Write a UTC time down to its second."""
    return moment.replace(tzinfo=None).isoformat(timespec="seconds")
