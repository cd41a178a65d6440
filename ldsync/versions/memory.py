"""The version store in memory: for one replica, or topics where a member has one partition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldsync.sync.change import supersedes
from ldsync.versions.base import StoreState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from ldsync.sync.change import Segment


class MemoryVersions:
    """Remembers the newest stamps of the members that were written or waited last.

    Two generations of half the capacity each: when the young one is full it becomes the old one,
    and what was only in the old one is forgotten. A whole batch is compared and noted by dictionary
    and set operations, because a step per change would cost more than decoding it.
    """

    shared = False
    losses = 0
    state = StoreState.UP
    problem = ""

    def __init__(self, max_entries: int, now: float) -> None:
        """Remember up to `max_entries` members and a batch; `now` in monotonic seconds."""
        self._half = max(1, max_entries // 2)
        self._young: dict[Segment, dict[str, str]] = {}
        self._old: dict[Segment, dict[str, str]] = {}
        self._young_count = 0
        self._old_count = 0
        self._known_since = now
        # Of all that came later than this nothing is forgotten yet.
        self._latest = self._young_since = self._old_since = float("-inf")

    @property
    def entries(self) -> float:
        """How many entries are remembered."""
        return self._young_count + self._old_count

    def horizon(self, now: float) -> float:
        """Return how far back, in seconds, all that happened is still remembered."""
        return now - max(self._known_since, self._old_since)

    async def note(self, segment: Segment, changes: Mapping[str, str], now: float) -> None:
        """Note changes that are not to be written, unless something newer is known.

        Such as history (R5). `now` is when the last of them came, in monotonic seconds; of history
        that was long ago. A coroutine, because a shared store writes.
        """
        await self.merge(segment, dict(changes), now)

    async def mark_warm(self, reach: float | None, now: float, **_partitions: object) -> None:
        """Take note that history was noted from `reach` seconds ago on, without a gap."""
        if reach is not None:
            self._known_since = now - reach

    async def merge(self, segment: Segment, changes: dict[str, str], now: float) -> set[str]:
        """Replace each change by the newest known of its member, in place, and note them all (R6).

        Nothing is dropped for being old: the newest known value is written (again) instead. Returns
        the members whose change was older than what was known.
        """
        stale = set()
        # Young first: what it knows of a member is never older than what the old one knows.
        for generation in (self._young, self._old):
            known = generation.get(segment)
            if known is None:
                continue
            for member in known.keys() & changes.keys():
                if not supersedes(changes[member], known[member]):
                    changes[member] = known[member]
                    stale.add(member)
        self._note(segment, changes, now)
        return stale

    async def confirm(self, _segment: Segment, _changes: dict[str, str]) -> Collection[str]:
        """Nobody else notes anything here, and a member is in one write at a time (P4)."""
        return ()

    async def known(self, segment: Segment, members: Iterable[str]) -> dict[str, str]:
        """Return the newest stamps of members, as far as they are known; note nothing."""
        young, old = self._young.get(segment, {}), self._old.get(segment, {})
        # What the young one knows of a member is never older.
        found = ((member, young.get(member) or old.get(member)) for member in members)
        return {member: stamp for member, stamp in found if stamp is not None}

    async def watch(self) -> None:
        """There is nothing to watch."""

    async def close(self) -> None:
        """There is nothing to close."""

    def _note(self, segment: Segment, changes: dict[str, str], now: float) -> None:
        self._latest = max(self._latest, now)
        known = self._young.get(segment)
        if known is None:
            known = self._young[segment] = {}
        before = len(known)
        known.update(changes)
        self._young_count += len(known) - before
        if self._young_count >= self._half:
            self._old, self._old_count = self._young, self._young_count
            self._young, self._young_count = {}, 0
            self._old_since, self._young_since = self._young_since, self._latest
