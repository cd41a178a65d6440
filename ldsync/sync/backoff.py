"""How long to wait before the next attempt: full jitter under an exponentially growing ceiling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

_HIGHEST_EXPONENT = 60


@dataclass(frozen=True, slots=True)
class Backoff:
    """A schedule of waits: attempt n waits between 0 and min(maximum, initial · 2^(n-1)) seconds.

    Full jitter (a uniform draw from zero, not from half) spreads clients that failed together the
    furthest. `floor` is the share of the ceiling that is always waited (0 = full jitter, 1 = none):
    slow schedules for an operator's attention should not probe twice in a row by chance.
    """

    initial: float
    maximum: float
    floor: float = 0.0

    def ceiling(self, attempt: int) -> float:
        """Return the longest wait, in seconds, after failed attempt number `attempt` (from 1)."""
        exponent = min(max(attempt, 1) - 1, _HIGHEST_EXPONENT)
        return min(self.maximum, self.initial * 2.0**exponent)

    def delay(self, attempt: int, rng: Random, at_least: float = 0.0) -> float:
        """Draw the wait, in seconds, after failed attempt number `attempt`.

        `at_least` is what the server asked for: it is honoured in full, with the jitter on top, so
        that many clients told the same time do not come back at the same moment.
        """
        ceiling = self.ceiling(attempt)
        return at_least + ceiling * (self.floor + (1.0 - self.floor) * rng.random())
