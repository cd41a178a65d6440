"""History that was told and is lost is told again, beside what is consumed (R7)."""

import pytest

from ldsync.config import OrderingSettings
from ldsync.demo.broker import Api, EmbeddedBroker
from ldsync.kafka import CommitOutcome
from tests.support.kafka_source import P0, REBALANCING, Reader, Write, kafka_settings, reading


@pytest.fixture
async def broker(broker: EmbeddedBroker, write: Write) -> EmbeddedBroker:
    """A broker with three records, which the group has read and committed."""
    await write(P0, b"0", b"1", b"2")
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await reader.read(3)
        assert await reader.source.commit({P0: 3}) is CommitOutcome.COMMITTED
    return broker


def told(reader: Reader) -> list[int]:
    """The offsets of the history that was told, in order."""
    return [record.offset for record in reader.diary.past]


async def test_all_that_was_consumed_is_told_again_and_reading_goes_on(
    broker: EmbeddedBroker, write: Write
) -> None:
    """Committed or not: what is known of it is lost. Nobody is rebalanced for it."""
    async with reading(kafka_settings(broker.bootstrap_servers), OrderingSettings()) as reader:
        await write(P0, b"3", b"4")
        await reader.read(2)
        assert told(reader) == [0, 1, 2]
        reader.source.reread_history()
        await write(P0, b"5")
        await reader.read(3)
        await reader.until(lambda: len(reader.diary.known_since) == 2)
        # The last one may have been consumed before this began.
        assert told(reader)[:8] == [0, 1, 2, 0, 1, 2, 3, 4]
        assert reader.values == [b"3", b"4", b"5"]
        assert reader.diary.kinds == ["assigned"]


async def test_a_loss_while_history_is_told_has_it_told_once_more(broker: EmbeddedBroker) -> None:
    """Half of it would be missing; nobody hears that it is complete before it is."""
    reader = Reader(kafka_settings(broker.bootstrap_servers), OrderingSettings())
    complete: list[int] = []

    def lose() -> None:
        complete.append(len(reader.diary.known_since))
        if len(complete) <= 2:
            reader.source.reread_history()

    reader.diary.on_history = lose
    await reader.source.start()
    try:
        await reader.until(lambda: reader.diary.clean)
        assert told(reader) == [0, 1, 2] * 3
        assert complete == [0, 0, 0]
        assert len(reader.diary.known_since) == 1
    finally:
        await reader.source.stop()


async def test_an_assignment_that_ends_while_history_is_told_again_leaves_it_to_the_next(
    broker: EmbeddedBroker, write: Write
) -> None:
    """What was told half is not taken for whole, nor for known because it was consumed."""
    async with reading(kafka_settings(broker.bootstrap_servers), OrderingSettings()) as reader:
        await write(P0, b"3")
        await reader.read(1)
        broker.fail(Api.HEARTBEAT, REBALANCING)
        reader.diary.on_history = lambda: broker.fail(Api.HEARTBEAT, *[REBALANCING] * 2)
        reader.source.reread_history()
        await reader.until(lambda: reader.diary.kinds.count("assigned") >= 2)
        reader.diary.on_history = None
        await reader.until(lambda: reader.source.history[0] == 0 and len(reader.diary.clean) >= 2)
        assert set(told(reader)[3:]) >= {0, 1, 2}
