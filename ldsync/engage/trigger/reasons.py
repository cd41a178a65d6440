"""Why an event does not match a trigger, in words for the person who wrote the trigger."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, assert_never

from ldsync.engage.trigger.compiling import compiled
from ldsync.engage.trigger.syntax import AllOf, AnyOf, Condition, Expression, Operator
from ldsync.engage.trigger.values import reader

if TYPE_CHECKING:
    from ldsync.engage.events import Document

_MOST_SHOWN: Final = 60
_NUMBERS: Final = frozenset(
    {
        Operator.NUMBER_EQUALS,
        Operator.NUMBER_NOT_EQUALS,
        Operator.LESS,
        Operator.LESS_OR_EQUAL,
        Operator.GREATER,
        Operator.GREATER_OR_EQUAL,
    }
)
_TRUTHS: Final = frozenset({Operator.IS_TRUE, Operator.IS_FALSE})
_ANYTHING: Final = frozenset({Operator.NOT_EQUALS, Operator.EXISTS, Operator.NOT_EXISTS})


def reasons(expression: Expression, document: Document) -> tuple[str, ...]:
    """Return the conditions that failed and what was found; nothing if the event matches.

    Of conditions joined by `and` the first that failed; of those joined by `or` all of them.
    """
    if compiled(expression)(document):
        return ()
    match expression:
        case Condition():
            return (_reason(expression, reader(expression.field)(document)),)
        case AllOf(parts=parts):
            return next(found for part in parts if (found := reasons(part, document)))
        case AnyOf(parts=parts):
            return tuple(reason for part in parts for reason in reasons(part, document))
        case _:
            assert_never(expression)


def _reason(condition: Condition, value: object) -> str:
    """Say what stands in the field of a condition that is false."""
    found = f"{condition} is false: {condition.field} is "
    if value is None:
        return f"{found}missing or null"
    wanted = _wanted(condition.operator)
    mismatch = "" if wanted in {"", _kind(value)} else f", which is not {wanted}"
    return f"{found}{shown(value)}{mismatch}"


def _wanted(operator: Operator) -> str:
    """Return what kind of value an operator can be true of; empty if of any."""
    if operator in _NUMBERS:
        return "a number"
    if operator in _TRUTHS:
        return "a boolean"
    return "" if operator in _ANYTHING else "text"


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    return "text" if isinstance(value, str) else "structure"


def shown(value: object) -> str:
    """Return a value as it stands in the event, not too long; of structure only what it is."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value, ensure_ascii=False)
    short = text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
    return short.encode(errors="backslashreplace").decode()  # half an emoji cannot be printed
