"""Looking at records of a real broker: transactions, and what they leave in a log."""

import pytest

from ldsync.kafka import RecordMissing, read_record, sample
from ldsync.sync.ledger import Partition
from tests.support.kafka_source import settings_for
from tests.support.real_kafka import RealKafka

pytestmark = pytest.mark.broker


async def test_only_what_was_committed_is_looked_at(real_kafka: RealKafka) -> None:
    """Markers and aborted records are named as what they are, and read past; no group appears."""
    topic = "looked-at"
    admin = real_kafka.admin
    admin.create_topic(topic, partitions=1)
    admin.produce_transaction(topic, [(None, b"kept")])
    admin.produce_transaction(topic, [(None, b"aborted")], commit=False)
    admin.produce(topic, [(None, b"last")])
    settings, place = settings_for(real_kafka, topic), Partition(topic, 0)

    assert (await read_record(settings, place, 0)).value == b"kept"
    assert (await read_record(settings, place, 4)).value == b"last"
    for offset in (1, 2, 3):
        with pytest.raises(RecordMissing, match=r"as one that was aborted\. The next .* at 4"):
            await read_record(settings, place, offset)
    values = [
        record.value
        async for records in sample(settings, (), limit=100, newest=False)
        for record in records
    ]
    assert values == [b"kept", b"last"]
    assert admin.group_offsets(settings.group_id, topic) == {}


async def test_a_log_that_ends_with_a_marker_is_read_to_its_end(real_kafka: RealKafka) -> None:
    """There is nothing behind it to wait for."""
    topic = "ends-with-a-marker"
    real_kafka.admin.create_topic(topic, partitions=2)
    real_kafka.admin.produce_transaction(topic, [(b"k", b"a"), (b"k", b"b")])
    settings = settings_for(real_kafka, topic)

    found = [
        (record.partition, record.offset, record.value)
        async for records in sample(settings, (topic,), limit=100, newest=True)
        for record in records
    ]

    (partition,) = {place for place, _, _ in found}
    assert [(offset, value) for _, offset, value in found] == [(0, b"a"), (1, b"b")]
    with pytest.raises(RecordMissing, match=r"its marker or as one that was aborted$"):
        await read_record(settings, Partition(topic, partition), 2)
