"""The lease: how long this process surely is a member of its group (R4).

A group takes partitions away without asking: from a member that it has not heard of for the session
time-out, and from one that has not joined a rebalance when the rebalance time-out is over. A
process that stood still learns of that too late. So it writes only while neither can have happened
yet, counting from what the group's coordinator last answered. After a stop the next answer decides:
another "yes" renews the lease, and anything else leads to the end of the epoch.
"""

from __future__ import annotations

from typing import Final

LEASE_SHARE: Final = 0.8
"""Part of a time-out that is made use of. The rest is the margin: for what lies between looking at
the lease and the first byte of a request, and for clocks."""

_NEVER: Final = float("-inf")


class Lease:
    """When it ends, as far as answers have come. Times are monotonic seconds."""

    __slots__ = ("_member", "_rebalance", "_session", "_stable")

    def __init__(self, session_seconds: float, rebalance_seconds: float) -> None:
        """Start without a lease; both are time-outs, as the group was told them."""
        self._session = session_seconds * LEASE_SHARE
        self._rebalance = rebalance_seconds * LEASE_SHARE
        self._member = self._stable = _NEVER

    def confirm(self, sent: float, *, stable: bool) -> None:
        """The coordinator answered a request, sent at this time, as it answers its members.

        `stable` if the answer also says that no rebalance had begun.
        """
        self._member = max(self._member, sent)
        if stable:
            self._stable = max(self._stable, sent)

    def end(self) -> None:
        """There is no membership any more, or none that answers from before count for."""
        self._member = self._stable = _NEVER

    @property
    def until(self) -> float:
        """The time before which it surely holds, if nothing more is answered."""
        return min(self._member + self._session, self._stable + self._rebalance)

    def holds(self, now: float) -> bool:
        """Say whether a write may begin."""
        return now < self.until
