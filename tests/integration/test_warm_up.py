"""The warm-up: after a start the newest event wins over older ones that come later (R5)."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest
from aiokafka import ConsumerRecord
from structlog.testing import capture_logs

from ldsync.demo.broker import Api, EmbeddedBroker
from ldsync.sync.ledger import Partition
from ldsync.sync.states import State
from tests.support.worker_rig import Hand, Rig, events_of, people, rigged

REBALANCING, UNKNOWN_MEMBER = 27, 25
HELD_AT = 10  # records of history


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """A cluster of one broker."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
async def rig(broker: EmbeddedBroker) -> AsyncIterator[Rig]:
    """A topic of two partitions."""
    async with rigged(broker, partitions=2) as rig:
        yield rig


async def consumed_by_another(rig: Rig, *, users: int = 20, partition: int = 0) -> None:
    """A worker takes in and delivers events of some users, who leave, and is gone."""
    hand = rig.work()
    await rig.enter(*people(users), partition=partition, entered=False)
    await rig.until_settled()
    await hand.stop()
    rig.hands.remove(hand)
    await hand.end()


def hold_history(hand: Hand, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Let a worker take in some history, chunk by chunk, and no more until the event is set."""
    go_on = asyncio.Event()
    history = hand.worker.history

    async def held(partition: Partition, records: Sequence[ConsumerRecord]) -> None:
        await history(partition, records)
        if hand.parts.journal.read_again > HELD_AT:
            await go_on.wait()

    monkeypatch.setattr("ldsync.kafka.chunks.RECORDS", 1)
    monkeypatch.setattr(hand.worker, "history", held)
    return go_on


@pytest.mark.parametrize("partition", [0, 1])
async def test_an_older_event_that_comes_after_a_restart_does_not_win(
    rig: Rig, partition: int
) -> None:
    """Whatever its partition: what was consumed before is known again, and counts as stale."""
    await consumed_by_another(rig)
    hand = rig.work()
    await hand.until_assigned(2)
    await rig.write(rig.event("u-000003", late=60.0), partition=partition)
    await rig.until_settled()
    assert rig.sim.included("vip") == set()
    assert hand.outcomes == {"skipped": 1}
    assert hand.parts.journal.outcomes["skipped", "stale"] == 1
    assert (hand.parts.journal.consumed, hand.parts.journal.read_again) == (1, 20)
    assert hand.metric("ldsync_history_records_total", topic=rig.topic) == 20


async def test_without_a_warm_up_it_does(rig: Rig) -> None:
    """The operator may prefer a quick start."""
    await consumed_by_another(rig)
    hand = rig.work(ordering={"warm_up": False})
    await rig.write(rig.event("u-000003", late=60.0))
    await hand.until(lambda: rig.sim.included("vip") == {"u-000003"}, "the older one wins")
    assert hand.parts.journal.read_again == 0
    await hand.until(lambda: hand.outcomes == {"delivered": 1}, "it is delivered")


async def test_live_records_of_all_partitions_wait_for_all_history(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A partition without history must not go ahead of what another one's history says."""
    await consumed_by_another(rig, users=300)
    await rig.write(rig.event("u-000299", late=60.0), partition=1)
    with capture_logs() as logs:
        hand = rig.work()
        go_on = hold_history(hand, monkeypatch)
        await hand.until(lambda: hand.parts.journal.read_again > HELD_AT, "history is read")
        assert hand.worker.state is State.WARMING
        assert hand.parts.journal.consumed == 0
        assert hand.report.health().ready
        status = hand.report.status()["warm_up"]
        assert 0 < status["offsets_left"] <= 300
        assert hand.metric("ldsync_warm_up_left_offsets") > 0
        go_on.set()
        await hand.until_consumed(1)
    assert hand.parts.journal.read_again == 300
    await rig.until_settled()
    assert hand.outcomes == {"skipped": 1}
    assert hand.states == ["starting", "joining", "warming", "running"]
    assert hand.metric("ldsync_warm_up_left_offsets") == 0
    assert hand.metric("ldsync_warm_up_duration_seconds") > 0
    (started,) = events_of(logs, "warm_up.started")
    (finished,) = events_of(logs, "warm_up.finished")
    assert (started["partitions"], started["offsets"]) == (1, 300)
    assert finished["records"] == 300


@pytest.mark.parametrize(
    "code", [pytest.param(REBALANCING, id="asked"), pytest.param(UNKNOWN_MEMBER, id="thrown_out")]
)
async def test_a_rebalance_in_the_middle_goes_on_where_it_was(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """What is noted is not read again, and nothing is committed by it."""
    await consumed_by_another(rig, users=300)
    before = await rig.committed()
    hand = rig.work()
    go_on = hold_history(hand, monkeypatch)
    await hand.until(lambda: hand.parts.journal.read_again > HELD_AT, "history is read")
    rig.broker.fail(Api.HEARTBEAT, code)
    await hand.until(
        lambda: hand.metric("ldsync_rebalances_total", kind="assigned") == 2, "assigned again"
    )
    assert await rig.committed() == before
    go_on.set()
    await rig.write(rig.event("u-000299", late=60.0), partition=1)
    await rig.until_settled()
    assert hand.outcomes == {"skipped": 1}
    # The record at which it was held had been noted, but not as such.
    assert hand.parts.journal.read_again == 301


async def test_what_was_consumed_is_not_read_again_after_a_rebalance(rig: Rig) -> None:
    """It is known without a gap; what somebody else consumed meanwhile would be read."""
    hand = rig.work()
    await rig.enter(*people(20), entered=False)
    await rig.enter(*people(20, first=20), partition=1, entered=False)
    await rig.until_settled()
    for turn in (2, 3):
        rig.broker.fail(Api.HEARTBEAT, REBALANCING)
        await _until_running(hand, turn)
    await rig.write(rig.event("u-000003", late=60.0))
    await rig.until_settled()
    assert rig.sim.included("vip") == set()
    assert hand.parts.journal.read_again == 0


async def _until_running(hand: Hand, assignments: int) -> None:
    await hand.until(
        lambda: (
            hand.metric("ldsync_rebalances_total", kind="assigned") == assignments
            and hand.worker.state is State.RUNNING
        ),
        "it works again",
    )


async def test_a_stop_in_the_middle_leaves_everything_as_it_was(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM does not wait for history, and neither offsets nor marks are touched."""
    await consumed_by_another(rig, users=300)
    before = (await rig.committed(), await rig.marks())
    hand = rig.work()
    hold_history(hand, monkeypatch)
    await hand.until(lambda: hand.parts.journal.read_again > HELD_AT, "history is read")
    async with asyncio.timeout(5.0):
        await hand.stop()
    assert hand.parts.journal.read_again < 300
    assert (await rig.committed(), await rig.marks()) == before


async def test_too_much_history_is_cut_and_the_horizon_says_so(rig: Rig) -> None:
    """The newest records of each partition are read, in proportion."""
    await consumed_by_another(rig, users=90)
    await consumed_by_another(rig, users=10, partition=1)
    with capture_logs() as logs:
        hand = rig.work(ordering={"warm_up_max_records": 20})
        await hand.until(lambda: hand.worker.state is State.RUNNING, "it works")
    assert hand.parts.journal.read_again == 20
    assert hand.metric("ldsync_version_store_entries") == 20
    assert hand.metric("ldsync_ordering_horizon_seconds") < 60
    assert [each["offsets"] for each in events_of(logs, "warm_up.cut")] == [100]


async def test_the_horizon_reaches_back_before_the_start(rig: Rig) -> None:
    """Nothing is missing of so much before the first live record."""
    await consumed_by_another(rig)
    hand = rig.work(ordering={"horizon_seconds": 3600.0})
    await hand.until(lambda: hand.worker.state is State.RUNNING, "it works")
    assert 3600 <= hand.metric("ldsync_ordering_horizon_seconds") < 3700


async def test_history_is_read_although_the_brokers_fail_now_and_then(rig: Rig) -> None:
    """It is tried again until it is there; the membership does not depend on it."""
    await consumed_by_another(rig)
    rig.broker.fail(Api.LIST_OFFSETS, *[-1] * 3)
    hand = rig.work()
    await rig.write(rig.event("u-000003", late=60.0))
    await rig.until_settled()
    assert hand.outcomes == {"skipped": 1}
    assert hand.metric("ldsync_rebalances_total", kind="assigned") == 1


async def test_events_of_history_are_counted_by_nobody(rig: Rig) -> None:
    """Neither as records nor by what their times lacked: that was done when they were new (P7)."""
    await consumed_by_another(rig)
    event = rig.event("a").replace(b'"timestamp"', b'"timestamp_"')
    first = rig.work()
    await rig.write(event)
    await rig.until_settled()
    name, labels = "ldsync_event_time_fallbacks_total", {"reason": "missing_timestamp"}
    assert first.metric(name, **labels) == 1
    await first.stop()
    second = rig.work()
    await second.until(lambda: second.worker.state is State.RUNNING, "it works")
    await rig.enter("b")
    await rig.until_settled()
    assert second.parts.journal.read_again == 21
    assert second.metric(name, **labels) == 0
