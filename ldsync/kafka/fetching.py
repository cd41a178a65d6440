"""Fetching: one `getmany` of a group member, with what may go wrong about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ldsync.kafka.errors import SourceFailed
from ldsync.sync.ledger import Partition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiokafka import ConsumerRecord, TopicPartition

    from ldsync.kafka.commits import Commits
    from ldsync.kafka.consumer import Consumer
    from ldsync.kafka.rebalance import Rebalance
    from ldsync.kafka.starts import Starts
    from ldsync.kafka.static import StaticMember
    from ldsync.kafka.take_over import TakeOver


@dataclass(frozen=True, slots=True)
class Member:
    """What exists between `start` and `stop`."""

    consumer: Consumer
    commits: Commits
    take_over: TakeOver
    rebalance: Rebalance
    starts: Starts
    static: StaticMember


async def fetch(member: Member, timeout: float) -> tuple[int, Any]:
    """One `getmany`, with the epoch that its records belong to.

    Raises:
        SourceFailed: records of one partition were lost with the error of another.
        Exception: what aiokafka raised.
    """
    consumer, epoch = member.consumer, member.rebalance.epoch
    before = consumer.positions()
    try:
        records = await consumer.take(timeout)
    except Exception as error:
        now = consumer.positions()
        moved = any(now.get(place, at) != at for place, at in before.items())
        if moved and epoch == member.rebalance.epoch:
            raise SourceFailed(
                f"The Kafka client failed and lost records that it had taken: {error!r}; ldsync "
                "stops, and reads them again from the committed offsets when it is started"
            ) from error
        raise
    if records:
        member.rebalance.announce()
    return member.rebalance.epoch, records


def put_back(consumer: Consumer, records: Mapping[TopicPartition, list[ConsumerRecord]]) -> None:
    """Let records that came too early come again: aiokafka wakes a poll before it tells of theirs.

    They are not live before the take-over is done.
    """
    owned = consumer.owned()
    for place, batch in records.items():
        if Partition(*place) in owned:
            consumer.move(Partition(*place), batch[0].offset)


def raise_failure(member: Member) -> None:
    """Raise SourceFailed if something in the background has failed, of which nobody else tells."""
    if member.consumer.replaced:
        raise SourceFailed(
            "Another process has taken this one's place in the consumer group: both have the same "
            "kafka.group_instance_id. ldsync stops, and leaves the partitions to that one; give "
            "each process an id of its own"
        )
    failure = member.rebalance.failure or member.take_over.failure or member.static.failure
    if failure is not None:
        raise SourceFailed(f"A rebalance could not be handled: {failure!r}") from failure
    broken = member.consumer.broken()
    if broken is not None:
        raise SourceFailed(f"The Kafka client does not fetch any more: {broken!r}") from broken
