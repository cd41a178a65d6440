"""Reading records to look at them: without a group, and without committing anything.

For `ldsync explain` and `ldsync check-events`. What is read is what the worker would read: only
records of transactions that were committed. Nothing here waits for records that are still to come,
and everything is bounded in time.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog
from aiokafka.errors import KafkaError

from ldsync.kafka.errors import RecordMissing, SourceUnavailable
from ldsync.kafka.opening import open_consumer
from ldsync.kafka.topics import whole_names
from ldsync.kafka.trouble import Trouble
from ldsync.sync.ledger import Partition

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from aiokafka import ConsumerRecord

    from ldsync.config import KafkaSettings
    from ldsync.kafka.consumer import Consumer

PATIENCE_SECONDS = 10.0
"""For brokers and topics to be there, and then for each answer; someone is waiting."""

_POLL_SECONDS = 0.5


async def read_record(settings: KafkaSettings, place: Partition, offset: int) -> ConsumerRecord:
    """One record.

    Raises:
        RecordMissing: There is no such partition or no such record; the message says why.
        SourceUnavailable: Kafka does not answer, or not in time.
        SourceMisconfigured: Credentials, certificates or settings cannot work.
        SourceFailed: This user may not read the topic.
    """
    async with _opened(settings, (place.topic,)) as consumer:
        with _in_words(settings):
            async with asyncio.timeout(PATIENCE_SECONDS):
                known = await consumer.partitions_of(place.topic)
                if place not in known:
                    raise RecordMissing(
                        f"topic {place.topic} has no partition {place.number}: it has "
                        f"{len(known)}, and the first is 0"
                    )
                await _check_range(consumer, place, offset)
                return await _record_at(consumer, place, offset)


async def sample(
    settings: KafkaSettings, topics: Sequence[str], *, limit: int, newest: bool
) -> AsyncIterator[Sequence[ConsumerRecord]]:
    """Some records of topics as they are now, chunk by chunk.

    Args:
        settings: How to reach Kafka.
        topics: Which topics; none for those that are configured.
        limit: Records at most, shared out evenly among partitions. Offsets that compaction or
            transactions have left empty count as records.
        newest: Whether to take the newest records of each partition, not the oldest.

    Raises:
        SourceError: As `read_record`.
    """
    async with _opened(settings, topics) as consumer:
        with _in_words(settings):
            async with asyncio.timeout(PATIENCE_SECONDS):
                first, behind = await _bounds(consumer, settings, topics)
            shares = shared_out({place: behind[place] - first[place] for place in first}, limit)
            starts = {
                place: behind[place] - share if newest else first[place]
                for place, share in shares.items()
                if share
            }
            ends = {place: start + shares[place] for place, start in starts.items()}
            if starts:
                consumer.read_from(starts)
            while ends:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    records = await _some(consumer, ends)
                if records:
                    yield records


def shared_out(available: Mapping[Partition, int], limit: int) -> dict[Partition, int]:
    """Share out a number of records evenly among partitions that hold so many each."""
    shares: dict[Partition, int] = {}
    left = limit
    for count, (place, held) in enumerate(sorted(available.items(), key=lambda item: item[1])):
        shares[place] = min(held, left // (len(available) - count))
        left -= shares[place]
    return shares


@contextlib.asynccontextmanager
async def _opened(settings: KafkaSettings, topics: Sequence[str]) -> AsyncIterator[Consumer]:
    """A consumer that is no member of any group."""
    if topics:
        settings = settings.model_copy(update={"topics": tuple(topics), "topic_pattern": ""})
    consumer = await open_consumer(settings, in_group=False, patience=PATIENCE_SECONDS)
    try:
        yield consumer
    finally:
        await consumer.close()


@contextlib.contextmanager
def _in_words(settings: KafkaSettings) -> Iterator[None]:
    """Turn what goes wrong while reading into words for the operator."""
    try:
        yield
    except (TimeoutError, KafkaError) as error:
        Trouble(settings, structlog.get_logger()).weigh(error)
        raise SourceUnavailable(
            f"Kafka at {settings.bootstrap_servers} was reached, but reading from it failed: "
            f"{error or f'no answer within {PATIENCE_SECONDS:g} s'}"
        ) from None


async def _check_range(consumer: Consumer, place: Partition, offset: int) -> None:
    first = (await consumer.first_offsets([place]))[place]
    behind = (await consumer.next_offsets([place]))[place]
    where = f"{place.topic}, partition {place.number}"
    if first == behind:
        raise RecordMissing(f"{where} has no records that can be read; its next offset is {behind}")
    if offset < first:
        raise RecordMissing(
            f"offset {offset} of {where} is gone: retention took it, or someone deleted it. The "
            f"oldest record is at {first}"
        )
    if offset >= behind:
        raise RecordMissing(
            f"offset {offset} of {where} is not there yet: the records end at {behind - 1}. What "
            "belongs to an open transaction cannot be read before that is committed"
        )


async def _record_at(consumer: Consumer, place: Partition, offset: int) -> ConsumerRecord:
    consumer.read_from({place: offset})
    end = (await consumer.next_offsets([place]))[place]
    while consumer.positions().get(place, offset) < end:
        for records in (await consumer.take(_POLL_SECONDS)).values():
            if records[0].offset == offset:
                return records[0]
            raise _gap(place, offset, f". The next record is at {records[0].offset}")
    raise _gap(place, offset, "")


def _gap(place: Partition, offset: int, hint: str) -> RecordMissing:
    return RecordMissing(
        f"offset {offset} of {place.topic}, partition {place.number} holds no record: compaction "
        f"took it, or it belongs to a transaction, as its marker or as one that was aborted{hint}"
    )


async def _bounds(
    consumer: Consumer, settings: KafkaSettings, topics: Sequence[str]
) -> tuple[dict[Partition, int], dict[Partition, int]]:
    """For each partition the offset of its first record, and the one behind its last."""
    names = topics or settings.topics
    if not names:
        pattern = whole_names(settings.topic_pattern)
        names = [name for name in sorted(await consumer.topics()) if pattern.match(name)]
    places = [place for name in names for place in await consumer.partitions_of(name)]
    return await consumer.first_offsets(places), await consumer.next_offsets(places)


async def _some(consumer: Consumer, ends: dict[Partition, int]) -> list[ConsumerRecord]:
    """The next records before these ends; a partition that is read up to its end is dropped."""
    found: list[ConsumerRecord] = []
    while not found and ends:
        for records in (await consumer.take(_POLL_SECONDS)).values():
            found += [
                record
                for record in records
                if record.offset < ends.get(Partition(record.topic, record.partition), 0)
            ]
        for place, position in consumer.positions().items():
            if position >= ends.get(place, position + 1):
                consumer.leave_out(place)
                del ends[place]
    return found
