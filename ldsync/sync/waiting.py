"""Waiting segments: which may hold how much, and when the oldest of it is parked.

A segment waits from its first failed attempt to its next success. All that wait may hold a quarter
of the budget together, so that one which nobody repairs cannot stop the others (P5). Beyond that,
or when they have waited for too long, the oldest changes are parked: moved to the dead letters. But
only those of segments that are *alone* with their failure: LaunchDarkly accepted a write that began
after the first failure, and an attempt that began after that failed nevertheless. While everything
fails nobody is alone, and when an outage ends, those who were not tried again yet are not either.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ldsync.sync.batch import Batch
    from ldsync.sync.buffer import Buffer
    from ldsync.sync.change import Segment

WAITING_SHARE: Final = 0.25
"""The part of the budget that all waiting segments together may hold."""

_NEVER: Final = float("-inf")


class Wait:
    """A segment that waits.

    `since` is when its first attempt failed, `served_at` when an attempt of it began after another
    segment had been served (monotonic seconds; None before); `alone` says that one of these failed
    by the segment's own fault, and `error` how the last one did.
    """

    __slots__ = ("alone", "error", "served_at", "since")

    def __init__(self, since: float) -> None:
        """Begin to wait."""
        self.since = since
        self.served_at: float | None = None
        self.alone = False
        self.error = ""


class Waiting:
    """All segments that wait, and the policy of parking."""

    def __init__(self, park_after: float) -> None:
        """Park changes that have waited for `park_after` seconds."""
        self._park_after = park_after
        self._waits: dict[Segment, Wait] = {}
        self._alone: set[Segment] = set()
        self._accepted = _NEVER

    def began(self, segment: Segment, now: float) -> None:
        """Note that an attempt begins."""
        wait = self._waits.get(segment)
        if wait is not None and wait.served_at is None and self._accepted > wait.since:
            wait.served_at = now

    def failed(self, segment: Segment, began: float, now: float, error: str, *, own: bool) -> None:
        """Note that an attempt failed which began at `began`.

        `own` says that the failure is about this segment: it does not concern every write.
        """
        wait = self._waits.get(segment)
        if wait is None:
            wait = self._waits[segment] = Wait(now)
        wait.error = error
        if own and wait.served_at is not None and began >= wait.served_at:
            wait.alone = True
            self._alone.add(segment)

    def accepted(self, segment: Segment, began: float) -> None:
        """Note that LaunchDarkly accepted a write that began at `began`; its segment is well."""
        self._accepted = max(self._accepted, began)
        self._waits.pop(segment, None)
        self._alone.discard(segment)

    def of(self, segment: Segment) -> Wait | None:
        """Return how a segment waits; None if it does not."""
        return self._waits.get(segment)

    def reset(self) -> None:
        """Begin another epoch: nothing waits."""
        self._waits.clear()
        self._alone.clear()

    def park(self, buffer: Buffer, now: float) -> Iterator[Batch]:
        """Take what is to be parked out of the buffer, batch by batch; see `Buffer.park`.

        The caller may let time pass between two batches.
        """
        yield from self._overdue(buffer, now)
        yield from self._excess(buffer, now)

    def _overdue(self, buffer: Buffer, now: float) -> Iterator[Batch]:
        """Take changes that have waited for too long."""
        latest = now - self._park_after
        for segment in [each for each in self._alone if self._waits[each].since <= latest]:
            while segment in self._alone:
                batch = buffer.park(segment, now, latest)
                if batch is None:
                    break
                yield batch

    def _excess(self, buffer: Buffer, now: float) -> Iterator[Batch]:
        """Take what is too much, beginning with the segment that holds most.

        Until the waiting ones hold less than the quarter by as much as consumption waits for after
        a pause (`Budget.resume_ratio`): each round costs a scan of the topic.
        """
        if not self._alone or buffer.load < WAITING_SHARE:
            return
        loads = {segment: buffer.load_of(segment) for segment in self._waits}
        total = sum(loads.values())
        if total < WAITING_SHARE:
            return
        enough = WAITING_SHARE * buffer.budget.resume_ratio
        largest = [(-loads[each], number, each) for number, each in enumerate(self._alone)]
        heapq.heapify(largest)
        while largest and total >= enough:
            _, number, segment = largest[0]
            batch = buffer.park(segment, now) if segment in self._alone else None
            if batch is None:
                heapq.heappop(largest)
                continue
            left = buffer.load_of(segment)
            total += left - loads[segment]
            loads[segment] = left
            heapq.heapreplace(largest, (-left, number, segment))
            yield batch
