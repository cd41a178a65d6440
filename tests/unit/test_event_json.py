"""From the bytes of a record to a JSON object: what is read, what is not, and nothing raises."""

import json

import pytest

from ldsync.engage import events, verdict
from ldsync.engage.decoder import Decoder
from ldsync.engage.mapping import Mapping
from tests.support.engage_events import LONE_SURROGATE, encode, identify, name_of, read

IN = "+user/u_1"
BAD_JSON = "invalid: bad_json"
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
