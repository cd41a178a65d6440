"""From the tree to closures, made once and asked for every event."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any, Final, assert_never

from ldsync.engage.trigger.syntax import AllOf, AnyOf, Condition, Expression, Field, Operator
from ldsync.engage.trigger.values import reader

if TYPE_CHECKING:
    from ldsync.engage.events import Document

Test = Callable[["Document"], bool]
"""Whether an event matches."""


def _of_texts(test: Callable[[str, str], bool]) -> Callable[[object, Any], bool]:
    """Ask only texts: of anything else the question and its negation are both false."""
    return lambda value, expected: isinstance(value, str) and test(value, expected)


def _of_numbers(test: Callable[[float, float], bool]) -> Callable[[object, Any], bool]:
    """Ask only JSON numbers, as the doubles that JavaScript reads them as."""

    def ask(value: object, expected: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        try:
            return test(float(value), expected)
        except OverflowError:  # an integer beyond all doubles
            return test(inf if value > 0 else -inf, expected)

    return ask


_TESTS: Final[dict[Operator, Callable[[object, Any], bool]]] = {
    Operator.NOT_EQUALS: lambda value, expected: value != expected,
    Operator.NUMBER_EQUALS: _of_numbers(lambda number, expected: number == expected),
    Operator.NUMBER_NOT_EQUALS: _of_numbers(lambda number, expected: number != expected),
    Operator.LESS: _of_numbers(lambda number, expected: number < expected),
    Operator.LESS_OR_EQUAL: _of_numbers(lambda number, expected: number <= expected),
    Operator.GREATER: _of_numbers(lambda number, expected: number > expected),
    Operator.GREATER_OR_EQUAL: _of_numbers(lambda number, expected: number >= expected),
    Operator.CONTAINS: _of_texts(lambda text, part: part in text),
    Operator.NOT_CONTAINS: _of_texts(lambda text, part: part not in text),
    Operator.STARTS_WITH: _of_texts(lambda text, part: text.startswith(part)),
    Operator.NOT_STARTS_WITH: _of_texts(lambda text, part: not text.startswith(part)),
    Operator.ENDS_WITH: _of_texts(lambda text, part: text.endswith(part)),
    Operator.NOT_ENDS_WITH: _of_texts(lambda text, part: not text.endswith(part)),
    Operator.EXISTS: lambda value, _: value is not None,
    Operator.NOT_EXISTS: lambda value, _: value is None,
    Operator.IS_TRUE: lambda value, _: value is True,
    Operator.IS_FALSE: lambda value, _: value is False,
}


def compiled(expression: Expression) -> Test:
    """Return a function that tells whether an event matches."""
    match expression:
        case Condition(field=field, operator=Operator.EQUALS, value=str(value)):
            return _is_one_of(field, frozenset((value,)))
        case Condition(field=field, operator=operator, value=value):
            return _condition(field, _TESTS[operator], value)
        case AllOf(parts=parts):
            return _all([compiled(part) for part in parts])
        case AnyOf(parts=parts):
            return _any(_alternatives(parts))
        case _:
            assert_never(expression)


def _alternatives(parts: tuple[Condition | AllOf, ...]) -> list[Test]:
    """Compile what is joined by `or`: all texts that one field may equal become one look-up."""
    texts: dict[Field, set[str]] = {}
    others: list[Test] = []
    for part in parts:
        match part:
            case Condition(field=field, operator=Operator.EQUALS, value=str(value)):
                texts.setdefault(field, set()).add(value)
            case _:
                others.append(compiled(part))
    return [_is_one_of(field, frozenset(values)) for field, values in texts.items()] + others


def _is_one_of(field: Field, texts: frozenset[str]) -> Test:
    root, read = field.root, reader(field)

    def is_one_of(document: Document) -> bool:
        value = read(document)
        return type(value) is str and value in texts

    def top_is_one_of(document: Document) -> bool:
        value = document.get(root)
        return type(value) is str and value in texts

    return is_one_of if field.path else top_is_one_of


def _condition(
    field: Field, test: Callable[[object, Any], bool], expected: str | float | None
) -> Test:
    read = reader(field)

    def holds(document: Document) -> bool:
        return test(read(document), expected)

    return holds


def _all(tests: list[Test]) -> Test:
    def matches_all(document: Document) -> bool:
        for test in tests:  # noqa: SIM110 - a generator costs more than the tests
            if not test(document):
                return False
        return True

    return matches_all


def _any(tests: list[Test]) -> Test:
    def matches_any(document: Document) -> bool:
        for test in tests:  # noqa: SIM110 - a generator costs more than the tests
            if test(document):
                return True
        return False

    return tests[0] if len(tests) == 1 else matches_any
