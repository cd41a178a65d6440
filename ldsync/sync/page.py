"""A page: the changes of one segment that were opened together, and what they still hold.

A *receipt* is what settles a record. Receipts are kept per page and partition, not per change: a
page holds, for each partition it took changes from, the first chunk of records that it needs.
Holding the first is enough, because a partition is committed only up to its first unsettled chunk,
and it makes a coalesced change cost no ledger work.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ldsync.sync.ledger import Account, Chunk


class Page:
    """Some changes of one segment, in a row, that wait or are in flight.

    `count` members and `size` bytes of them; `opened_at` is when the first came and `held_until`
    the time before which none of them may be written (both monotonic seconds); `single` says that
    it takes one change only, to be sent alone, and `full` that it was closed because no more fits.
    `arrivals` are pairs of a record time (epoch milliseconds) and how many changes came before it;
    `chunk` is the one that the last of them came from.
    """

    __slots__ = (
        "_holds",
        "arrivals",
        "chunk",
        "count",
        "full",
        "held_until",
        "in_flight",
        "opened_at",
        "single",
        "size",
    )

    def __init__(self, opened_at: float, *, single: bool = False) -> None:
        """Open an empty page."""
        self.opened_at = opened_at
        self.single = single
        self.full = False
        self.in_flight = False
        self.held_until = 0.0
        self.count = 0
        self.size = 0
        self.arrivals: list[tuple[int, int]] = []
        self._holds: dict[Account, Chunk] = {}
        self.chunk: Chunk | None = None

    def hold(self, chunk: Chunk) -> None:
        """Hold what a change from `chunk` needs; a second one of the same chunk costs nothing."""
        if chunk is self.chunk:
            return
        self.chunk = chunk
        if self.arrivals and self.arrivals[-1][1] == self.count:
            # Nothing came with the one before. Members that change again and again while their
            # segment waits must not make this list grow (P3).
            self.arrivals.pop()
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

    def held(self) -> Iterable[Chunk]:
        """Return the first chunk that is needed of each partition."""
        return self._holds.values()

    @property
    def detached(self) -> bool:
        """Whether it holds nothing that is to be committed: its records are safe elsewhere."""
        return all(chunk.account.detached for chunk in self._holds.values())

    def release(self) -> None:
        """Give back all holds: the page is settled."""
        for chunk in self._holds.values():
            chunk.release()
        self._holds.clear()

    def waits(self) -> Iterator[tuple[int, int]]:
        """Yield pairs of a record time (epoch milliseconds) and how many changes came with it."""
        for (record_ms, start), (_, end) in pairwise([*self.arrivals, (0, self.count)]):
            if end > start:
                yield record_ms, end - start
