"""A group that somebody left in order, so that the next owner need not wait (R2)."""

from aiokafka import OffsetAndMetadata

from ldsync.kafka.consumer import Consumer
from ldsync.kafka.take_over import CLEAN
from ldsync.sync.ledger import Partition


async def leave_clean(bootstrap_servers: str, group: str, topic: str, partitions: int) -> None:
    """Let a group without members look as after a replica that had nothing to do.

    By aiokafka: librdkafka's binding cannot write metadata as they are.
    """
    consumer = Consumer(
        bootstrap_servers=bootstrap_servers, group_id=group, enable_auto_commit=False
    )
    nothing = OffsetAndMetadata(0, CLEAN)
    await consumer.start()
    try:
        places = [Partition(topic, number) for number in range(partitions)]
        await consumer.commit_offsets(dict.fromkeys(places, nothing))
    finally:
        await consumer.close()
