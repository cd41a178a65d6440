"""A second reading of Engage events, to compare the decoder with: slow and plain.

It shares no code with `ldsync.engage`. Times are exact fractions of seconds, segment names follow
JavaScript's strings of UTF-16 units, and JSON is read by the standard library only.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Any

EPOCH = date(1970, 1, 1).toordinal()
FIRST, AFTER_LAST = ((date.toordinal(day) - EPOCH) * 86400 for day in (date.min, date.max))
AFTER_LAST += 86400


@dataclass(frozen=True)
class Reading:
    """What an event says, if it leads to a change; times in seconds since the epoch."""

    audience_id: str
    audience_key: str
    name: str
    user: str
    entered: bool
    time: Fraction | None
    received: Fraction | None
    fallback: str | None


def read_parts(value: bytes | None, record_ms: int) -> list[Reading | str]:
    """What each event of a record says; one that is no array or batch is one event."""
    if value is None:
        return ["tombstone"]
    try:
        content = json.loads(value.decode("utf-8", "strict"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return ["bad_json"]
    items = list(events_in(content))
    return [read_event(item, record_ms) for item in items] or ["empty_batch"]


def events_in(content: Any) -> Iterator[Any]:
    """The events of an array, of a batch, or of the batches in an array."""
    for item in content if isinstance(content, list) else [content]:
        untyped = isinstance(item, dict) and item.get("type") is None
        if untyped and isinstance(item.get("batch"), list):
            yield from (_completed(event, item.get("context")) for event in item["batch"])
        else:
            yield item


def _completed(event: Any, context: Any) -> Any:
    if not isinstance(event, dict) or not isinstance(context, dict):
        return event
    own = {} if event.get("context") is None else event["context"]
    return {**event, "context": {**context, **own}} if isinstance(own, dict) else event


def read_event(event: Any, record_ms: int) -> Reading | str:
    """The reading of an event, or the reason why it changes nothing."""
    if not isinstance(event, dict):
        return "not_an_object"
    reason = _not_an_audience_event(event)
    if reason:
        return reason
    personas = event["context"]["personas"]
    audience_id = _identifier(personas.get("computation_id"))
    if audience_id is None:
        return "bad_audience_id"
    audience_key = _identifier(personas.get("computation_key"))
    if audience_key is None:
        return "bad_audience_key"
    flag = _flag(event, audience_key)
    if not isinstance(flag, bool):
        return flag
    user = _identifier(event.get("userId"))
    if user is None or user.strip() == "":
        return "no_context_key"
    time, fallback = _time(event, record_ms)
    received = instant(event.get("receivedAt"))
    name = segment_name(audience_key)
    return Reading(audience_id, audience_key, name, user, flag, time, received, fallback)


def _no_constant(constant: str) -> None:
    raise ValueError(constant)


def _not_an_audience_event(event: dict[str, Any]) -> str | None:
    if not isinstance(event.get("type"), str) or event["type"] not in {"identify", "track"}:
        return "type_not_audience"
    context = event.get("context")
    if not isinstance(context, dict) or not isinstance(context.get("personas"), dict):
        return "not_engage"
    computation = context["personas"].get("computation_class")
    if not isinstance(computation, str) or computation not in {"audience", "journey_step"}:
        return "class_not_audience"
    return None


def _identifier(value: Any) -> str | None:
    """Text that is not empty and can be sent, or an integer as its digits."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    text = str(value)
    broken = any(0xD800 <= ord(character) <= 0xDFFF for character in text)
    return None if text == "" or broken else text


def _flag(event: dict[str, Any], key: str) -> bool | str:
    for flag in _flags(event, key):
        if isinstance(flag, bool):
            return flag
        if isinstance(flag, str) and re.fullmatch("true|false", flag, re.IGNORECASE | re.ASCII):
            return len(flag) == len("true")
        return "membership_not_boolean"
    return "membership_missing"


def _flags(event: dict[str, Any], key: str) -> Iterator[Any]:
    """The flags there are, the one in the object of the event's type first; null is none."""
    for place in sorted(("traits", "properties"), reverse=event["type"] == "identify"):
        flags = event.get(place)
        if isinstance(flags, dict) and flags.get(key) is not None:
            yield flags[key]


def segment_name(key: str) -> str:
    """JavaScript's `key[0].toUpperCase() + key.slice(1)`, then every `_` a space."""
    first, rest = key[0], key[1:]
    one_unit = len(first.encode("utf-16-le")) == 2  # the other half of a pair has no upper case
    return re.sub("_", " ", (first.upper() if one_unit else first) + rest)


def _time(event: dict[str, Any], record_ms: int) -> tuple[Fraction | None, str | None]:
    """What orders an event, and why it is not its own `timestamp`, if so."""
    record = Fraction(record_ms, 1000) if record_ms >= 0 else None
    written = event.get("timestamp")
    time, fallback = instant(written), None
    if time is None:
        time = instant(event.get("receivedAt"))
        fallback = "missing_timestamp" if written is None or written == "" else "bad_timestamp"
    if time is None:
        time, fallback = record, "no_event_time"
    if time is not None and record is not None and time > record + 60:
        time, fallback = record, "future_timestamp"
    return time, fallback


def instant(written: Any) -> Fraction | None:
    """An ISO 8601 time in seconds since the epoch, exactly; None if it is not one."""
    form = r"(....)-(..)-(..)[Tt ](..):(..):(..)(\.\d{1,9})?([Zz]|[+-]\d\d:?\d\d)?"
    if not isinstance(written, str) or not written.isascii():
        return None
    found = re.fullmatch(form, written)
    if not found or not all(part.isdigit() for part in found.groups()[:6]):
        return None
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    zone = (found[8] or "Z").upper().replace(":", "")
    ahead = 0
    if zone != "Z":
        hours, minutes = int(zone[1:3]), int(zone[3:])
        if hours > 23 or minutes > 59:
            return None
        ahead = (hours * 60 + minutes) * (60 if zone[0] == "+" else -60)
    try:
        days = date(year, month, day).toordinal() - EPOCH
    except ValueError:
        return None
    if hour > 23 or minute > 59 or second > 59:
        return None
    whole = days * 86400 + hour * 3600 + minute * 60 + second - ahead
    if not FIRST <= whole < AFTER_LAST:
        return None
    return whole + Fraction("0" + found[7] if found[7] else 0)


def instant_of_version(text: str) -> Fraction | None:
    """One of the two times of a version, as docs/events.md describes them; None if there was none.

    Raises:
        ValueError: It has another form.
    """
    if text == "0000-00-00T00:00:00.000Z":
        return None
    found = re.fullmatch(r"(.{19}\.\d{3})(?:Z|a(\d{6}))", text)
    read = instant(f"{found[1]}{found[2] or ''}Z") if found else None
    if read is None:
        raise ValueError(text)
    return read


def times_of_version(version: str) -> tuple[Fraction | None, Fraction | None]:
    """The two times of a version.

    Raises:
        ValueError: It has another form.
    """
    width = 24 if version[23] == "Z" else 30
    return instant_of_version(version[:width]), instant_of_version(version[width:])
