"""Progress: for how long there has been something to do and nothing was done."""

from __future__ import annotations


class Progress:
    """Watches a number that grows while work is done. Times are monotonic seconds."""

    __slots__ = ("_done", "_since")

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._done = -1
        self._since = 0.0

    def stalled_for(self, now: float, done: int, *, expected: bool) -> float:
        """Return for how many seconds nothing was done although it was `expected` to be.

        0 when `done` has changed since it was last looked at, and while nothing is expected.
        """
        if done != self._done or not expected:
            self._done = done
            self._since = now
        return now - self._since
