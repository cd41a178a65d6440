"""Replaying: parked changes go through the buffer once more, ordered as they first were (R9).

A replayed change holds nothing that is committed: its letter stays where it is. It counts as a
record consumed from the dead-letter topic, with an outcome of its own (P7).
"""

from __future__ import annotations

import time
from array import array
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

from ldsync.engage.decoder import Several
from ldsync.engage.times import to_epoch_seconds
from ldsync.hindsight import CLOCK_SECONDS
from ldsync.kafka.standing import runs
from ldsync.sync.change import Change, Target, supersedes
from ldsync.sync.ledger import Account
from ldsync.sync.outcomes import OLDER

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from ldsync.engage.decoder import Decoder
    from ldsync.hindsight import Hindsight
    from ldsync.kafka.parked_record import ParkedRecord
    from ldsync.kafka.standing import Places
    from ldsync.sync.buffer import Buffer
    from ldsync.sync.change import Segment
    from ldsync.sync.ledger import Partition
    from ldsync.telemetry.journal import Journal
    from ldsync.versions.base import Versions


class Replay:
    """One replay of what was parked of one segment.

    Attributes:
        segment: Of which segment.
        done: Where the letters stand of what went through the buffer: offsets by partition.
        kept: Where those of the rest stand.
        replayed: Changes that went through the buffer.
        older: Those that did not, because they are older than the horizon.
        old_members: The members of those that are, as long as nobody has looked back.
        old_since: The time of the oldest of these events, in epoch seconds.
        interrupted: Set when not all of them were applied.
    """

    def __init__(
        self,
        segment: Segment,
        oldest: float,
        buffer: Buffer,
        versions: Versions,
        decoder: Decoder,
        journal: Journal,
    ) -> None:
        """Replay changes of which the oldest came after `oldest` (monotonic seconds)."""
        self.segment = segment
        self._oldest = oldest
        self._buffer = buffer
        self._versions = versions
        self._decoder = decoder
        self._journal = journal
        self._accounts: list[Account] = []
        self.done: dict[Partition, array[int]] = defaultdict(partial(array, "q"))
        self.kept: dict[Partition, array[int]] = defaultdict(partial(array, "q"))
        self._old: dict[Partition, array[int]] = defaultdict(partial(array, "q"))
        self._later: Mapping[str, str] = {}
        self._may_look_back = True
        self.old_members: set[str] = set()
        self.old_since = float("inf")
        self.replayed = 0
        self.older = 0
        self.interrupted = False

    @property
    def settled(self) -> bool:
        """Whether all that went through the buffer was written, superseded or kept again."""
        self._accounts = [each for each in self._accounts if each.oldest is not None]
        return not self._accounts

    @property
    def left(self) -> int:
        """How many of the letters that were read did not go through the buffer."""
        return sum(map(len, self.kept.values()))

    async def known(self, records: Iterable[ParkedRecord]) -> dict[str, str]:
        """Return the newest stamps that are known of the members of some records."""
        return await self._versions.known(self.segment, [each.member for each in records])

    def apply(
        self,
        records: Iterable[ParkedRecord],
        known: Mapping[str, str],
        *,
        probing: bool = False,
    ) -> None:
        """Have records applied, in their first order; `known` is from a moment ago.

        Each is replaced by the newest that is known of its member (R6), also by what came later and
        has the same version: parking had noted which of them was the last. `probing` if they are
        only to show whether their segment is well: what is too old is left for later then, and
        hindsight on one of them is enough.
        """
        waiting = self._buffer.waiting(self.segment)
        since = self._horizon()
        found: dict[Partition, list[tuple[ParkedRecord, Change]]] = defaultdict(list)
        for record in sorted(records, key=lambda each: (each.partition, each.offset)):
            change = change_of(record, self._decoder)
            if change is None:
                self.kept[record.place].append(record.at)
                continue
            member = record.member
            for other in (self._later.get(member), known.get(member), waiting.get(member)):
                if other is not None and supersedes(other, change.stamp):
                    change = change._replace(stamp=other)
            at = to_epoch_seconds(change.stamp)
            if since is not None and (at is None or at < since):
                self._put_off(record, at, probing=probing)
                continue
            found[record.partition].append((record, change))
        for partition, pairs in found.items():
            self._add(partition, [pair[0] for pair in pairs], [pair[1] for pair in pairs])
        self._journal.ended(self._buffer.take_ended())
        self._decoder.forget_fallbacks()

    def _put_off(self, record: ParkedRecord, at: float | None, *, probing: bool) -> None:
        """Leave a record for when it is known what came after it; at a second time for good."""
        if self._may_look_back and at is not None:
            if probing and self.old_members:
                return
            self._old[record.place].append(record.at)
            self.old_members.add(record.member)
            self.old_since = min(self.old_since, at)
        elif not probing:
            self._leave(record.place, [record.at])

    def _leave(self, place: Partition, letters: Collection[int]) -> None:
        """Note that records are older than the horizon, and stay parked (R9)."""
        self.older += len(letters)
        self.kept[place].extend(letters)
        self._journal.records(place.topic, len(letters))
        self._journal.ended({OLDER: len(letters)})

    def look_back(self, hindsight: Hindsight | None) -> Places:
        """Say where the letters stand that are to be applied once more, with hindsight.

        Without it there are none, and those that are older than the horizon stay parked.
        """
        old, self._old = self._old, defaultdict(partial(array, "q"))
        self._may_look_back = False
        self.old_members.clear()
        if hindsight is None:
            for place, letters in old.items():
                self._leave(place, letters)
            return {}
        self._later = hindsight.stamps[self.segment.key]
        self._oldest = hindsight.at
        return {
            place: runs(letters, [*self.done[place], *self.kept[place]])
            for place, letters in old.items()
        }

    def _horizon(self) -> float | None:
        """The time of events (epoch seconds) before which newer ones may be forgotten.

        None if everything is remembered that was consumed since these changes were.
        """
        now = time.monotonic()
        reach = self._versions.horizon(now)
        if now - reach <= self._oldest:
            return None
        return time.time() - reach + CLOCK_SECONDS

    def _add(
        self, partition: Partition, records: list[ParkedRecord], changes: list[Change]
    ) -> None:
        """Put changes into the buffer, with an account that nobody commits.

        Should one of them be refused now, its record is looked for where it first was.
        """
        account = Account(partition, detached=True)
        oldest_ms = min((each.timestamp for each in records if each.timestamp >= 0), default=-1)
        chunk = account.open_chunk(records[0].offset, records[-1].offset + 1, oldest_ms)
        self._accounts.append(account)
        self._journal.records(records[0].place.topic, len(records))
        self._buffer.add(changes, chunk, time.monotonic())
        chunk.release()
        self.replayed += len(records)
        for record in records:
            self.done[record.place].append(record.at)


def change_of(record: ParkedRecord, decoder: Decoder) -> Change | None:
    """Return the change of a record that was parked, among all that the record says.

    None if it does not say it, or any more.
    """
    if record.alone is not None:
        segment = decoder.segments.again(
            key=record.segment,
            name=record.alone.segment_name,
            audience_id=record.alone.audience_id,
            audience_key=record.alone.audience_key,
        )
        kind = record.member.partition("/")[0]
        return Change(Target(segment, context_kind=kind), record.member, record.alone.stamp)
    found = decoder.read(record.value, record.timestamp)
    changes: tuple[Change, ...] = ()
    if isinstance(found, Change):
        changes = (found,)
    elif isinstance(found, Several):
        changes = found.changes
    for change in changes:
        if change.target.segment.key == record.segment and change.member == record.member:
            return change
    return None
