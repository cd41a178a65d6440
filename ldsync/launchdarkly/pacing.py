"""When the next request may start: LaunchDarkly's rate limits, as its replies announce them.

The limits are not published; the headers are the contract (launchdarkly-api contract 1.5). There is
one gate for the whole process, because the account shares its budgets. It closes after a 429, and
before there is one: as soon as no more of a window is left than the share that belongs to others.
It opens by itself. Pure: the time is given, nothing sleeps here.
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

#: The longest the gate stays closed without a new reply, in seconds. A reset farther away than that
#: is not believed: windows last 10 seconds.
MAX_CLOSED = 900.0

# After a 429 without a usable time: exponential, in seconds.
_BACKOFF_INITIAL = 1.0
_BACKOFF_MAX = 60.0

# Spread of the first requests after a reset, in seconds: everyone waits for the same moment.
_JITTER_MIN = 0.3
_SLOW_DOWN_JITTER_MAX = 1.0

# Nothing is left and it is not said until when.
_SLOW_DOWN_BLIND = 1.0

# Several requests in flight report the same moment, each seen a little earlier or later.
_SAME_MOMENT = 0.5

_RESET = "X-Ratelimit-Reset"


@dataclass(frozen=True, slots=True)
class _Family:
    name: str
    limit: str
    remaining: str
    reset: str
    per_route: bool = False


_FAMILIES = (
    _Family("global", "X-Ratelimit-Global-Limit", "X-Ratelimit-Global-Remaining", _RESET),
    _Family("route", "X-Ratelimit-Route-Limit", "X-Ratelimit-Route-Remaining", _RESET, True),
    _Family(
        "auth_token",
        "X-Ratelimit-Auth-Token-Limit",
        "X-Ratelimit-Auth-Token-Remaining",
        "X-Ratelimit-Auth-Token-Reset",
    ),
)


class Pacing:
    """The gate in front of every request. Made once per process.

    Args:
        budget_share: Part of each rate window that ldsync may use, above 0 and at most 1. What
            others used counts too: ldsync yields to them.
        rng: Source of jitter.

    Attributes:
        open_at: Monotonic seconds before which no write may start.
        reason: Why the gate was closed last, for logs and the status page; empty if it never was.
        remaining: Requests left by family (`global`, `route`, `auth_token`), as last announced.
    """

    __slots__ = (
        "_held_until",
        "_most",
        "_rng",
        "_share",
        "_strikes",
        "_until",
        "rate_open_at",
        "reason",
        "remaining",
    )

    def __init__(self, *, budget_share: float, rng: random.Random) -> None:
        self.rate_open_at = 0.0
        self._held_until = 0.0
        self.reason = ""
        self.remaining: dict[str, float] = {}
        self._share = budget_share
        self._rng = rng
        self._until = 0.0  # open_at without jitter
        self._strikes = 0
        # (family, route) -> (window, most that was seen remaining in it)
        self._most: dict[tuple[str, str], tuple[str, float]] = {}

    @property
    def open_at(self) -> float:
        """Monotonic seconds before which no write may start."""
        return max(self.rate_open_at, self._held_until)

    def observe(
        self, headers: Mapping[str, str], status: int, route: str, now: float, wall_ms: float
    ) -> bool:
        """Learn from a reply.

        Args:
            headers: Of the reply; looked up without regard to case.
            status: Of the reply.
            route: Method and URL pattern: one family of limits is counted by them.
            now: Monotonic seconds.
            wall_ms: Epoch milliseconds, which resets are given in.

        Returns:
            Whether this reply closed the gate, or keeps it closed for longer.
        """
        scarce = [family for family in _FAMILIES if self._is_scarce(family, headers, route)]
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            return self._refused(headers, now, wall_ms)
        if now >= self.open_at:
            self._strikes = 0
        closed = False
        for family in scarce:
            wait = _until_reset(headers.get(family.reset), wall_ms) or _SLOW_DOWN_BLIND
            reason = f"the share of the {family.name} rate window is used up"
            closed |= self._close(now, wait, reason, min(wait, _SLOW_DOWN_JITTER_MAX))
        return closed

    def close_until(self, t: float, reason: str) -> None:
        """Hold all writes until `t` (monotonic seconds), or until `release`: a person must act."""
        if t > self.open_at:
            self._held_until = t
            self.reason = reason

    def release(self) -> None:
        """End what `close_until` began; rate limits go on."""
        self._held_until = 0.0

    def _refused(self, headers: Mapping[str, str], now: float, wall_ms: float) -> bool:
        """A 429: wait for the latest moment it names, else longer each time."""
        waits = [retry_after(headers)]
        waits += [_until_reset(headers.get(name), wall_ms) for name in {f.reset for f in _FAMILIES}]
        wait = max(waits)
        if not wait:
            if now < self.rate_open_at:  # one of several in flight: they are refused as one
                return False
            wait = min(_BACKOFF_MAX, _BACKOFF_INITIAL * 2**self._strikes)
            self._strikes = min(self._strikes + 1, 16)
        return self._close(now, wait, "rate limited by LaunchDarkly", wait)

    def _is_scarce(self, family: _Family, headers: Mapping[str, str], route: str) -> bool:
        """Whether what may be used of the family's window is used, by whomever."""
        remaining = _number(headers.get(family.remaining))
        if remaining is None:
            return False
        self.remaining[family.name] = remaining
        limit = _number(headers.get(family.limit))
        if limit is None:  # not told: the most seen in this window is the best guess
            window = headers.get(family.reset) or ""
            key = (family.name, route if family.per_route else "")
            known, most = self._most.get(key, ("", 0.0))
            limit = max(remaining, most) if window == known else remaining
            self._most[key] = (window, limit)
        return limit - remaining >= self._share * limit

    def _close(self, now: float, wait: float, reason: str, jitter: float) -> bool:
        until = now + min(wait, MAX_CLOSED)
        if until <= self._until + _SAME_MOMENT:
            return False
        self._until = until
        spread = self._rng.uniform(0.0, max(_JITTER_MIN, jitter))
        opens = min(until + spread, now + MAX_CLOSED)
        if opens <= self.rate_open_at:
            return False
        self.rate_open_at, self.reason = opens, reason
        return True


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that `Retry-After` asks to wait, at most `MAX_CLOSED`; 0 if it does not say."""
    return min(MAX_CLOSED, max(0.0, _number(headers.get("Retry-After")) or 0.0))


def _until_reset(reset: str | None, wall_ms: float) -> float:
    """Seconds until a reset (epoch milliseconds); 0 if it is missing, past or not to be believed.

    Real clients have slept negative times, and so not at all, over this header.
    """
    wait = ((_number(reset) or 0.0) - wall_ms) / 1000.0
    return wait if 0.0 < wait <= MAX_CLOSED else 0.0


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None
