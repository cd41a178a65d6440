"""What Engage and its neighbours write to a topic: one JSON value per documented shape.

Each function builds one Segment event as a plain `dict`, after the payloads in Segment's public
documentation (Engage audiences, journeys v1 and v2, computed traits) and its spec for ordinary
calls. Randomness (ids, optional fields) comes from the caller's generator, so the same seed gives
the same bytes.
"""

from __future__ import annotations

import datetime as dt
import json
import string
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ldsync.demo.audiences import Audience

if TYPE_CHECKING:
    import random

__all__ = [
    "Event",
    "Moment",
    "Shape",
    "TimeStyle",
    "anonymous",
    "computed_trait",
    "encode",
    "identify",
    "iso",
    "journey_step",
    "journey_string",
    "ordinary",
    "time_fields",
    "track",
]

Event = dict[str, Any]


class Shape(StrEnum):
    """What kind of value a message is; for reports and for tests."""

    IDENTIFY = "identify"
    TRACK = "track"
    JOURNEY_STRING = "journey_string"
    JOURNEY_STEP = "journey_step"
    DUPLICATE = "duplicate"
    CORNER = "corner"
    """A valid change that only a careful reader gets right."""
    ANONYMOUS = "anonymous"
    """Engage's, but without a usable user id: skipped."""
    COMPUTED_TRAIT = "computed_trait"
    ORDINARY = "ordinary"
    """Not a membership event: ignored."""
    TOMBSTONE = "tombstone"
    """No value at all: ignored."""
    NO_FLAG = "no_flag"
    """A journey step that does not say whether the user entered or left: invalid."""
    BROKEN = "broken"
    """Unreadable, or Engage's with a part missing or of the wrong type: invalid."""


_BASE62 = string.digits + string.ascii_letters
_SECOND = 1_000_000_000
_OFFSETS_MINUTES = (60, 120, 330, -300, -570)


@dataclass(frozen=True, slots=True)
class Moment:
    """When something happened and when Segment received it, in nanoseconds since the epoch."""

    time: int
    received: int


class TimeStyle(StrEnum):
    """How an event tells its time: real events and the contract's tolerances."""

    MILLISECONDS = "milliseconds"
    NANOSECONDS = "nanoseconds"
    OFFSET = "offset"
    """Local time with `±hh:mm`."""
    NAIVE = "naive"
    """Without a zone: UTC."""
    SECONDS = "seconds"
    """Without a fraction."""
    RECEIVED_ONLY = "received_only"
    """No `timestamp`: `receivedAt` counts."""
    UNREADABLE = "unreadable"
    """A `timestamp` that is no date: `receivedAt` counts."""
    NONE = "none"
    """Neither: the Kafka record's time counts."""


def iso(nanoseconds: int, digits: int = 3, offset_minutes: int | None = 0) -> str:
    """ISO-8601 with `digits` fractional digits; `Z` for offset 0, no zone for None."""
    local = nanoseconds + (offset_minutes or 0) * 60 * _SECOND
    seconds, fraction = divmod(local, _SECOND)
    text = dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    if digits:
        text += f".{fraction:09d}"[: digits + 1]
    if offset_minutes is None:
        return text
    if offset_minutes == 0:
        return text + "Z"
    hours, minutes = divmod(abs(offset_minutes), 60)
    return f"{text}{'+' if offset_minutes > 0 else '-'}{hours:02d}:{minutes:02d}"


def time_fields(moment: Moment, style: TimeStyle, rng: random.Random) -> Event:
    """The time fields of one event in the given style."""
    received = iso(moment.received)
    match style:
        case TimeStyle.NONE:
            return {"sentAt": None}
        case TimeStyle.RECEIVED_ONLY:
            return {"receivedAt": received, "sentAt": None}
        case TimeStyle.UNREADABLE:
            unreadable = rng.choice(("yesterday", "", "2026-13-45T99:00:00Z", None, 7))
            return {"timestamp": unreadable, "receivedAt": received}
        case TimeStyle.MILLISECONDS:
            timestamp = iso(moment.time)
        case TimeStyle.NANOSECONDS:
            timestamp = iso(moment.time, 9)
        case TimeStyle.SECONDS:
            timestamp = iso(moment.time, 0)
        case TimeStyle.NAIVE:
            timestamp = iso(moment.time, 6, None)
        case TimeStyle.OFFSET:
            timestamp = iso(moment.time, rng.choice((3, 9)), rng.choice(_OFFSETS_MINUTES))
    return {
        "timestamp": timestamp,
        "originalTimestamp": iso(moment.time, 9),
        "receivedAt": received,
        "sentAt": None,
    }


def identify(audience: Audience, user: Any, flag: Any, times: Event, rng: random.Random) -> Event:
    """An audience's identify call: the flag is among the traits."""
    return {
        "type": "identify",
        "messageId": _message_id(rng),
        "userId": user,
        **times,
        "version": 2,
        "context": {
            "integrations": {"personas": False},
            "library": {"name": "unknown", "version": "unknown"},
            "__segment_internal": {"creator": "sync-worker"},
            "personas": audience.personas,
        },
        "integrations": {"All": False, "Kafka": True, "Warehouses": {"all": False}},
        "traits": {"email": "ann@example.com", **_enrichment(rng), audience.key: flag},
    }


def track(audience: Audience, user: Any, flag: Any, times: Event, rng: random.Random) -> Event:
    """An audience's track call: the flag is among the properties; the name may be any."""
    name = rng.choice(("Audience Entered", "Audience Exited", "Membership"))
    return {
        "type": "track",
        "event": name,
        "messageId": _message_id(rng),
        "userId": user,
        "anonymousId": _hex(rng),
        **times,
        "context": {
            "library": {"name": "unknown", "version": "unknown"},
            "personas": audience.personas,
            "traits": {"email": "ann@example.com"},
        },
        "integrations": {"All": False, "Kafka": True},
        "properties": {"audience_key": audience.key, audience.key: flag, **_enrichment(rng)},
    }


def journey_string(
    audience: Audience, user: Any, flag: Any, times: Event, rng: random.Random
) -> Event:
    """A v1 journey: the flag is the string "true" or "false"."""
    text = rng.choice(("true", "True") if flag else ("false", "False"))
    return {**track(audience, user, text, times, rng), "properties": {audience.key: text}}


def journey_step(
    audience: Audience, user: Any, flag: Any, times: Event, rng: random.Random
) -> Event:
    """A step of an event-triggered journey with its membership flag; None leaves the flag out."""
    properties: Event = {} if flag is None else {audience.key: flag}
    properties |= {
        "email": "ann@example.com",
        "journey_context": {"Checkout Started": {"cart_id": "c_1"}},
        "journey_metadata": {"journey_id": "2GKsjADZkD", "epoch_id": _text(rng, 10)},
    }
    event = track(audience, user, flag, times, rng)
    return {**event, "event": "Journey step", "properties": properties}


def anonymous(audience: Audience, flag: Any, times: Event, rng: random.Random) -> Event:
    """A member known by an anonymousId only: one such call per device."""
    event = identify(audience, None, flag, times, rng)
    del event["userId"]
    return {**event, "anonymousId": _hex(rng), "traits": {audience.key: flag}}


def computed_trait(user: str, times: Event, rng: random.Random) -> Event:
    """A computed trait, numeric or boolean: only its class tells it from an audience."""
    trait = Audience("total_revenue_180_days", "tra_2zKk0aBcDeFgHiJkLmNoPqRsTuV", "trait")
    value = rng.choice((450.0, True, False))
    return rng.choice((identify, track))(trait, user, value, times, rng)


def ordinary(kind: str, audience: Audience, user: str, times: Event, rng: random.Random) -> Event:
    """A call that is none of Engage's: its traits may bear an audience's name all the same.

    Args:
        kind: `page`, `screen`, `group`, `alias`, `identify`, `track`; or `account`, the group call
            of an account-level audience, which is Engage's but not about a user.
        audience: the audience whose name is borrowed.
        user: the caller's user id.
        times: from `time_fields`.
        rng: where ids come from.
    """
    event: Event = {
        "type": "group" if kind == "account" else kind,
        "messageId": f"ajs-next-{_hex(rng)}",
        "userId": user,
        **times,
        "context": {"ip": "192.0.2.7", "library": {"name": "analytics.js", "version": "1.70.0"}},
        "integrations": {},
    }
    match kind:
        case "page" | "screen":
            event |= {"name": "Home", "properties": {"title": "Welcome", audience.key: True}}
        case "track":
            event |= {"event": "Order Completed", "properties": {"revenue": 39.95}}
        case "identify":
            event |= {"traits": {"plan": "premium", audience.key: True}}
        case "alias":
            event |= {"previousId": _hex(rng)}
        case _:
            event |= {"groupId": _hex(rng), "traits": {"name": "Initech", audience.key: True}}
    if kind == "account":
        event["context"] = {"personas": audience.personas}
    return event


def encode(event: Any) -> bytes:
    """Compact JSON in UTF-8, integers of any size exactly."""
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def _enrichment(rng: random.Random) -> Event:
    """Now and then, the profile traits that Trait Enrichment puts beside the flag."""
    if rng.randrange(5):
        return {}
    traits: Event = {"loyalty_tier": rng.randrange(9), "city": "Łódź"}
    if not rng.randrange(10):
        traits["score"] = 2**70 + rng.randrange(9)  # larger than 64 bits, and none of our business
    return traits


def _message_id(rng: random.Random) -> str:
    return "personas_" + _text(rng, 27)


def _text(rng: random.Random, length: int) -> str:
    return "".join(rng.choices(_BASE62, k=length))


def _hex(rng: random.Random) -> str:
    return f"{rng.getrandbits(96):024x}"
