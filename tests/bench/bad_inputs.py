"""Bad inputs by the million, each with what must become of it, known from how it was made.

The same seed gives the same inputs. The mapping of the run takes the context kind from
`context.kind`, so that it can be wrong, too.
"""

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

MAPPING = '[[mappings]]\ncontext_kind = { path = "context.kind" }\n'
"""What the expectations hold for."""

LARGEST = 2_600_000
READ = 2_097_152
"""Values above this, the default of `kafka.max_record_bytes`, are not read at all."""
POINTED = 1_000_000
"""Values above this, the default of `dead_letters.max_letter_bytes`, become pointers."""

DELIVERED = "change"
MIXED = "change and not_an_object"
START = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)
WORDS = ["null", "true", "5", "-0.25", "1e400", '"text"', '"\\ud83d"', "12345678901234567890123"]


class Input(NamedTuple):
    """A record to write, and what must become of it: a reason of docs/events.md, or a change."""

    expected: str
    key: bytes | None
    value: bytes | None


def bad_inputs(count: int, seed: int) -> Iterator[Input]:
    """So many inputs, nine in ten of them invalid."""
    rng = random.Random(seed)
    makers, weights = zip(*_MAKERS, strict=True)
    for number, make in enumerate(rng.choices(makers, weights, k=count)):
        expected, value = make(rng, number)
        yield Input(expected, None if value is not None and number % 3 else _key(rng), value)


def _key(rng: random.Random) -> bytes:
    return rng.randbytes(8) if rng.random() < 0.1 else b"user_%d" % rng.randrange(10_000)


def _event(rng: random.Random, number: int) -> dict[str, Any]:
    """An event that changes something."""
    audience = f"frequent_buyers_{rng.randrange(20):02d}"
    moment = (START + timedelta(milliseconds=number)).isoformat(timespec="milliseconds")
    return {
        "type": "identify",
        "userId": f"user_{rng.randrange(50_000)}",
        "timestamp": moment,
        "receivedAt": moment,
        "context": {
            "kind": "user",
            "personas": {
                "computation_class": "audience",
                "computation_id": f"aud_{audience}",
                "computation_key": audience,
            },
        },
        "traits": {"email": "somebody@example.com", audience: rng.random() < 0.5},
    }


def _json(event: object) -> bytes:
    return json.dumps(event).encode()


Made = tuple[str, bytes | None]


def _garbage(rng: random.Random, _number: int) -> Made:
    return "bad_json", b"\xfe" + rng.randbytes(rng.randrange(300))


def _prose(rng: random.Random, _number: int) -> Made:
    return "bad_json", b"<event user='%d'/>" % rng.randrange(10_000)


def _empty(_rng: random.Random, _number: int) -> Made:
    return "bad_json", b""


def _truncated(rng: random.Random, number: int) -> Made:
    value = _json(_event(rng, number))
    return "bad_json", value[: rng.randrange(1, len(value))]


def _followed(rng: random.Random, number: int) -> Made:
    return "bad_json", _json(_event(rng, number)) + rng.choice([b"}", b" x", b"\x00", b"{}"])


def _bad_utf8(rng: random.Random, number: int) -> Made:
    broken = rng.choice([b"\xff", b"\xc3(", b"\xed\xa0\x80", b"\xf0\x9f"])
    return "bad_json", _json(_event(rng, number)).replace(b"somebody", broken)


def _not_a_number(rng: random.Random, number: int) -> Made:
    event = _event(rng, number)
    event["traits"]["score"] = rng.choice([float("nan"), float("inf"), float("-inf")])
    return "bad_json", _json(event)


def _deep(rng: random.Random, _number: int) -> Made:
    depth = rng.randrange(60_000, 120_000)
    return "bad_json", b"[" * depth + b"]" * (depth * rng.randrange(2))


def _large(rng: random.Random, _number: int) -> Made:
    return "bad_json", b"{" + rng.randbytes(rng.randrange(100_000, 900_000))


def _to_point_to(rng: random.Random, _number: int) -> Made:
    return "bad_json", b"{" + rng.randbytes(rng.randrange(POINTED, READ - 1))


def _too_large(rng: random.Random, number: int) -> Made:
    event = _event(rng, number)
    event["traits"]["padding"] = "x" * rng.randrange(READ, LARGEST - 2000)
    return "too_large", _json(event)


def _scalar(rng: random.Random, _number: int) -> Made:
    return "not_an_object", rng.choice(WORDS).encode()


def _scalars(rng: random.Random, _number: int) -> Made:
    return "not_an_object", b"[%s]" % ", ".join(rng.choices(WORDS, k=4)).encode()


def _nested_arrays(rng: random.Random, _number: int) -> Made:
    depth = rng.randrange(2, 200)
    return "not_an_object", b"[" * depth + b"]" * depth


def _about(name: str, reason: str) -> Callable[[random.Random, int], Made]:
    def make(rng: random.Random, number: int) -> Made:
        event = _event(rng, number)
        personas = event["context"]["personas"]
        wrong: object = rng.choice([None, "", [], {}, True, 1.5, ["a"], {"a": 1}])
        if wrong is None:
            del personas[name]
        else:
            personas[name] = wrong
        return reason, _json(event)

    return make


def _without_flag(rng: random.Random, number: int) -> Made:
    event = _event(rng, number)
    del event["traits"][event["context"]["personas"]["computation_key"]]
    return "membership_missing", _json(event)


def _odd_flag(rng: random.Random, number: int) -> Made:
    event = _event(rng, number)
    key = event["context"]["personas"]["computation_key"]
    event["traits"][key] = rng.choice([0, 1, 0.0, "yes", "no", "", [], {}, [True]])
    return "membership_not_boolean", _json(event)


def _odd_kind(rng: random.Random, number: int) -> Made:
    event = _event(rng, number)
    event["context"]["kind"] = rng.choice(["", "bad kind", "a/b", "kind", 5, [], {}])
    return "bad_context_kind", _json(event)


def _mixed(rng: random.Random, number: int) -> Made:
    # A member of its own: a change that comes too late would not count, and the record be invalid.
    parts = [_json(_event(rng, number) | {"userId": f"mixed_{number}"}), rng.choice(WORDS).encode()]
    rng.shuffle(parts)
    return MIXED, b"[%s]" % b", ".join(parts)


def _change(rng: random.Random, number: int) -> Made:
    return DELIVERED, _json(_event(rng, number))


def _nobody(rng: random.Random, number: int) -> Made:
    event = _event(rng, number)
    del event["userId"]
    return "no_context_key", _json(event)


def _page(rng: random.Random, number: int) -> Made:
    return "type_not_audience", _json({**_event(rng, number), "type": "page"})


def _ordinary(rng: random.Random, number: int) -> Made:
    return "not_engage", _json({**_event(rng, number), "context": {"kind": "user"}})


def _tombstone(_rng: random.Random, _number: int) -> Made:
    return "tombstone", None


_MAKERS: list[tuple[Callable[[random.Random, int], Made], float]] = [
    (_garbage, 15),
    (_prose, 5),
    (_empty, 2),
    (_truncated, 10),
    (_followed, 4),
    (_bad_utf8, 6),
    (_not_a_number, 3),
    (_deep, 0.05),
    (_large, 0.05),
    (_to_point_to, 0.01),
    (_too_large, 0.005),
    (_scalar, 7),
    (_scalars, 3),
    (_nested_arrays, 2),
    (_about("computation_id", "bad_audience_id"), 6),
    (_about("computation_key", "bad_audience_key"), 6),
    (_without_flag, 6),
    (_odd_flag, 6),
    (_odd_kind, 5),
    (_mixed, 3),
    (_change, 6),
    (_nobody, 1),
    (_page, 2),
    (_ordinary, 1),
    (_tombstone, 1),
]
