"""One budget of requests that is filled again at intervals, as the replies announce it. Pure.

Others draw on it, too: other programs of the account, and other processes of ldsync, which do not
know of each other. What they took shows only in the next reply. So the first request of a window
goes alone; of what is left only a part is on its way at once; and the last half of what may be used
is spread over the time to the reset.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random

#: However large the share: requests of others are on their way that no reply has shown yet.
LARGEST_SHARE: Final = 0.96

#: Nothing is left and it is not said until when: so many seconds.
BLIND: Final = 1.0

#: Two resets so close (milliseconds) are one: they may be computed for each reply anew.
_SAME_RESET_MS: Final = 500.0

# Spread of the first requests after a reset, in seconds: everyone waits for the same moment.
_JITTER: Final = (0.05, 1.0)

# An answer that others wait for is not waited for longer than this (seconds): it may never come.
_PATIENCE: Final = 0.25

# Of what may be used in a window, what is on its way before anything of that window is known.
_BLIND_PART: Final = 1 / 32
# Of what is left of it, what is on its way at once.
_PART_IN_FLIGHT: Final = 1 / 4
# When less than this part of it is left, the rest is spread over this part of the time left.
_SPREAD_BELOW: Final = 0.5
_SPREAD_OVER: Final = 0.7

# Without an announced limit: how long the most that was seen stands for it.
_WINDOWS_REMEMBERED: Final = 3
_ALONE: Final = 1.5
_MOST_SHARERS: Final = 16.0


@dataclass(frozen=True, slots=True)
class Reset:
    """When a window ends, as a reply says.

    Attributes:
        ms: Epoch milliseconds.
        seconds: How long that is from now.
        believed: Whether it can be: it is not past, and not too far away.
    """

    ms: float
    seconds: float
    believed: bool


class RateWindow:
    """A budget.

    Args:
        share: Part of it that ldsync may use, above 0 and at most 1.

    Attributes:
        closed_until: Monotonic seconds before which nothing of it may be used.
        limit: Requests in a window, as announced, else the most that was seen; None before that.
        remaining: Of these, how many are left.
        reset_ms: The reset as announced, in epoch milliseconds; None if it was not, or not usable.
    """

    __slots__ = (
        "_answered",
        "_before",
        "_began",
        "_draw",
        "_ends_at",
        "_in_flight",
        "_most",
        "_own",
        "_share",
        "_sharers",
        "closed_until",
        "limit",
        "remaining",
        "reset_ms",
    )

    def __init__(self, share: float) -> None:
        self.closed_until = 0.0
        self.limit: float | None = None
        self.remaining = math.inf
        self.reset_ms: float | None = None
        self._share = min(share, LARGEST_SHARE)
        self._answered = False
        self._in_flight = 0
        self._began = -math.inf  # the last request
        self._draw = 1.0
        self._own = 0  # answers in this window
        self._sharers = 1.0
        self._ends_at = -math.inf
        self._most = 0.0  # remaining in this window
        self._before = deque([0.0], maxlen=_WINDOWS_REMEMBERED)  # and in those before

    def wait(self, now: float) -> float:
        """Seconds until a request may begin, as far as is known now; 0 for at once."""
        if now < self.closed_until:
            return self.closed_until - now
        if self._in_flight >= self._most_in_flight(now):
            return max(0.0, self._began + _PATIENCE - now)
        return max(0.0, self._began + self._gap(now) - now)

    def begin(self, now: float, rng: random.Random) -> None:
        """A request begins."""
        self._in_flight += 1
        self._began = now
        # Among several, waits without memory: who has not sent for long knows the least.
        alone = self._sharers < _ALONE
        self._draw = rng.uniform(0.5, 1.5) if alone else rng.expovariate(1.0)

    def end(self, *, answered: bool) -> None:
        """A request ended, with an answer or without."""
        self._in_flight -= 1
        self._answered |= answered
        self._own += answered

    @property
    def allowed(self) -> float:
        """What ldsync may use of a whole window: at least 1."""
        return max(1.0, math.floor(self._share * (self.limit or 0.0)))

    @property
    def usable(self) -> float:
        """What ldsync may still use of this window; others count as if they were ldsync."""
        return min(self.remaining, self.remaining - (self.limit or 0.0) + self.allowed)

    def announce(
        self,
        remaining: float,
        limit: float | None,
        reset: Reset | None,
        now: float,
        rng: random.Random,
    ) -> bool:
        """Take up what a reply says, and close if nothing may be used any more.

        Args:
            remaining: Requests left.
            limit: Requests in a whole window, if it says so.
            reset: When the window ends, if it says so.
            now: Monotonic seconds.
            rng: Source of jitter.

        Returns:
            Whether it was closed, or is now closed for longer.
        """
        if self._is_over(reset):
            return False
        if self._is_new(reset, now):
            self._turn_over(remaining, reset, now)
        elif reset is not None and reset.believed:
            self._ends_at = now + reset.seconds  # by a clock that is known better by now
        self._most = max(self._most, remaining)
        self.remaining = min(self.remaining, remaining)
        # Not told: the most that was seen. In one window others may have been faster than we.
        guess = max(self._most, *self._before)
        self.limit = guess if limit is None else max(limit, remaining)
        if self.usable >= 1.0 or self._ends_at <= self.closed_until:
            return False
        self.closed_until = self._ends_at + rng.uniform(*_JITTER)
        return True

    def _is_over(self, reset: Reset | None) -> bool:
        """Whether a reply speaks of a window before the present one."""
        known = self.reset_ms
        return reset is not None and known is not None and reset.ms < known - _SAME_RESET_MS

    def _is_new(self, reset: Reset | None, now: float) -> bool:
        """Whether a reply speaks of a window of which nothing is known yet."""
        known = self.reset_ms
        if reset is not None and reset.believed:
            return known is None or reset.ms > known + _SAME_RESET_MS
        if reset is not None and known is not None and abs(reset.ms - known) <= _SAME_RESET_MS:
            return False
        return now >= self._ends_at

    def _turn_over(self, remaining: float, reset: Reset | None, now: float) -> None:
        """A window begins."""
        self._count_sharers()
        self._before.append(self._most)
        self._most = 0.0
        self.remaining = remaining
        if reset is not None and reset.believed:
            self.reset_ms, self._ends_at = reset.ms, now + reset.seconds
        else:
            self.reset_ms, self._ends_at = None, now + BLIND

    def _gap(self, now: float) -> float:
        """Seconds that must lie between the last request and the next one."""
        if self.limit is None or now >= self._ends_at:
            return 0.0
        left = self.usable - self._in_flight
        if left >= _SPREAD_BELOW * self.allowed:
            return 0.0
        each = _SPREAD_OVER * max(0.0, self._ends_at - self._began) / max(1.0, left)
        return each * self._draw * self._sharers

    def _count_sharers(self) -> None:
        """Learn from a window that is over how many draw on it like ldsync does."""
        if self._own and self.limit is not None:
            found = (self.limit - self.remaining) / self._own
            self._sharers = (self._sharers + min(max(found, 1.0), _MOST_SHARERS)) / 2.0
        self._own = 0

    def _most_in_flight(self, now: float) -> float:
        """How many requests may be on their way before the next answer."""
        if self.limit is None:
            return math.inf if self._answered else 1.0
        if now >= self._ends_at:  # a new window, of which nothing is known yet
            return max(1.0, math.floor(_BLIND_PART * self.allowed))
        return max(1.0, math.floor(_PART_IN_FLIGHT * self.usable))
