"""The warm-up: what the topic says of the time before the committed offsets (R5).

Live events are as late as Segment's retries make them, and must not win over newer ones that were
delivered before this process began. So it reads the topic again, from the horizon before the first
record that is still to be consumed of *any* partition: counted from now, a lag would eat the
window; counted per partition, one that is behind would be judged without what the others had.

It is read beside the group. The group's own consumer keeps its positions, so that nothing below
them can be committed, and goes on polling, so that the membership does not depend on how long this
takes.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiokafka.errors import KafkaError

from ldsync.kafka.beside import Beside
from ldsync.kafka.chunks import chunks
from ldsync.kafka.errors import SourceError
from ldsync.kafka.horizon import look
from ldsync.sync.coverage import Coverage

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from aiokafka import ConsumerRecord
    from structlog.typing import FilteringBoundLogger

    from ldsync.config import KafkaSettings, OrderingSettings
    from ldsync.kafka.consumer import Consumer
    from ldsync.kafka.horizon import Outlook
    from ldsync.kafka.rebalance import Listener
    from ldsync.kafka.trouble import Trouble
    from ldsync.sync.ledger import Partition

_LOOK_SECONDS: Final = 10.0
"""For the first attempt to find out what to read; many partitions on slow brokers get longer."""

_PAUSE_SECONDS: Final = 0.5
_PROGRESS_SECONDS: Final = 10.0
_ATTEMPTS_WITH_OTHERS: Final = 3
"""Partitions of others that cannot be asked keep nobody from working for longer than this."""


@dataclass(frozen=True, slots=True)
class _Span:
    """What is read of a partition: from `start` to `end` (exclusive), of what begins at `wanted`.

    `whole` if nothing that is not known is missing before `start`.
    """

    wanted: int
    start: int
    end: int
    whole: bool


class WarmUp:
    """Reads history, and remembers how much of it was read.

    Args:
        consumer: The group member, which is asked what is committed.
        kafka: The section `[kafka]`.
        ordering: `horizon_seconds` and `warm_up_max_records`.
        listener: Is given the history.
        trouble: Where failures are reported that are tried again.
        log: `warm_up.started`, `warm_up.progress`, `warm_up.finished`.

    Attributes:
        coverage: What is known already; the source advances it.
        left: Offsets still to be read.
        records: Records read by the last warm-up, so far.
        seconds: How long the last one that ended has taken.
    """

    def __init__(
        self,
        consumer: Consumer,
        kafka: KafkaSettings,
        ordering: OrderingSettings,
        listener: Listener,
        trouble: Trouble,
        log: FilteringBoundLogger,
    ) -> None:
        self._consumer = consumer
        self._kafka = kafka
        self._ordering = ordering
        self._listener = listener
        self._trouble = trouble
        self._log = log
        self._known_since: dict[Partition, int] = {}
        self.coverage = Coverage()
        self.left = 0
        self.records = 0
        self.seconds = 0.0

    async def run(
        self, partitions: frozenset[Partition], consumed: Mapping[Partition, int]
    ) -> None:
        """Read the history of these partitions; tries until it is read.

        It ends where they are committed, or `consumed` if that is further.
        """
        started = time.monotonic()
        beside = Beside(self._kafka)
        self.records = attempts = 0
        try:
            while not await self._attempt(beside, partitions, consumed, attempts):
                attempts += 1
                await beside.close()
                await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            self.left = 0
            await beside.close()
        self.seconds = time.monotonic() - started
        if self.records:
            self._log.info("warm_up.finished", records=self.records, seconds=round(self.seconds, 3))

    def known_since(self, partitions: Collection[Partition]) -> int | None:
        """Since when all that happened in these partitions is known (epoch milliseconds).

        None if they have no history.
        """
        since = self._known_since
        return max((since[each] for each in partitions if each in since), default=None)

    async def _attempt(
        self,
        beside: Beside,
        partitions: frozenset[Partition],
        consumed: Mapping[Partition, int],
        attempts: int,
    ) -> bool:
        """Read what is still unread; say whether that is all. What was read counts in any case."""
        others: frozenset[Partition] = frozenset()
        if attempts < _ATTEMPTS_WITH_OTHERS:
            others = self._consumer.topic_partitions()
        horizon = self._ordering.horizon_seconds
        try:
            async with asyncio.timeout(_LOOK_SECONDS * (1 + attempts)):
                outlook = await look(self._consumer, beside, horizon, partitions, others, consumed)
            spans = self._cut(self._unread(outlook))
            if spans:
                await self._read(beside, spans)
        except (TimeoutError, KafkaError, OSError, SourceError) as error:
            self._trouble.report("warm-up", error)
            return False
        return True

    # --- what to read ---------------------------------------------------------------------------

    def _unread(self, outlook: Outlook) -> dict[Partition, _Span]:
        """Leave out what is known already."""
        spans = {}
        if self._kafka.first_start == "earliest":  # else it may begin at its end (`starts`)
            for partition, beginning in outlook.beginnings.items():
                self.coverage.note(partition, beginning, beginning)
        for partition, history in outlook.histories.items():
            start = self.coverage.unknown_from(partition, history.start, history.end)
            if start == history.start:
                self._known_since[partition] = outlook.edge_ms
            self._known_since.setdefault(partition, outlook.edge_ms)
            if start < history.end:
                whole = history.whole or start > history.start
                spans[partition] = _Span(history.start, start, history.end, whole)
            else:
                self.coverage.note(partition, history.start, history.end)
        return spans

    def _cut(self, spans: dict[Partition, _Span]) -> dict[Partition, _Span]:
        """Leave out the oldest part of each, so that all together are not too much.

        Offsets are counted, of which compaction may have left fewer records.
        """
        most = self._ordering.warm_up_max_records
        total = sum(span.end - span.start for span in spans.values())
        if total <= most:
            return spans
        self._log.warning(
            "warm_up.cut",
            offsets=total,
            read=most,
            advice="events later than ldsync_ordering_horizon_seconds may win over newer ones; "
            "raise ordering.warm_up_max_records to read more",
        )
        return {
            partition: _Span(
                span.wanted, span.end - (span.end - span.start) * most // total, span.end, False
            )
            for partition, span in spans.items()
        }

    # --- reading --------------------------------------------------------------------------------

    async def _read(self, beside: Beside, spans: dict[Partition, _Span]) -> None:
        """Hand all of it to the listener."""
        await beside.begin({partition: span.start for partition, span in spans.items()})
        self.left = sum(span.end - span.start for span in spans.values())
        self._log.info("warm_up.started", partitions=len(spans), offsets=self.left)
        said = time.monotonic()
        unread = dict(spans)
        for partition, span in spans.items():
            if not span.whole:
                self._known_since[partition] = _now_ms()
        self._take_stock(beside, unread)
        while unread:
            for partition, batch in (await beside.take()).items():
                if partition in unread:
                    await self._hand_over(partition, unread[partition], batch)
            self._take_stock(beside, unread)
            if time.monotonic() - said >= _PROGRESS_SECONDS:
                said = time.monotonic()
                self._log.info("warm_up.progress", records=self.records, left=self.left)

    async def _hand_over(
        self, partition: Partition, span: _Span, batch: Sequence[ConsumerRecord]
    ) -> None:
        history = [record for record in batch if record.offset < span.end]
        if history and not span.whole and history[0].timestamp >= 0:
            # What is cut off is older than the oldest record that is read.
            oldest = min(self._known_since[partition], history[0].timestamp)
            self._known_since[partition] = oldest
        for chunk in chunks(history):
            await self._listener.history(partition, chunk)
            self.coverage.note(partition, span.wanted, chunk[-1].offset + 1)
            self.records += len(chunk)
            await asyncio.sleep(0)

    def _take_stock(self, beside: Beside, unread: dict[Partition, _Span]) -> None:
        """See how far each partition is read."""
        positions = beside.positions()
        self.left = 0
        for partition, span in list(unread.items()):
            position = positions.get(partition, span.start)
            if position >= span.end:
                self.coverage.note(partition, span.wanted, span.end)
                del unread[partition]
                beside.finish(partition)
            else:
                self.left += span.end - position


def _now_ms() -> int:
    return int(time.time() * 1000)
