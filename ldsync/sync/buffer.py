"""The buffer: the newest change of every member, per segment, until LaunchDarkly has it.

Each segment has a lane. A lane keeps its changes in one dictionary in the order in which the
members came, divided into pages of at most what one request takes; a newer change of a member
replaces the older one in place. The front of a lane is taken as a batch when it is full or old
enough; a batch that could not be written is given back, and whatever came meanwhile wins.

Receipts are released in the order of pages, so that a change which sits in an earlier page than the
one that holds its record can never be passed by a commit (P1, R8).

How the records ended whose changes leave the buffer is told by `take_ended` (P7).
"""

from __future__ import annotations

import sys
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING

from ldsync.sync.agenda import Agenda
from ldsync.sync.batch import Batch, Trigger
from ldsync.sync.lane import Lane, size_of
from ldsync.sync.outcomes import ABANDONED, COALESCED, DELIVERED, PARKED, Ending
from ldsync.sync.tally import Tallies

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ldsync.sync.change import Change, Segment
    from ldsync.sync.ledger import Chunk
    from ldsync.sync.limits import Budget, Limits
    from ldsync.sync.page import Page
    from ldsync.sync.tally import Tally

CHANGE_OVERHEAD_BYTES = 256
"""Memory of a buffered change beyond its member's text: stamp, two objects, a table entry."""

TALLY_OVERHEAD_BYTES = 192
"""Memory of what a change has more that shares its record with others: a tally, a table entry."""

PAGE_OVERHEAD_BYTES = 512
LANE_OVERHEAD_BYTES = 1280
"""Memory of a page and of a lane beyond its changes: most of it where segments are many (P3)."""


_NOTHING: Mapping[str, Ending] = MappingProxyType({})
_EVER = float("inf")


class Buffer:
    """All lanes, when each is due, and the budget that they share."""

    def __init__(self, limits: Limits, budget: Budget) -> None:
        """Start empty."""
        self._limits = limits
        self.budget = budget
        self._lanes: dict[Segment, Lane] = {}
        self._troubles: dict[Segment, tuple[int, float]] = {}  # of lanes that were forgotten
        self._agenda = Agenda()
        self._repeats = 0  # batches in flight of segments whose attempt before failed
        self._most_repeats = sys.maxsize
        self._epoch = 0
        self.draining = False
        self._over = False
        self.in_flight = 0
        self.changes = 0
        self._text = 0
        self._pages = 0
        self._tallies = Tallies()

    @property
    def bytes(self) -> int:
        """An estimate of the memory that the changes take, in bytes."""
        return (
            self._text
            + self.changes * CHANGE_OVERHEAD_BYTES
            + self._tallies.changes * TALLY_OVERHEAD_BYTES
            + self._pages * PAGE_OVERHEAD_BYTES
            + len(self._lanes) * LANE_OVERHEAD_BYTES
        )

    @property
    def records(self) -> int:
        """How many records have changes here, waiting or in flight, and so no outcome yet (P7)."""
        return self.changes - self._tallies.changes + self._tallies.records

    @property
    def open_batches(self) -> int:
        """How many segments have changes that are waiting or in flight."""
        return len(self._lanes)

    @property
    def empty(self) -> bool:
        """Say whether no change is waiting or in flight."""
        return self.changes == 0

    def quiet(self, now: float) -> bool:
        """Say whether nothing is here, and nothing that was sent may still be applied (R1, R2)."""
        return all(lane.idle(now) for lane in self._lanes.values())

    def over_budget(self) -> bool:
        """Say whether consumption should pause, with hysteresis."""
        budget = self.budget
        share = budget.resume_ratio if self._over else 1.0
        self._over = (
            self.changes >= budget.max_changes * share or self.bytes >= budget.max_bytes * share
        )
        return self._over

    @property
    def load(self) -> float:
        """The part of the budget that is used: of changes or of bytes, whichever is more."""
        return self._part(self.changes, self.bytes)

    def load_of(self, segment: Segment) -> float:
        """Return the part of the budget that a segment uses, in flight included."""
        lane = self._lanes.get(segment)
        if lane is None:
            return 0.0
        changes, text, pages = lane.held
        memory = text + changes * CHANGE_OVERHEAD_BYTES + pages * PAGE_OVERHEAD_BYTES
        return self._part(changes, memory + LANE_OVERHEAD_BYTES)

    def _part(self, changes: int, size: int) -> float:
        return max(changes / self.budget.max_changes, size / self.budget.max_bytes)

    def waiting(self, segment: Segment) -> Mapping[str, str]:
        """Return the stamps that wait for a segment, by member; only to be looked at, at once."""
        lane = self._lanes.get(segment)
        return {} if lane is None else lane.changes

    def add(
        self, changes: Iterable[Change], chunk: Chunk, now: float, tally: Tally | None = None
    ) -> None:
        """Take in changes from records of `chunk`, each of which has one change.

        The caller holds `chunk` meanwhile. Of two changes of a member the newer version stays; the
        record of the other one is settled with it (R8). `tally` belongs to `add_together`.
        """
        lanes = self._lanes
        max_size, max_bytes = self._limits.max_size, self._limits.max_bytes
        coalesced = added = text = 0
        for target, member, stamp in changes:
            segment = target.segment
            lane = lanes.get(segment)
            if lane is None:
                lane = lanes[segment] = self._lane(segment)
            waiting = lane.changes
            known = waiting.get(member)
            if known is not None:
                # What `supersedes` says, without the call: this runs for every event.
                newer = stamp >= known or stamp[:-1] == known[:-1]
                if newer:
                    waiting[member] = stamp
                lane.pages[-1].hold(chunk)
                if tally is None and not lane.tallies:
                    coalesced += 1
                else:
                    self._end(lane.swap_tally(member, tally) if newer else tally, COALESCED)
                continue
            size = len(member) if member.isascii() else size_of(member)
            page = lane.open_page
            if page is None or page.size + size > max_bytes or not target.batch_events:
                page = lane.open(now, single=not target.batch_events)
                self._after(lane, now)
            if page.chunk is not chunk:
                page.hold(chunk)
            waiting[member] = stamp
            if tally is not None:
                lane.tallies[member] = tally
            page.count += 1
            page.size += size
            added += 1
            text += size
            if page.count >= max_size or page.single:
                lane.close()
                self._after(lane, now)
        self.changes += added
        self._text += text
        self._tallies.end(COALESCED, coalesced)

    def _lane(self, segment: Segment) -> Lane:
        lane = Lane(segment)
        lane.failures, lane.not_before = self._troubles.pop(segment, (0, 0.0))
        return lane

    def add_together(
        self, changes: Sequence[Change], chunk: Chunk, now: float, worst: Ending | None
    ) -> None:
        """Take in all changes, at least one, of one record of `chunk` (P7).

        The record ends as the worst of its changes, or as `worst`: how its other parts ended.
        """
        tally = self._tallies.begin(len(changes), worst)
        self.add(changes, chunk, now, tally)

    def _end(self, tally: Tally | None, ending: Ending) -> None:
        """Note how a change ended, which has a tally if it shares its record with others."""
        if tally is None:
            self._tallies.end(ending)
        else:
            self._tallies.end_change(tally, ending)

    def take_ended(self) -> Mapping[Ending, int]:
        """Return how records ended since the last call, and how many."""
        return self._tallies.take_ended()

    def next_deadline(self) -> float | None:
        """Return when the next batch can be taken (monotonic seconds), None while none can be.

        Segments whose last attempt failed do not count while as many of their batches are in flight
        as the last `take` allowed.
        """
        return self._agenda.next(troubled=self._repeats < self._most_repeats)

    def take(self, now: float, *, repeats: int = sys.maxsize) -> Batch | None:
        """Take the batch that has been due for longest, None if none is due.

        Members that are in flight (P4) or in their settle time (R1) are held back. Of segments
        whose last attempt failed, no more than `repeats` batches are in flight: the others shall
        not have to wait until these fail again (P5).
        """
        self._most_repeats = repeats
        while lane := self._agenda.pop(now, troubled=self._repeats < repeats):
            taken = lane.take(now, self._limits, draining=self.draining)
            self._after(lane, now)
            if taken is not None:
                return self._batch(lane, *taken, attempt=lane.failures + 1)
        return None

    def park(self, segment: Segment, now: float, opened_before: float = _EVER) -> Batch | None:
        """Take the oldest changes of a segment that may not be written, a batch at most.

        Only of pages opened before a time (monotonic seconds), and not what is in flight (P4) or in
        its settle time (R1). None if there is nothing of that sort. They leave the buffer as
        `PARKED`, and the segment goes on waiting; their records stay held until `release`.
        """
        lane = self._lanes.get(segment)
        taken = None if lane is None else lane.park(now, self._limits, opened_before)
        if lane is None or taken is None:
            return None
        batch = self._batch(lane, *taken, attempt=lane.failures)
        self._land(batch)
        self._leave(batch, dict.fromkeys(batch.changes, PARKED))
        self._after(lane, now)
        return batch

    def _batch(
        self,
        lane: Lane,
        changes: dict[str, str],
        pages: tuple[Page, ...],
        tallies: Mapping[str, Tally],
        *,
        attempt: int,
    ) -> Batch:
        self.in_flight += 1
        self._repeats += attempt > 1
        return Batch(
            segment=lane.segment,
            changes=changes,
            trigger=self._trigger(pages[0]),
            attempt=attempt,
            lane=lane,
            pages=pages,
            tallies=tallies,
            epoch=self._epoch,
        )

    def _trigger(self, page: Page) -> Trigger:
        if page.full:
            return Trigger.SIZE
        return Trigger.DRAIN if self.draining else Trigger.AGE

    def is_current(self, batch: Batch) -> bool:
        """Say whether the batch belongs to the present epoch: what follows can still settle it."""
        return batch.epoch == self._epoch

    def settle(self, batch: Batch, now: float, otherwise: Mapping[str, Ending] = _NOTHING) -> None:
        """Let go of a batch whose changes need nothing more; see `land` and `release`."""
        self.land(batch, now, otherwise)
        self.release(batch, now)

    def land(self, batch: Batch, now: float, otherwise: Mapping[str, Ending] = _NOTHING) -> None:
        """Take note that a batch was written, so that others of its segment may go.

        Its changes were delivered, but for those of the members in `otherwise`. Its records stay
        held until `release`: some of its changes may have been refused, and not be safe yet.
        """
        lane = batch.lane
        self._land(batch)
        lane.failures = 0
        lane.not_before = 0.0
        if self.is_current(batch):
            self._leave(batch, otherwise)
        self._after(lane, now)

    def release(self, batch: Batch, now: float) -> None:
        """Let go of the records of a batch that has landed, unless its epoch is over (P6)."""
        if self.is_current(batch):
            batch.lane.settle(batch.pages)
            self._after(batch.lane, now)

    def _leave(self, batch: Batch, otherwise: Mapping[str, Ending]) -> None:
        """Note how the changes of a batch ended: they have left."""
        for page in batch.pages:
            page.count = 0  # what it still holds are records, not changes
        shared = batch.tallies.keys()
        delivered = len(batch.changes) - len(shared)
        for member in otherwise.keys() - shared:
            self._tallies.end(otherwise[member])
            delivered -= 1
        self._tallies.end(DELIVERED, delivered)
        for member, tally in batch.tallies.items():
            self._tallies.end_change(tally, otherwise.get(member, DELIVERED))

    def give_back(
        self, batch: Batch, now: float, *, not_before: float, blocked_until: float = 0.0
    ) -> None:
        """Take back a batch that could not be written.

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
        if self.is_current(batch):
            met = lane.give_back(batch.changes, batch.pages, batch.tallies)
            self.changes += len(batch.changes) - len(met)
            self._text += _text_of(batch.changes) - _text_of(met)
            for superseded in met.values():
                self._end(superseded, COALESCED)
        self._after(lane, now)

    def _land(self, batch: Batch) -> None:
        self.in_flight -= 1
        self._repeats -= batch.attempt > 1
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
            if lane.failures:
                # All was parked. What comes next must not be tried at once, as if all were well.
                self._troubles[lane.segment] = lane.failures, lane.not_before
        else:
            self._reschedule(lane, now)

    def drain(self, now: float, *, on: bool) -> None:
        """Make everything due at once, or (`on` False) go back to sizes and ages."""
        self.draining = on
        for lane in self._lanes.values():
            self._reschedule(lane, now)

    def hurry(self, now: float) -> None:
        """Have what was put off tried at once; blocked members stay blocked (R1).

        Also what is still to come of segments of which all was parked.
        """
        for segment, (failures, _) in self._troubles.items():
            self._troubles[segment] = failures, 0.0
        for lane in self._lanes.values():
            lane.not_before = 0.0
            self._reschedule(lane, now)

    def discard(self, now: float) -> list[tuple[Segment, dict[str, str]]]:
        """End the epoch: forget all changes, and return what was waiting, per segment (R3).

        Batches in flight stay in flight, so that their members are not written twice at a time
        (P4), but they settle nothing any longer (P6), and their changes count no more. All records
        without an outcome are abandoned.
        """
        self._epoch += 1
        self._tallies.end(ABANDONED, self.records)
        self._tallies.discard()
        self.changes = 0
        self._text = 0
        forgotten = []
        for lane in list(self._lanes.values()):
            waited = lane.discard()
            if waited:
                forgotten.append((lane.segment, waited))
            self._after(lane, now)
        self._troubles.clear()
        return forgotten

    def oldest_ms(self) -> int | None:
        """Return the record time, in epoch milliseconds, of the oldest change, None when empty."""
        return min(
            (
                record_ms
                for lane in self._lanes.values()
                for page in islice((page for page in lane.pages if page.count), 1)
                if (record_ms := page.arrivals[0][0]) >= 0
            ),
            default=None,
        )

    def lanes(self) -> Iterator[Lane]:
        """Iterate over the lanes, for the status page."""
        return iter(self._lanes.values())

    def _reschedule(self, lane: Lane, now: float) -> None:
        deadline = lane.next_deadline(now, self._limits, draining=self.draining)
        self._agenda.put(lane, deadline)


def _text_of(members: Iterable[str]) -> int:
    return sum(map(size_of, members))
