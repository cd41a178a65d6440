"""Paths: where in an event a field stands, for mappings that do not read it at its usual place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from ldsync.engage.events import Document

_ROOT: Final = "$."
_steps_of = re.compile(r"((?:[^.\\]|\\.)+)(\.(?=.)|\Z)", re.DOTALL).match
_escaped = re.compile(r"\\(.)", re.DOTALL)
_to_escape = re.compile(r"[.\\]")
_is_index = re.compile(r"(?:0|[1-9]\d{0,8})", re.ASCII).fullmatch


class PathError(ValueError):
    """The text is no path."""


@dataclass(frozen=True, slots=True)
class Path:
    """The keys that lead from the top of an event to a value."""

    steps: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join(_to_escape.sub(r"\\\g<0>", step) for step in self.steps)


def parse(text: str) -> Path:
    r"""Read a path: keys with dots between them, as in `context.traits.email`.

    A dot within a key is written `\\.`, a backslash `\\\\`; a whole number is also the place of an
    element of a list. `$.` may stand at the start, as in Segment's mappings.

    Raises:
        PathError: A key is missing, or nothing follows a backslash.
    """
    rest = text.removeprefix(_ROOT)
    steps, position = [], 0
    while found := _steps_of(rest, position):
        steps.append(_escaped.sub(r"\1", found[1]))
        position = found.end()
    if not steps or position < len(rest):
        raise PathError(f"must be keys with dots between them, as in context.kind, not {text!r}")
    return Path(tuple(steps))


def reader(path: Path) -> Callable[[Document], Any]:
    """Return a function from an event to what stands at `path`; None where there is nothing."""
    root, *others = path.steps
    if not others:
        return lambda document: document.get(root)

    def read(document: Document) -> Any:
        value = document.get(root)
        for step in others:
            value = value.get(step) if type(value) is dict else _element(value, step)
        return value

    return read


def _element(value: object, step: str) -> Any:
    """Take a step into what is no object: only lists have parts."""
    if isinstance(value, list) and _is_index(step) and int(step) < len(value):
        return value[int(step)]
    return None
