"""What every way to write membership can do: the rest of the program knows no more of it."""

from collections.abc import Mapping
from typing import Protocol

from ldsync.launchdarkly.outcome import Outcome
from ldsync.sync.change import Segment


class Writer(Protocol):
    """Takes one batch of one segment and gives one outcome.

    Implementations: `StandardWriter`, `BigWriter` and `SyncedWriter`, chosen by
    `launchdarkly.write_path`.
    """

    @property
    def max_members(self) -> int:
        """What one batch should hold at most; a larger one takes several requests."""

    @property
    def writes_per_segment(self) -> int:
        """How many batches of one segment may be written at a time, with disjoint members."""

    async def write(self, segment: Segment, changes: Mapping[str, str]) -> Outcome:
        """Write one batch; what the segment needs for that is done first.

        Nothing is raised but cancellation, after which the request in flight may still be applied.

        Args:
            segment: Where to.
            changes: Stamp by member (`kind/key`).
        """
