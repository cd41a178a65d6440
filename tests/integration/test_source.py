"""The source against a broker that can be told to misbehave (librdkafka's mock cluster)."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
from aiokafka import AIOKafkaProducer
from structlog.testing import capture_logs

from ldsync.demo.broker import Api, EmbeddedBroker, leader_syncs_last
from ldsync.kafka import (
    CommitOutcome,
    SourceFailed,
    SourceMisconfigured,
    SourceUnavailable,
    opening,
    source,
)
from ldsync.sync.ledger import Partition
from tests.support.eventually import eventually
from tests.support.kafka_source import Reader, kafka_settings, reading
from tests.support.real_kafka import unused_port

P0, P1, P2 = (Partition("events", number) for number in range(3))

Write = Callable[..., Awaitable[None]]

# Kafka's error codes
OFFSET_METADATA_TOO_LARGE = 12
LOADING, NOT_AVAILABLE, NOT_COORDINATOR = 14, 15, 16
ILLEGAL_GENERATION, UNKNOWN_MEMBER, REBALANCING = 22, 25, 27
GROUP_DENIED, TOPIC_DENIED = 30, 29


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """A cluster with the topic `events` of three partitions."""
    with EmbeddedBroker() as broker:
        broker.create_topic("events", partitions=3)
        yield broker


@pytest.fixture
async def write(broker: EmbeddedBroker) -> AsyncIterator[Write]:
    """Write values to a partition, in order and as one batch: the mock returns one per fetch."""
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, linger_ms=20)
    await producer.start()

    async def write(partition: Partition, *values: bytes) -> None:
        sent = [
            await producer.send(partition.topic, value, partition=partition.number)
            for value in values
        ]
        await asyncio.gather(*sent)

    yield write
    await producer.stop()


def offsets(reader: Reader) -> dict[Partition, list[int]]:
    """The offsets that came, by partition, in order of arrival."""
    found: dict[Partition, list[int]] = {}
    for record in reader.records:
        found.setdefault(Partition(record.topic, record.partition), []).append(record.offset)
    return found


# --- reading -------------------------------------------------------------------------------------


async def test_records_come_in_order_and_by_partition(broker: EmbeddedBroker, write: Write) -> None:
    """What `poll` returns is keyed by our own Partition; within one, offsets rise."""
    await write(P0, b"a", b"b", b"c")
    await write(P2, b"d")

    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await reader.read(4)

        assert offsets(reader) == {P0: [0, 1, 2], P2: [0]}
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
    """Aiokafka forgets what is paused; the source does not, not even before its next poll."""
    await write(P0, b"a")
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await reader.until(lambda: reader.source.assigned, paused=True)
        broker.fail(Api.HEARTBEAT, REBALANCING)
        await reader.until(lambda: reader.diary.kinds[-2:] == ["revoked", "assigned"], paused=True)
        for _ in range(5):
            await reader.poll(paused=True)

        assert reader.records == []
        assert await reader.read(1) == [b"a"]


# --- committing ----------------------------------------------------------------------------------


async def test_a_group_goes_on_behind_what_was_committed(
    broker: EmbeddedBroker, write: Write
) -> None:
    """Only what `commit` was told counts, not what was handed out."""
    settings = kafka_settings(broker.bootstrap_servers)
    await write(P0, b"a", b"b", b"c")
    async with reading(settings) as reader:
        await reader.read(3)
        assert await reader.source.commit({P0: 2}) is CommitOutcome.COMMITTED

    async with reading(settings) as reader:
        assert await reader.read(1) == [b"c"]


async def test_a_commit_leaves_out_partitions_of_others(broker: EmbeddedBroker) -> None:
    """What is ours is committed; when nothing is, the commit is fenced."""
    elsewhere = Partition("elsewhere", 0)
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await reader.until(lambda: reader.source.assigned)

        assert await reader.source.commit({elsewhere: 1, P0: 0}) is CommitOutcome.COMMITTED
        assert await reader.source.commit({elsewhere: 1}) is CommitOutcome.FENCED
        assert await reader.source.commit({}) is CommitOutcome.COMMITTED


async def test_a_commit_before_the_assignment_is_fenced(broker: EmbeddedBroker) -> None:
    """Nothing is ours yet."""
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        assert await reader.source.commit({P0: 0}) is CommitOutcome.FENCED


@pytest.mark.parametrize(
    ("codes", "outcome"),
    [
        pytest.param([LOADING], CommitOutcome.COMMITTED, id="coordinator loading"),
        pytest.param([NOT_AVAILABLE], CommitOutcome.COMMITTED, id="coordinator away"),
        pytest.param([NOT_COORDINATOR], CommitOutcome.COMMITTED, id="coordinator moved"),
        pytest.param([ILLEGAL_GENERATION], CommitOutcome.FENCED, id="illegal generation"),
        pytest.param([UNKNOWN_MEMBER], CommitOutcome.FENCED, id="unknown member"),
        pytest.param([REBALANCING], CommitOutcome.FENCED, id="rebalance in progress"),
        pytest.param([OFFSET_METADATA_TOO_LARGE], CommitOutcome.FAILED, id="other errors"),
        pytest.param([LOADING] * 200, CommitOutcome.FAILED, id="loading for ever"),
    ],
)
async def test_the_answer_to_a_commit_becomes_an_outcome(
    broker: EmbeddedBroker, codes: list[int], outcome: CommitOutcome
) -> None:
    """Refusals of the member are fences, what passes is retried within the limit, nothing raises."""
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await reader.until(lambda: len(reader.source.positions()) == 3)
        broker.fail(Api.OFFSET_COMMIT, *codes)

        assert await reader.source.commit({P0: 0}, timeout=1.0) is outcome


async def test_a_commit_does_not_outlast_its_limit(broker: EmbeddedBroker) -> None:
    """A broker that is away makes a commit fail, not hang."""
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await reader.until(lambda: reader.source.assigned)
        broker.take_down()
        started = time.monotonic()

        assert await reader.source.commit({P0: 0}, timeout=0.5) is CommitOutcome.FAILED

        assert time.monotonic() - started < 1.5


# --- rebalances ----------------------------------------------------------------------------------


async def test_a_revocation_is_awaited_and_can_commit(broker: EmbeddedBroker, write: Write) -> None:
    """The listener's commit counts, and everything behind it is delivered again."""
    await write(P0, b"a", b"b", b"c")
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await reader.read(3)
        outcomes = []

        async def commit(_: object) -> None:
            await asyncio.sleep(0.2)
            outcomes.append(await reader.source.commit({P0: 2}))

        reader.diary.on_revoked = commit
        broker.fail(Api.HEARTBEAT, REBALANCING)
        await reader.until(lambda: len(reader.records) == 4)

        assert outcomes == [CommitOutcome.COMMITTED]
        assert offsets(reader) == {P0: [0, 1, 2, 2]}
        assert reader.diary.entries[1:] == [
            ("revoked", frozenset({P0, P1, P2})),
            ("assigned", frozenset({P0, P1, P2})),
        ]
        assert (reader.rebalances("assigned"), reader.rebalances("revoked")) == (2, 1)


async def test_polls_return_in_time_while_a_revocation_takes_long(broker: EmbeddedBroker) -> None:
    """The loop that polls goes on turning; no records come until the next assignment."""
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await reader.until(lambda: reader.source.assigned)
        release = asyncio.Event()
        reader.diary.on_revoked = lambda _: asyncio.wait_for(release.wait(), 10.0)
        broker.fail(Api.HEARTBEAT, REBALANCING)
        await reader.until(lambda: reader.diary.kinds == ["assigned", "revoked"])

        started = time.monotonic()
        for _ in range(3):
            assert await reader.poll(timeout=0.1) == []
        took = time.monotonic() - started
        release.set()
        await reader.until(lambda: reader.diary.kinds == ["assigned", "revoked", "assigned"])

        assert took < 2.0


async def test_records_that_arrive_with_a_revocation_are_not_handed_out(
    broker: EmbeddedBroker, write: Write
) -> None:
    """Records that were fetched before the revocation began belong to nobody after it began."""
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await reader.until(lambda: len(reader.source.positions()) == 3)
        release = asyncio.Event()
        reader.diary.on_revoked = lambda _: asyncio.wait_for(release.wait(), 10.0)
        # A poll that nobody waits for any more takes the records, and then they are revoked.
        poll = asyncio.create_task(reader.source.poll(paused=False, timeout=5.0))
        await asyncio.sleep(0)
        poll.cancel()
        await asyncio.gather(poll, return_exceptions=True)
        await write(P0, b"a")
        broker.fail(Api.HEARTBEAT, REBALANCING)
        await eventually(lambda: "revoked" in reader.diary.kinds, "a revocation")

        assert await reader.poll() == []
        release.set()
        assert await reader.read(1) == [b"a"]
        assert reader.diary.kinds == ["assigned", "revoked", "assigned"]


async def test_after_a_revocation_nothing_can_be_committed(broker: EmbeddedBroker) -> None:
    """Between a revocation and the next assignment every commit is fenced without being sent."""
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await reader.until(lambda: reader.source.assigned)
        broker.fail(Api.HEARTBEAT, REBALANCING)
        broker.fail(Api.JOIN_GROUP, *[LOADING] * 10)
        await reader.until(lambda: reader.diary.kinds == ["assigned", "revoked"])
        await reader.until(lambda: not reader.source.assigned)

        assert await reader.source.commit({P0: 0}) is CommitOutcome.FENCED
        assert reader.source.positions() == {}


async def test_a_commit_under_way_ends_with_its_revocation(broker: EmbeddedBroker) -> None:
    """Aiokafka would go on retrying it as the member that we become afterwards."""
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await reader.until(lambda: reader.source.assigned)
        broker.fail(Api.OFFSET_COMMIT, *[LOADING] * 1000)
        commit = asyncio.create_task(reader.source.commit({P0: 0}, timeout=20.0))
        await reader.poll()
        broker.fail(Api.HEARTBEAT, REBALANCING)
        await reader.until(lambda: reader.diary.kinds == ["assigned", "revoked", "assigned"])

        assert commit.done()
        assert commit.result() is CommitOutcome.FENCED


async def test_a_lost_session_is_known_inside_the_revocation(broker: EmbeddedBroker) -> None:
    """No member any more: commits are fenced, although an empty group would take them."""
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        await reader.until(lambda: reader.source.assigned)
        seen = []

        async def look(_: object) -> None:
            seen.append((reader.source.is_member, await reader.source.commit({P0: 0})))

        reader.diary.on_revoked = look
        with capture_logs() as logs:
            broker.fail(Api.HEARTBEAT, UNKNOWN_MEMBER)
            await reader.until(lambda: reader.diary.kinds == ["assigned", "revoked", "assigned"])

        assert seen == [(False, CommitOutcome.FENCED)]
        assert reader.source.is_member
        assert reader.rebalances("lost") == 1
        events = [entry["event"] for entry in logs]
        assert events[:3] == ["partitions.revoked", "commit.fenced", "partitions.assigned"]


@pytest.mark.parametrize("when", ["assigned", "revoked"])
async def test_what_a_listener_raises_ends_the_polls_and_not_the_client(
    broker: EmbeddedBroker, when: str
) -> None:
    """The poll after it raises; aiokafka alone would log it and go on as if nothing had happened."""
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:

        def fail(_: object) -> None:
            raise ZeroDivisionError("a defect")

        async def fail_later(_: object) -> None:
            fail(_)

        if when == "assigned":
            reader.diary.on_assigned = fail
        else:
            reader.diary.on_revoked = fail_later
            await reader.until(lambda: reader.source.assigned)
            broker.fail(Api.HEARTBEAT, REBALANCING)

        with pytest.raises(SourceFailed, match="a defect") as caught:
            await reader.until(lambda: False)

        assert isinstance(caught.value.__cause__, ZeroDivisionError)


async def test_two_members_share_the_partitions_and_nothing_is_read_twice(
    broker: EmbeddedBroker, write: Write
) -> None:
    """The second member's records begin where the first one's revocation committed."""
    settings = kafka_settings(broker.bootstrap_servers)
    for partition in (P0, P1, P2):
        await write(partition, b"early")
    with leader_syncs_last():
        async with reading(settings) as first, reading(settings) as second:
            positions = {P0: 1, P1: 1, P2: 1}

            async def commit(owned: frozenset[Partition]) -> None:
                await first.source.commit({place: positions[place] for place in owned})

            first.diary.on_revoked = commit

            def shared() -> bool:
                one, two = first.source.assigned, second.source.assigned
                return bool(one and two) and one | two == {P0, P1, P2} and not one & two

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(first.until(shared))
                tasks.create_task(second.until(shared))
            for partition in (P0, P1, P2):
                await write(partition, b"late")

            def all_read() -> bool:
                return len(first.records) + len(second.records) >= 6

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(first.until(all_read))
                tasks.create_task(second.until(all_read))

            assert sorted(first.values + second.values) == [b"early"] * 3 + [b"late"] * 3


# --- where to begin ------------------------------------------------------------------------------


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
    """A restart before the first commit must not begin at the end again: that would lose records."""
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
    async with reading(settings) as reader:
        await reader.until(lambda: len(reader.source.positions()) == 3)
        await reader.source.commit({P0: 0})
    # To the group this topic now looks as if it had grown by two partitions... but only without
    # the marks that `latest` left on them, so a group of its own commits one partition.
    settings = settings.model_copy(update={"group_id": "known"})
    await _commit_one(broker, "known", P0)
    await write(P1, b"in a new partition")

    async with reading(settings) as reader:
        assert await reader.read(1) == [b"in a new partition"]


async def _commit_one(broker: EmbeddedBroker, group: str, partition: Partition) -> None:
    """Let a group have committed offset 0 of one partition and nothing else."""
    earlier = kafka_settings(broker.bootstrap_servers, group_id=group)
    async with reading(earlier) as reader:
        await reader.until(lambda: reader.source.assigned)
        assert await reader.source.commit({partition: 0}) is CommitOutcome.COMMITTED


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


# --- starting ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"topics": ("missing",)}, ["no topic missing", "kafka.topics"], id="topic"),
        pytest.param(
            {"topic_pattern": "nothing-.*"}, ["nothing-.*", "kafka.topic_pattern"], id="pattern"
        ),
    ],
)
async def test_a_topic_that_is_not_there_in_time_is_named(
    broker: EmbeddedBroker, changes: dict[str, object], words: list[str]
) -> None:
    """The message has the topic, the brokers and the time limit."""
    settings = kafka_settings(broker.bootstrap_servers, start_timeout_seconds=0.5, **changes)
    reader = Reader(settings)

    with pytest.raises(SourceUnavailable) as caught:
        await reader.source.start()

    message = str(caught.value)
    for word in (*words, broker.bootstrap_servers, "0.5 s (kafka.start_timeout_seconds)"):
        assert word in message


async def test_a_topic_that_comes_in_time_is_waited_for(
    broker: EmbeddedBroker, write: Write
) -> None:
    """Whatever creates the topic may start at the same moment."""
    reader = Reader(kafka_settings(broker.bootstrap_servers, topics=("late",)))
    start = asyncio.create_task(reader.source.start())
    await asyncio.sleep(0.2)
    assert not start.done()
    broker.create_topic("late")
    await start
    try:
        await write(Partition("late", 0), b"a")
        assert await reader.read(1) == [b"a"]
    finally:
        await reader.source.stop()


async def test_brokers_that_are_away_are_named_when_the_time_is_over() -> None:
    """Each address with its reason."""
    port = unused_port()
    settings = kafka_settings(f"127.0.0.1:{port},nowhere.invalid:9092", start_timeout_seconds=0.5)

    with pytest.raises(SourceUnavailable) as caught:
        await Reader(settings).source.start()

    message = str(caught.value)
    assert f"127.0.0.1:{port}: connection refused" in message
    assert "nowhere.invalid:9092: the name is not known" in message


async def test_one_broker_that_answers_is_enough(broker: EmbeddedBroker, write: Write) -> None:
    """Others of the list may be away."""
    servers = f"127.0.0.1:{unused_port()},{broker.bootstrap_servers}"
    await write(P0, b"a")

    async with reading(kafka_settings(servers)) as reader:
        assert await reader.read(1) == [b"a"]


async def test_a_cancelled_start_leaves_nothing_open() -> None:
    """A signal may come while brokers are waited for."""
    start = asyncio.create_task(Reader(kafka_settings(f"127.0.0.1:{unused_port()}")).source.start())
    await asyncio.sleep(0.1)
    start.cancel()

    with pytest.raises(asyncio.CancelledError):
        await start


async def test_tls_to_a_broker_without_it_is_a_configuration_error(broker: EmbeddedBroker) -> None:
    """The settings to check are named."""
    settings = kafka_settings(
        broker.bootstrap_servers, security_protocol="SSL", start_timeout_seconds=1.0
    )

    with pytest.raises((SourceMisconfigured, SourceUnavailable), match=r"kafka\.security_protocol"):
        await Reader(settings).source.start()


async def test_a_group_that_we_may_not_join_ends_the_polls(broker: EmbeddedBroker) -> None:
    """The message says which right is missing."""
    broker.fail(Api.JOIN_GROUP, GROUP_DENIED)
    async with reading(kafka_settings(broker.bootstrap_servers)) as reader:
        with pytest.raises(SourceFailed, match=r"grant Read on the group \(kafka\.group_id\)"):
            await reader.until(lambda: False)


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
