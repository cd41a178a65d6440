"""Recalling: at an assignment, what segments lack that was parked before it is found (R9).

Beside the work, which does not wait for it; but nothing is parked before it is known up to where
letters are from before, so that none counts twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from ldsync.divergence import Lack
from ldsync.kafka.errors import SourceError
from ldsync.kafka.parked_record import Marker
from ldsync.kafka.standing import Standing
from ldsync.replaying import change_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ldsync.divergence import Divergence
    from ldsync.engage.decoder import Decoder
    from ldsync.kafka.dead_letters import DeadLetters
    from ldsync.kafka.parked_record import ParkedRecord
    from ldsync.kafka.recall import Bounds
    from ldsync.replays import Replays
    from ldsync.sync.change import Segment
    from ldsync.sync.ledger import Partition
    from ldsync.telemetry.journal import Journal

# What aiokafka raises is a RuntimeError.
_TROUBLE: Final = (OSError, RuntimeError, SourceError)

_LONGEST_SECONDS: Final = 60.0
_LONG_AGO: Final = float("-inf")
_TRIES: Final = 3
"""Letters of one segment that are read to find out what it is: mappings may have changed."""


class Recalling:
    """Brings what was parked before an assignment into what segments lack.

    Args:
        divergence: What segments lack.
        replays: Told of them.
        dead_letters: Where letters are.
        decoder: The one that makes the changes in the buffer.
        journal: Tells of it.

    Attributes:
        pending: Whether it is not known yet which letters are from before.
        problem: Why they cannot be read, in words; empty while they can.
    """

    def __init__(
        self,
        divergence: Divergence,
        replays: Replays,
        dead_letters: DeadLetters,
        decoder: Decoder,
        journal: Journal,
    ) -> None:
        self._divergence = divergence
        self._replays = replays
        self._dead_letters = dead_letters
        self._decoder = decoder
        self._journal = journal
        self._wanted = asyncio.Event()
        self._epoch = 0
        self.pending = False
        self.problem = ""

    def begin(self) -> None:
        """An assignment has begun, and the history before it is known."""
        if self._dead_letters.recalls:
            self.pending = True
            self._wanted.set()

    def reset(self) -> None:
        """End the epoch: others are to recall what is parked."""
        self._epoch += 1
        self.pending = False
        self.problem = ""
        self._wanted.clear()

    async def run(self, owned: Callable[[], Collection[Partition]]) -> None:
        """Recall what is parked of partitions that are `owned`, at each assignment, for ever."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._recall(self._epoch, frozenset(owned()))

    async def _recall(self, epoch: int, owned: frozenset[Partition]) -> None:
        """Try until it is done: after a second, then after twice as long, up to a minute."""
        recall = self._dead_letters.recall
        bounds: Bounds | None = None
        left_out = 0
        wait = 1.0
        while epoch == self._epoch:
            try:
                if bounds is None:
                    bounds, left_out = await recall.bounds(owned)
                    if epoch == self._epoch:
                        self.pending = False
                await self._read(epoch, owned, bounds, left_out)
            except _TROUBLE as error:
                if epoch == self._epoch:
                    self.problem = repr(error)
                    self._journal.replay_failed(self.problem)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._wanted.wait()
                wait = min(_LONGEST_SECONDS, 2.0 * wait)
            else:
                return

    async def _read(
        self, epoch: int, owned: frozenset[Partition], bounds: Bounds, left_out: int
    ) -> None:
        standing = Standing()
        segments: dict[str, Segment] = {}
        tries: dict[str, int] = {}
        letters = self._dead_letters.recall.read(bounds, owned, self._dead_letters.options)
        async with aclosing(letters) as chunks:
            async for chunk in chunks:
                if epoch != self._epoch:
                    return
                for found in chunk:
                    standing.take(found)
                    if not isinstance(found, Marker) and found.segment not in segments:
                        self._recognise(found, segments, tries)
        if epoch == self._epoch:
            self.problem = ""
            self._note(standing, segments, left_out)

    def _recognise(
        self, record: ParkedRecord, segments: dict[str, Segment], tries: dict[str, int]
    ) -> None:
        """Find out what segment a letter is of, from what its record says."""
        tried = tries.get(record.segment, 0)
        if record.sha256 or tried >= _TRIES:
            return
        tries[record.segment] = tried + 1
        change = change_of(record, self._decoder)
        if change is not None:
            segments[record.segment] = change.target.segment
        self._decoder.forget_fallbacks()

    def _note(self, standing: Standing, segments: dict[str, Segment], left_out: int) -> None:
        """Take note of what is still parked, and have it tried."""
        total = 0
        found = standing.outstanding()
        for key, (count, places) in found.items():
            total += count
            self._dead_letters.parked.give_back({key: places})
            segment = segments.get(key)
            if segment is None:
                self._divergence.unmet[key] = Lack(_LONG_AGO, count)
                continue
            self._divergence.lack(segment, _LONG_AGO).changes += count
            self._replays.silent(segment)
        self._journal.recalled(len(found), total, left_out)
