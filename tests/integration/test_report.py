"""What a running worker says about itself: health, status and gauges of live state."""

import json
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from ldsync.demo.broker import Api, EmbeddedBroker
from ldsync.demo.simulator import Fault
from ldsync.sync.states import State
from ldsync.telemetry import page
from tests.support.worker_rig import Hand, Rig, people, rigged

JOINING = "waiting for the consumer group"
DRAINING = "draining: the process is about to end"
DOWN = Fault(route="* /api/v2/segments/*", status=503)
HELD = Fault(route="patch_segment", delay_seconds=float("inf"))


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


def reasons(hand: Hand) -> tuple[str, ...]:
    """Why it is not ready."""
    health = hand.report.health()
    assert health.ready is (not health.reasons)
    return health.reasons


async def test_readiness_follows_the_life_of_the_worker(rig: Rig) -> None:
    """Not before the group has let it in, not when it is about to end; in between, also paused."""
    rig.sim.faults.add(HELD)
    hand = rig.work(max_changes=10, drain=0.5)
    assert reasons(hand) == (JOINING,)
    await hand.until_assigned(2)
    assert reasons(hand) == ()
    await rig.enter(*people(20))
    await hand.until(lambda: hand.worker.state is State.PAUSED, "consumption is paused")
    assert reasons(hand) == ()
    hand.worker.stop()
    await hand.until(lambda: hand.worker.state is State.DRAINING, "it drains")
    assert reasons(hand) == (DRAINING,)
    await hand.stop()
    assert reasons(hand) == (DRAINING,)


async def test_readiness_waits_for_the_environment_and_ends_with_a_signal(rig: Rig) -> None:
    """Reasons add up."""
    hand = rig.work()
    hand.parts.environment.lose("the environment is not there")
    assert reasons(hand) == (JOINING, "the environment is not there")
    await hand.until_assigned(2)
    assert reasons(hand) == ("the environment is not there",)
    hand.report.stopping = True
    assert reasons(hand) == (DRAINING, "the environment is not there")


async def test_a_member_without_partitions_after_a_revocation_is_not_ready(rig: Rig) -> None:
    """It is joining again."""
    hand = rig.work()
    await hand.until_assigned(2)
    rig.broker.fail(Api.JOIN_GROUP, *[14] * 50)
    rig.broker.fail(Api.HEARTBEAT, 27)
    await hand.until(lambda: hand.worker.state is State.JOINING, "the partitions are gone")
    assert reasons(hand) == (JOINING,)
    rig.broker.clear_failures(Api.JOIN_GROUP)
    await hand.until(lambda: reasons(hand) == (), "it is ready again")


async def test_liveness_is_about_the_loops_alone(rig: Rig) -> None:
    """Neither brokers that are awaited nor a LaunchDarkly that is down make a process sick."""
    rig.broker.take_down()
    hand = rig.work(kafka={"start_timeout_seconds": 30.0})
    await hand.until(lambda: hand.worker.state is State.JOINING, "brokers are waited for")
    # A start may take longer than any loop may take to turn: ages count from a loop's first turn.
    assert {check.name: check.age_seconds for check in hand.report.health().checks} == {
        "ingest": 0.0,
        "flush": 0.0,
        "commit": 0.0,
    }
    rig.broker.bring_up()
    rig.sim.faults.add(DOWN)
    await rig.enter("a")
    await hand.until(lambda: hand.metric("ldsync_segments_waiting") == 1, "an attempt failed")
    health = hand.report.health()
    assert health.alive
    assert all(check.age_seconds < 5.0 for check in health.checks)


@pytest.mark.parametrize(
    ("loop", "limit"),
    [
        pytest.param("ingest", 60.0, id="ingest"),
        pytest.param("flush", 30.0, id="flush"),
        pytest.param("commit", 120.05, id="commit, beyond its interval"),
    ],
)
async def test_a_loop_that_does_not_turn_makes_it_sick(rig: Rig, loop: str, limit: float) -> None:
    """Each on its own."""
    hand = rig.work()
    await hand.until_assigned(2)
    assert hand.report.health().alive
    now = time.monotonic()
    hand.worker.turns[loop] = now - limit + 5.0
    assert hand.report.health().alive
    hand.worker.turns[loop] = now - limit - 1.0
    assert not hand.report.health().alive


async def test_two_audiences_with_one_segment_key_are_told(rig: Rig) -> None:
    """From the first event on, in the status, on the page and in the metric."""
    hand = rig.work()
    event = json.loads(rig.event("a", True, "vip"))
    event["context"]["personas"]["computation_id"] = "aud_made_again"
    await rig.enter("a")
    await rig.write(json.dumps(event).encode())
    await rig.until_settled()

    status = hand.report.status()

    assert status["collisions"] == [
        {
            "segment": "vip",
            "audience_id": "aud_made_again",
            "first_segment": "vip",
            "first_audience_id": "aud_vip",
            "likeness": "same",
            "refused": False,
        }
    ]
    assert "aud_made_again" in page.render(status, time.time())
    assert hand.metric("ldsync_segment_key_collisions_total", likeness="same") == 1


async def test_the_status_says_what_an_operator_may_want_to_know(rig: Rig) -> None:
    """As JSON, and as the page that is made of it."""
    hand = rig.work()
    await rig.enter("a", "b", partition=0)
    await rig.write(b"{", partition=1)
    await rig.until_settled()
    held = rig.sim.faults.add(HELD)
    await rig.enter("c", partition=0)
    await rig.sim.log.until(lambda: rig.sim.faults.befallen(held) == 1)
    await rig.enter("d", partition=0)
    await hand.until_consumed(5)
    await hand.until(lambda: len(hand.worker.offsets.lags) == 2, "lags are measured")
    status = json.loads(json.dumps(hand.report.status()))

    assert status["state"] == "running"
    assert status["uptime_seconds"] > 0
    assert (status["consumed_records"], status["pending_records"]) == (5, 2)
    assert status["records"]["delivered"] == {"": 2}
    assert status["records"]["invalid"] == {"bad_json": 1}
    assert status["dead_letters"] == {
        "enabled": True,
        "topic": "<topic>.dead-letters",
        "written": 1,
        "pending": 0,
        "pending_bytes": 0,
        "problem": "",
        "recall_problem": "",
    }
    assert status["buffer"] == {
        "changes": 2,
        "bytes": hand.parts.buffer.bytes,
        "batches": 1,
        "in_flight": 1,
        "paused": False,
        "writes_held": "",
    }
    assert [(each["partition"], each["committable"]) for each in status["partitions"]] == [
        (0, 2),
        (1, 1),
    ]
    assert status["launchdarkly"] == {
        "project": "p",
        "environment": "e",
        "client_side_id": "",
        "problem": "",
        "gate_open_in_seconds": 0.0,
        "gate_reason": "",
    }
    (segment,) = status["segments"]
    assert segment["last_success_at"] == pytest.approx(time.time(), abs=30)
    del segment["last_success_at"]
    assert segment == {
        "key": "vip",
        "audience_id": "aud_vip",
        "pending": 1,
        "in_flight": 1,
        "last_error": "",
        "attempts": 0,
        "waiting": False,
        "waiting_since": None,
        "parked": 0,
        "diverged": "",
    }
    assert "vip" in page.render(hand.report.status(), now=time.time())


async def test_the_status_shows_a_closed_gate(rig: Rig) -> None:
    """And for how long, and why."""
    hand = rig.work()
    hand.parts.pacing.close_until(time.monotonic() + 50.0, "a test")
    shown = hand.report.status()["launchdarkly"]
    assert shown["gate_open_in_seconds"] == pytest.approx(50.0, abs=1.0)
    assert shown["gate_reason"] == "a test"


async def test_gauges_show_the_moment_of_the_scrape(rig: Rig) -> None:
    """Nobody sets them; they look when someone asks."""
    held = rig.sim.faults.add(HELD)
    hand = rig.work()
    await rig.enter("a", partition=0)
    await rig.sim.log.until(lambda: rig.sim.faults.befallen(held) == 1)
    await rig.enter("b", "c", audience="other", partition=0)
    await rig.sim.log.until(lambda: rig.sim.faults.befallen(held) == 2)
    await rig.enter("d", "e", partition=1)
    await hand.until_consumed(5)
    assert hand.metric("ldsync_records_pending") == 5
    assert hand.metric("ldsync_buffered_changes") == 5
    assert hand.metric("ldsync_buffered_bytes") == hand.parts.buffer.bytes > 0
    assert hand.metric("ldsync_open_batches") == 2
    assert hand.metric("ldsync_batches_in_flight") == 2
    assert 0 < hand.metric("ldsync_oldest_unsent_change_age_seconds") < 30
    assert hand.metric("ldsync_version_store_entries") == 3
    assert hand.metric("ldsync_ordering_horizon_seconds") > 0
    assert hand.metric("ldsync_state", state="running") == 1
    first = {"topic": rig.topic, "partition": "0"}
    # Nothing was ever committed of it: a restart would consume all three again.
    await hand.until(lambda: hand.metric("ldsync_uncommitted_offsets", **first) == 3, "uncommitted")
    rig.sim.faults.clear()
    await rig.until_settled()
    await hand.until(lambda: hand.metric("ldsync_uncommitted_offsets", **first) == 0, "committed")
    assert hand.metric("ldsync_records_pending") == 0
    assert hand.metric("ldsync_oldest_unsent_change_age_seconds") == 0
    assert hand.metric("ldsync_consumer_lag_records", **first) == 0
    await hand.stop()
    assert hand.metric("ldsync_state", state="stopped") == 1


async def test_series_of_revoked_partitions_end(rig: Rig) -> None:
    """Their new owner shows them; two would add up to a lag that nobody has."""
    hand = rig.work()
    await rig.enter("a")
    await rig.until_settled()
    await hand.until(lambda: len(hand.worker.offsets.lags) == 2, "lags are measured")
    rig.broker.fail(Api.JOIN_GROUP, *[14] * 50)
    rig.broker.fail(Api.HEARTBEAT, 27)
    await hand.until(lambda: not hand.worker.source.assigned, "the partitions are gone")
    turned = hand.worker.turns["commit"]
    await hand.until(lambda: hand.worker.turns["commit"] > turned + 0.1, "some more turns")
    names = {sample.name for family in hand.metrics.registry.collect() for sample in family.samples}
    assert "ldsync_consumer_lag_records" not in names
    assert "ldsync_uncommitted_offsets" not in names
    assert hand.report.status()["partitions"] == []
    rig.broker.clear_failures(Api.JOIN_GROUP)
