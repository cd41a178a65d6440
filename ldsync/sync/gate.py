"""The gate: when writes may begin after an assignment, and when they may not any more.

Three rules meet here: R2 (a take-over waits), R3 (after the last flush of an epoch nothing begins)
and R4 (the lease).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ldsync.sync.lease import Lease

_NEVER: Final = float("inf")

LOOK_AGAIN_SECONDS: Final = 0.2
"""The lease comes back without notice: whoever waits for it looks again after this time."""


class Held(StrEnum):
    """Why no write may begin."""

    EPOCH = "epoch"
    """No epoch is open: nothing is assigned, history is still read, or the last flush is over."""
    TAKE_OVER = "take_over"
    """R2: the last request of the previous owner may still be applied."""
    LEASE = "lease"
    """R4: others may own the partitions by now."""


class Gate:
    """Opens a while after an assignment; times are monotonic seconds.

    `take_over_seconds` is how long after an assignment a request of a previous owner may still be
    applied.
    """

    __slots__ = ("_assigned_at", "_lease", "_opens_at", "_take_over_seconds")

    def __init__(self, lease: Lease, take_over_seconds: float) -> None:
        """Start closed."""
        self._lease = lease
        self._take_over_seconds = take_over_seconds
        self._assigned_at = 0.0
        self._opens_at = _NEVER

    def assigned(self, now: float) -> None:
        """An assignment begins. Nothing is written before `open`."""
        self._assigned_at = now
        self._opens_at = _NEVER

    def open(self, now: float, *, clean: bool) -> None:
        """Changes are taken in from now on (R2).

        They may be written at once if all partitions were left `clean`, and that mark is gone; else
        when the last request of a previous owner cannot be applied any more. It was sent before the
        assignment: an owner that was taken for dead begins no write (R4); with instance ids (static
        membership) its lease may outlast the assignment, and `take_over_seconds` has room for that.
        """
        self._opens_at = now if clean else self._assigned_at + self._take_over_seconds

    def close(self) -> None:
        """Begin nothing more in this epoch: its last flush is over (R3)."""
        self._opens_at = _NEVER

    def taken_over(self, now: float) -> bool:
        """Say whether nothing that was sent before the assignment may still be applied."""
        return now >= self._opens_at

    def held(self, now: float) -> Held | None:
        """Why no write may begin now; None if one may."""
        if self._opens_at == _NEVER:
            return Held.EPOCH
        if now < self._opens_at:
            return Held.TAKE_OVER
        return None if self._lease.holds(now) else Held.LEASE

    def wait(self, now: float) -> float:
        """Return in how many seconds to ask again; 0 if a write may begin now."""
        held = self.held(now)
        if held is Held.LEASE:
            return LOOK_AGAIN_SECONDS
        return 0.0 if held is None else self._opens_at - now
