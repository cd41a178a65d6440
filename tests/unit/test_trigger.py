"""What a trigger answers: each operator for each kind of value, fields, and groups.

The answers expected here are those of Segment's own package, `@segment/destination-subscriptions`
3.37.0, except where docs/triggers.md lists a difference.
"""

from typing import Any

import pytest

from ldsync.engage.trigger import parse

ABSENT = object()
VALUES: dict[str, Any] = {
    "text": "Foo bar",
    "digits": "5",
    "empty": "",
    "the text true": "true",
    "the text null": "null",
    "number": 5,
    "same as a float": 5.0,
    "fraction": 5.5,
    "negative": -5,
    "zero": 0,
    "true": True,
    "false": False,
    "null": None,
    "missing": ABSENT,
    "list": ["Foo bar"],
    "empty list": [],
    "object": {"Foo bar": "Foo bar"},
}
EVERYTHING = set(VALUES)
NUMBERS = {"number", "same as a float", "fraction", "negative", "zero"}
TEXTS = {"text", "digits", "empty", "the text true", "the text null"}
NOTHING: set[str] = set()

OPERATORS = {
    'properties.x = "Foo bar"': {"text"},
    'properties.x = "foo bar"': NOTHING,
    'properties.x = ""': {"empty"},
    'properties.x = "5"': {"digits"},
    'properties.x = "true"': {"the text true"},
    'properties.x = "null"': {"the text null"},
    'properties.x != "Foo bar"': EVERYTHING - {"text"},
    'properties.x != "5"': EVERYTHING - {"digits"},
    'properties.x != "null"': EVERYTHING - {"the text null"},
    "properties.x = 5": {"number", "same as a float"},
    "properties.x = 5.0": {"number", "same as a float"},
    "properties.x = 5.5": {"fraction"},
    "properties.x = -5": {"negative"},
    "properties.x = +5": {"number", "same as a float"},
    "properties.x = -0": {"zero"},
    "properties.x = 1": NOTHING,
    "properties.x != 5": {"fraction", "negative", "zero"},
    "properties.x != 1": NUMBERS,
    "properties.x < 5": {"negative", "zero"},
    'properties.x < "5"': {"negative", "zero"},
    "properties.x <= 5": {"negative", "zero", "number", "same as a float"},
    "properties.x > 5": {"fraction"},
    "properties.x >= 5": {"number", "same as a float", "fraction"},
    "properties.x > 0": {"number", "same as a float", "fraction"},
    'contains(properties.x, "o b")': {"text"},
    'contains(properties.x, "Foo bar")': {"text"},
    'contains(properties.x, "")': TEXTS,
    "contains(properties.x, 5)": {"digits"},
    "contains(properties.x, 5.50)": NOTHING,
    "contains(properties.x, true)": {"the text true"},
    '!contains(properties.x, "o b")': TEXTS - {"text"},
    '!contains(properties.x, "nobody")': TEXTS,
    'match(properties.x, "Foo*")': {"text"},
    'match(properties.x, "oo*")': NOTHING,
    'match(properties.x, "*")': TEXTS,
    '!match(properties.x, "Foo*")': TEXTS - {"text"},
    'match(properties.x, "*bar")': {"text"},
    'match(properties.x, "*ba")': NOTHING,
    '!match(properties.x, "*bar")': TEXTS - {"text"},
    "properties.x != null": EVERYTHING - {"null", "missing"},
    "properties.x = null": {"null", "missing"},
    "properties.x = true": {"true"},
    "properties.x = false": {"false"},
}


def document(value: Any) -> dict[str, Any]:
    """An event with this value at `properties.x`."""
    return {"type": "track", "properties": {} if value is ABSENT else {"x": value}}


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        pytest.param(text, value, name in matching, id=f"{text} - {name}")
        for text, matching in OPERATORS.items()
        for name, value in VALUES.items()
    ],
)
def test_an_operator_answers_for_every_kind_of_value(text: str, value: Any, expected: bool) -> None:
    """Text operators are about texts, number operators about numbers, negated or not."""
    assert parse(text).matches(document(value)) is expected


@pytest.mark.parametrize(
    ("words", "canonical"),
    [
        ("properties.x contains 'o b'", 'contains(properties.x, "o b")'),
        ('properties.x not_contains "o b"', '!contains(properties.x, "o b")'),
        ('properties.x starts_with "Foo"', 'match(properties.x, "Foo*")'),
        ('properties.x not_starts_with "Foo"', '!match(properties.x, "Foo*")'),
        ('properties.x ends_with "bar"', 'match(properties.x, "*bar")'),
        ('properties.x not_ends_with "bar"', '!match(properties.x, "*bar")'),
        ("properties.x exists", "properties.x != null"),
        ("properties.x not_exists", "properties.x = null"),
        ("properties.x is_true", "properties.x = true"),
        ("properties.x is_false", "properties.x = false"),
        ("properties.x starts_with 5", 'match(properties.x, "5*")'),
    ],
)
def test_operators_can_be_written_as_words(words: str, canonical: str) -> None:
    """They are the names that Segment's tree has for them."""
    assert parse(words) == parse(canonical)
    assert str(parse(words)) == canonical


BEYOND_DOUBLES = int("1" + "0" * 400)


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        pytest.param("properties.x = 9007199254740992", 2**53 + 1, True, id="as a double"),
        pytest.param("properties.x = 9007199254740992", 2**53 + 2, False, id="the next double"),
        pytest.param("properties.x > 5", BEYOND_DOUBLES, True, id="beyond all doubles"),
        pytest.param("properties.x < 5", -BEYOND_DOUBLES, True, id="below all doubles"),
        pytest.param("properties.x < 5", BEYOND_DOUBLES, False, id="not below"),
        pytest.param("properties.x > 5", -BEYOND_DOUBLES, False, id="not above"),
    ],
)
def test_numbers_are_doubles(text: str, value: int, expected: bool) -> None:
    """As they are for Segment, whose code is JavaScript."""
    assert parse(text).matches(document(value)) is expected


@pytest.mark.parametrize(
    ("text", "event", "expected"),
    [
        pytest.param('type = "track"', {"type": "track"}, True, id="type"),
        pytest.param('type = "track"', {"type": "Track"}, False, id="case counts"),
        pytest.param('type = "track"', {"type": ["track"]}, False, id="a list is no type"),
        pytest.param('type = "track"', {}, False, id="no type"),
        pytest.param('event = "A"', {"event": "A"}, True, id="event"),
        pytest.param('name = "A"', {"name": "A"}, True, id="name"),
        pytest.param('userId = "A"', {"userId": "A"}, True, id="userId"),
        pytest.param("userId = 5", {"userId": "5"}, True, id="on a text field 5 is a text"),
        pytest.param("userId = 5", {"userId": 5}, False, id="and not a number"),
        pytest.param("userId != 5", {"userId": 5}, True, id="nor is it when negated"),
        pytest.param("userId != 5", {"userId": "5"}, False, id="a negated text"),
        pytest.param("userId = 0.50", {"userId": "0.5"}, True, id="in its shortest form"),
        pytest.param("userId = 1000", {"userId": "1000"}, True, id="without an exponent"),
        pytest.param("userId = -0", {"userId": "0"}, True, id="minus zero"),
        pytest.param("userId < 5", {"userId": 4}, True, id="ordered are numbers"),
        pytest.param("userId < 5", {"userId": "4"}, False, id="and never texts"),
        pytest.param("userId = true", {"userId": True}, True, id="true on userId"),
        pytest.param("userId = true", {"userId": "true"}, False, id="is no text"),
        pytest.param("event = true", {"event": "true"}, True, id="on event it is a text"),
        pytest.param("event = true", {"event": True}, False, id="and not a boolean"),
        pytest.param("name != false", {"name": "false"}, False, id="false on name, negated"),
        pytest.param("type = false", {"type": "false"}, True, id="false on type"),
        pytest.param("event != null", {}, False, id="event does not exist"),
        pytest.param("type = null", {"type": None}, True, id="type is null"),
        pytest.param('traits.a = "x"', {"traits": {"a": "x"}}, True, id="traits"),
        pytest.param('traits.a = "x"', {"properties": {"a": "x"}}, False, id="not properties"),
        pytest.param('context.a.b = "x"', {"context": {"a": {"b": "x"}}}, True, id="deep"),
        pytest.param('context.a.b = "x"', {"context": {"a": {}}}, False, id="not so deep"),
        pytest.param("context.a = null", {}, True, id="no context at all"),
        pytest.param("context.a = null", {"context": 5}, True, id="a number has no parts"),
        pytest.param("context.a = null", {"context": True}, True, id="nor has true"),
        pytest.param('traits.a.b = ""', {"traits": {"a": ""}}, True, id="empty text ends"),
        pytest.param("traits.a.b = 0", {"traits": {"a": 0}}, True, id="zero ends the walk"),
        pytest.param("traits.a.b = false", {"traits": {"a": False}}, True, id="false ends"),
        pytest.param("traits.a.b = null", {"traits": {"a": None}}, True, id="null ends"),
        pytest.param('traits.a[0] = "x"', {"traits": {"a": ["x"]}}, True, id="element"),
        pytest.param('traits.a.0 = "x"', {"traits": {"a": ["x"]}}, True, id="element by a dot"),
        pytest.param('traits.a\\[0\\] = "x"', {"traits": {"a": ["x"]}}, True, id="escaped"),
        pytest.param('traits.a[0] = "x"', {"traits": {"a": {"0": "x"}}}, True, id="key 0"),
        pytest.param("traits.a[1] = null", {"traits": {"a": ["x"]}}, True, id="past the end"),
        pytest.param("traits.a[00] = null", {"traits": {"a": ["x"]}}, True, id="00 is a key"),
        pytest.param("traits.a[01] = null", {"traits": {"a": [1, 2]}}, True, id="01 is a key"),
        pytest.param("traits.a[1] = 2", {"traits": {"a": [1, 2]}}, True, id="second element"),
        pytest.param("traits.a.-1 = null", {"traits": {"a": [1]}}, True, id="no end to count from"),
        pytest.param(
            f"traits.a[{'1' * 5000}] = null", {"traits": {"a": [1]}}, True, id="absurd index"
        ),
        pytest.param("traits.a[000000001] = 2", {"traits": {"a": [1, 2]}}, False, id="zeros"),
        pytest.param(
            "traits.a.\\² = null", {"traits": {"a": [1, 2, 3]}}, True, id="superscript is no index"
        ),
        pytest.param(
            "traits.a.\\٢ = null", {"traits": {"a": [1, 2, 3]}}, True, id="nor another digit"
        ),
        pytest.param("traits.a.length > 1", {"traits": {"a": [1, 2]}}, True, id="list length"),
        pytest.param("traits.a.length = 0", {"traits": {"a": []}}, True, id="empty list length"),
        pytest.param("traits.a.length = 3", {"traits": {"a": "é😀"}}, True, id="text length"),
        pytest.param('traits.a.0 = "é"', {"traits": {"a": "é😀"}}, True, id="letter of a text"),
        pytest.param("traits.a.2 != null", {"traits": {"a": "é😀"}}, True, id="half an emoji"),
        pytest.param("traits.a.3 = null", {"traits": {"a": "é😀"}}, True, id="end of a text"),
        pytest.param("traits.a.b = null", {"traits": {"a": "x"}}, True, id="texts have no keys"),
        pytest.param(
            "traits.a.length = 1", {"traits": {"a": {"length": 1}}}, True, id="a key named length"
        ),
    ],
)
def test_a_field_is_found_as_segment_finds_it(
    text: str, event: dict[str, Any], expected: bool
) -> None:
    """From the top of the event down the path, whatever stands there."""
    assert parse(text).matches(event) is expected


@pytest.mark.parametrize(
    ("text", "matching"),
    [
        pytest.param('event = "a" and name = "b"', {"ab"}, id="and"),
        pytest.param('event = "a" or name = "b"', {"ab", "a", "b"}, id="or"),
        pytest.param('event = "a" or event = "c"', {"ab", "a", "c"}, id="one field"),
        pytest.param('event = "a" or name != "b"', {"ab", "a", "c", ""}, id="mixed operators"),
        pytest.param('name = "b" or (event = "c" and name = null)', {"ab", "b", "c"}, id="nested"),
        pytest.param(
            'name = "b" or event = "a" or name = "x" or event = "c"',
            {"ab", "a", "b", "c"},
            id="either of two",
        ),
    ],
)
def test_conditions_are_joined(text: str, matching: set[str]) -> None:
    """Each of five events against groups of conditions."""
    events: dict[str, dict[str, Any]] = {
        "ab": {"event": "a", "name": "b"},
        "a": {"event": "a"},
        "b": {"name": "b"},
        "c": {"event": "c"},
        "": {},
    }
    trigger = parse(text)
    assert {name for name, event in events.items() if trigger.matches(event)} == matching


@pytest.mark.parametrize(
    ("text", "types", "decided"),
    [
        pytest.param('type = "a"', {"a"}, True, id="one"),
        pytest.param('type = "identify" or type = "track"', {"identify", "track"}, True, id="two"),
        pytest.param('type = "a" and type = "b"', set(), True, id="none"),
        pytest.param('(type = "a" or type = "b") and type = "a"', {"a"}, True, id="grouped"),
        pytest.param('type = "a" and event = "b"', {"a"}, False, id="and something"),
        pytest.param('event = "b" and event != "c"', None, False, id="not about the type"),
        pytest.param('type = "a" or event = "b"', None, False, id="or something"),
        pytest.param('type = "a" or (type = "b" and event = "c")', {"a", "b"}, False, id="branch"),
        pytest.param('type != "a"', None, False, id="all but one"),
        pytest.param('contains(type, "a")', None, False, id="another operator"),
        pytest.param("type = 5", {"5"}, True, id="a number as text"),
    ],
)
def test_the_types_that_can_match_are_known(
    text: str, types: set[str] | None, decided: bool
) -> None:
    """So that a decoder need not look further into events of other types."""
    trigger = parse(text)
    assert trigger.types == types
    assert trigger.decided_by_type is decided


def test_the_preset_is_one_look_up() -> None:
    """The condition on the types of events asks for the type once."""

    class Counting(dict[str, Any]):
        asked = 0

        def get(self, key: str, default: Any = None) -> Any:
            self.asked += 1
            return super().get(key, default)

    event = Counting(type="page")
    trigger = parse('type = "identify" or type = "track" or type = "group"')
    assert not trigger.matches(event)
    assert event.asked == 1
