"""Everything that was asked of the simulator, when, and what became of it.

The journal is what tests judge a writer by: whether a member was ever in two writes at once,
whether a segment ever had two patches in flight, in which order writes took effect. Times are
monotonic seconds of the simulator's process.
"""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from ldsync.demo.simulator.calls import Write
from ldsync.demo.simulator.membership import Action

#: Member writes kept by default: some 100 MB at the most.
DEFAULT_CAP = 500_000


class Ending(StrEnum):
    """How an exchange ended for the client."""

    OPEN = "open"  # not yet
    ANSWERED = "answered"
    RESET = "reset"  # the simulator broke the connection
    ABANDONED = "abandoned"  # the client gave up


@dataclass(slots=True, eq=False)
class Exchange:
    """One request, from its arrival to its end; it is filled in while it goes on.

    Attributes:
        sequence: Order of arrival, from 1.
        route: Name of the operation, for example `patch_segment`.
        method: HTTP verb.
        path: Path as sent, without the query.
        query: The query as sent, or "".
        headers: Request headers in lower case, without the token.
        arrived: When the request's head was read.
        writes: What the request would write, segment by segment.
        size: Bytes of the request body.
        body: The request body, if the journal keeps bodies.
        applied: When its effect took place, or None.
        order: Its place among all requests that took effect, from 1, or None.
        late: Whether that was after the answer, by a fault of the kind "late".
        status: Status of the answer, if there was one.
        ended: When the answer was sent, the connection broken, or the client's giving up noticed.
        ending: Which of these it was.
        fault: Number of the fault that befell it, or None.
    """

    sequence: int
    route: str
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    arrived: float
    writes: tuple[Write, ...] = ()
    size: int = 0
    body: bytes | None = None
    applied: float | None = None
    order: int | None = None
    late: bool = False
    status: int | None = None
    ended: float | None = None
    ending: Ending = Ending.OPEN
    fault: int | None = None

    @property
    def segment(self) -> str | None:
        """Key of the segment it is about (the first, where there are several)."""
        return self.writes[0].segment if self.writes else None

    @property
    def members(self) -> int:
        """How many member writes it carries."""
        return sum(len(change.keys) for write in self.writes for change in write.changes)

    def summary(self) -> dict[str, object]:
        """It as a JSON object, its members grouped as they came."""
        return {
            "sequence": self.sequence,
            "route": self.route,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "arrived": self.arrived,
            "applied": self.applied,
            "order": self.order,
            "late": self.late,
            "status": self.status,
            "ended": self.ended,
            "ending": self.ending.value,
            "fault": self.fault,
            "size": self.size,
            "writes": [
                {
                    "segment": write.segment,
                    "changes": [
                        {"action": change.action, "kind": change.kind, "keys": list(change.keys)}
                        for change in write.changes
                    ],
                }
                for write in self.writes
            ],
        }


class MemberWrite(NamedTuple):
    """One member in one write."""

    segment: str
    kind: str
    key: str
    action: Action
    exchange: Exchange


@dataclass(slots=True)
class Journal:
    """The exchanges, oldest first; the newest are kept when the cap is reached.

    Attributes:
        cap: Member writes to keep (an exchange without any counts as one).
        keep_bodies: Whether to keep request bodies, for tests that look at them.
        exchanges: What is kept.
        dropped: Exchanges that are not kept any more.
        clock: Monotonic seconds.
        wall_offset: What to add to a time of the journal to get seconds since the epoch.
    """

    cap: int = DEFAULT_CAP
    keep_bodies: bool = False
    clock: Callable[[], float] = time.monotonic
    wall_offset: float = field(default_factory=lambda: time.time() - time.monotonic())
    exchanges: deque[Exchange] = field(default_factory=deque)
    dropped: int = 0
    _weight: int = 0
    _sequence: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _order: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def open(
        self, route: str, method: str, path: str, query: str, headers: Mapping[str, str]
    ) -> Exchange:
        """Note the arrival of a request."""
        arrived, sequence = self.clock(), next(self._sequence)
        exchange = Exchange(sequence, route, method, path, query, headers, arrived)
        self.exchanges.append(exchange)
        self._weigh(1)
        return exchange

    def describe(self, exchange: Exchange, body: bytes, writes: tuple[Write, ...]) -> None:
        """Note what a request says."""
        exchange.size, exchange.writes = len(body), writes
        if self.keep_bodies:
            exchange.body = body
        if self.exchanges and exchange.sequence >= self.exchanges[0].sequence:
            self._weigh(max(exchange.members - 1, 0))

    def apply(self, exchange: Exchange, *, late: bool) -> None:
        """Note that a request took effect."""
        exchange.applied, exchange.order, exchange.late = self.clock(), next(self._order), late
        self._notify()

    def end(self, exchange: Exchange, ending: Ending, status: int | None = None) -> None:
        """Note how a request ended for the client."""
        exchange.ended, exchange.ending, exchange.status = self.clock(), ending, status
        self._notify()

    def clear(self) -> None:
        """Forget what was kept."""
        self.exchanges.clear()
        self.dropped = self._weight = 0

    def writes(self, segment: str | None = None, key: str | None = None) -> Iterator[MemberWrite]:
        """Every member of every write, in order of arrival, applied or not."""
        for exchange in self.exchanges:
            for write in exchange.writes:
                if segment is not None and write.segment != segment:
                    continue
                for change in write.changes:
                    for each in change.keys if key is None else _only(key, change.keys):
                        yield MemberWrite(write.segment, change.kind, each, change.action, exchange)

    def patch_overlaps(self) -> list[tuple[Exchange, Exchange]]:
        """Pairs of patches of one segment of which the second arrived while the first was open.

        A standard segment must never have two in flight: P4. A writer that keeps to it gives [].
        """
        last: dict[str, Exchange] = {}
        overlaps = []
        for exchange in self.exchanges:
            if exchange.route != "patch_segment" or exchange.segment is None:
                continue
            before = last.get(exchange.path)
            if before is not None and _until(before.ended) > exchange.arrived:
                overlaps.append((before, exchange))
            if before is None or _until(exchange.ended) >= _until(before.ended):
                last[exchange.path] = exchange
        return overlaps

    def member_overlaps(self) -> list[tuple[MemberWrite, MemberWrite]]:
        """Pairs of writes of one member of which the second arrived before the first was over.

        Over is a write when it has ended for the client *and*, if it took effect at all, has taken
        it: a late application that lands after the next write of the same member arrived is a pair
        too (R1).
        """
        last: dict[tuple[str, ...], MemberWrite] = {}
        overlaps = []
        for write in self.writes():
            # The path tells segments of one key in two environments apart.
            place = (write.exchange.path, write.segment, write.kind, write.key)
            before = last.get(place)
            if before is not None and before.exchange is not write.exchange:
                if _over(before.exchange) > write.exchange.arrived:
                    overlaps.append((before, write))
                if _over(before.exchange) > _over(write.exchange):
                    continue
            last[place] = write
        return overlaps

    async def until(self, holds: Callable[[], bool], timeout: float = 10.0) -> None:
        """Wait until something holds; it is asked again whenever the journal changes.

        Raises:
            TimeoutError: It did not within `timeout` seconds.
        """
        async with asyncio.timeout(timeout):
            while not holds():
                await self._changed.wait()

    def _notify(self) -> None:
        # Whoever waits is woken by this event; the next change is told by the next one.
        self._changed.set()
        self._changed = asyncio.Event()

    def _weigh(self, weight: int) -> None:
        self._weight += weight
        while self._weight > self.cap and len(self.exchanges) > 1:
            self._weight -= max(self.exchanges.popleft().members, 1)
            self.dropped += 1
        self._notify()


def _only(key: str, keys: Iterable[str]) -> Iterable[str]:
    return (key,) if key in keys else ()


def _until(ended: float | None) -> float:
    return float("inf") if ended is None else ended


def _over(exchange: Exchange) -> float:
    return max(_until(exchange.ended), exchange.applied or 0.0)
