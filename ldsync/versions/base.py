"""What a version store is: the newest version known of each member, which decides what is written.

`MemoryVersions` keeps it in this process, `RedisVersions` where replicas share it. `merge` comes
before a write and `confirm` after its answer; `ldsync.attempt` shows both in their place.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from ldsync.sync.change import Segment


class StoreState(StrEnum):
    """Whether versions can be relied on. Only `UP` allows writes."""

    UP = "up"
    COLD = "cold"
    """It answers, but has lost versions, or never had them: writes wait until it is warm (R7)."""
    DOWN = "down"
    """It does not answer, or refuses: writes wait, and are never made without it (R7)."""


class StoreTrouble(StrEnum):
    """Why a store cannot be used; label of a metric."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    AUTH = "auth"
    REFUSED = "refused"
    LOST = "lost"
    COLD = "cold"


class StoreUnavailable(Exception):
    """The store could not be asked: nothing may be written, nothing settled, until it can.

    The message is for the operator; `trouble` says what kind it is.
    """

    def __init__(self, trouble: StoreTrouble, detail: str) -> None:
        super().__init__(detail)
        self.trouble = trouble


class StoreMisconfigured(Exception):
    """The store cannot work as it is configured; the message says what to change."""


class Versions(Protocol):
    """A version store.

    Attributes:
        shared: Other processes see what is noted here, and this one what they note.
    """

    shared: bool

    @property
    def state(self) -> StoreState:
        """Whether it can be relied on; costs nothing to ask."""

    @property
    def problem(self) -> str:
        """Why it cannot, in words; empty while it can."""

    @property
    def losses(self) -> int:
        """How often it is known to have lost what was noted."""

    @property
    def entries(self) -> float:
        """How many members are remembered; not a number (NaN) where that is not known."""

    def horizon(self, now: float) -> float:
        """Return how far back, in seconds, all that was noted is still remembered.

        `now` is in monotonic seconds, here and in the other methods.
        """

    async def merge(self, segment: Segment, changes: dict[str, str], now: float) -> set[str]:
        """Replace each change by the newest known of its member, in place, and note them all (R6).

        Nothing is dropped for being old: the newest known value is written (again) instead. Returns
        the members whose change was older than what was known.

        Raises:
            StoreUnavailable: nothing may be written now; what was noted by then stays noted.
        """

    async def confirm(self, segment: Segment, changes: dict[str, str]) -> Collection[str]:
        """After the answer to a write of `changes`: bring them up to date, in place (R7).

        Returns the members that have to be written again before anything is settled, because others
        noted something newer since, or because what was noted is lost.

        Raises:
            StoreUnavailable: it is not known whether this write was the last word; nothing may be
                settled.
        """

    async def note(self, segment: Segment, changes: Mapping[str, str], now: float) -> None:
        """Note changes that are not to be written, unless something newer is known.

        Such as history (R5). Works on a cold store, too: that is how it becomes warm.

        Raises:
            StoreUnavailable: they are not noted.
        """

    async def known(self, segment: Segment, members: Iterable[str]) -> dict[str, str]:
        """Return the newest stamps of members, as far as they are known; note nothing.

        Raises:
            StoreUnavailable: it cannot be asked.
        """

    async def mark_warm(
        self,
        reach: float | None,
        now: float,
        *,
        noted: Collection[str] = (),
        wanted: Collection[str] = (),
    ) -> None:
        """Say that history was noted from `reach` seconds ago on; None if there was none.

        A store that replicas share may be relied on when that of all partitions is noted: `noted`
        names those of which it is now, `wanted` all there are. Without names it is that of all.

        Raises:
            StoreUnavailable: it was lost again meanwhile, or cannot be reached.
        """

    async def watch(self) -> None:
        """Keep `state` up to date; runs as long as the worker, or returns if that takes nothing."""

    async def close(self) -> None:
        """Let go of connections."""
