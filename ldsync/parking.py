"""Parking: what a waiting segment holds too much or for too long goes to the dead letters.

`ldsync.sync.waiting` decides; here it is carried out and told, and it is remembered which segments
are *diverged*: LaunchDarkly does not have all of what was consumed for them.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final

from ldsync.launchdarkly.outcome import Retry, Scope
from ldsync.sync.outcomes import PARKED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ldsync.kafka.dead_letters import DeadLetters
    from ldsync.sync.batch import Batch
    from ldsync.sync.buffer import Buffer
    from ldsync.sync.change import Segment
    from ldsync.sync.waiting import Waiting
    from ldsync.telemetry.journal import Journal

_LOOK_SECONDS: Final = 0.5
_RECREATED: Final = (
    "it was deleted in LaunchDarkly and created again: it holds what changed since, not who was in "
    "it before"
)


class Parking:
    """Carries out the policy of waiting segments.

    All methods but `run` return at once. With `dead_letters.enabled = false` nothing is parked.

    Args:
        waiting: The policy.
        buffer: Where changes wait.
        dead_letters: Where they go.
        journal: Tells of it.
    """

    def __init__(
        self, waiting: Waiting, buffer: Buffer, dead_letters: DeadLetters, journal: Journal
    ) -> None:
        self._waiting = waiting
        self._buffer = buffer
        self._dead_letters = dead_letters
        self._journal = journal
        self._parked: Counter[str] = Counter()
        self._recreated: set[str] = set()

    # --- what happens to writes ---------------------------------------------------------------

    def began(self, batch: Batch) -> None:
        """Note that an attempt begins."""
        self._waiting.began(batch.segment, time.monotonic())

    def failed(self, batch: Batch, retry: Retry, seconds: float) -> None:
        """Note that an attempt failed after `seconds`."""
        if self._buffer.is_current(batch):
            now = time.monotonic()
            own = retry.scope is Scope.SEGMENT
            self._waiting.failed(batch.segment, now - seconds, now, retry.detail, own=own)

    def accepted(self, batch: Batch, seconds: float) -> None:
        """Note that LaunchDarkly accepted an attempt that took `seconds`."""
        segment = batch.segment
        self._waiting.accepted(segment, time.monotonic() - seconds)
        if segment.recreated:
            self._recreated.add(segment.key)

    def reset(self) -> None:
        """End the epoch: the new owners of the partitions are to know of what was parked."""
        self._waiting.reset()
        self._parked.clear()

    # --- parking ------------------------------------------------------------------------------

    async def run(self, may_park: Callable[[], bool]) -> None:
        """Look at what waits, for ever, while `may_park` allows."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if self._dead_letters.enabled and may_park():
                await self._park(may_park)

    async def _park(self, may_park: Callable[[], bool]) -> None:
        parked: Counter[Segment] = Counter()
        reasons: dict[Segment, str] = {}
        for batch in self._waiting.park(self._buffer, time.monotonic()):
            wait = self._waiting.of(batch.segment)
            reason = "" if wait is None else wait.error
            self._hand_over(batch, reason)
            parked[batch.segment] += len(batch.changes)
            reasons[batch.segment] = reason
            await asyncio.sleep(0)
            if self._dead_letters.crowded or not may_park():
                break
        for segment, count in parked.items():
            self._journal.parked(segment, count, reasons[segment])

    def _hand_over(self, batch: Batch, reason: str) -> None:
        """Let the dead letters have a batch; its records are released when they are safe (P1)."""
        self._parked[batch.segment.key] += len(batch.changes)
        self._journal.ended(self._buffer.take_ended())
        self._dead_letters.reject(
            batch, PARKED.reason, dict.fromkeys(batch.changes, reason), partial(self._safe, batch)
        )

    def _safe(self, batch: Batch) -> None:
        self._buffer.release(batch, time.monotonic())

    # --- what is missing ----------------------------------------------------------------------

    @property
    def diverged(self) -> int:
        """How many segments lack something that was consumed for them."""
        return len(self._parked.keys() | self._recreated)

    def divergence(self) -> Mapping[str, tuple[int, str]]:
        """Return, by keys of diverged segments, how many changes are parked, and why in words."""
        found = {
            key: (count, f"{count} changes are parked in the dead-letter topic")
            for key, count in self._parked.items()
        }
        for key in self._recreated:
            count, words = found.get(key, (0, ""))
            found[key] = (count, "; ".join(filter(None, (words, _RECREATED))))
        return found
