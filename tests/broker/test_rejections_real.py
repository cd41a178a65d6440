"""Refused changes by the ten thousands, on a real Apache Kafka."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from ldsync.launchdarkly.outcome import Rejected
from ldsync.sync.change import Segment
from tests.support.real_kafka import RealKafka
from tests.support.worker_rig import Rig, events_of, people, rigged

pytestmark = pytest.mark.broker

COUNT = 50_000


class Refusing:
    """A LaunchDarkly that refuses every member but those of one segment, without being asked twice.

    (The simulator would have to be asked more than a hundred thousand times.)
    """

    async def write(self, segment: Segment, changes: dict[str, str]) -> Rejected:
        """For the worker."""
        refused = {} if segment.key == "good" else dict.fromkeys(changes, "not this one")
        return Rejected("bad_request", refused)


class RefusingTogether:
    """A LaunchDarkly that refuses everybody, at the moment at which it has been asked about all."""

    def __init__(self, members: int) -> None:
        self._left = members
        self._asked = asyncio.Event()

    async def write(self, _segment: Segment, changes: dict[str, str]) -> Rejected:
        """For the worker."""
        self._left -= len(changes)
        if self._left == 0:
            self._asked.set()
        await self._asked.wait()
        return Rejected("bad_request", dict.fromkeys(changes, "not this one"))


@pytest.fixture
async def rig(real_kafka: RealKafka) -> AsyncIterator[Rig]:
    """A topic of three partitions."""
    async with rigged(real_kafka, partitions=3) as rig:
        yield rig


@pytest.mark.timeout(300)
async def test_50000_refused_changes_are_read_again_in_few_scans(rig: Rig) -> None:
    """Every one of them is kept byte for byte; memory is bounded meanwhile; all is committed."""
    values: dict[str, bytes] = {}
    for partition, first in ((0, 0), (1, 20_000), (2, 40_000)):
        for start in range(first, min(first + 20_000, COUNT), 2000):
            users = people(2000, first=start)
            events = [rig.event(user, audience="bad") for user in users]
            others = [rig.event(user, audience="good") for user in users]
            values |= {f"user/{user}": event for user, event in zip(users, events, strict=True)}
            mixed = [event for pair in zip(events, others, strict=True) for event in pair]
            await rig.write(*mixed, partition=partition)
    with capture_logs() as logs:
        hand = rig.work(
            writer=Refusing(),
            dead_letters={"timeout_seconds": 20.0},
            kafka={"session_timeout_seconds": 30.0},
        )
        await asyncio.gather(
            *[rig.until_committed(rig.ends[number], number, limit=200.0) for number in range(3)]
        )
    assert hand.outcomes == {"delivered": COUNT, "rejected": COUNT}
    kept = {
        dict(each.headers)["ldsync-member"].decode(): each.value for each in await rig.letters()
    }
    assert kept == values
    lines = events_of(logs, "dead_letters.reread")
    assert sum(line["changes"] for line in lines) == COUNT
    assert sum(line["missing"] for line in lines) == 0
    assert len(lines) <= 12
    # No range was read over and over: what is scanned is of the order of what was consumed.
    assert sum(line["records"] for line in lines) <= 3 * 2 * COUNT
    print([(line["changes"], line["records"], line["seconds"]) for line in lines])


@pytest.mark.timeout(300)
async def test_50000_refused_changes_that_wait_together_are_read_again_in_one_scan(
    rig: Rig,
) -> None:
    """However many and wherever they are; each becomes a letter with its record and the message."""
    segments = 8  # as many batches as are in flight at a time, each a segment whole
    each_has = COUNT // segments
    values: dict[tuple[str, str], bytes] = {}
    for number in range(segments):
        audience, users = f"bad_{number}", people(each_has)
        events = [rig.event(user, audience=audience) for user in users]
        values |= {
            (audience, f"user/{user}"): event for user, event in zip(users, events, strict=True)
        }
        await rig.write(*events, partition=number % 3)
    with capture_logs() as logs:
        hand = rig.work(
            writer=RefusingTogether(COUNT),
            max_size=each_has,
            max_age=600.0,
            max_in_flight=segments,
            dead_letters={"timeout_seconds": 20.0},
            kafka={"session_timeout_seconds": 30.0},
        )
        await asyncio.gather(
            *[rig.until_committed(rig.ends[number], number, limit=200.0) for number in range(3)]
        )
    assert hand.outcomes == {"rejected": COUNT}
    (line,) = events_of(logs, "dead_letters.reread")
    assert (line["changes"], line["records"], line["missing"]) == (COUNT, COUNT, 0)
    kept: dict[tuple[str, str], bytes | None] = {}
    for letter in await rig.letters():
        headers = {name: content.decode() for name, content in letter.headers}
        assert (headers["ldsync-reason"], headers["ldsync-detail"]) == (
            "bad_request",
            "not this one",
        )
        kept[headers["ldsync-segment"], headers["ldsync-member"]] = letter.value
    assert kept == values
