"""One thing that was looked at, and what to do about it. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How it is. Only `FAILED` makes the check fail; `UNKNOWN` could not be found out."""

    OK = "ok"
    WARNING = "warning"
    UNKNOWN = "unknown"
    FAILED = "failed"

    @property
    def mark(self) -> str:
        """What stands before the line."""
        return {"ok": "✓", "warning": "!", "unknown": "?", "failed": "✗"}[self.value]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out about one thing.

    Attributes:
        name: What was looked at: a word or two, the same in every run.
        state: How it is.
        detail: What was found, in words.
        advice: What to do; empty if nothing is to be done.
    """

    name: str
    state: State
    detail: str
    advice: str = ""

    def as_text(self, width: int) -> str:
        """One line, and a second one with the advice; names are padded to `width`."""
        line = f"{self.state.mark} {self.name:{width}}  {self.detail}"
        return f"{line}\n{' ' * (width + 4)}→ {self.advice}" if self.advice else line
