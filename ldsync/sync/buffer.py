"""The buffer: the newest change of every member, per segment, until LaunchDarkly has it.

Each segment has a lane. A lane keeps its changes in one dictionary in the order in which the
members came, divided into pages of at most what one request takes; a newer change of a member
replaces the older one in place. The front of a lane is taken as a batch when it is full or old
enough; a batch that could not be written is given back, and whatever came meanwhile wins.

Receipts are released in the order of pages, so that a change which sits in an earlier page than the
one that holds its record can never be passed by a commit (P1, R8).
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ldsync.sync.lane import Lane, size_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ldsync.sync.change import Change, Segment
    from ldsync.sync.ledger import Chunk
    from ldsync.sync.limits import Budget, Limits
    from ldsync.sync.page import Page

CHANGE_OVERHEAD_BYTES = 256
"""Memory of a buffered change beyond its member's text: stamp, two objects, a table entry."""

PAGE_OVERHEAD_BYTES = 512
LANE_OVERHEAD_BYTES = 1280
"""Memory of a page and of a lane beyond its changes: most of it where segments are many (P3)."""


class Trigger(StrEnum):
    """Why a batch was taken."""

    SIZE = "size"
    AGE = "age"
    DRAIN = "drain"


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Changes of one segment that are written together.

    `changes` maps members to stamps; `attempt` counts from 1 since the segment's last success.
    """

    segment: Segment
    changes: dict[str, str]
    trigger: Trigger
    attempt: int
    lane: Lane
    pages: tuple[Page, ...]
    epoch: int

    def waits(self) -> Iterator[tuple[int, int]]:
        """Yield pairs of a record time (epoch milliseconds) and how many changes came with it."""
        for page in self.pages:
            yield from page.waits()


class Buffer:
    """All lanes, when each is due, and the budget that they share."""

    def __init__(self, limits: Limits, budget: Budget) -> None:
        """Start empty."""
        self._limits = limits
        self._budget = budget
        self._lanes: dict[Segment, Lane] = {}
        self._due: list[tuple[float, int, Lane]] = []
        self._ticket = 0
        self._epoch = 0
        self._draining = False
        self._over = False
        self.in_flight = 0
        self.changes = 0
        self._text = 0
        self._pages = 0

    @property
    def bytes(self) -> int:
        """An estimate of the memory that the changes take, in bytes."""
        return (
            self._text
            + self.changes * CHANGE_OVERHEAD_BYTES
            + self._pages * PAGE_OVERHEAD_BYTES
            + len(self._lanes) * LANE_OVERHEAD_BYTES
        )

    @property
    def open_batches(self) -> int:
        """How many segments have changes that are waiting or in flight."""
        return len(self._lanes)

    @property
    def empty(self) -> bool:
        """Say whether no change is waiting or in flight."""
        return self.changes == 0

    def over_budget(self) -> bool:
        """Say whether consumption should pause, with hysteresis."""
        budget = self._budget
        share = budget.resume_ratio if self._over else 1.0
        self._over = (
            self.changes >= budget.max_changes * share or self.bytes >= budget.max_bytes * share
        )
        return self._over

    def add(self, changes: Iterable[Change], chunk: Chunk, now: float) -> int:
        """Take in changes from records of `chunk`; return how many records were thereby coalesced.

        The caller holds `chunk` meanwhile. Of two changes of a member the newer version stays; the
        record of the other one is settled with it (R8).
        """
        lanes = self._lanes
        max_size, max_bytes = self._limits.max_size, self._limits.max_bytes
        coalesced = added = text = 0
        for target, member, stamp in changes:
            segment = target.segment
            lane = lanes.get(segment)
            if lane is None:
                lane = lanes[segment] = Lane(segment)
            waiting = lane.changes
            known = waiting.get(member)
            if known is not None:
                # What `supersedes` says, without the call: this runs for every event.
                if stamp >= known or stamp[:-1] == known[:-1]:
                    waiting[member] = stamp
                lane.pages[-1].hold(chunk)
                coalesced += 1
                continue
            size = len(member) if member.isascii() else size_of(member)
            page = lane.open_page
            if page is None or page.size + size > max_bytes or not target.batch_events:
                page = lane.open(now, single=not target.batch_events)
                self._after(lane, now)
            if page.chunk is not chunk:
                page.hold(chunk)
            waiting[member] = stamp
            page.count += 1
            page.size += size
            added += 1
            text += size
            if page.count >= max_size or page.single:
                lane.close()
                self._after(lane, now)
        self.changes += added
        self._text += text
        return coalesced

    def next_deadline(self) -> float | None:
        """Return when the next batch is due (monotonic seconds), None while nothing waits."""
        due = self._due
        while due and due[0][2].deadline != due[0][0]:
            heapq.heappop(due)
        return due[0][0] if due else None

    def take(self, now: float) -> Batch | None:
        """Take the batch that has been due for longest, None if none is due.

        Members that are in flight (P4) or in their settle time (R1) are held back.
        """
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            lane = heapq.heappop(self._due)[2]
            lane.deadline = None
            taken = lane.take(now, self._limits, draining=self._draining)
            self._after(lane, now)
            if taken is not None:
                changes, pages = taken
                self.in_flight += 1
                return Batch(
                    segment=lane.segment,
                    changes=changes,
                    trigger=self._trigger(pages[0]),
                    attempt=lane.failures + 1,
                    lane=lane,
                    pages=pages,
                    epoch=self._epoch,
                )
        return None

    def _trigger(self, page: Page) -> Trigger:
        if page.full:
            return Trigger.SIZE
        return Trigger.DRAIN if self._draining else Trigger.AGE

    def is_current(self, batch: Batch) -> bool:
        """Say whether the batch belongs to the present epoch: what follows can still settle it."""
        return batch.epoch == self._epoch

    def settle(self, batch: Batch, now: float) -> None:
        """Let go of a batch whose changes need nothing more: delivered, or its rejects recorded."""
        lane = batch.lane
        self._land(batch)
        lane.failures = 0
        lane.not_before = 0.0
        if self.is_current(batch):
            lane.settle(batch.pages)
        self._after(lane, now)

    def give_back(
        self, batch: Batch, now: float, *, not_before: float, blocked_until: float = 0.0
    ) -> int:
        """Take back a batch that could not be written; return how many records it coalesced.

        Nothing of the segment is written before `not_before`, and none of the batch's members
        before `blocked_until` (R1), whichever change of theirs it is. A batch of an epoch that is
        over is not taken back (R3), but its members stay blocked.
        """
        lane = batch.lane
        self._land(batch)
        lane.failures += 1
        lane.not_before = max(lane.not_before, not_before)
        if blocked_until > now:
            lane.block(batch.changes, blocked_until)
        coalesced = 0
        if self.is_current(batch):
            met = lane.give_back(batch.changes, batch.pages)
            coalesced = len(met)
            self.changes += len(batch.changes) - coalesced
            self._text += _text_of(batch.changes) - _text_of(met)
        self._after(lane, now)
        return coalesced

    def _land(self, batch: Batch) -> None:
        self.in_flight -= 1
        batch.lane.land(batch.changes)
        if self.is_current(batch):
            self.changes -= len(batch.changes)
            self._text -= sum(page.size for page in batch.pages)

    def _after(self, lane: Lane, now: float) -> None:
        """Bring up to date what depends on the lane: the estimate, and when it is due, if ever."""
        self._pages += len(lane.pages) - lane.counted_pages
        lane.counted_pages = len(lane.pages)
        if lane.idle(now):
            del self._lanes[lane.segment]
            lane.deadline = None
        else:
            self._reschedule(lane, now)

    def drain(self, now: float, *, on: bool) -> None:
        """Make everything due at once, or (`on` False) go back to sizes and ages."""
        self._draining = on
        for lane in self._lanes.values():
            self._reschedule(lane, now)

    def discard(self, now: float) -> list[tuple[Segment, dict[str, str]]]:
        """End the epoch: forget all changes, and return what was waiting, per segment (R3).

        Batches in flight stay in flight, so that their members are not written twice at a time
        (P4), but they settle nothing any longer (P6), and their changes count no more.
        """
        self._epoch += 1
        self.changes = 0
        self._text = 0
        forgotten = []
        for lane in list(self._lanes.values()):
            waited = lane.discard()
            if waited:
                forgotten.append((lane.segment, waited))
            self._after(lane, now)
        return forgotten

    def oldest_ms(self) -> int | None:
        """Return the record time, in epoch milliseconds, of the oldest change, None when empty."""
        return min(
            (lane.pages[0].arrivals[0][0] for lane in self._lanes.values() if lane.pages),
            default=None,
        )

    def lanes(self) -> Iterator[Lane]:
        """Iterate over the lanes, for the status page."""
        return iter(self._lanes.values())

    def _reschedule(self, lane: Lane, now: float) -> None:
        deadline = lane.next_deadline(now, self._limits, draining=self._draining)
        if deadline != lane.deadline:
            lane.deadline = deadline
            if deadline is not None:
                self._ticket += 1
                heapq.heappush(self._due, (deadline, self._ticket, lane))


def _text_of(members: Iterable[str]) -> int:
    return sum(map(size_of, members))
