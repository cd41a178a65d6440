"""Triggers in general: printing and parsing, any text at all, and the closure against the tree."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ldsync.engage.trigger import (
    AllOf,
    AnyOf,
    Condition,
    Expression,
    Field,
    Operator,
    Trigger,
    TriggerError,
    parse,
)
from tests.support.trigger_trees import expressions

TOP = ("type", "event", "name", "userId")
CONTAINERS = ("properties", "traits", "context")
ALONE = (Operator.EXISTS, Operator.NOT_EXISTS)
TRUTHS = (Operator.IS_TRUE, Operator.IS_FALSE)
ORDERS = (Operator.LESS, Operator.LESS_OR_EQUAL, Operator.GREATER, Operator.GREATER_OR_EQUAL)
NUMBERS = (*ORDERS, Operator.NUMBER_EQUALS, Operator.NUMBER_NOT_EQUALS)
TEXTS = tuple(op for op in Operator if op not in {*ALONE, *TRUTHS, *NUMBERS})

# Few keys and few values, so that conditions and events often meet.
KEYS = st.sampled_from(["a", "b", "0", "1", "length"])
WORDS = st.sampled_from(["", "a", "ab", "b", "5", "*", "track", "identify", "true"])
AMOUNTS = st.sampled_from([0.0, 1.0, 2.0, -1.0, 2.5])
STRANGE_KEYS = st.text(st.characters(exclude_characters="[]"), min_size=1, max_size=5)
STRANGE_WORDS = st.text(max_size=8)
STRANGE_AMOUNTS = st.floats(allow_nan=False, allow_infinity=False).map(lambda number: number + 0.0)


def conditions(
    keys: st.SearchStrategy[str], words: st.SearchStrategy[str], amounts: st.SearchStrategy[float]
) -> st.SearchStrategy[Condition]:
    """All conditions that a text can say."""
    paths = st.lists(keys, min_size=1, max_size=3).map(tuple)
    deep = st.builds(Field, st.sampled_from(CONTAINERS), paths)
    top = st.builds(Field, st.sampled_from(TOP))
    fields = deep | top
    return st.one_of(
        st.builds(Condition, fields, st.sampled_from(TEXTS), words),
        st.builds(Condition, fields, st.sampled_from(ORDERS), amounts),
        st.builds(Condition, deep, st.sampled_from(NUMBERS), amounts),
        st.builds(Condition, fields, st.sampled_from(ALONE)),
        st.builds(Condition, deep | st.just(Field("userId")), st.sampled_from(TRUTHS)),
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | AMOUNTS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)
EVENTS = st.fixed_dictionaries({}, optional=dict.fromkeys((*TOP, *CONTAINERS), JSON))


@given(expressions(conditions(STRANGE_KEYS, STRANGE_WORDS, STRANGE_AMOUNTS)))
def test_what_is_printed_parses_to_the_same_trigger(expression: Expression) -> None:
    """For every tree there is, with any keys, texts and numbers in it."""
    text = str(Trigger(expression))
    again = parse(text)
    assert again == Trigger(expression)
    assert str(again) == text


def outcome(text: str) -> Trigger | TriggerError:
    """What becomes of a text."""
    try:
        return parse(text)
    except TriggerError as error:
        return error


def check_any(text: str) -> None:
    """It must be a trigger, or an error at a place within the text."""
    found = outcome(text)
    if isinstance(found, TriggerError):
        assert 0 <= found.position <= len(text)
        assert found.message.isprintable()
        assert f": {found.message}\n" in str(found)
    else:
        assert outcome(str(found)) == found
        assert found.matches({}) is (found.why_not({}) == ())


@given(st.text())
def test_any_text_parses_or_is_refused_at_a_place(text: str) -> None:
    """Whatever characters it is made of."""
    check_any(text)


PIECES = st.sampled_from(
    [
        *("type", "event", "userId", "properties.a", "traits.a[0]", "context.a\\ b", "properties"),
        *("=", "!=", "<", "<=", ">", ">=", "!", "(", ")", ",", ".", "[", "\\", "*", "=="),
        *("and", "or", "not", "null", "true", "false", "contains", "match", "exists", "ends_with"),
        *('"a"', "'a*'", '"', "'", '"\\"', '"*a"', "5", "-1.5", "1e5", "-", " ", "\n", "\t", "é"),
        *('event = "a"', 'contains(event, "a")', "properties.a > 5", "userId exists"),
    ]
)


@given(st.lists(PIECES, max_size=12), st.sampled_from(["", " "]))
def test_any_pieces_of_triggers_parse_or_are_refused_at_a_place(
    pieces: list[str], between: str
) -> None:
    """In any order, with or without spaces between them."""
    check_any(between.join(pieces))


def walked(event: dict[str, Any], field: Field) -> Any:
    """The value of a field, found step by step; None for missing."""
    value: Any = event.get(field.root)
    for step in field.path:
        if value is None or value is False or value == "" or value in (0, 0.0):
            return value
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list | str) and step == "length":
            value = len(value)
        elif isinstance(value, list | str) and step in {"0", "1"}:
            value = value[int(step)] if int(step) < len(value) else None
        else:
            value = None
    return value


def holds(condition: Condition, value: Any) -> bool:
    """Say whether a condition is true of a value, straight from the table of operators."""
    operator, expected = condition.operator, condition.value
    name = operator.value.removeprefix("not_")
    if name == "exists":
        return (value is not None) is (operator is Operator.EXISTS)
    if operator in TRUTHS:
        return value is (operator is Operator.IS_TRUE)
    if operator in {Operator.EQUALS, Operator.NOT_EQUALS}:
        same = isinstance(value, str) and value == expected
        return same is (operator is Operator.EQUALS)
    if operator in NUMBERS:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        assert isinstance(expected, float)
        return {
            "number_equals": value == expected,
            "number_not_equals": value != expected,
            "<": value < expected,
            "<=": value <= expected,
            ">": value > expected,
            ">=": value >= expected,
        }[operator.value]
    if not isinstance(value, str):
        return False
    assert isinstance(expected, str)
    found = {
        "contains": value.find(expected) >= 0,
        "starts_with": value[: len(expected)] == expected,
        "ends_with": value[max(len(value) - len(expected), 0) :] == expected,
    }[name]
    return found is (operator.value == name)


def interpreted(expression: Expression, event: dict[str, Any]) -> bool:
    """Evaluate the tree as it stands."""
    if isinstance(expression, AllOf):
        return all(interpreted(part, event) for part in expression.parts)
    if isinstance(expression, AnyOf):
        return any(interpreted(part, event) for part in expression.parts)
    return holds(expression, walked(event, expression.field))


@given(expressions(conditions(KEYS, WORDS, AMOUNTS)), EVENTS)
def test_the_closure_answers_as_the_tree_reads(
    expression: Expression, event: dict[str, Any]
) -> None:
    """What was compiled, what is known of types and what is explained all agree with the tree."""
    trigger = Trigger(expression)
    expected = interpreted(expression, event)
    assert trigger.matches(event) is expected
    assert (trigger.why_not(event) == ()) is expected
    kind = event.get("type")
    possible = trigger.types is None or (isinstance(kind, str) and kind in trigger.types)
    assert possible or not expected
    assert not trigger.decided_by_type or expected is possible
