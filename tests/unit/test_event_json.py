"""From the bytes of a record to a JSON object: what is read, what is not, and nothing raises."""

import json
from typing import Any

import pytest

from ldsync.engage import events, verdict
from ldsync.engage.decoder import MOST_BYTES, Decoder, Several
from ldsync.engage.mapping import Mapping, MembershipMode
from tests.support.engage_events import (
    LONE_SURROGATE,
    RECORD_MS,
    encode,
    identify,
    name_of,
    read,
)

IN = "+user/u_1"
BAD_JSON = "invalid: bad_json"
TOO_LARGE = "invalid: too_large"
NOT_AN_OBJECT = "invalid: not_an_object"
NO_KEY = "skipped: no_context_key"
HUGE = 2**64 + 1
"""Beyond what orjson keeps exact."""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b"", BAD_JSON, id="empty"),
        pytest.param(b" \r\n\t", BAD_JSON, id="white space"),
        pytest.param(b"hello", BAD_JSON, id="text"),
        pytest.param(b"{'type': 'identify'}", BAD_JSON, id="single quotes"),
        pytest.param(encode(identify())[:-1], BAD_JSON, id="cut short"),
        pytest.param(encode(identify()) + b"x", BAD_JSON, id="trailing garbage"),
        pytest.param(encode(identify()) * 2, BAD_JSON, id="two events"),
        pytest.param(encode(identify()) + b"\0", BAD_JSON, id="trailing NUL"),
        pytest.param(b"\xef\xbb\xbf" + encode(identify()), BAD_JSON, id="byte order mark"),
        pytest.param(b"\0\0\0\0\1" + encode(identify()), BAD_JSON, id="schema registry framing"),
        pytest.param(json.dumps(identify()).encode("utf-16"), BAD_JSON, id="UTF-16"),
        pytest.param(b'{"type": "\xff"}', BAD_JSON, id="not UTF-8"),
        pytest.param(b'{"type": "\xed\xa0\xbd"}', BAD_JSON, id="surrogate in UTF-8"),
        pytest.param(b'{"type": NaN}', BAD_JSON, id="NaN"),
        pytest.param(b'{"type": -Infinity}', BAD_JSON, id="-Infinity"),
        pytest.param(b'{"type": "a\tb"}', BAD_JSON, id="raw control character"),
        pytest.param(b'{"type": 1,}', BAD_JSON, id="trailing comma"),
        pytest.param(b'{"type": 01}', BAD_JSON, id="leading zero"),
        pytest.param(b"[" * 100_000, BAD_JSON, id="unclosed nesting"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, BAD_JSON, id="nesting without end"),
        pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, BAD_JSON, id="deep object"),
        pytest.param(b"null", NOT_AN_OBJECT, id="null"),
        pytest.param(b"true", NOT_AN_OBJECT, id="boolean"),
        pytest.param(b"42", NOT_AN_OBJECT, id="number"),
        pytest.param(b"1e999", NOT_AN_OBJECT, id="number too large for a float"),
        pytest.param(b"9" * 10_000, NOT_AN_OBJECT, id="integer too long for Python"),
        pytest.param(b'"identify"', NOT_AN_OBJECT, id="string"),
        pytest.param(b'"\\ud83d"', NOT_AN_OBJECT, id="lone surrogate"),
        pytest.param(b"[[]]", NOT_AN_OBJECT, id="array in an array"),
        pytest.param(b'["identify"]', NOT_AN_OBJECT, id="string in an array"),
    ],
)
def test_what_is_no_json_object_is_invalid(value: bytes, expected: str) -> None:
    """Whatever is on the topic, reading it ends in one of two reasons."""
    assert read(value) == expected


def test_a_tombstone_is_ignored() -> None:
    """A record without a value is how Kafka deletes, not a broken event."""
    assert Decoder(Mapping()).read(None, 0) is verdict.TOMBSTONE


MEGABYTE = 1_000_000


@pytest.mark.parametrize("mode", MembershipMode)
@pytest.mark.parametrize(
    "event",
    [
        pytest.param(identify(anonymousId="a" * MEGABYTE), id="a long text"),
        pytest.param(identify(sentAt="é\u2003😀" * (MEGABYTE // 20)), id="escapes"),
        pytest.param(identify(integrations={f"trait_{n}": n for n in range(50_000)}), id="many"),
        pytest.param(identify(sentAt=[[[n]] for n in range(100_000)]), id="a long list"),
        pytest.param(identify(sentAt=LONE_SURROGATE * (MEGABYTE // 20)), id="read with care"),
        pytest.param(identify(sentAt=[HUGE] * 40_000), id="digits"),
    ],
)
def test_a_megabyte_is_read(event: Any, mode: MembershipMode) -> None:
    """Brokers take values of that size by default."""
    value = encode(event)

    assert MEGABYTE / 2 < len(value) < MOST_BYTES
    assert read(value, Decoder(Mapping(), membership_mode=mode)) == IN


def test_a_record_may_hold_a_megabyte_of_events() -> None:
    """As the batches of a webhook may: thousands."""
    value = encode([identify(userId=f"u_{number}") for number in range(3_000)])

    found = Decoder(Mapping()).read(value, RECORD_MS)

    assert MEGABYTE < len(value) < MOST_BYTES
    assert isinstance(found, Several)
    assert [change.member for change in found.changes] == [f"user/u_{n}" for n in range(3_000)]


@pytest.mark.parametrize(
    ("value", "most_bytes", "expected"),
    [
        pytest.param(encode(identify()), len(encode(identify())), IN, id="as large as may be"),
        pytest.param(encode(identify()), len(encode(identify())) - 1, TOO_LARGE, id="one more"),
        pytest.param(b"{", 0, TOO_LARGE, id="not even parsed"),
        pytest.param(b"", 0, BAD_JSON, id="nothing"),
        pytest.param(b"\0" * 50 * MEGABYTE, MOST_BYTES, TOO_LARGE, id="50 MB"),
        pytest.param(b"[" * MOST_BYTES, MOST_BYTES, BAD_JSON, id="the largest nesting"),
    ],
)
def test_a_value_that_is_too_large_is_not_parsed(
    value: bytes, most_bytes: int, expected: str
) -> None:
    """It would hold up everything else meanwhile."""
    assert read(value, Decoder(Mapping(), most_bytes=most_bytes)) == expected


def test_white_space_around_an_event_is_harmless() -> None:
    """Producers that end their values with a newline exist."""
    assert read(b" \r\n\t" + encode(identify()) + b"\n") == IN


def test_of_a_repeated_name_the_last_counts() -> None:
    """As in every JSON reader that Segment uses, and the same on the careful way."""
    value = encode(identify())
    twice = value.replace(b'"userId"', b'"userId": "u_0", "userId"')
    careful = twice.replace(b'"email": "', b'"email": "\\ud83d')

    assert twice != value
    assert careful != twice
    assert [read(twice), read(careful)] == [IN, IN]


@pytest.mark.parametrize(
    "literal",
    [b"1e999", b"-1e999", b"9" * 10_000, b'"\\ud83d"', b'{"\\udc00": []}', b"[" * 500 + b"]" * 500],
    ids=name_of,
)
def test_odd_but_valid_json_elsewhere_is_harmless(literal: bytes) -> None:
    """What orjson refuses although it is JSON is read by the standard library."""
    odd = encode(identify()).replace(b"}", b', "odd": ' + literal + b"}", 1)

    assert read(odd) == IN


def test_a_lone_surrogate_elsewhere_does_not_cost_the_digits_of_an_id() -> None:
    """Both kinds of rereading at once."""
    event = identify(userId=HUGE, anonymousId=LONE_SURROGATE)

    assert read(event) == f"+user/{HUGE}"


def test_an_event_too_deep_to_be_read_again_is_no_accident() -> None:
    """Where the standard library gives up, digits that orjson dropped are lost and told so."""
    deep = b"[" * 1020 + b"]" * 1020
    value = encode(identify(userId=HUGE)).replace(b"}", b', "odd": ' + deep + b"}", 1)

    assert isinstance(events.parse(value), dict)
    assert read(value) in {NO_KEY, f"+user/{HUGE}"}, "depends on the version of Python"
