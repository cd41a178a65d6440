"""The value of a field of an event, found as Segment's own code finds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from ldsync.engage.events import Document
    from ldsync.engage.trigger.syntax import Field

_MOST_INDEX_DIGITS: Final = 9
"""No list in an event is longer; integers of absurd length are not even read."""


def reader(field: Field) -> Callable[[Document], object]:
    """Return a function from an event to the value of `field`; None for missing, as for null."""
    root, path = field.root, field.path

    def read_top(document: Document) -> object:
        return document.get(root)

    def read_path(document: Document) -> object:
        value = document.get(root)
        for step in path:
            value = value.get(step) if type(value) is dict else _inside(value, step)
        return value

    return read_path if path else read_top


def _inside(value: object, step: str) -> object:
    """Take a step into what is no object.

    Lists and texts have a length and elements, those of a text being UTF-16 units. An empty text,
    zero, false and null end the walk and are its result, as they do in Segment's code. Nothing else
    has parts.
    """
    if isinstance(value, list):
        if step == "length":
            return len(value)
        return value[int(step)] if _is_index(step, len(value)) else None
    if not value:
        return value
    if not isinstance(value, str):
        return None
    units = value.encode("utf-16-le", "surrogatepass")
    length = len(units) // 2
    if step == "length":
        return length
    if not _is_index(step, length):
        return None
    begin = int(step) * 2
    return units[begin : begin + 2].decode("utf-16-le", "surrogatepass")


def _is_index(step: str, length: int) -> bool:
    """Tell whether a step is the number of an element; `01` is the name of a key."""
    return (
        len(step) <= _MOST_INDEX_DIGITS
        and step.isascii()
        and step.isdecimal()
        and (step == "0" or step[0] != "0")
        and int(step) < length
    )
