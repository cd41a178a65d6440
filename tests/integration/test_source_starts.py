"""Where the source begins to read, on librdkafka's mock cluster."""

import pytest
from structlog.testing import capture_logs

from ldsync.demo.broker import Api, EmbeddedBroker, leader_syncs_last
from ldsync.kafka import CommitOutcome, SourceFailed, source
from ldsync.sync.ledger import Partition
from tests.support.eventually import eventually
from tests.support.kafka_source import (
    NOT_LEADER,
    OFFSET_METADATA_TOO_LARGE,
    P0,
    P1,
    P2,
    Write,
    kafka_settings,
    reading,
)


async def test_a_first_start_at_latest_leaves_out_what_is_there(
    broker: EmbeddedBroker, write: Write
) -> None:
    """The operator asked for it; the decision is logged."""
    await write(P0, b"old")
    settings = kafka_settings(broker.bootstrap_servers, first_start="latest")
    with capture_logs() as logs:
        async with reading(settings) as reader:
            await reader.until(lambda: len(reader.source.positions()) == 3)
            await write(P0, b"new")

            assert await reader.read(1) == [b"new"]

    started = [entry for entry in logs if entry["event"] == "partition.started_at"]
    assert {(entry["policy"], entry["reason"]) for entry in started} == {("latest", "first_start")}
    assert {entry["partition"]: entry["offset"] for entry in started} == {0: 1, 1: 0, 2: 0}


async def test_a_start_at_latest_is_remembered_before_anything_is_read(
    broker: EmbeddedBroker, write: Write
) -> None:
    """A restart before the first commit must not begin at the end again: records would be lost."""
    settings = kafka_settings(broker.bootstrap_servers, first_start="latest")
    async with reading(settings) as reader:
        await reader.until(lambda: len(reader.source.positions()) == 3)
        await write(P0, b"read and not settled")
        await reader.read(1)

    async with reading(settings) as reader:
        assert await reader.read(1) == [b"read and not settled"]


async def test_a_start_at_latest_that_cannot_be_remembered_waits(
    broker: EmbeddedBroker, write: Write
) -> None:
    """Nothing is read from the end before the end is committed; it is tried again."""
    await write(P0, b"old")
    broker.fail(Api.OFFSET_COMMIT, OFFSET_METADATA_TOO_LARGE)
    async with reading(kafka_settings(broker.bootstrap_servers, first_start="latest")) as reader:
        await reader.until(lambda: len(reader.source.positions()) == 3)
        await write(P0, b"new")

        assert await reader.read(1) == [b"new"]


@pytest.mark.parametrize("first_start", ["earliest", "latest"])
async def test_new_partitions_of_a_known_topic_are_read_from_the_beginning(
    broker: EmbeddedBroker, write: Write, first_start: str
) -> None:
    """A group that has committed on the topic skips nothing of partitions without a commit."""
    settings = kafka_settings(broker.bootstrap_servers, first_start=first_start)
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await reader.until(lambda: reader.source.assigned)
        assert await reader.source.commit({P0: 0}) is CommitOutcome.COMMITTED
    await write(P1, b"in a new partition")

    async with reading(settings) as reader:
        assert await reader.read(1) == [b"in a new partition"]


async def test_members_of_a_first_generation_all_begin_at_latest(
    broker: EmbeddedBroker, write: Write
) -> None:
    """What one member remembers of its start is not taken for earlier work by the others."""
    for partition in (P0, P1, P2):
        await write(partition, b"old")
    settings = kafka_settings(broker.bootstrap_servers, first_start="latest")
    with leader_syncs_last(), capture_logs() as logs:
        async with reading(settings) as first, reading(settings) as second:
            await eventually(
                lambda: first.source.assigned and second.source.assigned, "both have partitions"
            )
            # One after the other, so that the second one sees what the first one committed.
            await first.until(lambda: len(first.source.positions()) == len(first.source.assigned))
            await second.until(
                lambda: len(second.source.positions()) == len(second.source.assigned)
            )

    started = [entry for entry in logs if entry["event"] == "partition.started_at"]
    assert len(started) == 3
    assert {entry["policy"] for entry in started} == {"latest"}


async def test_offsets_that_retention_took_stop_the_source(
    broker: EmbeddedBroker, write: Write
) -> None:
    """By default nobody loses records unknowingly; the message says what to do."""
    await _lose_records(broker, write)

    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        with pytest.raises(SourceFailed) as caught:
            await reader.until(lambda: False)

    message = str(caught.value)
    assert "offset 1 of events-0" in message
    assert "group ldsync" in message
    assert "holds 3 up to 5" in message
    assert "kafka.on_out_of_range" in message


async def test_offsets_that_retention_took_can_be_skipped(
    broker: EmbeddedBroker, write: Write
) -> None:
    """With `earliest` reading goes on at the oldest record, and a warning says what is missing."""
    await _lose_records(broker, write)

    settings = kafka_settings(broker.bootstrap_servers, on_out_of_range="earliest")
    with capture_logs() as logs:
        async with reading(settings) as reader:
            assert await reader.read(2) == [b"d", b"e"]

    (entry,) = [entry for entry in logs if entry["event"] == "partition.started_at"]
    assert (entry["log_level"], entry["wanted"], entry["offset"]) == ("warning", 1, 3)
    assert (entry["policy"], entry["reason"]) == ("earliest", "out_of_range")


async def _lose_records(broker: EmbeddedBroker, write: Write) -> None:
    """Let the group have committed 1 of five records, and the first three be deleted."""
    await write(P0, b"a", b"b", b"c", b"d", b"e")
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await reader.read(5)
        assert await reader.source.commit({P0: 1, P1: 0, P2: 0}) is CommitOutcome.COMMITTED
    broker.delete_records("events", 0, before_offset=3)


async def test_a_pattern_matches_whole_names_and_no_dead_letters(
    broker: EmbeddedBroker, write: Write
) -> None:
    """Our own dead letters must not come in again as events, whatever the pattern says."""
    for name in ("events-eu", "events-eu.ldsync-dead-letters", "events.dead-letters", "my-events"):
        broker.create_topic(name)

    settings = kafka_settings(broker.bootstrap_servers, topic_pattern="events.*")
    async with reading(settings) as reader:
        await reader.until(lambda: reader.source.assigned)

        assert reader.source.assigned == {P0, P1, P2, Partition("events-eu", 0)}


async def test_a_start_that_no_broker_answers_is_tried_again(
    broker: EmbeddedBroker, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The poll comes back in time, and the partitions are placed by a later one."""
    monkeypatch.setattr(source, "LOOKUP_SECONDS", 0.3)
    await write(P0, b"a")
    broker.fail(Api.LIST_OFFSETS, *[NOT_LEADER] * 8)
    with capture_logs() as logs:
        async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
            assert await reader.read(1) == [b"a"]

    assert "kafka.unreachable" in [entry["event"] for entry in logs]
