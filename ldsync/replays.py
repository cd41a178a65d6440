"""Replays: when a segment that lacks parked changes is well again, they are applied once more."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from ldsync.hindsight import look_back
from ldsync.kafka.errors import SourceError
from ldsync.kafka.marking import markers
from ldsync.replaying import Replay
from ldsync.versions.base import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from ldsync.divergence import Divergence
    from ldsync.engage.decoder import Decoder
    from ldsync.hindsight import Hindsight
    from ldsync.kafka.dead_letters import DeadLetters
    from ldsync.kafka.parked_record import ParkedRecord
    from ldsync.kafka.standing import Places
    from ldsync.sync.buffer import Buffer
    from ldsync.sync.change import Segment
    from ldsync.sync.ledger import Partition
    from ldsync.sync.waiting import Waiting
    from ldsync.telemetry.journal import Journal
    from ldsync.versions.base import Versions

# What aiokafka raises is a RuntimeError.
_TROUBLE: Final = (OSError, RuntimeError, SourceError, StoreUnavailable)

_LOOK_SECONDS: Final = 0.5
_ROOM_SECONDS: Final = 0.1
_LONGEST_SECONDS: Final = 60.0
_FAILING_SECONDS: Final = 30.0
"""How long a segment may fail during its replay; that of others waits meanwhile."""


class Replays:
    """Reads parked letters again and applies them, for segments that recover.

    All methods but `run` return at once.

    Args:
        divergence: What segments lack; what was replayed is taken from it.
        waiting: Says which segments are well.
        buffer: Where changes go.
        versions: Says what is newer.
        dead_letters: Knows where the letters are.
        decoder: The one that made the changes in the buffer.
        journal: Tells of it.
    """

    def __init__(
        self,
        divergence: Divergence,
        waiting: Waiting,
        buffer: Buffer,
        versions: Versions,
        dead_letters: DeadLetters,
        decoder: Decoder,
        *,
        journal: Journal,
    ) -> None:
        self._lacks = divergence.lacks
        self._waiting = waiting
        self._buffer = buffer
        self._versions = versions
        self._dead_letters = dead_letters
        self._decoder = decoder
        self._journal = journal
        self._well: set[Segment] = set()
        self._silent: set[Segment] = set()
        self._open: dict[Segment, tuple[Replay, int, frozenset[Partition]]] = {}
        self._epoch = 0
        self._failures = 0
        self._everywhere: Callable[[], Collection[Partition]] = frozenset

    def recovered(self, segment: Segment) -> None:
        """Note that a segment can be written; if it lacks something, that is replayed."""
        if segment in self._lacks:
            self._well.add(segment)

    def silent(self, segment: Segment) -> None:
        """Note that all of a segment is parked: only one of these changes can show it well."""
        self._silent.add(segment)

    def reset(self) -> None:
        """End the epoch: nothing of it is replayed any more."""
        self._epoch += 1
        self._well.clear()
        self._silent.clear()
        self._open.clear()

    async def run(
        self,
        may_add: Callable[[], bool],
        owned: Callable[[], Collection[Partition]],
        everywhere: Callable[[], Collection[Partition]],
    ) -> None:
        """Replay what was parked of segments that recover, for ever.

        Args:
            may_add: Whether changes may be put into the buffer.
            owned: The partitions whose changes these may be.
            everywhere: Those in which something newer may be.
        """
        self._everywhere = everywhere
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self._conclude()
            epoch = self._epoch
            for segment in self._take(self._silent) if may_add() else ():
                if epoch == self._epoch:
                    await self._probe(segment, may_add, owned)
            well = [each for each in self._take(self._well) if self._may_gain(each)]
            if well:
                await self._replay({each.key: self._new(each) for each in well}, may_add, owned)

    def _take(self, segments: set[Segment]) -> list[Segment]:
        """Take those whose letters are all in the topic and that are not being replayed.

        Those that lack nothing any more are forgotten.
        """
        segments.intersection_update(self._lacks)
        ready = [each for each in segments - self._open.keys() if not self._lacks[each].unsafe]
        segments.difference_update(ready)
        return ready

    def _is_well(self, segment: Segment) -> bool:
        return segment in self._lacks and self._waiting.of(segment) is None

    def _may_gain(self, segment: Segment) -> bool:
        """Whether a segment is well and lacks something that was not tried to be replayed yet."""
        return self._is_well(segment) and (
            self._lacks[segment].changes > self._lacks[segment].given_up
        )

    def _new(self, segment: Segment) -> Replay:
        return Replay(
            segment,
            self._lacks[segment].oldest,
            self._buffer,
            self._versions,
            self._decoder,
            self._journal,
        )

    async def _probe(
        self,
        segment: Segment,
        may_add: Callable[[], bool],
        owned: Callable[[], Collection[Partition]],
    ) -> None:
        """Have one parked change tried, of a segment that has no other to show that it is well."""
        epoch = self._epoch
        replay = self._new(segment)
        places = self._dead_letters.parked.take([segment.key])
        self._dead_letters.parked.give_back(places)
        mine = frozenset(owned())
        try:
            tried = await self._try(replay, places, mine, may_add)
            if not tried and replay.old_members and self._waiting.of(segment):
                hindsight = await self._hindsight({segment.key: replay})
                if hindsight is not None and epoch == self._epoch:
                    places = {segment.key: replay.look_back(hindsight)}
                    tried = await self._try(replay, places, mine, may_add)
            if epoch == self._epoch and not tried:
                self._well.add(segment)  # nothing can be tried: that is told, unless it waits
        except _TROUBLE as error:
            if epoch == self._epoch:
                self._silent.add(segment)
            await self._unreadable(error)

    async def _try(
        self,
        replay: Replay,
        places: Mapping[str, Places],
        owned: frozenset[Partition],
        may_add: Callable[[], bool],
    ) -> bool:
        """Apply one of the letters that stand there; whether there is nothing more to be tried."""
        epoch, segment = self._epoch, replay.segment
        letters = self._dead_letters.parked.read(places, self._dead_letters.options, owned)
        async with aclosing(letters) as chunks:
            async for chunk in chunks:
                known = await replay.known(chunk)
                for record in chunk:
                    if epoch != self._epoch or self._buffer.waiting(segment):
                        return True
                    if not may_add():
                        self._silent.add(segment)
                        return True
                    replay.apply([record], known, probing=True)
        return epoch != self._epoch or replay.replayed > 0

    async def _replay(
        self,
        replays: dict[str, Replay],
        may_add: Callable[[], bool],
        owned: Callable[[], Collection[Partition]],
    ) -> None:
        """Apply what was parked of some segments; `_conclude` looks when all of it is written."""
        epoch = self._epoch
        places = self._dead_letters.parked.take(replays)
        asked = {key: self._lacks[each.segment].changes for key, each in replays.items()}
        mine = frozenset(owned())
        trouble: Exception | None = None
        try:
            await self._read(replays, places, mine, may_add)
            await self._look_back(replays, mine, may_add)
        except _TROUBLE as error:
            trouble = error
        if epoch != self._epoch:
            return
        for key, replay in replays.items():
            if trouble is not None or replay.interrupted:
                self._dead_letters.parked.give_back({key: places.get(key, {})})
                self._again(replay.segment)
            else:
                self._open[replay.segment] = replay, asked[key], mine
        if trouble is None:
            self._failures = 0
        else:
            await self._unreadable(trouble)

    async def _read(
        self,
        replays: Mapping[str, Replay],
        places: Mapping[str, Places],
        owned: frozenset[Partition],
        may_add: Callable[[], bool],
    ) -> None:
        """Apply the letters that stand there."""
        epoch = self._epoch
        letters = self._dead_letters.parked.read(places, self._dead_letters.options, owned)
        async with aclosing(letters) as chunks:
            async for chunk in chunks:
                found = defaultdict(list)
                for record in chunk:
                    found[record.segment].append(record)
                for key, records in found.items():
                    await self._apply(replays[key], records, epoch, may_add)

    async def _look_back(
        self,
        replays: Mapping[str, Replay],
        owned: frozenset[Partition],
        may_add: Callable[[], bool],
    ) -> None:
        """Apply what was too old, if the topics say what came after it (R9)."""
        epoch = self._epoch
        old = {
            key: replay
            for key, replay in replays.items()
            if replay.old_members and not replay.interrupted
        }
        if not old:
            return
        hindsight = await self._hindsight(old)
        if epoch == self._epoch:
            places = {key: replay.look_back(hindsight) for key, replay in old.items()}
            await self._read(old, places, owned, may_add)

    async def _hindsight(self, old: Mapping[str, Replay]) -> Hindsight | None:
        """Find out what came after what replays, by segment key, have put off."""
        return await look_back(
            {key: replay.old_members for key, replay in old.items()},
            min(replay.old_since for replay in old.values()),
            {partition.topic for partition in self._everywhere()},
            self._dead_letters,
            self._decoder,
            self._journal,
        )

    async def _unreadable(self, error: Exception) -> None:
        """Tell that letters cannot be read, and wait: a second, doubling up to a minute."""
        self._journal.replay_failed(repr(error))
        await asyncio.sleep(min(_LONGEST_SECONDS, 2.0**self._failures))
        self._failures = min(self._failures + 1, 6)

    async def _apply(
        self, replay: Replay, records: list[ParkedRecord], epoch: int, may_add: Callable[[], bool]
    ) -> None:
        """Apply some records as soon as there is room, unless their segment fails for long.

        For less it is waited for: the next replay begins with the first letter again.
        """
        while epoch == self._epoch and not replay.interrupted:
            wait = self._waiting.of(replay.segment)
            if wait is None:
                if may_add() and not self._buffer.over_budget():
                    known = await replay.known(records)
                    if epoch == self._epoch:
                        replay.apply(records, known)
                    return
            elif wait.alone or time.monotonic() - wait.since > _FAILING_SECONDS:
                break
            await asyncio.sleep(_ROOM_SECONDS)
        replay.interrupted = True

    def _again(self, segment: Segment) -> None:
        """Replay what a segment lacks; if it waits, as soon as it does not any more."""
        if self._is_well(segment):
            self._well.add(segment)

    def _conclude(self) -> None:
        """Tell how replays went that are through; what could not be replayed stays parked."""
        for segment, (replay, asked, owned) in list(self._open.items()):
            if not replay.settled:
                continue
            del self._open[segment]
            self._mark(replay, owned)
            lack = self._lacks[segment]
            new = asked - lack.given_up
            # A letter may be there twice; it does not stand for one that was not replayed.
            left = lack.given_up + min(new, max(new - replay.replayed, replay.left))
            lack.changes += left - asked
            lack.given_up = left
            lack.older += replay.older
            recovered = lack.changes == 0
            if recovered:
                del self._lacks[segment]
            elif lack.changes > left:
                self._again(segment)
            self._journal.replayed(segment, replay.replayed, left, str(lack), recovered=recovered)

    def _mark(self, replay: Replay, owned: frozenset[Partition]) -> None:
        """Have it written down what was replayed, for those who own the partitions later."""
        for place, done in replay.done.items():
            for marker in markers(replay.segment.key, place, owned, done, replay.kept[place]):
                self._dead_letters.post(marker)
