"""What is wrong with the text of a trigger, and where."""

from __future__ import annotations

from typing import Final

_REACH: Final = 40
"""Characters shown on either side of the place: enough to find it, short enough for a terminal."""


class TriggerError(ValueError):
    """The text is no trigger.

    `position` counts characters from 0 and is at most the length of the text, where it means that
    the text ended too early. `message` is one line; `str()` adds the place and a caret below it.
    """

    def __init__(self, text: str, position: int, message: str) -> None:
        """Say `message` about `position` in `text`."""
        super().__init__(text, position, message)
        self.position = position
        self.message = message
        self.line = text.count("\n", 0, position) + 1
        begin = text.rfind("\n", 0, position) + 1
        self.column = position - begin + 1
        self._several_lines = "\n" in text
        self._excerpt = _excerpt(text[begin:].split("\n", 1)[0], self.column - 1)

    def __str__(self) -> str:
        line = f"line {self.line}, " if self._several_lines else ""
        return f"trigger, {line}column {self.column}: {self.message}\n{self._excerpt}"


def _excerpt(line: str, offset: int) -> str:
    """Show the surroundings of a place in a line, and a caret below the place itself."""
    begin = max(offset - _REACH, 0)
    end = offset + _REACH
    head = "… " if begin else ""
    tail = " …" if end < len(line) else ""
    shown = printable(line[begin:end])
    caret = " " * (len(head) + offset - begin) + "^"
    return f"    {head}{shown.rstrip()}{tail}\n    {caret}"


def printable(text: str) -> str:
    """Return a text with blanks for tabs, line breaks and all else that would move the caret."""
    return "".join(char if char.isprintable() else " " for char in text)
