"""When each lane is due, in that order; lanes that failed last apart from the others.

Apart, because an attempt that fails may take as long as a request may take. If such attempts could
take every place there is, the segments that can be written would wait for those that cannot (P5).
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ldsync.sync.lane import Lane


class Agenda:
    """The deadlines of lanes. What is asked costs O(log n); a lane is in it once at the most.

    A deadline that has changed, or of a lane that has moved to the other heap, stays where it is
    until it comes up, and is passed over then: it is not that of its lane any more.
    """

    __slots__ = ("_others", "_ticket", "_troubled")

    def __init__(self) -> None:
        """Start empty."""
        self._others: list[tuple[float, int, Lane]] = []
        self._troubled: list[tuple[float, int, Lane]] = []
        self._ticket = 0

    def put(self, lane: Lane, deadline: float | None) -> None:
        """Note when a lane is due, None is never, and whether it failed last."""
        troubled = lane.failures > 0
        if (deadline, troubled) == (lane.deadline, lane.troubled):
            return
        lane.deadline, lane.troubled = deadline, troubled
        if deadline is not None:
            self._ticket += 1
            heapq.heappush(self._heap_of(lane), (deadline, self._ticket, lane))

    def _heap_of(self, lane: Lane) -> list[tuple[float, int, Lane]]:
        return self._troubled if lane.troubled else self._others

    def next(self, *, troubled: bool) -> float | None:
        """Return the first deadline, of lanes that failed last only if these are `troubled` for."""
        heap = self._first(troubled=troubled)
        return heap[0][0] if heap else None

    def pop(self, now: float, *, troubled: bool) -> Lane | None:
        """Take out the lane that has been due for longest, None if none is due."""
        heap = self._first(troubled=troubled)
        if not heap or heap[0][0] > now:
            return None
        lane = heapq.heappop(heap)[2]
        lane.deadline = None
        return lane

    def _first(self, *, troubled: bool) -> list[tuple[float, int, Lane]]:
        """Return the heap with the first deadline; an empty one if there is none."""
        self._pass_over(self._others)
        self._pass_over(self._troubled)
        if not troubled or not self._troubled:
            return self._others
        if not self._others:
            return self._troubled
        return min(self._others, self._troubled, key=lambda heap: heap[0][:2])

    def _pass_over(self, heap: list[tuple[float, int, Lane]]) -> None:
        """Take out what is not so any more."""
        while heap:
            deadline, _, lane = heap[0]
            if lane.deadline == deadline and heap is self._heap_of(lane):
                return
            heapq.heappop(heap)
