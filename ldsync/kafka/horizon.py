"""Where history begins: which records below the committed offsets a warm-up wants (R5)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ldsync.kafka.beside import Beside
    from ldsync.kafka.consumer import Consumer
    from ldsync.sync.ledger import Partition


@dataclass(frozen=True, slots=True)
class History:
    """What is wanted of a partition: from `start` to `end` (exclusive).

    `whole` says that nothing within the horizon is missing before `start`: retention took none.
    """

    start: int
    end: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a warm-up finds.

    `edge_ms` is how far back it looks (epoch milliseconds). Partitions in `beginnings` have no
    history: all that is in them is consumed from that offset on.
    """

    edge_ms: int
    histories: Mapping[Partition, History]
    beginnings: Mapping[Partition, int]


@dataclass(frozen=True, slots=True)
class _Logs:
    """What is committed of some partitions, how far they are consumed, and what logs hold."""

    committed: Mapping[Partition, int]
    consumed: Mapping[Partition, int]
    first: Mapping[Partition, int]
    behind: Mapping[Partition, int]

    def begin(self, partition: Partition) -> int:
        """The first offset that is still to be consumed."""
        return max(self.first[partition], self.committed.get(partition, 0))

    def past(self, partition: Partition) -> int:
        """The first offset that is not history: neither committed nor consumed."""
        return max(self.committed.get(partition, 0), self.consumed.get(partition, 0))

    def has_history(self, partition: Partition) -> bool:
        """Whether there is any history that can be used."""
        return self.first[partition] < self.past(partition) <= self.behind[partition]


async def look(
    consumer: Consumer,
    beside: Beside,
    horizon_seconds: float,
    partitions: frozenset[Partition],
    others: frozenset[Partition],
    consumed: Mapping[Partition, int],
) -> Outlook:
    """Find the history of `partitions`; call it under a time limit.

    It ends at what is committed, or at the offsets in `consumed` where these are greater.

    It begins `horizon_seconds` before the first record that is still to be consumed of any of them
    or of `others`, by the time of the record.

    Raises:
        KafkaError, OSError, SourceError: brokers could not be asked.
    """
    logs = await _logs(consumer, partitions | others, consumed)
    wanted = {each: logs.past(each) for each in partitions if logs.has_history(each)}
    beginnings = {each: logs.begin(each) for each in partitions - wanted.keys()}
    if not wanted:
        return Outlook(int(time.time() * 1000), {}, beginnings)
    edge_ms = await _first_live_ms(beside, logs) - int(horizon_seconds * 1000)
    starts = await _starts(consumer, beside, logs, wanted, edge_ms)
    histories = {
        each: History(start, wanted[each], whole=start == 0 or start > logs.first[each])
        for each, start in starts.items()
    }
    return Outlook(edge_ms, histories, beginnings)


async def _logs(
    consumer: Consumer, partitions: frozenset[Partition], consumed: Mapping[Partition, int]
) -> _Logs:
    committed = await consumer.committed_offsets(partitions)
    first = await consumer.first_offsets(partitions)
    behind = await consumer.next_offsets(partitions)
    offsets = {each: found.offset for each, found in committed.items()}
    return _Logs(offsets, consumed, first, behind)


async def _first_live_ms(beside: Beside, logs: _Logs) -> int:
    """The time of the first record that is still to be consumed, else now (epoch milliseconds)."""
    begins = {each: logs.begin(each) for each in logs.first}
    lagging = {each: at for each, at in begins.items() if at < logs.behind[each]}
    found = await beside.first_records(lagging, logs.behind)
    times: list[int] = [each.timestamp for each in found.values() if each.timestamp >= 0]
    return min([int(time.time() * 1000), *times])


async def _starts(
    consumer: Consumer, beside: Beside, logs: _Logs, ends: Mapping[Partition, int], edge_ms: int
) -> dict[Partition, int]:
    """Where records begin that are not older than the edge; at the end if all are."""
    found = await consumer.offsets_at(ends, edge_ms)
    starts = {each: min(at.offset, ends[each]) for each, at in found.items()}
    # Nothing found: all is older, or this broker does not look up times. The last record tells.
    last = {each: end - 1 for each, end in ends.items() if each not in found}
    newest = await beside.first_records(last, ends)
    for partition in last:
        record = newest.get(partition)
        is_older = record is None or 0 <= record.timestamp < edge_ms
        starts[partition] = ends[partition] if is_older else logs.first[partition]
    return starts
