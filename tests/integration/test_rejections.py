"""Changes that LaunchDarkly refuses are kept: their records are read again, with its message."""

import json
from collections.abc import AsyncIterator, Iterator

import pytest
from aiokafka import ConsumerRecord
from structlog.testing import capture_logs

from ldsync.demo.broker import Api, EmbeddedBroker
from ldsync.demo.simulator import Fault
from tests.support.eventually import eventually
from tests.support.worker_rig import Rig, events_of, patches, people, rigged

NOT_ENOUGH_REPLICAS, REBALANCING = 19, 27
REFUSED = [NOT_ENOUGH_REPLICAS] * 100_000
POISON = Fault(route="patch_segment", member="poison", status=400, message="not this one")


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """A cluster of one broker."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
async def rig(broker: EmbeddedBroker) -> AsyncIterator[Rig]:
    """A topic of two partitions, and a LaunchDarkly that refuses one member."""
    async with rigged(broker, partitions=2) as rig:
        rig.sim.faults.add(POISON)
        yield rig


def headers_of(letter: ConsumerRecord) -> dict[str, str]:
    """The headers of a letter, as text."""
    return {name: content.decode() for name, content in letter.headers}


async def test_the_record_of_a_refused_change_is_kept_with_what_was_said(rig: Rig) -> None:
    """As it came, with segment and member; the offset moves, and the others are delivered."""
    hand = rig.work()
    await rig.enter(*people(20), partition=1)
    await rig.enter(*people(20, first=20))
    poison = rig.event("poison")
    await rig.write(poison, key=b"k", headers=[("traceparent", b"00-1")])
    with capture_logs() as logs:
        await rig.enter(*people(20, first=40))
        await rig.until_committed(41)
    await rig.until_committed(20, partition=1)
    (letter,) = await rig.letters()
    assert (letter.key, letter.value) == (b"k", poison)
    headers = headers_of(letter)
    assert "not this one" in headers.pop("ldsync-detail")
    assert int(headers.pop("ldsync-timestamp")) > 0
    assert headers == {
        "ldsync-format": "1",
        "ldsync-group": rig.group,
        "ldsync-value": "original",
        "ldsync-topic": rig.topic,
        "ldsync-partition": "0",
        "ldsync-offset": "20",
        "ldsync-reason": "bad_request",
        "ldsync-segment": "vip",
        "ldsync-member": "user/poison",
        "ldsync-attempts": "1",
        "traceparent": "00-1",
    }
    (line,) = events_of(logs, "dead_letters.reread")
    assert (line["changes"], line["missing"]) == (1, 0)
    assert rig.sim.included("vip") == set(people(60))
    assert hand.outcomes == {"delivered": 60, "rejected": 1}
    assert hand.metric("ldsync_dead_letters_total", reason="bad_request") == 1


async def test_while_a_refused_change_is_not_safe_its_segment_goes_on_and_the_commit_waits(
    rig: Rig,
) -> None:
    """P1 and P5: the topic of dead letters cannot be written, and only the offset shows it."""
    await rig.enter("a", "poison", "b", "c", "d")
    rig.broker.fail(Api.PRODUCE, *REFUSED)
    hand = rig.work(max_size=3, dead_letters={"timeout_seconds": 0.5})
    others = {"a", "b", "c", "d"}
    await hand.until(lambda: rig.sim.included("vip") == others, "the others are delivered")
    await hand.until(lambda: hand.parts.dead_letters.pending >= 1, "one is not safe")
    failures = "ldsync_dead_letter_failures_total"
    await hand.until(lambda: hand.metric(failures) >= 1, "writing failed")
    assert (await rig.committed()).get(0, 0) == 0
    assert hand.parts.buffer.empty
    rig.broker.clear_failures(Api.PRODUCE)
    await rig.until_committed(5)
    assert {headers_of(each)["ldsync-member"] for each in await rig.letters()} == {"user/poison"}
    assert hand.parts.buffer.open_batches == 0


async def test_the_record_that_counts_is_the_one_that_superseded_the_others(rig: Rig) -> None:
    """Of three records of the member, all in one batch, the newest was refused."""
    rig.work(max_age=0.5)
    values = [rig.event("poison", entered) for entered in (True, False, True)]
    await rig.enter("a")
    await rig.write(values[0], values[2], values[1])
    await rig.until_committed(4)
    (letter,) = await rig.letters()
    assert letter.value == values[2]
    assert headers_of(letter)["ldsync-offset"] == "2"


async def test_a_record_with_a_refused_change_among_others_is_kept_whole(rig: Rig) -> None:
    """Its other changes were delivered; writing them again is harmless."""
    rig.work()
    record = b"[" + rig.event("a") + b"," + rig.event("poison") + b"," + rig.event("b") + b"]"
    await rig.write(record)
    await rig.until_committed(1)
    (letter,) = await rig.letters()
    assert letter.value == record
    assert rig.sim.included("vip") == {"a", "b"}


async def test_a_change_whose_record_is_gone_is_kept_by_itself(rig: Rig) -> None:
    """Retention took the record while its batch was waiting: the change is written as JSON."""
    held = rig.sim.faults.add(Fault(route="patch_segment", delay_seconds=float("inf")))
    hand = rig.work(timeout=10.0)
    await rig.enter("a", "poison", "b")
    await rig.sim.log.until(lambda: rig.sim.faults.befallen(held) == 1)
    rig.broker.delete_records(rig.topic, 0, before_offset=3)
    with capture_logs() as logs:
        rig.sim.faults.clear()
        rig.sim.faults.add(POISON)
        await rig.until_committed(3)
    (line,) = events_of(logs, "dead_letters.reread")
    assert (line["log_level"], line["missing"]) == ("warning", 1)
    (letter,) = await rig.letters()
    version = json.loads(letter.value).pop("version")
    assert json.loads(letter.value) == {
        "format": "ldsync-change/1",
        "segment": "vip",
        "segment_name": "Vip",
        "audience_id": "aud_vip",
        "audience_key": "vip",
        "context_kind": "user",
        "context_key": "poison",
        "action": "add",
        "version": version,
    }
    assert version.startswith("20")
    headers = headers_of(letter)
    assert headers["ldsync-value"] == "change"
    assert "ldsync-offset" not in headers
    assert letter.key == b"poison"
    assert hand.outcomes == {"delivered": 2, "rejected": 1}


async def test_a_revocation_forgets_refused_changes_and_they_come_again(rig: Rig) -> None:
    """P6: nothing of the epoch that is over is settled, and nothing is lost."""
    await rig.enter("a", "poison")
    rig.broker.fail(Api.PRODUCE, *REFUSED)
    hand = rig.work(drain=0.3, dead_letters={"timeout_seconds": 0.3})
    await hand.until(lambda: hand.outcomes.get("rejected", 0) >= 1, "it is refused")
    rig.broker.fail(Api.HEARTBEAT, REBALANCING)
    await hand.until(lambda: hand.outcomes.get("rejected", 0) >= 2, "it is refused again")
    assert (await rig.committed()).get(0, 0) == 0
    rig.broker.clear_failures(Api.PRODUCE)
    await rig.until_committed(2)
    letters = await rig.letters()
    assert {headers_of(each)["ldsync-offset"] for each in letters} == {"1"}
    await hand.until(lambda: hand.parts.dead_letters.empty, "nothing of either epoch waits")
    assert hand.parts.dead_letters.pending_bytes == 0


async def test_a_drain_waits_until_refused_changes_are_safe(rig: Rig) -> None:
    """Found, written, acknowledged and committed before the process ends."""
    hand = rig.work(max_age=600.0)
    await rig.enter("a", "poison")
    await hand.until_consumed(2)
    await hand.stop()
    assert len(await rig.letters()) == 1
    assert (await rig.committed())[0] == 2


async def test_without_dead_letters_refused_changes_are_passed_over(rig: Rig) -> None:
    """Counted and logged, as before."""
    hand = rig.work(dead_letters={"enabled": False})
    await rig.enter("a", "poison")
    await rig.until_committed(2)
    assert hand.outcomes == {"delivered": 1, "rejected": 1}
    assert await rig.letters() == []


async def test_many_refused_changes_are_found_in_one_scan(rig: Rig) -> None:
    """Those of a whole batch wait together."""
    for number in range(12):
        rig.sim.faults.add(Fault(route="patch_segment", member=f"bad-{number}", status=400))
    hand = rig.work(max_age=0.5, max_size=400)
    bad = [f"bad-{number}" for number in range(12)]
    with capture_logs() as logs:
        await rig.enter(*people(100), *bad[:6], partition=0)
        await rig.enter(*people(100, first=100), *bad[6:], partition=1)
        await rig.until_committed(106, partition=0)
        await rig.until_committed(106, partition=1)
    assert {headers_of(each)["ldsync-member"] for each in await rig.letters()} == {
        f"user/{name}" for name in bad
    }
    assert len(events_of(logs, "dead_letters.reread")) <= len(patches(rig.sim)) / 4
    assert hand.outcomes == {"delivered": 200, "rejected": 12}


async def test_a_log_that_cannot_be_read_again_does_not_hold_the_commit_for_ever(
    rig: Rig,
) -> None:
    """The change is kept by itself, and the log line says why."""
    hand = rig.work(dead_letters={"timeout_seconds": 0.5})
    await hand.until_assigned(2)
    await rig.enter("a")
    await rig.until_committed(1)
    number = rig.sim.faults.add(Fault(route="patch_segment", delay_seconds=float("inf")))
    await rig.enter("poison", "b")
    await rig.sim.log.until(lambda: rig.sim.faults.befallen(number) == 1)
    with capture_logs() as logs:
        rig.broker.fail(Api.FETCH, *[3] * 200)
        rig.sim.faults.clear()
        rig.sim.faults.add(POISON)
        await eventually(lambda: events_of(logs, "dead_letters.reread"), "it gave up", 20.0)
        rig.broker.clear_failures(Api.FETCH)
        await rig.until_committed(3)
    (line,) = events_of(logs, "dead_letters.reread")
    assert line["missing"] == 1
    assert "nothing in" in line["error"]
    assert {headers_of(each)["ldsync-value"] for each in await rig.letters()} == {"change"}
