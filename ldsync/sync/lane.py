"""A lane: the changes of one segment, from the moment they come to the moment they are settled."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from ldsync.sync.change import supersedes
from ldsync.sync.page import Page, PageState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ldsync.sync.change import Segment
    from ldsync.sync.limits import Limits

_TOMBSTONES = 256


def size_of(member: str) -> int:
    """Return the bytes that a member takes in a request, without quotes and commas."""
    return len(member) if member.isascii() else len(member.encode())


class Lane:
    """What waits and what is in flight for one segment.

    `changes` holds what waits, in the order of the waiting pages; `pages` all pages that are not
    settled, oldest first, those in flight among them. `deadline` belongs to the buffer.
    """

    __slots__ = (
        "_blocked",
        "_flying",
        "_stuck_until",
        "_taken_off",
        "changes",
        "deadline",
        "failures",
        "not_before",
        "open_page",
        "pages",
        "segment",
    )

    def __init__(self, segment: Segment) -> None:
        """Start empty."""
        self.segment = segment
        self.changes: dict[str, str] = {}
        self.pages: deque[Page] = deque()
        self.open_page: Page | None = None
        self.failures = 0
        self.not_before = 0.0
        self.deadline: float | None = None
        self._flying: list[dict[str, str]] = []
        self._blocked: dict[str, float] = {}
        self._stuck_until = 0.0
        self._taken_off = 0

    @property
    def in_flight(self) -> int:
        """How many members are being written."""
        return sum(map(len, self._flying))

    def idle(self, now: float) -> bool:
        """Say whether nothing is left to remember of the segment."""
        if self.pages or self._flying:
            return False
        if self._blocked:
            self._blocked = {
                member: until for member, until in self._blocked.items() if until > now
            }
        return not self._blocked

    def open(self, now: float, *, single: bool) -> Page:
        """Open a page behind all others."""
        page = self.open_page = Page(now, single=single)
        self.pages.append(page)
        self._stuck_until = 0.0
        return page

    def block(self, members: dict[str, str], until: float) -> None:
        """Keep members from being written until `until` (R1), whichever change of theirs it is."""
        self._blocked.update(dict.fromkeys(members, until))

    def front(self) -> Page | None:
        """Return the first page that waits."""
        return next((page for page in self.pages if page.state is PageState.WAITING), None)

    def next_deadline(self, now: float, limits: Limits, *, draining: bool) -> float | None:
        """Return when something of the lane should be taken, None while nothing can be."""
        if len(self._flying) >= limits.writes_per_segment:
            return None
        best: float | None = None
        for page in self.pages:
            if page.state is not PageState.WAITING:
                continue
            ready = page.opened_at
            if page is self.open_page and not draining:
                ready += limits.max_age
            ready = max(ready, page.not_before, self.not_before, self._stuck_until)
            best = ready if best is None else min(best, ready)
            if page.not_before <= now:
                break
        if best is None and not self.pages and self._blocked:
            # Nothing to write: come back once, to forget the lane.
            best = max(self._blocked.values())
        return best

    def take(self, now: float, limits: Limits) -> tuple[dict[str, str], tuple[Page, ...]] | None:
        """Take what one request may carry from the front; None if all of it is held back."""
        taken: dict[str, str] = {}
        plan: list[tuple[Page, dict[str, str]]] = []
        size = 0
        for page, changes in self._takeable(now):
            if taken and (
                page.single
                or len(taken) + len(changes) > limits.max_size
                or size + page.size > limits.max_bytes
            ):
                break
            plan.append((page, changes))
            taken.update(changes)
            size += page.size
            if page.single:
                break
        if not plan:
            self._get_stuck()
            return None
        self._take_off(taken)
        self._flying.append(taken)
        return taken, tuple(self._part(page, changes) for page, changes in plan)

    def _takeable(self, now: float) -> Iterator[tuple[Page, dict[str, str]]]:
        """Yield waiting pages with those of their changes that may be written now, if any."""
        items = iter(self.changes.items())
        free = not self._blocked and not self._flying
        for page in self.pages:
            if page.state is not PageState.WAITING:
                continue
            changes = dict(islice(items, page.count))
            if page.not_before > now:
                continue
            if not free:
                changes = {m: s for m, s in changes.items() if self._may_be_written(m, now)}
            if changes:
                yield page, changes

    def _may_be_written(self, member: str, now: float) -> bool:
        until = self._blocked.get(member)
        if until is not None:
            if until > now:
                return False
            del self._blocked[member]
        return not any(member in changes for changes in self._flying)

    def _get_stuck(self) -> None:
        """Wait for the first member to become free; what is in flight wakes the lane by landing."""
        self._stuck_until = min(self._blocked.values(), default=float("inf"))
        self.open_page = None

    def _take_off(self, taken: dict[str, str]) -> None:
        if len(taken) == len(self.changes):
            self.changes = {}
            self._taken_off = 0
            return
        for member in taken:
            del self.changes[member]
        self._taken_off += len(taken)
        if self._taken_off > _TOMBSTONES + len(self.changes) // 16:
            # A dictionary that loses its first items is walked from its start every time.
            self.changes = dict(self.changes)
            self._taken_off = 0

    def _part(self, page: Page, changes: dict[str, str]) -> Page:
        """Send a page on its way; of a page that is taken in part, a copy that holds the same."""
        if page is self.open_page:
            self.open_page = None
        if len(changes) == page.count:
            page.state = PageState.IN_FLIGHT
            return page
        part = Page(page.opened_at)
        part.state = PageState.IN_FLIGHT
        part.count = len(changes)
        part.size = sum(map(size_of, changes))
        part.arrivals = page.arrivals[:1]
        part.share_holds(page)
        page.count -= part.count
        page.size -= part.size
        page.arrivals = page.arrivals[:1]
        self.pages.insert(self.pages.index(page), part)
        return part

    def land(self, changes: dict[str, str]) -> None:
        """Note that a write of these changes, the very dictionary that was taken, has ended."""
        self._flying = [flying for flying in self._flying if flying is not changes]
        self._stuck_until = 0.0

    def settle(self, pages: Sequence[Page]) -> None:
        """Settle pages, and release the holds of those that have no unsettled page before them."""
        for page in pages:
            page.state = PageState.SETTLED
        while self.pages and self.pages[0].state is PageState.SETTLED:
            self.pages.popleft().release()

    def give_back(
        self, changes: dict[str, str], pages: Sequence[Page], not_before: float
    ) -> list[str]:
        """Put changes back where they were; return the members that had a change waiting.

        Of those the newer change stays, in the place of the waiting one, which then also holds what
        the returned one held. All that comes back waits until `not_before`.
        """
        returned: dict[str, str] = {}
        met: list[str] = []
        for member, stamp in changes.items():
            waiting = self.changes.get(member)
            if waiting is None:
                returned[member] = stamp
                continue
            met.append(member)
            if not supersedes(waiting, stamp):
                self.changes[member] = stamp
        if met:
            for page in pages:
                self.pages[-1].share_holds(page)
        if not returned:
            self.settle(pages)
            return met
        # Later pages of the batch stay in the row behind the first, so what they hold is held.
        first = pages[0]
        self.settle(pages[1:])
        first.state = PageState.WAITING
        first.count = len(returned)
        first.size = sum(map(size_of, returned))
        first.not_before = not_before
        self._put_back(first, returned)
        return met

    def _put_back(self, page: Page, returned: dict[str, str]) -> None:
        before = 0
        for other in self.pages:
            if other is page:
                break
            if other.state is PageState.WAITING:
                before += other.count
        items = iter(self.changes.items())
        changes = dict(islice(items, before))
        changes.update(returned)
        changes.update(items)
        self.changes = changes
        self._taken_off = 0

    def discard(self) -> dict[str, str]:
        """Forget all that waits, and let go of all that is held; return what waited."""
        waited, self.changes = self.changes, {}
        for page in self.pages:
            page.release()
        self.pages.clear()
        self.open_page = None
        self._taken_off = 0
        self._stuck_until = 0.0
        return waited
