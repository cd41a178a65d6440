"""From the text of a trigger to tokens, each with its place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import TYPE_CHECKING, Final

from ldsync.engage.trigger.errors import TriggerError, printable

if TYPE_CHECKING:
    from collections.abc import Iterator


class Kind(StrEnum):
    """What a token is."""

    NAME = "name"
    TEXT = "text"
    NUMBER = "number"
    SYMBOL = "symbol"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a trigger: as written, where it begins, and what it stands for.

    A name stands for its steps (`("context", "ip")`), a text for itself without quotes and escapes,
    a number for its value.
    """

    kind: Kind
    written: str
    position: int
    steps: tuple[str, ...] = ()
    text: str = ""
    number: float = 0.0


_MOST_SHOWN: Final = 40
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_SYMBOL: Final = re.compile(r"[!<>]=?|[=(),]")
_TEXT: Final = re.compile(r"""(["'])((?:(?!\1|\\).|\\.)*)\1""", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPABLE: Final = "\"'\\"
_NAME_BEGIN: Final = re.compile(r"[A-Za-z_\\]")
_STEP: Final = re.compile(r"(?:[A-Za-z0-9_-]|\\[^\[\]])+", re.DOTALL)
_INDEX: Final = re.compile(r"\\?\[([0-9]+)\\?\]")
_NUMBER_BEGIN: Final = re.compile(r"[0-9+-]")
_NUMBER_LIKE: Final = re.compile(r"[A-Za-z0-9_.+-]+")
_NUMBER: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")


def tokens(text: str) -> Iterator[Token]:
    """Yield the tokens of `text`; the last one, and only that, is the end.

    Raises:
        TriggerError: What stands there cannot begin or end a token.
    """
    position = _after_space(text, 0)
    while position < len(text):
        token = _token(text, position)
        yield token
        position = _after_space(text, position + len(token.written))
    yield Token(Kind.END, "", len(text))


def read_number(written: str) -> float | None:
    """Return the number that is written, or None if it is none that a double can hold."""
    if not _NUMBER.fullmatch(written):
        return None
    number = float(written) + 0.0  # minus zero is zero
    return number if isfinite(number) else None


def shown(written: str) -> str:
    """Return a piece of a trigger as messages show it: in quotes, on one line, not too long."""
    short = written if len(written) <= _MOST_SHOWN else f"{written[:_MOST_SHOWN]}…"
    line = printable(short)
    return line if line.startswith(("'", '"')) else f'"{line}"'


def _after_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


def _token(text: str, position: int) -> Token:
    if symbol := _SYMBOL.match(text, position):
        return Token(Kind.SYMBOL, symbol.group(), position)
    if _NAME_BEGIN.match(text, position):
        return _name(text, position)
    if _NUMBER_BEGIN.match(text, position):
        return _number(text, position)
    if text[position] in "\"'":
        return _text(text, position)
    raise TriggerError(text, position, f"a trigger has no place for {text[position]!r}")


def _name(text: str, begin: int) -> Token:
    """Read a dotted path; `[0]` is a step, too, with or without a backslash before its brackets."""
    steps: list[str] = []
    position = begin
    while True:
        step = _STEP.match(text, position)
        if not step:
            raise TriggerError(text, position, _no_step(text, position))
        steps.append(_ESCAPE.sub(r"\1", step.group()))
        position = step.end()
        while index := _INDEX.match(text, position):
            steps.append(index[1])
            position = index.end()
        if not text.startswith(".", position):
            break
        position += 1
    if text.startswith(("[", "\\"), position):
        raise TriggerError(text, position, _no_step(text, position))
    return Token(Kind.NAME, text[begin:position], begin, steps=tuple(steps))


def _no_step(text: str, position: int) -> str:
    """Say why a path does not go on."""
    rest = text[position : position + 2]
    if rest == "\\":
        return "a backslash needs a character after it"
    if rest.startswith(("[", "\\")):
        return "expected an index, such as [0]; a key cannot contain brackets"
    return 'expected a name after "."'


def _number(text: str, begin: int) -> Token:
    found = _NUMBER_LIKE.match(text, begin)
    written = found.group() if found else ""
    number = read_number(written)
    if number is None:
        raise TriggerError(
            text, begin, f"{shown(written)} is no number: digits, and a point between them if any"
        )
    return Token(Kind.NUMBER, written, begin, number=number)


def _text(text: str, begin: int) -> Token:
    found = _TEXT.match(text, begin)
    if not found:
        raise TriggerError(
            text, begin, f"the text that begins here has no {text[begin]} at its end"
        )
    for escape in _ESCAPE.finditer(text, found.start(2), found.end(2)):
        if escape[1] not in _ESCAPABLE:
            raise TriggerError(text, escape.start(), r"a backslash in a text is written twice: \\")
    return Token(Kind.TEXT, found.group(), begin, text=_ESCAPE.sub(r"\1", found[2]))
