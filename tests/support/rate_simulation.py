"""Processes that share rate windows, in virtual time: ten minutes take a second.

The server counts as LaunchDarkly's documentation says (launchdarkly-api contract 1.5), and shares
no code with what it judges. Processes know of each other only what the replies show.
"""

import heapq
import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import partial
from itertools import count

from ldsync.launchdarkly.pacing import Pacing, Turn

ROUTE = "PATCH /api/v2/segments/{projectKey}/{environmentKey}/{segmentKey}"
EPOCH = 1_795_104_000.0  # epoch seconds at the virtual time 0


@dataclass(slots=True)
class Family:
    """A budget as the server keeps it.

    Attributes:
        prefix: Of its headers.
        reset: Name of its reset header.
        seconds: Length of a window.
        phase: Seconds by which its windows begin later.
        limits: Requests in a window; the windows take them in turn.
        announced: Whether the limit has a header.
        used: Requests let in, by the number of the window.
    """

    prefix: str
    reset: str
    seconds: float
    phase: float
    limits: tuple[int, ...]
    announced: bool
    used: Counter[int] = field(default_factory=Counter)

    def window(self, now: float) -> int:
        """The number of the present window."""
        return math.floor((now - self.phase) / self.seconds)

    def limit(self, window: int) -> int:
        """How many requests a window allows."""
        return self.limits[window % len(self.limits)]

    def left(self, now: float) -> int:
        """How many requests the present window still allows."""
        window = self.window(now)
        return self.limit(window) - self.used[window]

    def headers(self, now: float) -> dict[str, str]:
        """What a reply says of it."""
        window = self.window(now)
        ends = (window + 1) * self.seconds + self.phase
        said = {
            f"{self.prefix}-Remaining": str(self.left(now)),
            self.reset: str(math.ceil((EPOCH + ends) * 1000)),
        }
        if self.announced:
            said[f"{self.prefix}-Limit"] = str(self.limit(window))
        return said

    def share_used(self, share: float, seconds: float) -> float:
        """Of what the share allows in all windows that were whole, which part was used."""
        whole = range(1, self.window(seconds))
        allowed = sum(max(1, math.floor(share * self.limit(window))) for window in whole)
        return sum(self.used[window] for window in whole) / allowed


def random_families(rng: random.Random, fewest: int, most: int) -> list[Family]:
    """One to three families; the two that share a reset header share its windows."""
    seconds = rng.choice([10.0, 10.0, 5.0, 20.0])
    phase = rng.uniform(0.0, seconds)
    made = []
    for name in rng.sample(["Global", "Route", "Auth-Token"], rng.randint(1, 3)):
        own = name == "Auth-Token"
        told = rng.random() < 0.6
        size = rng.uniform(fewest, most)
        limits = tuple(max(1, round(size * rng.uniform(0.7, 1.3))) for _ in range(4))
        made.append(
            Family(
                f"X-Ratelimit-{name}",
                "X-Ratelimit-Auth-Token-Reset" if own else "X-Ratelimit-Reset",
                seconds,
                rng.uniform(0.0, seconds) if own else phase,
                limits if told and rng.random() < 0.5 else limits[:1],
                announced=told,
            )
        )
    return made


@dataclass(slots=True)
class Process:
    """One ldsync that always has something to write.

    Attributes:
        pacing: Its gate.
        skew: Seconds by which its clock is ahead of the server's.
        slots: Writes that it makes at a time.
        busy: Of these, how many are on their way.
        wakes_at: When it looks again by itself.
    """

    pacing: Pacing
    skew: float
    slots: int
    busy: int = 0
    wakes_at: float = math.inf


class Simulation:
    """A server and its processes.

    Attributes:
        accepted: Requests that were let in.
        refused: Requests that were answered 429.
        arrivals: When they arrived, in order.
    """

    def __init__(
        self,
        families: list[Family],
        *,
        processes: int,
        share: float,
        seed: int,
        slots: int = 8,
        latency: tuple[float, float] = (0.02, 0.08),
        skew: float = 0.0,
    ) -> None:
        self._rng = random.Random(seed)
        self._families = families
        self._latency = latency
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = count()
        self._processes = [
            Process(
                Pacing(
                    budget_share=share,
                    rng=random.Random(self._rng.random()),
                    max_in_flight=slots,
                ),
                self._rng.uniform(-skew, skew),
                slots,
            )
            for _ in range(processes)
        ]
        self.accepted = self.refused = 0
        self.arrivals: list[float] = []

    @property
    def refused_share(self) -> float:
        """The part of all requests that was answered 429."""
        return self.refused / (self.accepted + self.refused)

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        for process in self._processes:
            self._at(self._rng.uniform(0.0, 1.0), partial(self._send, process))
        while self._events and self._events[0][0] <= seconds:
            now, _, happen = heapq.heappop(self._events)
            happen(now)

    def _at(self, moment: float, happen: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._order), happen))

    def _send(self, process: Process, now: float) -> None:
        """Begin as many requests as there are slots and the gate allows."""
        if now >= process.wakes_at:
            process.wakes_at = math.inf
        pacing = process.pacing
        while process.busy < process.slots:
            wait = pacing.wait(ROUTE, now)
            if wait > 0.0:
                self._wake(process, now + wait)
                return
            process.busy += 1
            self._travel(process, pacing.begin(ROUTE, now), now)

    def _wake(self, process: Process, moment: float) -> None:
        if moment < process.wakes_at and math.isfinite(moment):
            process.wakes_at = moment
            self._at(moment, lambda now: self._send(process, now))

    def _travel(self, process: Process, turn: Turn, began: float) -> None:
        def arrive(now: float) -> None:
            self.arrivals.append(now)
            let_in = all(family.left(now) > 0 for family in self._families)
            if let_in:
                self.accepted += 1
                for family in self._families:
                    family.used[family.window(now)] += 1
            else:
                self.refused += 1
            headers = {"Date": formatdate(EPOCH + now, usegmt=True)}
            for family in self._families:
                headers |= family.headers(now)
            self._at(
                now + self._rng.uniform(*self._latency),
                lambda then: answer(then, headers, 200 if let_in else 429),
            )

        def answer(now: float, headers: dict[str, str], status: int) -> None:
            wall_ms = (EPOCH + now + process.skew) * 1000.0
            process.pacing.observe(headers, status, ROUTE, now, wall_ms, now - began)
            process.pacing.end(turn, now, status)
            process.busy -= 1
            self._send(process, now)

        self._at(began + self._rng.uniform(*self._latency), arrive)
