"""Markers: what was replayed of a segment is written down, so that no later owner replays it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ldsync.kafka.letter import REPLAYED_REASON, Letter, marker_json
from ldsync.kafka.standing import runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ldsync.sync.ledger import Partition

_RANGES: Final = 1000
"""In one marker: some 20 kB at most."""


class _Nothing:
    """Nothing depends on a marker: without it the letters are replayed once more."""

    def release(self) -> None:
        """It is acknowledged."""


def markers(
    segment: str,
    place: Partition,
    owned: Iterable[Partition],
    done: Iterable[int],
    kept: Iterable[int],
) -> Iterator[Letter]:
    """Say that letters of a segment were replayed, whose records were in `owned` partitions.

    Args:
        segment: Its key.
        place: The partition where they stand.
        owned: All partitions that were looked at.
        done: Their offsets.
        kept: Those of others, which were not.
    """
    partitions: dict[str, list[int]] = {}
    for partition in sorted(owned):
        partitions.setdefault(partition.topic, []).append(partition.number)
    ranges = runs(done, kept)
    for first in range(0, len(ranges), _RANGES):
        value = marker_json(segment, partitions, ranges[first : first + _RANGES])
        yield Letter(
            place.topic, None, value, None, REPLAYED_REASON, _Nothing(), number=place.number
        )
