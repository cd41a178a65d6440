"""Engage events to read in tests, and what reading them says in one line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ldsync.engage.decoder import Decoder, Found, Several
from ldsync.engage.mapping import Mapping
from ldsync.sync.change import Change, includes

DATA = Path(__file__).parents[1] / "data" / "engage"

ABSENT: Any = object()
"""In place of a value: the field is left out."""

AUDIENCE_ID = "aud_2zJkeVoLkrirhXup2uAPEsDLq4N"
AUDIENCE_KEY = "first_time_shopper"
TIMESTAMP = "2026-03-04T10:15:30.123Z"
RECEIVED_AT = "2026-03-04T10:15:41.877Z"
LONE_SURROGATE = "half an emoji \ud83d"
"""Valid in JSON, written as an escape, and in no encoding."""
RECORD_MS = 1772619345000
"""The time of the records that tests read: 2026-03-04T10:15:45Z."""


def name_of(value: object) -> str:
    """What to call a value in the name of a test."""
    return "absent" if value is ABSENT else repr(value)[:30]


def cases(name: str) -> Iterator[dict[str, Any]]:
    """The lines of a file in tests/data/engage."""
    return map(json.loads, (DATA / name).read_text(encoding="utf-8").splitlines())


def identify(flag: Any = True, **fields: Any) -> dict[str, Any]:
    """An identify call about `u_1` and the usual audience, with top-level fields replaced."""
    return _event("identify", {"traits": _flags(flag)} | fields)


def track(flag: Any = True, **fields: Any) -> dict[str, Any]:
    """A track call about `u_1` and the usual audience, with top-level fields replaced."""
    return _event("track", {"event": "Audience Entered", "properties": _flags(flag)} | fields)


def about(**names: Any) -> dict[str, Any]:
    """An identify call with fields of `context.personas` replaced."""
    event = identify()
    event["context"]["personas"] = present(event["context"]["personas"] | names)
    return event


def encode(event: Any) -> bytes:
    """The value of a record: `event` as JSON."""
    return json.dumps(event).encode()


def read(event: Any, decoder: Decoder | None = None, record_ms: int = RECORD_MS) -> str:
    """What reading an event (bytes are taken as they are) says, in one line; see `gist`."""
    value = event if isinstance(event, bytes) else encode(event)
    return gist((decoder or Decoder(Mapping())).read(value, record_ms))


def change(event: Any, decoder: Decoder | None = None, record_ms: int = RECORD_MS) -> Change:
    """The change that an event leads to."""
    value = event if isinstance(event, bytes) else encode(event)
    found = (decoder or Decoder(Mapping())).read(value, record_ms)
    assert isinstance(found, Change), found
    return found


def gist(found: Found) -> str:
    """`+user/u_1` or `-user/u_1` for a change, `invalid: bad_json` and so on for a verdict.

    For several changes all of them, and the worst verdict if there is one.
    """
    if isinstance(found, Several):
        parts = [gist(change) for change in found.changes]
        return ", ".join(parts + ([] if found.worst is None else [gist(found.worst)]))
    if isinstance(found, Change):
        return ("+" if includes(found.stamp) else "-") + found.member
    return f"{found.outcome}: {found.reason}"


def facts(found: Found) -> Any:
    """What reading a record says, in values that compare between decoders."""
    if isinstance(found, Several):
        return [*map(facts, found.changes), found.worst]
    if not isinstance(found, Change):
        return found
    target = found.target
    names = (target.segment.key, target.segment.name, target.audience_key)
    return (*names, target.batch_events, target.context_kind, found.member, found.stamp)


def _event(kind: str, fields: dict[str, Any]) -> dict[str, Any]:
    event: dict[str, Any] = {
        "type": kind,
        "messageId": "personas_3A7kQm1ZtVw2nXbR8yLdUe0HsJ4",
        "userId": "u_1",
        "timestamp": TIMESTAMP,
        "receivedAt": RECEIVED_AT,
        "context": {
            "personas": {
                "computation_class": "audience",
                "computation_id": AUDIENCE_ID,
                "computation_key": AUDIENCE_KEY,
            }
        },
    }
    return present(event | fields)


def _flags(flag: Any) -> dict[str, Any]:
    return present({"email": "ann@example.com", AUDIENCE_KEY: flag})


def present(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that are not ABSENT."""
    return {name: value for name, value in fields.items() if value is not ABSENT}
