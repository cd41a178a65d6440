"""How a trigger is written: paths, texts, groups, limits, and what it is printed as."""

import re

import pytest

from ldsync.engage.trigger import (
    MOST_CHARACTERS,
    MOST_NESTING,
    AllOf,
    AnyOf,
    Condition,
    Field,
    Operator,
    TriggerError,
    parse,
)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        pytest.param(r"properties.a\ b = 1", Field("properties", ("a b",)), id="space"),
        pytest.param(r"properties.a\.b = 1", Field("properties", ("a.b",)), id="dot in a key"),
        pytest.param(r"properties.a\\b = 1", Field("properties", ("a\\b",)), id="backslash"),
        pytest.param(r"properties.a\"b = 1", Field("properties", ('a"b',)), id="quote"),
        pytest.param("properties.a\\\nb = 1", Field("properties", ("a\nb",)), id="line feed"),
        pytest.param(r"properties.\é = 1", Field("properties", ("é",)), id="no letter of ASCII"),
        pytest.param(r"properties.\a = 1", Field("properties", ("a",)), id="escaped for nothing"),
        pytest.param(r"\properties.a = 1", Field("properties", ("a",)), id="at the beginning"),
        pytest.param("properties._a-1 = 1", Field("properties", ("_a-1",)), id="not escaped"),
        pytest.param("properties.2fa = 1", Field("properties", ("2fa",)), id="digit first"),
        pytest.param("properties.and = 1", Field("properties", ("and",)), id="a word as a key"),
        pytest.param("properties.a=1", Field("properties", ("a",)), id="without spaces"),
        pytest.param("properties.a\r\n\t= 1", Field("properties", ("a",)), id="other spaces"),
        pytest.param("traits.a[0][1].b = 1", Field("traits", ("a", "0", "1", "b")), id="indices"),
        pytest.param(r"traits.a\[0\].b = 1", Field("traits", ("a", "0", "b")), id="escaped index"),
    ],
)
def test_a_path_has_escapes(text: str, field: Field) -> None:
    """Everything but letters, digits, dash and underscore follows a backslash."""
    assert parse(text).expression == Condition(field, Operator.NUMBER_EQUALS, 1.0)


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        pytest.param('"a"', "a", id="double quotes"),
        pytest.param("'a'", "a", id="single quotes"),
        pytest.param('"it\'s"', "it's", id="single within double"),
        pytest.param("'say \"a\"'", 'say "a"', id="double within single"),
        pytest.param(r'"say \"a\""', 'say "a"', id="escaped double"),
        pytest.param(r"'it\'s'", "it's", id="escaped single"),
        pytest.param(r'"it\'s"', "it's", id="escaped though not needed"),
        pytest.param(r'"C:\\a"', "C:\\a", id="backslash"),
        pytest.param('"a\nb é"', "a\nb é", id="anything else"),
        pytest.param('"or"', "or", id="a word"),
        pytest.param('"("', "(", id="a symbol"),
        pytest.param('""', "", id="empty"),
    ],
)
def test_a_text_has_quotes_and_escapes(literal: str, value: str) -> None:
    """Either kind of quotes; a backslash before a quote and before itself."""
    expected = Condition(Field("event"), Operator.EQUALS, value)
    assert parse(f"event = {literal}").expression == expected


A, B, C, D = (Condition(Field("event"), Operator.EQUALS, letter) for letter in "abcd")


@pytest.mark.parametrize(
    ("text", "expression", "canonical"),
    [
        pytest.param("a", A, "a", id="alone"),
        pytest.param("((a))", A, "a", id="needless parentheses"),
        pytest.param("a and b and c", AllOf((A, B, C)), "a and b and c", id="and"),
        pytest.param("a or b or c", AnyOf((A, B, C)), "a or b or c", id="or"),
        pytest.param("a or b and c", AnyOf((A, AllOf((B, C)))), "a or (b and c)", id="and first"),
        pytest.param("a and b or c", AnyOf((AllOf((A, B)), C)), "(a and b) or c", id="then or"),
        pytest.param("a and (b or c)", AllOf((A, AnyOf((B, C)))), "a and (b or c)", id="group"),
        pytest.param("(a and b) and c", AllOf((A, B, C)), "a and b and c", id="and is flat"),
        pytest.param("a or (b or (c or d))", AnyOf((A, B, C, D)), "a or b or c or d", id="or, too"),
        pytest.param(
            "a and (b or (c and d))",
            AllOf((A, AnyOf((B, AllOf((C, D)))))),
            "a and (b or (c and d))",
            id="deeper",
        ),
    ],
)
def test_and_binds_closer_than_or(
    text: str, expression: AllOf | AnyOf | Condition, canonical: str
) -> None:
    """And the canonical text has the parentheses that Segment, without precedence, needs."""
    spelt, printed = (re.sub(r"\b([a-d])\b", r'event = "\1"', part) for part in (text, canonical))
    trigger = parse(spelt)
    assert trigger.expression == expression
    assert str(trigger) == printed


def test_a_trigger_may_be_long_but_not_without_limit() -> None:
    """The last length that passes, and the first that fails."""
    text = 'event = ""'.ljust(MOST_CHARACTERS)
    assert parse(text) == parse('event = ""')
    with pytest.raises(TriggerError, match="at most 10,000 characters, this one has 10,001") as no:
        parse(text + " ")
    assert no.value.position == MOST_CHARACTERS


def test_parentheses_may_be_deep_but_not_without_limit() -> None:
    """The last depth that passes, and the first that fails, at the parenthesis too many."""
    deepest = "(" * MOST_NESTING + "event exists" + ")" * MOST_NESTING
    assert str(parse(f"{deepest} and {deepest}")) == "event != null and event != null"
    with pytest.raises(TriggerError, match="at most 50 parentheses open at once") as caught:
        parse(f"({deepest})")
    assert caught.value.position == MOST_NESTING


@pytest.mark.parametrize(
    "text", ["(" * 9_000, "!" * 9_000, "event exists and " * 500, "'" + "\\'" * 4_000]
)
def test_no_text_is_too_much(text: str) -> None:
    """However it goes on and on, the answer is an error about the text."""
    with pytest.raises(TriggerError):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('event starts_with "a*b"', id="a star within"),
        pytest.param('event not_starts_with "*"', id="only a star"),
        pytest.param('event starts_with ""', id="any text"),
        pytest.param('event ends_with ""', id="any text, from behind"),
        pytest.param('event not_ends_with "a*"', id="a star at the end"),
        pytest.param('contains(event, "*")', id="contains has no patterns"),
        pytest.param(r'event = "say \"\\\" and so on"', id="escapes"),
        pytest.param('match(event, "it\'s \\"*")', id="escapes in a pattern"),
        pytest.param(r"properties.a\ b.\2fa.\-x.c\.d._e.a1-b_ != null", id="path"),
        pytest.param("properties.a = 0.0000001", id="small number"),
        pytest.param("properties.a >= -100000000000000000000000", id="large number"),
        pytest.param("properties.a != 12.5", id="fraction"),
    ],
)
def test_a_canonical_text_is_printed_as_it_is(text: str) -> None:
    """What has no pattern of its own is printed in words."""
    assert str(parse(text)) == text


def test_triggers_that_say_the_same_are_equal() -> None:
    """They are values: the closures do not count, and are not shown."""
    trigger = parse("event exists")
    assert trigger == parse("(event != null)")
    assert hash(trigger) == hash(parse("event != null"))
    assert trigger != parse("name exists")
    assert "function" not in repr(trigger)
