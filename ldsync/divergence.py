"""Divergence: what segments lack in LaunchDarkly of all that was consumed for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ldsync.sync.change import Segment

_RECREATED: Final = (
    "it was deleted in LaunchDarkly and created again: it holds what changed since, not who was in "
    "it before"
)


@dataclass(slots=True)
class Lack:
    """What a segment lacks: so many changes, the oldest of which came after a moment.

    `unsafe` batches of them are on their way to the dead-letter topic. `given_up` of the changes
    cannot be replayed, `older` because of the horizon.
    """

    oldest: float
    changes: int = 0
    unsafe: int = 0
    given_up: int = 0
    older: int = 0

    def __str__(self) -> str:
        """Say it to an operator."""
        words = f"{self.changes} changes are parked in the dead-letter topic"
        if self.given_up:
            words += f", of which {self.given_up} cannot be replayed"
        if self.older:
            words += f" ({self.older} are older than what is remembered: older_than_horizon)"
        return words


class Divergence:
    """All segments that lack something.

    `lacks` are those with parked changes; `unmet` are such, by key, that no event has been about
    since this process began; `recreated` the keys of those that were deleted and created again,
    until the process ends.
    """

    def __init__(self) -> None:
        """Nothing is missing yet."""
        self.lacks: dict[Segment, Lack] = {}
        self.unmet: dict[str, Lack] = {}
        self.recreated: set[str] = set()

    def meet(self, segment: Segment) -> None:
        """Take note of the segment of a key."""
        lack = self.unmet.pop(segment.key, None)
        if lack is not None:
            self.lack(segment, lack.oldest).changes += lack.changes

    def lack(self, segment: Segment, oldest: float) -> Lack:
        """Return what a segment lacks, with changes that came at `oldest` about to be added."""
        lack = self.lacks.setdefault(segment, Lack(oldest))
        lack.oldest = min(lack.oldest, oldest)
        return lack

    def clear(self) -> None:
        """Forget what is parked."""
        self.lacks.clear()
        self.unmet.clear()

    @property
    def segments(self) -> int:
        """How many segments lack something."""
        return len({segment.key for segment in self.lacks} | self.unmet.keys() | self.recreated)

    def rows(self) -> Mapping[str, tuple[int, str]]:
        """Return, by keys of segments, how many changes are parked, and what is missing."""
        lacks = {segment.key: lack for segment, lack in self.lacks.items()} | self.unmet
        found = {key: (lack.changes, str(lack)) for key, lack in lacks.items()}
        for key in self.recreated:
            count, words = found.get(key, (0, ""))
            found[key] = (count, "; ".join(filter(None, (words, _RECREATED))))
        return found
