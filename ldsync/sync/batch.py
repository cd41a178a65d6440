"""A batch: the changes of a segment that go into one request, and why they go now."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ldsync.sync.change import Segment
    from ldsync.sync.lane import Lane
    from ldsync.sync.page import Page
    from ldsync.sync.tally import Tally


class Trigger(StrEnum):
    """Why a batch was taken."""

    SIZE = "size"
    AGE = "age"
    DRAIN = "drain"


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Changes of one segment that are written together.

    `changes` maps members to stamps; `attempt` counts from 1 since the segment's last success.
    `tallies` are those of the members whose change shares its record with others.
    """

    segment: Segment
    changes: dict[str, str]
    trigger: Trigger
    attempt: int
    lane: Lane
    pages: tuple[Page, ...]
    tallies: Mapping[str, Tally]
    epoch: int

    def waits(self) -> Iterator[tuple[int, int]]:
        """Yield pairs of a record time (epoch milliseconds) and how many changes came with it."""
        for page in self.pages:
            yield from page.waits()
