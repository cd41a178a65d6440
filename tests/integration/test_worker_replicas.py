"""Workers that share a Redis: the newest change wins on a topic without keys, whatever fails."""

import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from structlog.testing import capture_logs

from ldsync.demo.broker import EmbeddedBroker, leader_syncs_last
from ldsync.demo.simulator import Fault
from ldsync.telemetry.metrics import Metrics
from ldsync.versions.base import StoreState
from ldsync.versions.redis import RedisVersions
from tests.support.gates import MARK, READ_AGAIN, WRITE, Gates
from tests.support.real_redis import RealRedis
from tests.support.redis_fixtures import own_redis, redis, shared_redis
from tests.support.worker_rig import (
    ENVIRONMENT,
    PROJECT,
    Hand,
    Rig,
    events_of,
    patches,
    people,
    rigged,
)

__all__ = ["own_redis", "redis", "shared_redis"]

pytestmark = pytest.mark.redis

REBALANCING = 27
LONG = 60.0  # seconds: no store is assumed to be warm while a test lasts


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """A cluster of one broker, whose groups may have several members."""
    with EmbeddedBroker() as broker, leader_syncs_last():
        yield broker


@pytest.fixture
async def rig(broker: EmbeddedBroker) -> AsyncIterator[Rig]:
    """A topic of two partitions, without keys."""
    async with rigged(broker, partitions=2, alone=False) as rig:
        yield rig


def state_of(hand: Hand) -> StoreState:
    """Whether its version store can be relied on, now."""
    return hand.parts.versions.state


def partition_of(hand: Hand) -> int:
    """The one partition that a worker has."""
    (partition,) = hand.worker.source.assigned
    return partition.number


ORDERS = sorted(set(itertools.permutations("OOONNN")))


async def test_the_newest_wins_in_whatever_order_two_replicas_take_their_steps(
    rig: Rig, redis: RealRedis
) -> None:
    """R7, all twenty orders of mark, write and read again of two replicas, step by step.

    One has the older and one the newer change of the same member. What a replica does after its
    third step, because it has read something newer, is not held up.
    """
    gates = Gates()
    options = {"redis_url": redis.url, "settle": 0.5}
    older = rig.work(gates=gates, name="O", **options)
    newer = rig.work(gates=gates, name="N", **options)
    await older.until_assigned(1)
    await newer.until_assigned(1)
    for number, order in enumerate(ORDERS):
        user = f"u-{number}"
        in_first = number % 2 == 0
        first, second = rig.event(user, entered=in_first), rig.event(user, entered=not in_first)
        await rig.write(first, partition=partition_of(older))
        await rig.write(second, partition=partition_of(newer))
        steps = [(who, await gates.advance(who)) for who in order]
        assert [step for who, step in steps if who == "O"] == [MARK, WRITE, READ_AGAIN]
        assert [step for who, step in steps if who == "N"] == [MARK, WRITE, READ_AGAIN]
        again = await _finish(older, gates, "O")
        assert await _finish(newer, gates, "N") == []
        assert (user in rig.sim.included("vip")) is not in_first, order
        # Only if it marked first, and the newer one was marked before it read again.
        overtaken = order.index("O") < order.index("N") < _last(order, "O")
        assert again == ([WRITE, READ_AGAIN] if overtaken else []), order
    gates.let_all_go()
    await rig.until_settled()


def _last(order: tuple[str, ...], who: str) -> int:
    return len(order) - 1 - order[::-1].index(who)


async def _finish(hand: Hand, gates: Gates, who: str) -> list[str]:
    """Let a worker do whatever else it finds to do, step by step."""
    steps: list[str] = []
    while True:
        await hand.until(lambda: gates.held(who) or hand.parts.buffer.empty, "a step or the end")
        if not gates.held(who):
            return steps
        steps.append(await gates.advance(who))


async def test_replicas_agree_on_a_topic_without_keys(rig: Rig, redis: RealRedis) -> None:
    """Thousands of changes of the same members in both partitions, with requests that fail."""
    rig.sim.faults.add(Fault(route="patch_segment", times=3, status=503))
    rig.sim.faults.add(Fault(route="patch_segment", skip=3, times=2, late_seconds=0.2))
    first = rig.work(redis_url=redis.url, max_size=40, timeout=0.4)
    second = rig.work(redis_url=redis.url, max_size=40, timeout=0.4)
    await first.until_assigned(1)
    await second.until_assigned(1)
    for turn in range(6):
        for partition in (turn % 2, 1 - turn % 2):
            entered = (turn + partition) % 2 == 0
            await rig.enter(*people(60), partition=partition, entered=entered)
    await rig.until_settled()
    assert first.parts.journal.consumed
    assert second.parts.journal.consumed


async def test_what_was_written_before_a_restart_is_known_after_it(
    rig: Rig, redis: RealRedis
) -> None:
    """An older event that comes to a fresh process changes nothing, and counts as stale."""
    late = rig.event("a")
    await rig.enter("a", entered=False)
    first = rig.work(redis_url=redis.url)
    await rig.until_settled()
    await first.stop()
    second = rig.work(redis_url=redis.url)
    await rig.write(late)
    await rig.until_settled()
    assert second.outcomes == {"skipped": 1}
    assert rig.sim.included("vip") == set()


async def test_while_redis_is_away_nothing_is_written_and_everything_consumed(
    rig: Rig, own_redis: RealRedis
) -> None:
    """Never unordered; the budget still bounds what is held (P3); then it goes on at once."""
    hand = rig.work(redis_url=own_redis.url, max_changes=100)
    await rig.enter("a")
    await rig.until_settled()
    own_redis.kill()
    before = len(patches(rig.sim))
    with capture_logs() as logs:
        await rig.enter(*people(30))
        await hand.until(lambda: state_of(hand) is StoreState.DOWN, "the store is down")
        await hand.until_consumed(31)
        assert hand.metric("ldsync_version_store_up") == 0.0
        status = hand.report.status()["ordering"]
        assert (status["store"], status["state"]) == ("redis", "down")
        assert "cannot be reached" in status["problem"]
        await rig.enter(*people(100, first=30))
        await hand.until(lambda: hand.metric("ldsync_consumer_paused"), "consumption pauses")
        assert len(patches(rig.sim)) == before
        own_redis.start()
        await rig.until_settled()
    assert hand.metric("ldsync_version_store_up") == 1.0
    assert hand.metric("ldsync_version_store_errors_total", reason="connection") >= 1.0
    assert len(events_of(logs, "ordering.store_down")) == 1
    assert hand.report.status()["ordering"]["problem"] == ""


async def test_a_redis_that_hangs_when_history_was_noted_is_warm_once_it_answers(
    rig: Rig, own_redis: RealRedis
) -> None:
    """Nobody else would say so: in a chaos run it stayed cold for ever."""
    with own_redis.frozen():
        hand = rig.work(redis_url=own_redis.url, settle=LONG, redis_timeout=0.3)
        await rig.enter("a")
        await hand.until_consumed(1)
    await rig.until_settled()
    assert rig.sim.included("vip") == {"a"}


async def test_a_redis_that_hangs_in_the_middle_of_a_write_holds_its_settlement(
    rig: Rig, own_redis: RealRedis
) -> None:
    """R7: without reading the marks again after the answer nothing is settled or committed."""
    gates = Gates()
    hand = rig.work(redis_url=own_redis.url, gates=gates, name="A", redis_timeout=0.3)
    await rig.enter("a")
    assert [await gates.advance("A"), await gates.advance("A")] == [MARK, WRITE]
    assert rig.sim.included("vip") == {"a"}
    with own_redis.frozen():
        assert await gates.advance("A") == READ_AGAIN
        await hand.until(lambda: state_of(hand) is StoreState.DOWN, "the store is down")
        assert not hand.parts.buffer.empty
        assert not any((await rig.committed()).values())
    gates.let_all_go()
    await rig.until_settled()
    assert hand.metric("ldsync_retries_total", reason="version_store") >= 1.0


async def test_without_a_warm_up_a_redis_that_was_emptied_is_used_after_the_settle_time(
    rig: Rig, own_redis: RealRedis
) -> None:
    """Nothing is written meanwhile; the loss is counted, said, and shown."""
    hand = rig.work(redis_url=own_redis.url, settle=0.6, ordering={"warm_up": False})
    await rig.enter("a")
    await rig.until_settled()
    before = len(patches(rig.sim))
    with capture_logs() as logs:
        own_redis.restart()
        await rig.enter("b")
        await hand.until(lambda: state_of(hand) is StoreState.COLD, "the store is cold")
        assert hand.metric("ldsync_version_store_cold") == 1.0
        assert len(patches(rig.sim)) == before
        await rig.until_settled()
    said = [entry["event"] for entry in logs if entry["event"].startswith("ordering.")]
    assert said.count("ordering.marks_lost") == 1
    assert said[-2:] == ["ordering.assumed_warm", "ordering.store_up"]
    assert hand.metric("ldsync_version_store_assumed_warm_total") == 2.0


async def _cold_store(server: RealRedis) -> RedisVersions:
    """A store of which nobody has said that it is warm."""
    store = RedisVersions(
        server.url,
        f"{PROJECT}/{ENVIRONMENT}",
        retention=3600.0,
        timeout=2.0,
        warm_after=None,
        metrics=Metrics(),
    )
    await store.look()
    return store


@pytest.mark.parametrize(
    "lose",
    [
        pytest.param(lambda server: server.client.flushall(), id="emptied"),
        pytest.param(lambda server: server.restart(), id="restarted"),
    ],
)
async def test_marks_that_are_lost_in_mid_run_are_read_from_the_topic_before_anything_is_written(
    rig: Rig, own_redis: RealRedis, lose: Callable[[RealRedis], object]
) -> None:
    """R7: an older event that comes after the loss does not win; nobody is rebalanced for it."""
    hand = rig.work(redis_url=own_redis.url, settle=LONG)
    late = rig.event("a")
    await rig.enter("a", entered=False)
    await rig.until_settled()
    with capture_logs() as logs:
        lose(own_redis)
        await rig.write(late)
        await rig.until_settled()
    assert rig.sim.included("vip") == set()
    assert hand.parts.journal.outcomes["skipped", "stale"] == 1
    said = [entry["event"] for entry in logs]
    assert said.index("ordering.marks_lost") < said.index("warm_up.finished")
    assert said.index("warm_up.finished") < said.index("ordering.store_up")
    assert hand.metric("ldsync_version_store_assumed_warm_total") == 0.0
    assert hand.metric("ldsync_rebalances_total", event="revoked") == 0.0


async def test_what_is_consumed_and_not_committed_is_read_again_as_well(
    rig: Rig, own_redis: RealRedis
) -> None:
    """It was written and marked; that its offset is not committed yet does not make it unknown."""
    hand = rig.work(redis_url=own_redis.url, settle=LONG, commit_interval=LONG)
    late = rig.event("a")
    await rig.enter("a", entered=False)
    await hand.until(lambda: hand.outcomes == {"delivered": 1}, "it is written")
    assert not any((await rig.committed()).values())
    own_redis.client.flushall()
    await rig.write(late)
    await hand.until(lambda: hand.outcomes == {"delivered": 1, "skipped": 1}, "it is stale")
    assert rig.sim.included("vip") == set()


async def test_replicas_say_together_that_all_partitions_are_noted(
    rig: Rig, own_redis: RealRedis
) -> None:
    """R7: one alone does not speak for the partitions of the others; both do for all."""
    both = [rig.work(redis_url=own_redis.url, settle=LONG) for _ in range(2)]
    for hand in both:
        await hand.until_assigned(1)
    late = rig.event("a")
    mine, other = partition_of(both[0]), partition_of(both[1])
    await rig.enter("a", partition=mine, entered=False)
    await rig.enter("b", partition=other)
    await rig.until_settled()
    own_redis.client.flushall()
    # An older change of the same member, which the other replica reads.
    await rig.write(late, partition=other)
    await rig.until_settled()
    assert rig.sim.included("vip") == {"b"}
    for hand in both:
        assert hand.metric("ldsync_version_store_assumed_warm_total") == 0.0
        assert hand.metric("ldsync_rebalances_total", event="revoked") <= 1.0


async def test_a_replica_that_has_noted_its_own_partitions_does_not_speak_for_others(
    redis: RealRedis,
) -> None:
    """What is missing is counted over all that was noted in this generation of marks."""
    stores = [await _cold_store(redis) for _ in range(2)]
    try:
        wanted = ["t/0", "t/1", "t/2"]
        await stores[0].mark_warm(3600.0, 0.0, noted=["t/0", "t/2"], wanted=wanted)
        await stores[0].look()
        assert stores[0].state is StoreState.COLD
        await stores[1].mark_warm(1800.0, 0.0, noted=["t/1"], wanted=wanted)
        for store in stores:
            await store.look()
            assert store.state is StoreState.UP
            # As far back as the partition of which the least is known.
            assert store.horizon(time.monotonic()) == pytest.approx(1800.0, abs=60.0)
    finally:
        for store in stores:
            await store.close()


async def test_partitions_without_history_make_a_store_warm_that_knows_nothing(
    redis: RealRedis,
) -> None:
    """As at the very first start of a group: there is nothing to know, and nothing to wait for."""
    store = await _cold_store(redis)
    try:
        await store.mark_warm(None, 0.0, noted=["t/0"], wanted=["t/0"])
        await store.look()
        assert store.state is StoreState.UP
        assert store.horizon(time.monotonic()) < 60.0
    finally:
        await store.close()


async def test_a_stop_while_redis_is_away_ends_in_time_and_loses_nothing(
    rig: Rig, own_redis: RealRedis
) -> None:
    """What could not be written is consumed again by the next one."""
    hand = rig.work(redis_url=own_redis.url, drain=0.5)
    await rig.enter("a")
    await rig.until_settled()
    own_redis.kill()
    await rig.enter("b")
    await hand.until_consumed(2)
    await hand.stop()
    assert rig.sim.included("vip") == {"a"}
    own_redis.start()
    rig.work(redis_url=own_redis.url)
    await rig.until_settled()


async def test_memory_for_several_replicas_on_a_topic_without_keys_is_warned_of(rig: Rig) -> None:
    """P2 cannot be kept then, which is known when both facts are met; said once."""
    with capture_logs() as logs:
        first = rig.work()
        await rig.enter("a", partition=0)
        await rig.enter("b", partition=1)
        await rig.until_settled()
        assert first.worker.ordering_concern == ""
        second = rig.work()
        await second.until_assigned(1)
        await first.until_assigned(1)
        await rig.enter("c", partition=partition_of(first))
        await first.until(lambda: first.worker.ordering_concern, "it is warned")
        assert first.report.status()["ordering"]["problem"] == first.worker.ordering_concern
        await rig.until_settled()
    assert 1 <= len(events_of(logs, "ordering.unsafe")) <= 2
    assert "Key the topic by user" in events_of(logs, "ordering.unsafe")[0]["detail"]


async def test_what_replicas_parked_apart_ends_in_the_newest(rig: Rig, redis: RealRedis) -> None:
    """R7, R9: each replays its own part, in whatever order, also after both were replaced."""
    options = {"redis_url": redis.url, "park_after": 1.0}
    one, two = rig.work(**options), rig.work(**options)
    await one.until_assigned()
    await two.until_assigned()
    number = rig.sim.faults.add(Fault(route="patch_segment", segment="vip", status=403))
    users = people(20)
    for turn, user in enumerate(users):
        events = [rig.event(user, entered=turn % 2 == 0), rig.event(user, entered=turn % 2 == 1)]
        for at, event in enumerate(events):
            await rig.write(event, partition=(turn // 2 + at) % 2)
    await rig.sim.log.until(lambda: rig.sim.faults.befallen(number) >= 2)
    for partition in (0, 1):
        await rig.enter(f"n-{partition}", audience="other", partition=partition)
    parked = "ldsync_parked_changes_total"
    both = (one, two)
    await one.until(lambda: sum(each.metric(parked) for each in both) == 40, "they are parked")
    await rig.until_committed(21)
    await rig.until_committed(21, partition=1)
    for hand in both:
        await hand.stop()
    one, two = rig.work(**options), rig.work(**options)
    await one.until_assigned()
    await two.until_assigned()
    for hand in (one, two):
        await hand.until(lambda hand=hand: hand.metric("ldsync_segments_diverged") == 1, "known")
    rig.sim.faults.remove(number)
    for hand in (one, two):
        await hand.until(lambda hand=hand: hand.metric("ldsync_segments_diverged") == 0, "well")
    await rig.until_settled()
    assert rig.sim.included("vip") == set(users[1::2])
