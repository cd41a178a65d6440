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

    A deadline that has changed stays in its heap until it comes up, and is passed over then: it is
    not that of its lane any more.
    """

    __slots__ = ("_others", "_ticket", "_troubled")

    def __init__(self) -> None:
        """Start empty."""
        self._others: list[tuple[float, int, Lane]] = []
        self._troubled: list[tuple[float, int, Lane]] = []
        self._ticket = 0

    def put(self, lane: Lane, deadline: float | None) -> None:
        """Note when a lane is due; None is never."""
        if deadline != lane.deadline:
            lane.deadline = deadline
            if deadline is not None:
                self._push(lane, deadline)

    def _push(self, lane: Lane, deadline: float) -> None:
        self._ticket += 1
        heap = self._troubled if lane.failures else self._others
        heapq.heappush(heap, (deadline, self._ticket, lane))

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
        """Take out what is not so any more, or belongs into the other heap by now."""
        while heap:
            deadline, _, lane = heap[0]
            belongs = self._troubled if lane.failures else self._others
            if lane.deadline == deadline and heap is belongs:
                return
            heapq.heappop(heap)
            if lane.deadline == deadline:
                self._push(lane, deadline)
