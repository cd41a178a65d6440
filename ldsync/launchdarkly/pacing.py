"""When the next request may start: LaunchDarkly's rate limits, as its replies announce them.

The limits are not published; the headers are the contract (launchdarkly-api contract 1.5). Every
scope that they name has a window of its own (`rate_window`): the account, each route, the token.
The address has only a `Retry-After`. A request waits for all that concern it, and for a place among
the requests on their way (`concurrency`). Pure: the time is given, nothing sleeps here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from ldsync.launchdarkly.concurrency import Concurrency
from ldsync.launchdarkly.rate_window import RateWindow, Reset
from ldsync.launchdarkly.server_clock import ServerClock

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    from ldsync.sync.lease import Lease

#: The longest the gate stays closed without a new reply, in seconds. A reset farther away than that
#: is not believed: windows last 10 seconds.
MAX_CLOSED: Final = 900.0

# After a 429 without a usable time: exponential, in seconds.
_BACKOFF_INITIAL: Final = 1.0
_BACKOFF_MAX: Final = 60.0
_JITTER_MIN: Final = 0.3

# Several requests in flight are refused as one, each seen a little earlier or later (seconds).
_SAME_MOMENT: Final = 0.5

_REFUSED: Final = "rate limited by LaunchDarkly"


@dataclass(frozen=True, slots=True)
class _Family:
    name: str
    prefix: str
    reset: str = "X-Ratelimit-Reset"


_FAMILIES: Final = (
    _Family("global", "X-Ratelimit-Global"),
    _Family("route", "X-Ratelimit-Route"),
    _Family("auth_token", "X-Ratelimit-Auth-Token", "X-Ratelimit-Auth-Token-Reset"),
)


@dataclass(frozen=True, slots=True)
class Turn:
    """A request that was let through.

    Attributes:
        began: Monotonic seconds.
        windows: What it draws on.
    """

    began: float
    windows: tuple[RateWindow, ...]


class Pacing:
    """The gate in front of every request. Made once per process.

    Args:
        budget_share: Part of each rate window that ldsync may use, above 0 and at most 1. What
            others used counts too: ldsync yields to them.
        rng: Source of jitter.
        max_in_flight: The most requests at a time.
        lease: While it does not hold only what asks may begin (R4); None if there is no group.

    Attributes:
        reason: Why the gate was closed last, for logs and the status page; empty if it never was.
        concurrency: The requests on their way.
        clock: LaunchDarkly's.
        latest: What was announced last, by family (`global`, `route`, `auth_token`).
    """

    __slots__ = (
        "_closed_until",
        "_held_until",
        "_lease",
        "_rng",
        "_routes",
        "_share",
        "_shared",
        "_strikes",
        "_struck_until",
        "clock",
        "concurrency",
        "latest",
        "reason",
    )

    def __init__(
        self,
        *,
        budget_share: float,
        rng: random.Random,
        max_in_flight: int = 1_000,
        lease: Lease | None = None,
    ) -> None:
        self._lease = lease
        self.reason = ""
        self.concurrency = Concurrency(max_in_flight)
        self.clock = ServerClock()
        self.latest: dict[str, RateWindow] = {}
        self._share = budget_share
        self._rng = rng
        self._shared = {"global": RateWindow(budget_share), "auth_token": RateWindow(budget_share)}
        self._routes: dict[str, RateWindow] = {}
        self._closed_until = 0.0  # everything: the address, or nobody said what
        self._struck_until = 0.0  # the same without jitter
        self._held_until = 0.0
        self._strikes = 0

    @property
    def open_at(self) -> float:
        """Monotonic seconds before which no members may be written.

        Of the routes only those count that members are written through: looking segments up and
        creating them have limits of their own.
        """
        closed = [self._closed_until, self._held_until]
        closed += [window.closed_until for window in self._shared.values()]
        closed += [w.closed_until for route, w in self._routes.items() if _writes_members(route)]
        return max(closed)

    def wait(self, route: str, now: float, *, urgent: bool = False) -> float:
        """Seconds until a request may begin; ask again then, or when another one ended.

        Args:
            route: Method and URL pattern: one family of limits is counted by them.
            now: Monotonic seconds.
            urgent: Whether it may begin although writes are held and places are taken.

        Returns:
            0 for at once; infinite if one of those on their way must end first.
        """
        closed = self._closed_until if urgent else max(self._closed_until, self._held_until)
        waits = [window.wait(now) for window in self._windows(route)]
        waits.append(max(0.0, closed - now))
        if not urgent and self.concurrency.in_flight >= self.concurrency.limit:
            waits.append(math.inf)
        return max(waits)

    def closed_until(self, route: str) -> float:
        """Monotonic seconds before which no request may begin, whoever else ends before."""
        windows = self._windows(route)
        closed = (window.closed_until for window in windows)
        return max(self._closed_until, self._held_until, *closed)

    def may_begin(self, route: str, now: float) -> bool:
        """Look at the lease (R4), last of all.

        A batch may have been taken long ago, or be on its third request: what counts is the moment
        at which a request goes out. What only asks does no harm.
        """
        return self._lease is None or route.startswith("GET ") or self._lease.holds(now)

    def begin(self, route: str, now: float) -> Turn:
        """A request begins; `end` must follow."""
        self.concurrency.in_flight += 1
        windows = self._windows(route)
        for window in windows:
            window.begin(now, self._rng)
        return Turn(now, windows)

    def end(self, turn: Turn, now: float, status: int | None) -> None:
        """A request ended.

        Args:
            turn: What `begin` gave.
            now: Monotonic seconds.
            status: HTTP status of the reply; None if there was none.
        """
        self.concurrency.in_flight -= 1
        for window in turn.windows:
            window.end(answered=status is not None)
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            self.concurrency.overloaded(now)
        elif status is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self.concurrency.overloaded(now, turn.began)
        else:
            self.concurrency.succeeded(now)

    def observe(
        self,
        headers: Mapping[str, str],
        status: int,
        route: str,
        now: float,
        wall_ms: float,
        took: float = 0.0,
    ) -> bool:
        """Learn from a reply.

        Args:
            headers: Of the reply; looked up without regard to case.
            status: Of the reply.
            route: Method and URL pattern.
            now: Monotonic seconds.
            wall_ms: Epoch milliseconds of the local clock.
            took: Seconds since the request began.

        Returns:
            Whether this reply closed a gate, or keeps it closed for longer.
        """
        self.clock.observe(headers, wall_ms, took * 1000.0)
        server_ms = wall_ms + self.clock.ahead_ms
        closed = exhausted = False
        for family in _FAMILIES:
            remaining = _number(headers.get(f"{family.prefix}-Remaining"))
            if remaining is None:
                continue
            window = self._shared.get(family.name) or self._route(route)
            if self._announced(window, family, remaining, headers, now, server_ms):
                closed = True
                self.reason = f"the share of the {family.name} rate window is used up"
            until_reset = window.reset_ms is not None and window.closed_until > now
            exhausted |= remaining < 1.0 and until_reset
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            self.reason = _REFUSED
            return self._refused(headers, now, server_ms, explained=exhausted) or closed
        if now >= self._closed_until:
            self._strikes = 0
        return closed

    def close_until(self, t: float, reason: str) -> None:
        """Hold all writes until `t` (monotonic seconds), or until `release`: a person must act."""
        if t > self.open_at:
            self._held_until = t
            self.reason = reason

    def release(self) -> None:
        """End what `close_until` began; rate limits go on."""
        self._held_until = 0.0

    def renew_token(self) -> None:
        """There is a new token: the limits of the old one are not its own."""
        self._shared["auth_token"] = RateWindow(self._share)
        self.release()

    def _announced(
        self,
        window: RateWindow,
        family: _Family,
        remaining: float,
        headers: Mapping[str, str],
        now: float,
        server_ms: float,
    ) -> bool:
        """Give a window what a reply says of it; True if it is closed by that."""
        limit = _number(headers.get(f"{family.prefix}-Limit"))
        ms = _number(headers.get(family.reset))
        reset = None
        if ms is not None:
            seconds = (ms - server_ms) / 1000.0
            reset = Reset(ms, seconds, believed=0.0 < seconds <= MAX_CLOSED)
        self.latest[family.name] = window
        return window.announce(max(0.0, remaining), limit, reset, now, self._rng)

    def _refused(
        self, headers: Mapping[str, str], now: float, server_ms: float, *, explained: bool
    ) -> bool:
        """A 429. Where a window is empty that is closed already; else everything waits.

        For the latest moment that the reply names, or longer each time if it names none.
        """
        asked = retry_after(headers)
        if explained and not asked:
            return False
        resets = [_number(headers.get(name)) for name in {family.reset for family in _FAMILIES}]
        waits = [(reset - server_ms) / 1000.0 for reset in resets if reset is not None]
        wait = max([asked, *(each for each in waits if each <= MAX_CLOSED)])
        if wait <= 0.0:
            if now < self._closed_until:  # one of several in flight: they are refused as one
                return False
            wait = min(_BACKOFF_MAX, _BACKOFF_INITIAL * 2**self._strikes)
            self._strikes = min(self._strikes + 1, 16)
        if now + wait <= self._struck_until + _SAME_MOMENT:
            return False
        self._struck_until = now + wait
        jitter = self._rng.uniform(0.0, max(_JITTER_MIN, wait))
        self._closed_until = max(self._closed_until, min(now + wait + jitter, now + MAX_CLOSED))
        return True

    def _route(self, route: str) -> RateWindow:
        window = self._routes.get(route)
        if window is None:
            window = self._routes[route] = RateWindow(self._share)
        return window

    def _windows(self, route: str) -> tuple[RateWindow, ...]:
        return (*self._shared.values(), self._route(route))


def _writes_members(route: str) -> bool:
    return not route.startswith("GET ") and not route.endswith("/{environmentKey}")


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that `Retry-After` asks to wait, at most `MAX_CLOSED`; 0 if it does not say."""
    return min(MAX_CLOSED, max(0.0, _number(headers.get("Retry-After")) or 0.0))


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None
