"""A page: the changes of one segment that were opened together, and what they still hold.

A *receipt* is what settles a record. Receipts are kept per page and partition, not per change: a
page holds, for each partition it took changes from, the first chunk of records that it needs.
Holding the first is enough, because a partition is committed only up to its first unsettled chunk,
and it makes a coalesced change cost no ledger work.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ldsync.sync.ledger import Account, Chunk


class PageState(Enum):
    """Where a page is."""

    WAITING = auto()
    IN_FLIGHT = auto()
    SETTLED = auto()


class Page:
    """Some changes of one segment, in a row.

    `count` members and `size` bytes of them; `opened_at` is when the first came (monotonic
    seconds), `not_before` the time before which none of them may be written (R1, back-off),
    `single` a page of one change that is to be sent alone.
    """

    __slots__ = (
        "_chunk",
        "_holds",
        "arrivals",
        "count",
        "not_before",
        "opened_at",
        "single",
        "size",
        "state",
    )

    def __init__(self, opened_at: float, *, single: bool = False) -> None:
        """Open an empty page."""
        self.opened_at = opened_at
        self.single = single
        self.count = 0
        self.size = 0
        self.not_before = 0.0
        self.state = PageState.WAITING
        self.arrivals: list[tuple[int, int]] = []
        self._holds: dict[Account, Chunk] = {}
        self._chunk: Chunk | None = None

    def hold(self, chunk: Chunk) -> None:
        """Hold what a change from `chunk` needs; a second one of the same chunk costs nothing."""
        if chunk is self._chunk:
            return
        self._chunk = chunk
        self.arrivals.append((chunk.oldest_ms, self.count))
        self._keep(chunk)

    def _keep(self, chunk: Chunk) -> None:
        held = self._holds.get(chunk.account)
        if held is None:
            self._holds[chunk.account] = chunk
            chunk.hold()
        elif chunk.first < held.first:
            self._holds[chunk.account] = chunk
            chunk.hold()
            held.release()

    def share_holds(self, other: Page) -> None:
        """Hold whatever `other` holds, as well."""
        for chunk in other._holds.values():
            self._keep(chunk)

    def release(self) -> None:
        """Give back all holds: the page is settled, or its epoch is over."""
        holds, self._holds = self._holds, {}
        self._chunk = None
        for chunk in holds.values():
            chunk.release()

    def waits(self) -> Iterator[tuple[int, int]]:
        """Yield pairs of a record time (epoch milliseconds) and how many changes came with it."""
        ends = [start for _, start in self.arrivals[1:]]
        ends.append(self.count)
        for (record_ms, start), end in zip(self.arrivals, ends, strict=False):
            if end > start:
                yield record_ms, end - start
