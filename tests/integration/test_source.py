"""The source reads, pauses and ends, on a broker that misbehaves as told (librdkafka's mock)."""

import asyncio
import time

import pytest
from structlog.testing import capture_logs

from ldsync.demo.broker import Api, EmbeddedBroker
from ldsync.kafka import (
    CommitOutcome,
    SourceFailed,
    opening,
    source,
)
from tests.support.eventually import eventually
from tests.support.kafka_source import (
    P0,
    P1,
    P2,
    REBALANCING,
    Write,
    kafka_settings,
    reading,
)

# --- reading -------------------------------------------------------------------------------------


async def test_records_come_in_order_and_by_partition(broker: EmbeddedBroker, write: Write) -> None:
    """What `poll` returns is keyed by our own Partition; within one, offsets rise."""
    await write(P0, b"a", b"b", b"c")
    await write(P2, b"d")

    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await reader.read(4)

        assert reader.offsets == {P0: [0, 1, 2], P2: [0]}
        assert reader.source.assigned == {P0, P1, P2}
        assert reader.source.is_member
        assert reader.diary.entries == [("assigned", frozenset({P0, P1, P2}))]


async def test_a_poll_returns_no_more_records_than_configured(
    broker: EmbeddedBroker, write: Write
) -> None:
    """`max_poll_records` bounds what one poll returns, over all partitions."""
    await write(P0, *[b"x"] * 7)
    await write(P1, *[b"y"] * 7)

    async with reading(kafka_settings(broker.bootstrap_servers, max_poll_records=3)) as reader:
        sizes = []
        await reader.until(lambda: reader.source.assigned)
        while len(reader.records) < 14:
            sizes.append(len(await reader.poll()))

        assert max(sizes) == 3


async def test_an_empty_poll_takes_the_time_it_was_given(broker: EmbeddedBroker) -> None:
    """Neither a busy loop nor a long wait when nothing comes."""
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await reader.until(lambda: len(reader.source.positions()) == 3)
        started = time.monotonic()

        assert await reader.poll(timeout=0.3) == []

        assert 0.25 <= time.monotonic() - started < 1.0


async def test_a_cancelled_poll_loses_no_records(broker: EmbeddedBroker, write: Write) -> None:
    """What arrives while nobody waits is returned by the next poll."""
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await reader.until(lambda: len(reader.source.positions()) == 3)
        poll = asyncio.create_task(reader.source.poll(paused=False, timeout=5.0))
        await asyncio.sleep(0)
        poll.cancel()
        await asyncio.gather(poll, return_exceptions=True)
        await write(P1, b"a", b"b")

        assert await reader.read(2) == [b"a", b"b"]


async def test_positions_cover_only_what_earlier_polls_returned(
    broker: EmbeddedBroker, write: Write
) -> None:
    """Who is still busy with the last poll's records must not see them in `positions`."""
    await write(P0, b"a", b"b")

    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await reader.read(2)
        before = reader.source.positions().get(P0, 0)
        await reader.poll()

        assert before == 0
        assert reader.source.positions()[P0] == 2


async def test_lags_count_to_the_end_of_the_log(broker: EmbeddedBroker, write: Write) -> None:
    """The lag is what was not handed out yet, also while paused."""
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await reader.until(lambda: len(reader.source.positions()) == 3)
        await reader.poll(paused=True)
        await write(P0, b"a", b"b")
        await reader.poll(paused=True)
        behind = await reader.source.lags()
        await reader.read(2)

        assert behind == {P0: 2, P1: 0, P2: 0}
        assert await reader.source.lags() == {P0: 0, P1: 0, P2: 0}


async def test_lags_are_empty_when_the_broker_does_not_answer(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gauge must not wait for a broker that is away."""
    monkeypatch.setattr(source, "LOOKUP_SECONDS", 0.3)
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await reader.until(lambda: len(reader.source.positions()) == 3)
        broker.take_down()

        assert await reader.source.lags() == {}


# --- pausing -------------------------------------------------------------------------------------


async def test_a_paused_source_returns_nothing_and_goes_on_where_it_was(
    broker: EmbeddedBroker, write: Write
) -> None:
    """Nothing comes while paused, nothing is missing afterwards."""
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await write(P0, b"a")
        await reader.read(1)
        await write(P0, b"b")
        await write(P1, b"c")
        while_paused = [await reader.poll(paused=True) for _ in range(5)]

        assert while_paused == [[]] * 5
        assert await reader.read(3) == [b"a", b"b", b"c"]


async def test_a_source_that_only_polls_paused_stays_a_member(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Polling keeps the membership, whatever it returns, beyond the client's own watchdog."""
    monkeypatch.setattr(opening, "MAX_POLL_INTERVAL_SECONDS", 0.5)
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await reader.until(lambda: reader.source.assigned)
        end = time.monotonic() + 1.5
        await reader.until(lambda: time.monotonic() > end, paused=True)

        assert reader.diary.kinds == ["assigned"]


async def test_a_source_that_does_not_poll_gives_its_partitions_to_others(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that hangs must not keep partitions; it comes back with its next polls."""
    monkeypatch.setattr(opening, "MAX_POLL_INTERVAL_SECONDS", 0.5)
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await reader.until(lambda: reader.source.assigned)
        await eventually(lambda: reader.diary.kinds == ["assigned", "revoked"], "a revocation")

        await reader.until(lambda: reader.source.assigned)
        assert reader.diary.kinds == ["assigned", "revoked", "assigned"]


async def test_a_rebalance_does_not_end_a_pause(broker: EmbeddedBroker, write: Write) -> None:
    """Aiokafka forgets what is paused; the source does not, not even within one poll."""
    await write(P0, b"a")
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await reader.until(lambda: reader.source.assigned, paused=True)
        assert await reader.source.commit({P0: 0, P1: 0, P2: 0}) is CommitOutcome.COMMITTED
        await reader.until(lambda: len(reader.source.positions()) == 3, paused=True)
        broker.fail(Api.HEARTBEAT, REBALANCING)

        assert await reader.poll(paused=True, timeout=3.0) == []

        assert reader.diary.kinds == ["assigned", "revoked", "assigned"]
        assert await reader.read(1) == [b"a"]


# --- outages and the end -------------------------------------------------------------------------


async def test_a_broker_that_goes_away_and_comes_back_is_outlived(
    broker: EmbeddedBroker, write: Write
) -> None:
    """Polls go on, in time and without raising; then reading goes on where it was."""
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await write(P0, b"a")
        await reader.read(1)
        broker.take_down()
        longest = 0.0
        for _ in range(10):
            started = time.monotonic()
            assert await reader.poll(timeout=0.1) == []
            longest = max(longest, time.monotonic() - started)
        broker.bring_up()
        await write(P0, b"b")
        await reader.until(lambda: b"b" in reader.values)

        assert longest < 1.0


async def test_after_the_stop_nothing_is_read_or_committed(broker: EmbeddedBroker) -> None:
    """Whoever still asks gets an answer, not an exception."""
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await reader.until(lambda: reader.source.assigned)
        await reader.source.stop()

        assert await reader.poll() == []
        assert await reader.source.commit({P0: 0}) is CommitOutcome.FENCED
        assert await reader.source.lags() == {}
        assert reader.source.assigned == frozenset()
        assert reader.source.positions() == {}
        assert not reader.source.is_member
        assert reader.diary.kinds == ["assigned"]


async def test_a_poll_under_way_ends_with_the_stop(broker: EmbeddedBroker) -> None:
    """Without raising."""
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await reader.until(lambda: reader.source.assigned)
        poll = asyncio.create_task(reader.source.poll(paused=False, timeout=20.0))
        await asyncio.sleep(0)
        await reader.source.stop()

        assert await asyncio.wait_for(poll, 1.0) == {}


async def test_stopping_takes_seconds_even_when_the_broker_is_away(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process must be able to end while Kafka is down."""
    monkeypatch.setattr("ldsync.kafka.consumer.STOP_SECONDS", 1.0)
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await reader.until(lambda: reader.source.assigned)
        broker.slow_down(30.0)
        started = time.monotonic()
        with capture_logs() as logs:
            await reader.source.stop()

        assert time.monotonic() - started < 4.0
        assert logs == [{"event": "consumer.stopped", "in_order": False, "log_level": "info"}]


async def test_what_goes_wrong_in_a_take_over_is_raised_by_the_next_poll(
    broker: EmbeddedBroker,
) -> None:
    """Nobody else would tell, and no record would ever come."""
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:

        def refuse(_: object) -> None:
            raise ValueError("a defect")

        reader.diary.on_ready = refuse
        with pytest.raises(SourceFailed, match="a defect"):
            await reader.until(lambda: False)
