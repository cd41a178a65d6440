"""Commits and rebalances of the source, on a broker that misbehaves as told (librdkafka's mock)."""

import asyncio
import time

import pytest
from structlog.testing import capture_logs

from ldsync.demo.broker import Api, EmbeddedBroker, leader_syncs_last
from ldsync.kafka import (
    CommitOutcome,
    SourceFailed,
)
from ldsync.sync.ledger import Partition
from tests.support.eventually import eventually
from tests.support.kafka_source import (
    ILLEGAL_GENERATION,
    LOADING,
    NOT_AVAILABLE,
    NOT_COORDINATOR,
    OFFSET_METADATA_TOO_LARGE,
    P0,
    P1,
    P2,
    REBALANCING,
    UNKNOWN_MEMBER,
    Reader,
    Write,
    kafka_settings,
    reading,
)

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
    """Refusals of the member are fences, what may pass is tried again in time, nothing raises."""
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
        assert reader.offsets == {P0: [0, 1, 2, 2]}
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
        await eventually(lambda: _no_lag(reader), "the record taken by the client")
        broker.fail(Api.HEARTBEAT, REBALANCING)
        await eventually(lambda: "revoked" in reader.diary.kinds, "a revocation")

        assert await reader.poll() == []
        release.set()
        assert await reader.read(1) == [b"a"]
        assert reader.diary.kinds == ["assigned", "revoked", "assigned"]


async def _no_lag(reader: Reader) -> bool:
    return set((await reader.source.lags()).values()) == {0}


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
    """The next poll raises it; aiokafka alone would log it and go on as if nothing had happened."""
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
