"""How the commands that look at events print: text for people, and safe to print."""

import sys
from collections.abc import Mapping
from functools import cache

from rich.console import Console
from rich.text import Text

_PIPE_WIDTH = 100

OUTCOMES: Mapping[str, str] = {
    "change": "bold green",
    "ignored": "bold",
    "skipped": "bold yellow",
    "invalid": "bold red",
}
"""The style of each outcome."""


def console() -> Console:
    """A console on standard output; without colours and of a fixed width if it is no terminal."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")  # a terminal need not have every character
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(width=width, highlight=False, markup=False, emoji=False)


def counted(number: int, noun: str) -> str:
    """A number of things: `1 record`, `2,000 records`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def text(content: str, style: str = "") -> Text:
    """A text that may come from an event: it cannot move the cursor or change colours."""
    return Text("".join(map(_harmless, content)), style)


@cache
def _harmless(character: str) -> str:
    if character.isprintable() or character == "\n":
        return character
    return character.encode("unicode_escape").decode()
