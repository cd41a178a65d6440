"""A lane: the changes of one segment, from the moment they come to the moment they are settled."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from ldsync.sync.change import supersedes
from ldsync.sync.page import Page

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ldsync.sync.change import Segment
    from ldsync.sync.ledger import Partition
    from ldsync.sync.limits import Limits
    from ldsync.sync.tally import Tally

_TOMBSTONES = 256
_NEVER = float("inf")


def size_of(member: str) -> int:
    """Return the bytes that a member takes in a request, without quotes and commas."""
    return len(member) if member.isascii() else len(member.encode())


class Lane:
    """What waits and what is in flight for one segment.

    `changes` holds what waits, in the order of the waiting pages; `pages` the pages that wait and
    those in flight, oldest first; `open_page` the last of them while it still takes changes.
    `tallies` are those of waiting changes that share their record with others, by member.
    `failures` counts attempts since the last success, `not_before` is the time (monotonic seconds)
    before which nothing may be written. `counted_pages` belongs to the buffer, `deadline` and
    `troubled` to its agenda.
    """

    __slots__ = (
        "_blocked",
        "_flying",
        "_held",
        "_taken_off",
        "changes",
        "counted_pages",
        "deadline",
        "failures",
        "not_before",
        "open_page",
        "pages",
        "segment",
        "tallies",
        "troubled",
    )

    def __init__(self, segment: Segment) -> None:
        """Start empty."""
        self.segment = segment
        self.changes: dict[str, str] = {}
        self.pages: deque[Page] = deque()
        self.tallies: dict[str, Tally] = {}
        self.open_page: Page | None = None
        self.failures = 0
        self.not_before = 0.0
        self.deadline: float | None = None
        self.troubled = False
        self.counted_pages = 0
        self._flying: list[dict[str, str]] = []
        self._blocked: list[tuple[float, dict[str, str]]] = []
        self._held: list[Page] = []
        self._taken_off = 0

    @property
    def in_flight(self) -> int:
        """How many members are being written."""
        return sum(map(len, self._flying))

    @property
    def held(self) -> tuple[int, int, int]:
        """How many changes wait or are in flight, their bytes of text, and how many pages."""
        filled = [page for page in self.pages if page.count]
        return (
            sum(page.count for page in filled),
            sum(page.size for page in filled),
            len(self.pages),
        )

    def idle(self, now: float) -> bool:
        """Say whether nothing is left to remember of the segment."""
        if self.pages or self._flying:
            return False
        return all(until <= now for until, _ in self._blocked)

    def open(self, now: float, *, single: bool) -> Page:
        """Open a page behind all others; one that was open is full."""
        self.close()
        page = self.open_page = Page(now, single=single)
        self.pages.append(page)
        return page

    def close(self) -> None:
        """Let nothing more into the open page, if there is one: it is full."""
        if self.open_page is not None:
            self.open_page.full = True
            self.open_page = None

    def block(self, members: dict[str, str], until: float) -> None:
        """Keep members from being written until `until` (R1), whichever change of theirs it is."""
        self._blocked.append((until, members))

    def next_deadline(self, now: float, limits: Limits, *, draining: bool) -> float | None:
        """Return when something of the lane should be taken, None while nothing can be.

        After a failure one write at a time finds out whether it goes again.
        """
        if len(self._flying) >= (1 if self.failures else limits.writes_per_segment):
            return None
        best = _NEVER
        for page in self.pages:
            if page.in_flight:
                continue
            best = min(best, self._due_at(page, limits, draining=draining))
            if page.held_until <= now:
                break  # the pages behind it are not due earlier
        if not self.pages and self._blocked:
            # Nothing to write: come back once, to forget the lane.
            best = max(until for until, _ in self._blocked)
        return None if best == _NEVER else max(best, self.not_before)

    def _due_at(self, page: Page, limits: Limits, *, draining: bool) -> float:
        """Return when a waiting page asks to be taken: at once when closed, at its age if open."""
        patience = limits.max_age if page is self.open_page and not draining else 0.0
        return max(page.opened_at + patience, page.held_until)

    def take(
        self, now: float, limits: Limits, *, draining: bool
    ) -> tuple[dict[str, str], tuple[Page, ...], Mapping[str, Tally]] | None:
        """Take what one request may carry from the front on; None if nothing is due and free.

        Returns the changes, their pages, and the tallies of those that have one. A page that is due
        takes along what follows it, due or not, as far as there is room.
        """
        self._forget_blocks(now)
        plan: list[tuple[Page, dict[str, str]]] = []
        count = size = 0
        for page, changes in self._waiting():
            if page.held_until > now:
                continue
            if not plan and self._due_at(page, limits, draining=draining) > now:
                break
            free = self._free(changes)
            if not free:
                self._hold_back(page)
                continue
            if plan and (
                page.single
                or count + len(free) > limits.max_size
                or size + page.size > limits.max_bytes
            ):
                break
            plan.append((page, free))
            count += len(free)
            size += page.size
            if page.single:
                break
        return self._depart(plan)

    def park(
        self, now: float, limits: Limits, opened_before: float
    ) -> tuple[dict[str, str], tuple[Page, ...], Mapping[str, Tally]] | None:
        """Take what may be parked from the front on, due or not, as much as a batch may have.

        Only of pages that were opened before a time, if one is given; what is safe elsewhere may
        grow old. What is in flight (P4) or in its settle time
        (R1) stays. Returns the same as `take`.
        """
        self._forget_blocks(now)
        plan: list[tuple[Page, dict[str, str]]] = []
        count = 0
        for page, changes in self._waiting():
            if page.opened_at > opened_before:
                break
            if page.detached and opened_before < _NEVER:
                continue
            free = self._free(changes)
            if plan and count + len(free) > limits.max_size:
                break
            if free:
                plan.append((page, free))
                count += len(free)
        return self._depart(plan)

    def _forget_blocks(self, now: float) -> None:
        self._blocked = [block for block in self._blocked if block[0] > now]

    def _depart(
        self, plan: Sequence[tuple[Page, dict[str, str]]]
    ) -> tuple[dict[str, str], tuple[Page, ...], Mapping[str, Tally]] | None:
        """Take changes out of what waits: in flight from now on."""
        if not plan:
            return None
        taken = plan[0][1]
        if len(plan) > 1:
            taken = {member: stamp for _, free in plan for member, stamp in free.items()}
        self._take_off(taken)
        self._flying.append(taken)
        pages = tuple(self._part(page, free) for page, free in plan)
        return taken, pages, self._take_tallies(taken)

    def _take_tallies(self, taken: dict[str, str]) -> Mapping[str, Tally]:
        shared = self.tallies.keys() & taken.keys() if self.tallies else ()
        return {member: self.tallies.pop(member) for member in shared}

    def swap_tally(self, member: str, tally: Tally | None) -> Tally | None:
        """Note that another change of a member waits now; return the tally of the one before."""
        before = self.tallies.pop(member, None)
        if tally is not None:
            self.tallies[member] = tally
        return before

    def _waiting(self) -> Iterator[tuple[Page, dict[str, str]]]:
        """Yield the waiting pages with their changes."""
        items = iter(self.changes.items())
        for page in self.pages:
            if page.in_flight:
                continue
            whole = page.count == len(self.changes)
            yield page, self.changes if whole else dict(islice(items, page.count))

    def _free(self, changes: dict[str, str]) -> dict[str, str]:
        """Return the changes whose members are neither in flight (P4) nor blocked (R1)."""
        held = [*self._flying, *(members for _, members in self._blocked)]
        if not held:
            return changes
        return {
            member: stamp
            for member, stamp in changes.items()
            if not any(member in members for members in held)
        }

    def _hold_back(self, page: Page) -> None:
        """Look at a page again when a block ends or a write lands: no member of it is free."""
        page.held_until = min((until for until, _ in self._blocked), default=_NEVER)
        if self._flying:
            self._held.append(page)
        if page is self.open_page:
            # Members that come now are free: a page of their own does not wait for these.
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
            page.in_flight = True
            return page
        part = Page(page.opened_at)
        part.full = page.full
        part.in_flight = True
        part.count = len(changes)
        part.size = sum(map(size_of, changes))
        part.share_holds(page)
        page.count -= part.count
        page.size -= part.size
        page.arrivals = page.arrivals[:1]
        part.arrivals = page.arrivals[:]  # its own: the page still takes in records
        self.pages.insert(self.pages.index(page), part)
        return part

    def land(self, changes: dict[str, str]) -> None:
        """Note that a write of these changes, the very dictionary that was taken, has ended."""
        self._flying = [flying for flying in self._flying if flying is not changes]
        for page in self._held:
            page.held_until = 0.0
        self._held.clear()

    def needed(self) -> dict[Partition, tuple[int, int]]:
        """Say where the records of the lane's changes are: a range of offsets per partition.

        From the first that any page needs to the last that was consumed. The record of a change may
        be held by any page behind the one it sits in, so all of them count.
        """
        found: dict[Partition, tuple[int, int]] = {}
        for page in self.pages:
            for chunk in page.held():
                partition = chunk.account.partition
                first, end = found.get(partition, (chunk.first, 0))
                found[partition] = (min(chunk.first, first), max(chunk.account.end, end))
        return found

    def settle(self, pages: Sequence[Page]) -> None:
        """Let go of pages that need nothing more.

        What a page holds may be of changes that sit in pages before it, so the page before it holds
        that from now on; only the first page releases (P1).
        """
        for page in pages:
            place = self.pages.index(page)
            if place > 0:
                self.pages[place - 1].share_holds(page)
            del self.pages[place]
            page.release()

    def give_back(
        self, changes: dict[str, str], pages: Sequence[Page], tallies: Mapping[str, Tally]
    ) -> dict[str, Tally | None]:
        """Put changes back where they were; return the members that had a change waiting.

        Of those the newer change stays, in the place of the waiting one, and what was held for the
        returned one is held until the last page is settled (R8). With each comes the tally of the
        change that did not stay, if it has one.
        """
        returned: dict[str, str] = {}
        met: dict[str, Tally | None] = {}
        for member, stamp in changes.items():
            waiting = self.changes.get(member)
            if waiting is None:
                returned[member] = stamp
                if tallies:
                    self.swap_tally(member, tallies.get(member))
            elif supersedes(waiting, stamp):
                met[member] = tallies.get(member)
            else:
                self.changes[member] = stamp
                met[member] = self.swap_tally(member, tallies.get(member))
        if met:
            # Records that the returned changes had superseded may be held by any page behind them.
            for page in self.pages:
                self.pages[-1].share_holds(page)
        if returned:
            self._put_back(pages[0], returned)
            pages = pages[1:]
        self.settle(pages)
        return met

    def _put_back(self, page: Page, returned: dict[str, str]) -> None:
        """Have `page` wait again, with all that is returned, in its old place in the row."""
        ahead = islice(self.pages, self.pages.index(page))
        before = sum(other.count for other in ahead if not other.in_flight)
        items = iter(self.changes.items())
        changes = dict(islice(items, before))
        changes.update(returned)
        changes.update(items)
        self.changes = changes
        page.in_flight = False
        page.count = len(returned)
        page.size = sum(map(size_of, returned))
        page.arrivals = page.arrivals[:1]

    def discard(self) -> dict[str, str]:
        """Forget all that waits, and return it.

        Nothing is released: what was held is not settled, and must not become committable (P6).
        """
        waited, self.changes = self.changes, {}
        self.tallies.clear()
        self.pages.clear()
        self.open_page = None
        return waited
