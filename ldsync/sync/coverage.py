"""What of each partition this process knows already: the offsets that a warm-up need not read (R5).

What was consumed counts only without a gap. A partition that left and came back was worked on by
somebody else meanwhile, and is read again from where this process stopped: there is no "warm once,
warm for ever".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ldsync.sync.ledger import Partition


class Coverage:
    """One range of offsets for each partition, of which everything was noted."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        """Start with nothing."""
        self._known: dict[Partition, tuple[int, int]] = {}

    def unknown_from(self, partition: Partition, start: int, end: int) -> int:
        """Return the first offset from `start` to `end` (exclusive) that is not known, else `end`.

        All offsets from there on count as unknown.
        """
        first, behind = self._known.get(partition, (start, start))
        return min(behind if first <= start <= behind else start, end)

    def note(self, partition: Partition, start: int, end: int) -> None:
        """Everything from `start` to `end` (exclusive) is known from now on.

        What was known before is forgotten if it does not touch that: of two ranges the newer one is
        worth more.
        """
        first, behind = self._known.get(partition, (start, start))
        if first <= end and start <= behind:
            start, end = min(first, start), max(behind, end)
        self._known[partition] = (start, end)

    def advance(self, partition: Partition, end: int) -> None:
        """A partition whose history is known was consumed on, up to `end` (exclusive)."""
        known = self._known.get(partition)
        if known is not None and end > known[1]:
            self._known[partition] = (known[0], end)

    def clear(self) -> None:
        """Nothing is known of any partition: what was noted is lost."""
        self._known.clear()

    def forget(self, partition: Partition) -> None:
        """Nothing is known of a partition: its offsets mean something else from now on."""
        self._known.pop(partition, None)
