"""What JavaScript makes of JSON values, as far as Segment's own destination lets it.

Sources: ECMAScript (Number::toString, ToBoolean, the properties of Object.prototype), and the
coercion of its validator, Ajv with `coerceTypes: "array"` (engage-events contract 2.1).
"""

from __future__ import annotations

from decimal import Decimal
from math import inf, isinf
from typing import Any, Final

INHERITED: Final = frozenset(
    {
        *("constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable"),
        *("toLocaleString", "toString", "valueOf", "__proto__"),
        *("__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__"),
    }
)
"""Names that every object has a value for, which is true."""

NO_TEXT: Final = object()
"""What cannot be made text: objects, and arrays of another length than one."""

_MOST_DIGITS: Final = 21
_MOST_ZEROS: Final = 6


def truthy(value: object) -> bool:
    """Say whether a value counts as true: empty arrays and objects do."""
    return isinstance(value, list | dict) or bool(value)


def text_of(value: object, *, keep_empty: bool) -> Any:
    """Return a field that has to be text: text, None for absent, or NO_TEXT.

    Empty text is absent too, unless `keep_empty`. In an array of one element it is not, because
    what is absent is dropped before the array is opened.
    """
    if isinstance(value, str):
        return value if value or keep_empty else None
    if value is None:
        return None
    if isinstance(value, list) and len(value) == 1:
        return "" if value[0] is None else _coerced(value[0])
    return _coerced(value)


def _coerced(value: object) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return number_text(value) if isinstance(value, int | float) else NO_TEXT


def number_text(value: float) -> str:
    """Write a number as JavaScript does, which knows doubles only: 1e21 is `1e+21`."""
    try:
        number = float(value)
    except OverflowError:  # an integer beyond all doubles
        number = inf if value > 0 else -inf
    if number == 0:
        return "0"
    sign = "-" if number < 0 else ""
    if isinf(number):
        return f"{sign}Infinity"
    _, digit_tuple, exponent = Decimal(repr(abs(number))).normalize().as_tuple()
    digits = "".join(map(str, digit_tuple))
    point = len(digits) + int(exponent)  # where the decimal point is, counted in digits
    if len(digits) <= point <= _MOST_DIGITS:
        return f"{sign}{digits}{'0' * (point - len(digits))}"
    if 0 < point <= _MOST_DIGITS:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -_MOST_ZEROS < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{point - 1:+d}"
