"""Reading records again: a change that LaunchDarkly refused does not carry its record any more.

Buffered changes hold no offsets, because there are millions of them and they are rarely asked. What
is known of a batch is from which offset on each partition may hold its records: the first that its
lane still needs. From there to the last one consumed is scanned, once for everything that waits at
that moment, by a consumer without a group.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from aiokafka.errors import KafkaError

from ldsync.engage.decoder import Several
from ldsync.kafka.letter import Letter, Refusal, change_json, letter_of
from ldsync.kafka.letter_topics import topic_for
from ldsync.kafka.scan import scan
from ldsync.sync.change import Change, includes
from ldsync.sync.ledger import Partition

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiokafka import ConsumerRecord
    from structlog.typing import FilteringBoundLogger

    from ldsync.config import DeadLettersSettings, KafkaSettings
    from ldsync.engage.decoder import Found
    from ldsync.sync.batch import Batch
    from ldsync.sync.change import Segment

_GATHER_SECONDS: Final = 0.1

Wanted = tuple[str, str, str]
"""Segment key, member and stamp of a change."""


class Reads(Protocol):
    """What is asked of a decoder: what a record says."""

    def read(self, value: bytes | None, record_ms: int) -> Found:
        """See `ldsync.engage.decoder.Decoder.read`."""


class _Settling:
    """Settles a batch when the letters of all its refused changes were acknowledged."""

    __slots__ = ("_left", "_settled")

    def __init__(self, left: int, settled: Callable[[], None]) -> None:
        self._left = left
        self._settled = settled

    def release(self) -> None:
        """One more letter was acknowledged."""
        self._left -= 1
        if self._left == 0:
            self._settled()


@dataclass(frozen=True, slots=True, eq=False)
class _Refused:
    """A change that was refused, with what its letter will say."""

    reason: str
    detail: str
    attempts: int
    segment: Segment
    owner: Partition
    receipt: _Settling

    @property
    def size(self) -> int:
        """About how much memory it takes, in bytes."""
        return len(self.detail) + 512


class Rejections:
    """Refused changes that wait for their records.

    Args:
        settings: The section `[dead_letters]`.
        kafka: The section `[kafka]`.
        new_decoder: Makes what says what a record changes, as was said when it was first read.
        post: Where letters go.
        room: Waits until letters may be posted again.
        log: `dead_letters.reread`.

    Attributes:
        waiting: Changes that have no letter yet.
        waiting_bytes: About how much memory they take.
    """

    def __init__(
        self,
        settings: DeadLettersSettings,
        kafka: KafkaSettings,
        new_decoder: Callable[[], Reads],
        *,
        post: Callable[[Letter], None],
        room: Callable[[], Awaitable[None]],
        log: FilteringBoundLogger,
    ) -> None:
        self._settings = settings
        self._kafka = kafka
        self._new_decoder = new_decoder
        self._post = post
        self._room = room
        self._log = log
        self._new = asyncio.Event()
        self._refused: dict[Wanted, list[_Refused]] = {}
        self._ranges: dict[Partition, tuple[int, int]] = {}
        self._epoch = 0
        self.waiting = 0
        self.waiting_bytes = 0

    def add(
        self, batch: Batch, reason: str, members: Mapping[str, str], settled: Callable[[], None]
    ) -> None:
        """Take in members of a batch that were refused, each with what LaunchDarkly said.

        `settled` is called when all their letters were acknowledged.
        """
        needed = batch.lane.needed()
        for partition, (first, end) in needed.items():
            known_first, known_end = self._ranges.get(partition, (first, end))
            self._ranges[partition] = (min(first, known_first), max(end, known_end))
        owner = min(needed)
        receipt = _Settling(len(members), settled)
        for member, detail in members.items():
            refused = _Refused(reason, detail, batch.attempt, batch.segment, owner, receipt)
            key = (batch.segment.key, member, batch.changes[member])
            self._refused.setdefault(key, []).append(refused)
            self.waiting += 1
            self.waiting_bytes += refused.size
        self._new.set()

    def discard(self) -> None:
        """End the epoch: forget what waits, and what is being read."""
        self._epoch += 1
        self._refused = {}
        self._ranges = {}
        self.waiting = self.waiting_bytes = 0

    async def run(self, options: dict[str, Any]) -> None:
        """Find the records of what is taken in, for ever. `options` are from `client_options`."""
        while True:
            await self._new.wait()
            await asyncio.sleep(_GATHER_SECONDS)
            self._new.clear()
            wanted, self._refused = self._refused, {}
            ranges, self._ranges = self._ranges, {}
            if wanted:
                await self._answer(wanted, ranges, options)

    async def _answer(
        self,
        wanted: dict[Wanted, list[_Refused]],
        ranges: dict[Partition, tuple[int, int]],
        options: dict[str, Any],
    ) -> None:
        """Write letters for all that is wanted, with their records as far as they are found."""
        epoch, started, records, asked = self._epoch, time.monotonic(), 0, len(wanted)
        trouble = ""
        read = self._new_decoder().read
        owners: dict[tuple[str, str], Partition | None]
        owners = dict.fromkeys((segment, member) for segment, member, _ in wanted)
        try:
            async with aclosing(
                scan(self._kafka, ranges, self._settings.timeout_seconds, options)
            ) as chunks:
                async for chunk in chunks:
                    if epoch != self._epoch:
                        return
                    records += len(chunk)
                    self._pick(chunk, wanted, owners, read)
                    if not wanted:
                        break
                    await self._room()
        except (KafkaError, TimeoutError, OSError) as error:
            trouble = repr(error)
        if epoch != self._epoch:
            return
        missing = len(wanted)
        for key, found in wanted.items():
            self._post_changes(key, found, owners[key[:2]])
        self._log.log(
            30 if missing else 20,
            "dead_letters.reread",
            changes=asked,
            records=records,
            missing=missing,
            error=trouble or None,
            seconds=round(time.monotonic() - started, 3),
        )

    def _pick(
        self,
        records: list[ConsumerRecord],
        wanted: dict[Wanted, list[_Refused]],
        owners: dict[tuple[str, str], Partition | None],
        read: Callable[[bytes | None, int], Found],
    ) -> None:
        """Write letters for what is found; note of which partition the members are."""
        for record in records:
            found = read(record.value, record.timestamp)
            changes: tuple[Change, ...] = ()
            if isinstance(found, Change):
                changes = (found,)
            elif isinstance(found, Several):
                changes = found.changes
            for target, member, stamp in changes:
                key = (target.segment.key, member, stamp)
                if key[:2] in owners:
                    owners[key[:2]] = Partition(record.topic, record.partition)
                for refused in wanted.pop(key, ()):
                    to = topic_for(self._settings, record.topic)
                    refusal = Refusal(key[0], member, refused.attempts)
                    self._hand_on(
                        refused,
                        letter_of(
                            record,
                            to,
                            refused.reason,
                            refused.receipt,
                            detail=refused.detail,
                            refusal=refusal,
                        ),
                    )

    def _post_changes(self, key: Wanted, found: list[_Refused], owner: Partition | None) -> None:
        """Write changes of which there is no record: retention took it, or it was not found.

        Nor is it where the records of its batch are if it is another change, the newest that was
        known of its member (R6). Then the record is there in whose place that was put, and says to
        which partition the member belongs: who owns that knows what is newer, and is to replay it.
        """
        _, member, stamp = key
        for refused in found:
            segment = refused.segment
            place = owner or refused.owner
            value = change_json(segment, member, included=includes(stamp), version=stamp[:-1])
            letter = Letter(
                topic_for(self._settings, place.topic),
                member.partition("/")[2].encode(),
                value,
                None,
                refused.reason,
                refused.receipt,
                refused.detail,
                Refusal(segment.key, member, refused.attempts),
                owner=place,
            )
            self._hand_on(refused, letter)

    def _hand_on(self, refused: _Refused, letter: Letter) -> None:
        self.waiting -= 1
        self.waiting_bytes -= refused.size
        self._post(letter)
