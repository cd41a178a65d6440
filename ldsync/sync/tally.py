"""Tallies: how records end, also those that have several changes (P7).

A record with one change, which is what nearly all are, ends as its change does, and is only
counted. The changes of a record that has several end one by one; a tally gathers how, and the
record ends with the last of them, as the worst.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ldsync.sync.outcomes import Ending, is_worse

if TYPE_CHECKING:
    from collections.abc import Mapping


class Tally:
    """What is left of a record with several changes, and the worst that became of it so far.

    `open` changes are still in the buffer. `worst` is None before the first ending.
    """

    __slots__ = ("open", "worst")

    def __init__(self, changes: int, worst: Ending | None) -> None:
        """Begin with so many open changes; `worst` is how parts ended that are no changes."""
        self.open = changes
        self.worst = worst


class Tallies:
    """All open tallies of an epoch, and how records ended since that was last asked.

    `records` are those with an open tally; `changes` the open changes of these.
    """

    __slots__ = ("_ended", "changes", "records")

    def __init__(self) -> None:
        """Start with nothing open."""
        self._ended: Counter[Ending] = Counter()
        self.records = 0
        self.changes = 0

    def begin(self, changes: int, worst: Ending | None) -> Tally:
        """Open a tally for a record with `changes` changes, at least one."""
        self.records += 1
        self.changes += changes
        return Tally(changes, worst)

    def end(self, ending: Ending, records: int = 1) -> None:
        """Note how `records` ended that have one change each."""
        if records:
            self._ended[ending] += records

    def end_change(self, tally: Tally, ending: Ending) -> None:
        """Note how one change of a record ended, and the record with it if that was its last."""
        if tally.worst is None or is_worse(ending.outcome, tally.worst.outcome):
            tally.worst = ending
        tally.open -= 1
        self.changes -= 1
        if tally.open == 0:
            self.records -= 1
            self._ended[tally.worst] += 1

    def discard(self) -> None:
        """Forget all open tallies: nothing ends their changes any more."""
        self.records = self.changes = 0

    def take_ended(self) -> Mapping[Ending, int]:
        """Return how records ended since the last call, and how many; none is counted twice."""
        ended, self._ended = self._ended, Counter()
        return ended
