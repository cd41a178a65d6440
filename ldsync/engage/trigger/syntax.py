"""The tree of a trigger, and the text it is printed as."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final


class Operator(StrEnum):
    """How a condition looks at the value of its field; the names are those of Segment's tree."""

    EQUALS = "="
    NOT_EQUALS = "!="
    NUMBER_EQUALS = "number_equals"
    NUMBER_NOT_EQUALS = "number_not_equals"
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    CONTAINS = "contains"
    NOT_CONTAINS = "not_contains"
    STARTS_WITH = "starts_with"
    NOT_STARTS_WITH = "not_starts_with"
    ENDS_WITH = "ends_with"
    NOT_ENDS_WITH = "not_ends_with"
    EXISTS = "exists"
    NOT_EXISTS = "not_exists"
    IS_TRUE = "is_true"
    IS_FALSE = "is_false"


@dataclass(frozen=True, slots=True)
class Field:
    """A place in an event: a field at the top, and the steps from there (`context`, `ip`)."""

    root: str
    path: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.root + "".join(map(_step, self.path))


@dataclass(frozen=True, slots=True)
class Condition:
    """One question about one field.

    `value` is what the field is compared with: text, a number (a double, as all numbers are in the
    language this one comes from), or None for the operators that need nothing.
    """

    field: Field
    operator: Operator
    value: str | float | None = None

    def __str__(self) -> str:
        template = _TEMPLATES[self.operator]
        text = "" if self.value is None else str(self.value)
        if self.operator in _PATTERNS and (not text or "*" in text):
            template = "{field} {operator} {value}"  # as a pattern it would mean something else
        return template.format(
            field=self.field,
            operator=self.operator,
            value=number_text(self.value) if isinstance(self.value, float) else quoted(text),
            prefix=quoted(f"{text}*"),
            suffix=quoted(f"*{text}"),
        )


@dataclass(frozen=True, slots=True)
class AllOf:
    """Conditions joined by `and`: two or more, none of which is an `AllOf` itself."""

    parts: tuple[Condition | AnyOf, ...]

    def __str__(self) -> str:
        return " and ".join(map(_part, self.parts))


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Conditions joined by `or`: two or more, none of which is an `AnyOf` itself."""

    parts: tuple[Condition | AllOf, ...]

    def __str__(self) -> str:
        return " or ".join(map(_part, self.parts))


Expression = Condition | AllOf | AnyOf
"""A whole trigger, or a part of one."""

_PATTERNS: Final = frozenset(
    {
        Operator.STARTS_WITH,
        Operator.NOT_STARTS_WITH,
        Operator.ENDS_WITH,
        Operator.NOT_ENDS_WITH,
    }
)
_COMPARISON: Final = "{field} {operator} {value}"
_TEMPLATES: Final = {
    Operator.EQUALS: _COMPARISON,
    Operator.NOT_EQUALS: _COMPARISON,
    Operator.NUMBER_EQUALS: "{field} = {value}",
    Operator.NUMBER_NOT_EQUALS: "{field} != {value}",
    Operator.LESS: _COMPARISON,
    Operator.LESS_OR_EQUAL: _COMPARISON,
    Operator.GREATER: _COMPARISON,
    Operator.GREATER_OR_EQUAL: _COMPARISON,
    Operator.CONTAINS: "contains({field}, {value})",
    Operator.NOT_CONTAINS: "!contains({field}, {value})",
    Operator.STARTS_WITH: "match({field}, {prefix})",
    Operator.NOT_STARTS_WITH: "!match({field}, {prefix})",
    Operator.ENDS_WITH: "match({field}, {suffix})",
    Operator.NOT_ENDS_WITH: "!match({field}, {suffix})",
    Operator.EXISTS: "{field} != null",
    Operator.NOT_EXISTS: "{field} = null",
    Operator.IS_TRUE: "{field} = true",
    Operator.IS_FALSE: "{field} = false",
}
"""What Segment's own generator writes, so that a trigger can be carried back."""

_TO_ESCAPE: Final = re.compile(r"^[^A-Za-z_]|[^A-Za-z0-9_-]")


def number_text(value: float) -> str:
    """Return a number in decimal, never with an exponent, which the language does not have."""
    return format(Decimal(repr(value)).normalize(), "f")


def quoted(text: str) -> str:
    """Return a text between double quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _step(step: str) -> str:
    """Print a step of a path as Segment's lexer takes it, to which a digit is no beginning."""
    return "." + _TO_ESCAPE.sub(r"\\\g<0>", step)


def _part(part: Expression) -> str:
    """Print a part of a group: inner groups in parentheses, as Segment knows no precedence."""
    return str(part) if isinstance(part, Condition) else f"({part})"
