"""What was parked before an assignment is found in the dead-letter topic, and replayed (R9)."""

import json
from collections.abc import AsyncIterator, Iterator

import pytest
from structlog.testing import capture_logs

from ldsync.demo.broker import Api, EmbeddedBroker
from ldsync.demo.simulator import Fault
from tests.support.worker_rig import Hand, Rig, events_of, people, rigged

UNKNOWN_TOPIC = 3
FORBIDDEN = Fault(route="patch_segment", segment="vip", status=403, message="not you")

KEYS = (b"k-0", b"k-1")
"""Of records whose letters stand in different partitions of the dead-letter topic."""


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """A cluster of one broker."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
async def rig(broker: EmbeddedBroker) -> AsyncIterator[Rig]:
    """A topic of one partition."""
    async with rigged(broker) as rig:
        yield rig


async def parked_by(rig: Rig, hand: Hand, *users: str, key: bytes | None = None) -> int:
    """Have changes of a segment parked by a worker, which ends then; the number of its fault."""
    number = rig.sim.faults.add(FORBIDDEN)
    await rig.write(*[rig.event(user) for user in users], key=key)
    await rig.sim.log.until(lambda: rig.sim.faults.befallen(number) >= 1)
    await rig.enter("neighbour", audience="other")
    parked = "ldsync_parked_changes_total"
    await hand.until(lambda: hand.metric(parked) == len(users), "they are parked")
    await rig.until_committed(rig.ends[0])
    await hand.stop()
    return number


def diverged(hand: Hand) -> int:
    """How many segments lack something."""
    return int(hand.metric("ldsync_segments_diverged"))


async def test_after_a_restart_a_segment_is_diverged_and_gets_what_was_parked(rig: Rig) -> None:
    """Status and metric say so, and no other change is needed; the next owner has nothing to do."""
    number = await parked_by(rig, rig.work(park_after=1.0), *people(5))
    hand = rig.work()
    await hand.until(lambda: diverged(hand) == 1, "it is known")
    (row,) = [each for each in hand.report.status()["segments"] if each["key"] == "vip"]
    assert row["parked"] == 5
    await rig.sim.log.until(lambda: rig.sim.faults.befallen(number) >= 2)
    assert rig.sim.included("vip") == set()
    with capture_logs() as logs:
        rig.sim.faults.remove(number)
        await hand.until(lambda: events_of(logs, "segment.recovered"), "it is well")
    assert rig.sim.included("vip") == set(people(5))
    assert diverged(hand) == 0
    await hand.stop()
    with capture_logs() as logs:
        last = rig.work()
        await last.until(lambda: events_of(logs, "dead_letters.recalled"), "they are read")
    (line,) = events_of(logs, "dead_letters.recalled")
    assert (line["segments"], line["changes"]) == (0, 0)
    assert diverged(last) == 0
    assert last.metric("ldsync_dead_letters_total", reason="replayed") == 0


async def test_what_was_parked_since_a_replay_is_found_beside_letters_that_are_done(
    rig: Rig,
) -> None:
    """In other partitions of the dead-letter topic: the letters of one stand for nothing more."""
    one, other = KEYS
    number = await parked_by(rig, rig.work(park_after=1.0), "a", key=one)
    rig.sim.faults.remove(number)
    hand = rig.work()
    await hand.until(lambda: rig.sim.included("vip") == {"a"}, "it is replayed")
    await hand.until(lambda: diverged(hand) == 0, "it is well")
    await hand.stop()
    number = await parked_by(rig, rig.work(park_after=1.0), "b", key=other)
    assert len({each.partition for each in await rig.letters()}) == 2
    rig.sim.faults.remove(number)
    hand = rig.work()
    await hand.until(lambda: rig.sim.included("vip") == {"a", "b"}, "that is replayed, too")


async def test_what_came_since_wins_over_what_was_parked_before_a_restart(rig: Rig) -> None:
    """P2: the versions of before are known from the topic (R5)."""
    number = await parked_by(rig, rig.work(park_after=1.0), "left", "stays")
    rig.sim.faults.remove(number)
    await rig.enter("left", entered=False)
    with capture_logs() as logs:
        hand = rig.work()
        await hand.until(lambda: events_of(logs, "segment.recovered"), "it is well")
    await rig.until_settled()
    assert rig.sim.included("vip") == {"stays"}


async def test_what_is_older_than_the_horizon_stays_parked_if_the_topic_is_cut(rig: Rig) -> None:
    """R9: it is told at every assignment; no marker says that it was replayed."""
    number = await parked_by(rig, rig.work(park_after=1.0), "a", "b")
    rig.broker.delete_records(rig.topic, 0, 1)
    rig.sim.faults.remove(number)
    for _ in range(2):
        with capture_logs() as logs:
            hand = rig.work(ordering={"horizon_seconds": 60.0})
            await hand.until(lambda: events_of(logs, "segment.replayed"), "it is told")
        (line,) = events_of(logs, "segment.replayed")
        assert (line["replayed"], line["left"]) == (0, 2)
        assert diverged(hand) == 1
        await hand.stop()
    assert rig.sim.included("vip") == set()


async def test_what_is_older_than_the_horizon_is_judged_by_what_the_topic_says(rig: Rig) -> None:
    """R9: history is read again from its own time on; what was newer wins, though forgotten."""
    number = await parked_by(rig, rig.work(park_after=1.0), "left", "stays")
    rig.sim.faults.remove(number)
    hand = rig.work(dead_letters={"replay_on_recovery": False})
    await rig.enter("left", entered=False)
    await rig.enter(*people(3), audience="other")
    await rig.until_committed(7)
    await hand.stop()
    with capture_logs() as logs:
        hand = rig.work(max_entries=2)
        await hand.until(lambda: events_of(logs, "segment.recovered"), "it is well")
    (line,) = events_of(logs, "replay.looked_back")
    assert (line["log_level"], line["records"]) == ("info", 7)
    await rig.until_settled()
    assert rig.sim.included("vip") == {"stays"}


async def test_a_pointer_is_replayed_from_the_record_it_points_to(rig: Rig) -> None:
    """As long as the record is where it was; a restart needs an event to know its segment."""
    small = {"max_letter_bytes": 600}
    number = await parked_by(rig, rig.work(park_after=1.0, dead_letters=small), *people(3))
    letters = await rig.letters()
    assert {dict(each.headers)["ldsync-value"] for each in letters} == {b"pointer"}
    hand = rig.work()
    await hand.until(lambda: diverged(hand) == 1, "it is known")
    rig.sim.faults.remove(number)
    with capture_logs() as logs:
        await rig.enter("new")
        await hand.until(lambda: events_of(logs, "segment.recovered"), "it is well")
    assert rig.sim.included("vip") == {*people(3), "new"}


async def test_a_pointer_to_a_record_that_is_gone_is_told_and_stays_parked(rig: Rig) -> None:
    """Retention took it: the segment lacks it for good."""
    hand = rig.work(max_changes=120, max_size=10, dead_letters={"max_letter_bytes": 600})
    number = rig.sim.faults.add(FORBIDDEN)
    await rig.enter(*people(30))
    await rig.sim.log.until(lambda: rig.sim.faults.befallen(number) >= 1)
    await rig.enter("neighbour", audience="other")
    await hand.until(lambda: hand.metric("ldsync_parked_changes_total") == 10, "some are parked")
    await hand.until(lambda: hand.parts.dead_letters.empty, "they are safe")
    rig.broker.delete_records(rig.topic, 0, 1)
    with capture_logs() as logs:
        rig.sim.faults.remove(number)
        await hand.until(lambda: events_of(logs, "segment.replayed"), "it is told")
    (line,) = events_of(logs, "segment.replayed")
    assert (line["replayed"], line["left"]) == (9, 1)
    assert rig.sim.included("vip") == set(people(30)[1:])


async def test_a_change_by_itself_is_replayed_after_a_restart(rig: Rig) -> None:
    """Its record was not found when it was parked; the letter says all that is needed."""
    hand = rig.work(park_after=2.0, dead_letters={"timeout_seconds": 0.5})
    with capture_logs() as logs:
        number = rig.sim.faults.add(FORBIDDEN)
        await rig.enter("a", "b")
        await rig.sim.log.until(lambda: rig.sim.faults.befallen(number) >= 1)
        await rig.enter("neighbour", audience="other")
        await hand.until(lambda: rig.sim.included("other") == {"neighbour"}, "another is served")
        rig.broker.fail(Api.FETCH, *[UNKNOWN_TOPIC] * 500)
        await hand.until(lambda: events_of(logs, "dead_letters.reread"), "it gave up")
        rig.broker.clear_failures(Api.FETCH)
    await rig.until_committed(3)
    await hand.stop()
    letters = await rig.letters()
    assert {dict(each.headers)["ldsync-value"] for each in letters} == {b"change"}
    rig.sim.faults.remove(number)
    with capture_logs() as logs:
        hand = rig.work()
        await hand.until(lambda: events_of(logs, "segment.recovered"), "it is well")
    assert rig.sim.included("vip") == {"a", "b"}


async def test_letters_of_another_group_are_no_concern(rig: Rig) -> None:
    """Deployments that read the same topic for other environments share its dead-letter topic."""
    number = await parked_by(rig, rig.work(park_after=1.0), "a")
    rig.sim.faults.remove(number)
    with capture_logs() as logs:
        other = rig.work(group="other", kafka={"first_start": "latest"})
        await other.until(lambda: events_of(logs, "dead_letters.recalled"), "letters are read")
    (line,) = events_of(logs, "dead_letters.recalled")
    assert line["changes"] == 0


async def test_a_marker_by_hand_ends_what_was_parked_before_it(rig: Rig) -> None:
    """The operator has seen to it: a record of three fields and three headers in each partition."""
    await parked_by(rig, rig.work(park_after=1.0), "a", "b")
    value = json.dumps({"format": "ldsync-replayed/1", "segment": "vip"}).encode()
    headers = [("ldsync-group", rig.group.encode()), ("ldsync-reason", b"replayed")]
    await rig.write_letter(value, headers)
    with capture_logs() as logs:
        hand = rig.work()
        await hand.until(lambda: events_of(logs, "dead_letters.recalled"), "letters are read")
    (line,) = events_of(logs, "dead_letters.recalled")
    assert line["changes"] == 0
    assert diverged(hand) == 0


async def test_what_is_too_much_to_read_is_left_out_and_told(rig: Rig) -> None:
    """The oldest letters: a topic of millions must not be read whole."""
    await parked_by(rig, rig.work(park_after=1.0), *people(6))
    with capture_logs() as logs:
        hand = rig.work(dead_letters={"recall_max_letters": 4, "replay_on_recovery": False})
        await hand.until(lambda: events_of(logs, "dead_letters.recalled"), "letters are read")
    (line,) = events_of(logs, "dead_letters.recalled")
    assert (line["changes"], line["left_out"]) == (4, 2)
    assert hand.report.status()["segments"][0]["parked"] == 4


async def test_each_replica_replays_what_belongs_to_its_partitions(broker: EmbeddedBroker) -> None:
    """Whoever parked it: both together bring the segment what it lacks, and each only its part."""
    async with rigged(broker, partitions=2, alone=False) as rig:
        number = rig.sim.faults.add(FORBIDDEN)
        first = rig.work(park_after=1.0)
        await rig.enter(*people(3), partition=0)
        await rig.enter(*people(4, 3), partition=1)
        await rig.sim.log.until(lambda: rig.sim.faults.befallen(number) >= 1)
        await rig.enter("neighbour", audience="other")
        parked = "ldsync_parked_changes_total"
        await first.until(lambda: first.metric(parked) == 7, "they are parked")
        await rig.until_committed(4)
        second = rig.work()
        await second.until_assigned()
        await first.until_assigned()
        for hand in (first, second):
            await hand.until(lambda hand=hand: diverged(hand) == 1, "it is known")
        assert {hand.report.status()["segments"][0]["parked"] for hand in (first, second)} == {3, 4}
        rig.sim.faults.remove(number)
        for hand in (first, second):
            await hand.until(lambda hand=hand: diverged(hand) == 0, "it is well")
        await rig.until_settled()
        assert rig.sim.included("vip") == set(people(7))


async def test_a_change_by_itself_belongs_to_the_partition_of_its_member(
    broker: EmbeddedBroker,
) -> None:
    """P2: only who owns that knows what is newer, in memory; an older event took its place."""
    async with rigged(broker, partitions=2, alone=False) as rig:
        first = rig.work(park_after=1.0)
        await rig.enter("moves", partition=1)
        await rig.until_settled()
        number = rig.sim.faults.add(FORBIDDEN)
        await rig.write(rig.event("moves", entered=False, late=60.0), partition=1)
        await rig.enter("stays", partition=0)
        await rig.sim.log.until(lambda: rig.sim.faults.befallen(number) >= 1)
        await rig.enter("neighbour", audience="other")
        parked = "ldsync_parked_changes_total"
        await first.until(lambda: first.metric(parked) == 2, "they are parked")
        await rig.until_committed(2)
        await rig.until_committed(2, partition=1)
        forms = sorted(dict(each.headers)["ldsync-value"] for each in await rig.letters())
        assert forms == [b"change", b"original"]
        second = rig.work()
        for hand in (second, first):
            await hand.until_assigned()
        both = (first, second)
        await first.until(lambda: sum(map(diverged, both)) == 2, "each knows its own")
        await rig.enter("moves", partition=1, entered=False)
        rig.sim.faults.remove(number)
        for hand in (first, second):
            await hand.until(lambda hand=hand: diverged(hand) == 0, "it is well")
        await rig.until_settled()
        assert rig.sim.included("vip") == {"stays"}
