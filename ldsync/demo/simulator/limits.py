"""Rate limits: counts per window for the account, each route and each token, and their headers."""

import math
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Limits:
    """Calls allowed per window; None means that the family is not applied and has no headers.

    LaunchDarkly publishes no numbers. The defaults are out of the way of a demo, and still
    announced in every reply.

    Attributes:
        window_seconds: Length of a window.
        account: All calls of all tokens (`X-Ratelimit-Global-*`).
        route: Calls of one operation (`X-Ratelimit-Route-*`).
        token: Calls of one token (`X-Ratelimit-Auth-Token-*`, with a reset header of its own).
        address: Calls from one client address (`Retry-After`, only when exceeded).
    """

    window_seconds: float = 10.0
    account: int | None = 100_000
    route: int | None = 50_000
    token: int | None = 100_000
    address: int | None = None

    def __post_init__(self) -> None:
        if self.window_seconds <= 0:
            raise ValueError("window_seconds must be positive")


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a call is let in, and the headers its reply carries either way."""

    admitted: bool
    headers: dict[str, str]


@dataclass(slots=True)
class RateWindows:
    """Counts calls in fixed windows of the wall clock (launchdarkly-api contract 1.5)."""

    limits: Limits = field(default_factory=Limits)
    _window: int = -1
    _counts: dict[str, int] = field(default_factory=dict, repr=False)  # names tokens

    def admit(self, route: str, token: str, address: str, now: float) -> Admission:
        """Count a call, unless a family has no room left: then it is refused and not counted.

        Args:
            route: Name of the operation.
            token: The caller's token.
            address: The caller's network address.
            now: Wall clock, seconds since the epoch.
        """
        limits = self.limits
        window = math.floor(now / limits.window_seconds)
        if window != self._window:
            self._window, self._counts = window, {}
        families = {
            "account": (limits.account, "account"),
            "route": (limits.route, f"route {route}"),
            "token": (limits.token, f"token {token}"),
            "address": (limits.address, f"address {address}"),
        }
        counted = {
            family: (limit, place)
            for family, (limit, place) in families.items()
            if limit is not None
        }
        full = {
            family
            for family, (limit, place) in counted.items()
            if self._counts.get(place, 0) >= limit
        }
        if not full:
            for _, place in counted.values():
                self._counts[place] = self._counts.get(place, 0) + 1
        left = {
            family: max(limit - self._counts.get(place, 0), 0)
            for family, (limit, place) in counted.items()
        }
        reset = (window + 1) * limits.window_seconds
        headers = self._headers(left, reset)
        if "address" in full:
            headers["Retry-After"] = str(math.ceil(reset - now))
        return Admission(not full, headers)

    def _headers(self, left: dict[str, int], reset: float) -> dict[str, str]:
        reset_ms = str(math.ceil(reset * 1000))
        names = {"account": "Global", "route": "Route", "token": "Auth-Token"}
        allowed = {
            "account": self.limits.account,
            "route": self.limits.route,
            "token": self.limits.token,
        }
        headers: dict[str, str] = {}
        for family, name in names.items():
            if family not in left:
                continue
            headers[f"X-Ratelimit-{name}-Limit"] = str(allowed[family])
            headers[f"X-Ratelimit-{name}-Remaining"] = str(left[family])
            own = "X-Ratelimit-Auth-Token-Reset" if family == "token" else "X-Ratelimit-Reset"
            headers[own] = reset_ms
        return headers
