"""How each segment has fared: what the status page tells of it."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ldsync.sync.change import Segment

_MOST_SEGMENTS: Final = 10_000
_SHOWN_SEGMENTS: Final = 200
_NONE: Final[Mapping[str, tuple[int, str]]] = MappingProxyType({})


@dataclass(slots=True)
class Fortune:
    """How one segment has fared.

    Attributes:
        audience_id: Of the audience that it is of.
        last_success_at: When a write of it was accepted last, in seconds since the epoch.
        last_error: What was said when one was not, in words; empty if all is well since.
        attempts: How many have failed since.
        waiting_since: When the first of them failed, in seconds since the epoch.
    """

    audience_id: str
    last_success_at: float | None = None
    last_error: str = ""
    attempts: int = 0
    waiting_since: float | None = None

    @property
    def waiting(self) -> bool:
        """Whether the last attempt failed."""
        return self.attempts > 0

    def wait_no_longer(self) -> None:
        """Note that an attempt was accepted, or that others write to the segment from now on."""
        self.attempts = 0
        self.waiting_since = None


class Fortunes:
    """Those of the segments that were met; of more than 10,000 the oldest is forgotten."""

    def __init__(self) -> None:
        """No segment was met yet."""
        self._fortunes: dict[str, Fortune] = {}

    def of(self, segment: Segment) -> Fortune:
        """Return that of a segment, to be changed."""
        fortune = self._fortunes.get(segment.key)
        if fortune is None:
            if len(self._fortunes) >= _MOST_SEGMENTS:
                del self._fortunes[next(iter(self._fortunes))]
            fortune = self._fortunes[segment.key] = Fortune(segment.audience_id)
        return fortune

    def wait_no_longer(self) -> None:
        """Note that no segment waits here any longer."""
        for fortune in self._fortunes.values():
            fortune.wait_no_longer()

    @property
    def waiting(self) -> int:
        """How many segments wait: their last attempt failed."""
        return sum(fortune.waiting for fortune in self._fortunes.values())

    def rows(
        self,
        loads: Mapping[str, tuple[int, int]],
        diverged: Mapping[str, tuple[int, str]] = _NONE,
    ) -> list[dict[str, Any]]:
        """Describe the segments for the status page, those in trouble first, at most 200.

        `loads` gives, by segment key, how many changes wait and how many are in flight; `diverged`
        how many are parked, and what a segment lacks in words.
        """
        strangers = {key: Fortune("") for key in diverged.keys() - self._fortunes.keys()}
        rows: list[dict[str, Any]] = [
            {
                "key": key,
                "audience_id": fortune.audience_id,
                "pending": loads.get(key, (0, 0))[0],
                "in_flight": loads.get(key, (0, 0))[1],
                "last_success_at": fortune.last_success_at,
                "last_error": fortune.last_error,
                "attempts": fortune.attempts,
                "waiting": fortune.waiting,
                "waiting_since": fortune.waiting_since,
                "parked": diverged.get(key, (0, ""))[0],
                "diverged": diverged.get(key, (0, ""))[1],
            }
            for key, fortune in (self._fortunes | strangers).items()
        ]
        rows.sort(key=_by_trouble)
        return rows[:_SHOWN_SEGMENTS]


def _by_trouble(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        not row["waiting"],
        not row["diverged"],
        not row["last_error"],
        -row["pending"],
        row["key"],
    )
