"""Parking: what a waiting segment holds too much or for too long goes to the dead letters.

`ldsync.sync.waiting` decides; here it is carried out and told. What was parked is replayed as soon
as the segment can be written again (`ldsync.replays`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final

from ldsync.divergence import Divergence
from ldsync.launchdarkly.outcome import Retry, RetryReason, Scope
from ldsync.recalling import Recalling
from ldsync.replays import Replays
from ldsync.sync.outcomes import PARKED
from ldsync.versions.base import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ldsync.divergence import Lack
    from ldsync.engage.decoder import Decoder
    from ldsync.kafka.dead_letters import DeadLetters
    from ldsync.sync.batch import Batch
    from ldsync.sync.buffer import Buffer
    from ldsync.sync.change import Segment
    from ldsync.sync.ledger import Partition
    from ldsync.sync.waiting import Waiting
    from ldsync.telemetry.journal import Journal
    from ldsync.versions.base import Versions

_LOOK_SECONDS: Final = 0.5


class Parking:
    """Carries out the policy of waiting segments.

    All methods but the coroutines return at once. With `dead_letters.enabled = false` nothing is
    parked.

    Args:
        waiting: The policy.
        buffer: Where changes wait.
        versions: Remembers what was parked, so that nothing older passes it.
        dead_letters: Where they go.
        decoder: The one that made the changes in the buffer.
        journal: Tells of it.

    Attributes:
        divergence: What segments lack.
        recalling: Finds what was parked before.
    """

    def __init__(
        self,
        waiting: Waiting,
        buffer: Buffer,
        versions: Versions,
        dead_letters: DeadLetters,
        decoder: Decoder,
        journal: Journal,
    ) -> None:
        self._waiting = waiting
        self._buffer = buffer
        self._versions = versions
        self._dead_letters = dead_letters
        self._journal = journal
        self.divergence = Divergence()
        self._replays = Replays(
            self.divergence, waiting, buffer, versions, dead_letters, decoder, journal=journal
        )
        self.recalling = Recalling(self.divergence, self._replays, dead_letters, decoder, journal)

    # --- what happens to writes ---------------------------------------------------------------

    def began(self, batch: Batch) -> None:
        """Note that an attempt begins."""
        self._waiting.began(batch.segment, time.monotonic())

    def failed(self, batch: Batch, retry: Retry, seconds: float) -> None:
        """Note that an attempt failed after `seconds`."""
        if self._buffer.is_current(batch):
            now = time.monotonic()
            own = retry.scope is Scope.SEGMENT and retry.reason is not RetryReason.VERSION_STORE
            self._waiting.failed(batch.segment, now - seconds, now, retry.detail, own=own)

    def accepted(self, batch: Batch, seconds: float) -> None:
        """Note that LaunchDarkly accepted an attempt that took `seconds`."""
        segment = batch.segment
        self._waiting.accepted(segment, time.monotonic() - seconds)
        if segment.recreated:
            self.divergence.recreated.add(segment.key)
        self.divergence.meet(segment)
        self._replays.recovered(segment)

    def reset(self) -> None:
        """End the epoch: other owners of the partitions find in the topic what was parked here."""
        self._waiting.reset()
        self.divergence.clear()
        self._replays.reset()
        self.recalling.reset()

    # --- parking ------------------------------------------------------------------------------

    async def run(self, may_park: Callable[[], bool]) -> None:
        """Look at what waits, for ever, while `may_park` allows."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if self._dead_letters.enabled and not self.recalling.pending and may_park():
                await self._park(may_park)

    async def replay(
        self,
        may_add: Callable[[], bool],
        owned: Callable[[], Collection[Partition]],
        everywhere: Callable[[], Collection[Partition]],
    ) -> None:
        """Replay what was parked, for ever; see `Replays.run`."""
        if self._dead_letters.replays:
            await self._replays.run(may_add, owned, everywhere)

    async def _park(self, may_park: Callable[[], bool]) -> None:
        parked: Counter[Segment] = Counter()
        reasons: dict[Segment, str] = {}
        for batch in self._waiting.park(self._buffer, time.monotonic()):
            wait = self._waiting.of(batch.segment)
            reason = "" if wait is None else wait.error
            self._hand_over(batch, reason)
            parked[batch.segment] += len(batch.changes)
            reasons[batch.segment] = reason
            # What comes later and is older must not pass it; nor, if it is as old, be passed (R6).
            # A store that is down cannot be told; then the replay brings what is newer.
            with contextlib.suppress(StoreUnavailable):
                await self._versions.note(batch.segment, batch.changes, time.monotonic())
            await asyncio.sleep(0)
            if self._dead_letters.crowded or not may_park():
                break
        for segment, count in parked.items():
            self._journal.parked(segment, count, reasons[segment])
            if not self._buffer.waiting(segment):
                self._replays.silent(segment)

    def _hand_over(self, batch: Batch, reason: str) -> None:
        """Let the dead letters have a batch; its records are released when they are safe (P1)."""
        oldest = min(page.opened_at for page in batch.pages)
        self.divergence.meet(batch.segment)
        lack = self.divergence.lack(batch.segment, oldest)
        lack.changes += len(batch.changes)
        lack.unsafe += 1
        self._journal.ended(self._buffer.take_ended())
        self._dead_letters.reject(
            batch,
            PARKED.reason,
            dict.fromkeys(batch.changes, reason),
            partial(self._safe, batch, lack),
        )

    def _safe(self, batch: Batch, lack: Lack) -> None:
        lack.unsafe -= 1
        self._buffer.release(batch, time.monotonic())
