"""What time it is at LaunchDarkly. Pure: the local time is given.

Resets are given in LaunchDarkly's time. Where the local clock is minutes wrong, a window of ten
seconds would seem to last for ever, or to be over always. Every reply has a `Date`, to the second:
each one narrows down by how much the clocks differ.
"""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

#: `Date` leaves out what is behind the second.
_RESOLUTION_MS: Final = 1000.0

#: After so long two clocks may have drifted, or one was set: what was known counts no longer.
_FORGET_MS: Final = 600_000.0


class ServerClock:
    """By how much LaunchDarkly's clock is ahead of the local one, in milliseconds.

    Attributes:
        lowest: It is at least so much ahead.
        highest: It is at most so much ahead.
    """

    __slots__ = ("_since", "highest", "lowest")

    def __init__(self) -> None:
        self.lowest = self.highest = 0.0
        self._since: float | None = None

    def observe(self, headers: Mapping[str, str], wall_ms: float, took_ms: float) -> None:
        """Learn from a reply.

        Args:
            headers: Of the reply.
            wall_ms: Local epoch milliseconds at its arrival.
            took_ms: Milliseconds since the request was begun.
        """
        try:
            stated = parsedate_to_datetime(headers.get("Date") or "").timestamp() * 1000.0
        except (TypeError, ValueError, OverflowError):
            return
        lowest = stated - wall_ms
        highest = lowest + _RESOLUTION_MS + took_ms
        stale = self._since is None or not 0.0 <= wall_ms - self._since <= _FORGET_MS
        if stale or highest < self.lowest or lowest > self.highest:
            self.lowest, self.highest, self._since = lowest, highest, wall_ms
        else:
            self.lowest, self.highest = max(self.lowest, lowest), min(self.highest, highest)

    @property
    def ahead_ms(self) -> float:
        """The best guess: 0 as long as the clocks may agree, else the middle of what is known."""
        if self.lowest <= 0.0 <= self.highest:
            return 0.0
        return (self.lowest + self.highest) / 2.0
