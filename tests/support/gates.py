"""Gates before the steps of an attempt: mark, write and read again, of several replicas at once.

A replica stops before each step until it is let through, so that a test decides in which order
steps of several replicas happen, without any sleep.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

from ldsync.launchdarkly.outcome import Outcome
from ldsync.sync.change import Segment
from ldsync.versions.base import StoreState, Versions

T = TypeVar("T")
LIMIT = 20.0

MARK, WRITE, READ_AGAIN = "mark", "write", "read again"


class Gates:
    """Where replicas wait. `passed` has the steps that were finished, in order, as (who, step).

    Once `open` is set nobody stops any more.
    """

    def __init__(self) -> None:
        self.open = False
        self.passed: list[tuple[str, str]] = []
        self._held: dict[str, tuple[str, asyncio.Future[None]]] = {}
        self._news = asyncio.Event()

    async def step(self, who: str, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do something as soon as `who` is let through."""
        if not self.open:
            gate = asyncio.get_running_loop().create_future()
            self._held[who] = (name, gate)
            self._news.set()
            try:
                await gate
            finally:
                self._held.pop(who, None)
        try:
            return await work()
        finally:
            self.passed.append((who, name))
            self._news.set()

    def held(self, who: str) -> str:
        """The step that `who` waits to do; empty if it waits for none."""
        return self._held[who][0] if who in self._held else ""

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until something holds that changes at gates."""
        async with asyncio.timeout(LIMIT):
            while not holds():
                self._news.clear()
                await self._news.wait()

    async def advance(self, who: str) -> str:
        """Let `who` do one step, as soon as it comes to one; return which, when done."""
        await self.until(lambda: self.held(who))
        done = len(self.passed)
        name = self.held(who)
        self._held.pop(who)[1].set_result(None)
        await self.until(lambda: (who, name) in self.passed[done:])
        return name

    def look_again(self) -> None:
        """Have those who wait for something look whether it has come."""
        self._news.set()

    def let_all_go(self) -> None:
        """Open all gates for ever."""
        self.open = True
        for _, gate in self._held.values():
            gate.set_result(None)
        self._held.clear()


class GatedVersions:
    """A version store that is asked at gates."""

    def __init__(self, versions: Versions, gates: Gates, who: str) -> None:
        self._versions = versions
        self._gates = gates
        self._who = who
        self.shared = versions.shared

    @property
    def state(self) -> StoreState:
        """As the store says."""
        return self._versions.state

    @property
    def losses(self) -> int:
        """As the store says."""
        return self._versions.losses

    @property
    def problem(self) -> str:
        """As the store says."""
        return self._versions.problem

    @property
    def entries(self) -> float:
        """As the store says."""
        return self._versions.entries

    def horizon(self, now: float) -> float:
        """As the store says."""
        return self._versions.horizon(now)

    async def merge(self, segment: Segment, changes: dict[str, str], now: float) -> set[str]:
        """Behind a gate."""
        return await self._gates.step(
            self._who, MARK, lambda: self._versions.merge(segment, changes, now)
        )

    async def confirm(self, segment: Segment, changes: dict[str, str]) -> Collection[str]:
        """Behind a gate."""
        return await self._gates.step(
            self._who, READ_AGAIN, lambda: self._versions.confirm(segment, changes)
        )

    async def known(self, segment: Segment, members: Iterable[str]) -> dict[str, str]:
        """At once."""
        return await self._versions.known(segment, members)

    async def note(self, segment: Segment, changes: Mapping[str, str], now: float) -> None:
        """At once."""
        await self._versions.note(segment, changes, now)

    async def mark_warm(self, reach: float | None, now: float, **partitions: Any) -> None:
        """At once."""
        await self._versions.mark_warm(reach, now, **partitions)

    async def watch(self) -> None:
        """As the store does."""
        await self._versions.watch()

    async def close(self) -> None:
        """At once."""
        await self._versions.close()


class GatedWriter:
    """A writer that writes at gates."""

    def __init__(self, writer: Any, gates: Gates, who: str) -> None:
        self._writer = writer
        self._gates = gates
        self._who = who

    async def write(self, segment: Segment, changes: Mapping[str, str]) -> Outcome:
        """Behind a gate."""
        return await self._gates.step(
            self._who, WRITE, lambda: self._writer.write(segment, changes)
        )
