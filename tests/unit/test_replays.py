"""When parked changes are replayed: as soon as a segment is well, until all is written."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import orjson
import pytest
from structlog.testing import capture_logs

from ldsync.divergence import Divergence, Lack
from ldsync.replays import Replays
from ldsync.sync.ledger import Partition
from ldsync.sync.waiting import Waiting
from tests.support.core import partition, segment
from tests.support.eventually import eventually
from tests.support.worker_rig import events_of
from tests.unit.test_replaying import LONG_AGO, NOW, Scene, record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Mapping

    from ldsync.kafka.letter import Letter
    from ldsync.kafka.parked_record import ParkedRecord


class Letters:
    """Dead letters whose parked ones are read when the test says so, chunk by chunk."""

    def __init__(self, *chunks: list[ParkedRecord]) -> None:
        """Hold these chunks."""
        self.chunks = chunks
        self.options: dict[str, Any] = {}
        self.places: dict[str, Any] = {"vip": {}}
        self.gate = asyncio.Semaphore(0)
        self.reads = 0
        self.given = 0
        self.ended = 0
        self.failures = 0
        self.posted: list[Letter] = []
        self.asked: set[str] = set()

    @property
    def later(self) -> Letters:
        """It plays that part as well."""
        return self

    async def bounds(self, topics: set[str], _since_ms: int) -> None:
        """Say that the topics do not reach back."""
        self.asked = topics

    def post(self, letter: Letter) -> None:
        """Take a marker."""
        self.posted.append(letter)

    @property
    def parked(self) -> Letters:
        """It plays both parts."""
        return self

    def take(self, segments: Iterable[str]) -> dict[str, Any]:
        """Give the places away."""
        return {key: self.places.pop(key) for key in segments if key in self.places}

    def give_back(self, places: Mapping[str, Any]) -> None:
        """Take them back."""
        self.places.update(places)

    async def read(
        self, places: Mapping[str, Any], _: dict[str, Any], owned: Collection[Partition]
    ) -> AsyncIterator[list[ParkedRecord]]:
        """Read what was asked for."""
        assert partition(0) in owned
        self.reads += 1
        if self.failures:
            self.failures -= 1
            raise OSError("no broker")
        for chunk in self.chunks if places else ():
            await self.gate.acquire()
            self.given += 1
            yield chunk
        self.ended += 1


class Play:
    """A segment that lacks two changes, in two chunks of letters."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self.scene = Scene()
        self.segment = self.scene.segment
        self.letters = Letters([record("a", NOW, offset=1)], [record("b", NOW, offset=2)])
        self.waiting = Waiting(1.0)
        self.may_add = True
        self.divergence = Divergence()
        self.lack = self.divergence.lacks[self.segment] = Lack(time.monotonic(), changes=2)
        scene, letters = self.scene, cast("Any", self.letters)
        parts = (scene.buffer, scene.versions, letters, scene.decoder)
        self.replays = Replays(self.divergence, self.waiting, *parts, journal=scene.journal)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[list[Any]]:
        """Let it run; what is logged."""
        owned = frozenset({partition(0)})
        places = owned | {Partition("elsewhere", 0)}
        with capture_logs() as logs:
            task = asyncio.create_task(
                self.replays.run(lambda: self.may_add, lambda: owned, lambda: places)
            )
            try:
                yield cast("list[Any]", logs)
            finally:
                task.cancel()
                (ended,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError), ended

    async def until_waiting(self, *users: str) -> None:
        """Wait until these members, and no others, wait in the buffer."""
        members = {f"user/{user}" for user in users}
        buffer = self.scene.buffer
        await eventually(lambda: buffer.waiting(self.segment).keys() == members, "they wait")

    async def until_looked(self) -> None:
        """Wait until it has looked at what is to be replayed: another segment is."""
        other, reads = segment("other"), self.letters.reads
        self.divergence.lacks[other] = Lack(0.0, changes=1)
        self.replays.recovered(other)
        await eventually(lambda: self.letters.reads > reads, "the other one is replayed")

    def write(self) -> None:
        """LaunchDarkly accepts what waits."""
        batch = self.scene.buffer.take(time.monotonic() + 10.0)
        assert batch is not None
        self.scene.buffer.settle(batch, time.monotonic())
        self.replays.recovered(self.segment)


@pytest.fixture
async def play() -> Play:
    """Two changes are parked."""
    return Play()


async def test_a_segment_is_healthy_when_all_was_written(play: Play) -> None:
    """Not when it was put into the buffer."""
    async with play.running() as logs:
        play.replays.recovered(play.segment)
        play.letters.gate.release()
        await play.until_waiting("a")
        play.letters.gate.release()
        await play.until_waiting("a", "b")
        assert play.divergence.segments == 1
        play.write()
        await eventually(lambda: events_of(logs, "segment.recovered"), "it is told")
    assert play.divergence.segments == 0
    assert play.letters.reads == 1
    (marker,) = play.letters.posted
    assert (marker.to, marker.number, marker.form) == ("dead", 0, "marker")
    assert orjson.loads(marker.value or b"") == {
        "format": "ldsync-replayed/1",
        "segment": "vip",
        "partitions": {"events": [0]},
        "letters": [[1, 3]],
    }


async def test_a_replay_that_is_interrupted_begins_again_when_the_segment_is_well(
    play: Play,
) -> None:
    """What was not applied is still parked, and the segment still diverged."""
    async with play.running() as logs:
        play.replays.recovered(play.segment)
        play.letters.gate.release()
        await play.until_waiting("a")
        play.waiting.failed(play.segment, 0.0, 1.0, "no", own=True)
        play.letters.gate.release()
        await eventually(lambda: "vip" in play.letters.places, "the places are known again")
        assert not logs
        assert play.divergence.rows()["vip"][0] == 2
        play.waiting.accepted(play.segment, 2.0)
        play.write()
        play.letters.gate.release()
        play.letters.gate.release()
        await play.until_waiting("a", "b")
        play.write()
        await eventually(lambda: events_of(logs, "segment.recovered"), "it is told")
    assert play.letters.reads == 2


async def test_a_replay_goes_on_where_it_was_when_its_segment_fails_for_a_moment(
    play: Play,
) -> None:
    """One that takes many requests would never end if each failure let it begin again."""
    async with play.running():
        play.replays.recovered(play.segment)
        play.letters.gate.release()
        await play.until_waiting("a")
        now = time.monotonic()
        play.waiting.failed(play.segment, now, now, "no", own=True)
        play.letters.gate.release()
        await eventually(lambda: play.letters.given == 2, "the second letter is read")
        play.waiting.accepted(play.segment, now)
        await play.until_waiting("a", "b")
    assert play.letters.reads == 1


async def test_letters_that_cannot_be_read_are_asked_for_again(play: Play) -> None:
    """Brokers are away for a while: it is told, and nothing is lost."""
    play.letters.failures = 1
    play.letters.gate.release()
    play.letters.gate.release()
    async with play.running() as logs:
        play.replays.recovered(play.segment)
        await eventually(lambda: events_of(logs, "dead_letters.unreadable"), "it is told")
        assert "vip" in play.letters.places
        await play.until_waiting("a", "b")
    assert play.letters.reads == 2


async def test_letters_that_are_not_safe_yet_are_waited_for(play: Play) -> None:
    """What the topic does not hold cannot be read."""
    play.lack.unsafe = 1
    play.letters.gate.release()
    play.letters.gate.release()
    async with play.running():
        play.replays.recovered(play.segment)
        await play.until_looked()
        assert "vip" in play.letters.places
        play.lack.unsafe = 0
        await play.until_waiting("a", "b")


async def test_what_cannot_be_replayed_stays_parked_and_is_told_once(play: Play) -> None:
    """Pointers, changes by themselves, and letters that retention took."""
    play.lack.changes = 3
    play.letters.gate.release()
    play.letters.gate.release()
    async with play.running() as logs:
        play.replays.recovered(play.segment)
        await play.until_waiting("a", "b")
        play.write()
        await eventually(lambda: events_of(logs, "segment.replayed"), "it is told")
        play.replays.recovered(play.segment)
        await play.until_looked()
    (line,) = [each for each in events_of(logs, "segment.replayed") if each["segment"] == "vip"]
    assert (line["replayed"], line["left"]) == (2, 1)
    assert play.divergence.rows()["vip"] == (
        1,
        "1 changes are parked in the dead-letter topic, of which 1 cannot be replayed",
    )


async def test_a_letter_that_is_there_twice_does_not_stand_for_one_that_cannot_be_replayed(
    play: Play,
) -> None:
    """Letters are written at least once; the segment still lacks the other change."""
    twice, gone = record("a", NOW, offset=1), record("b", NOW, offset=3, value=b"gone")
    play.letters.chunks = ([twice, record("a", NOW, offset=2), gone],)
    play.letters.gate.release()
    async with play.running() as logs:
        play.replays.recovered(play.segment)
        await play.until_waiting("a")
        play.write()
        await eventually(lambda: logs, "it is told")
    assert not events_of(logs, "segment.recovered")
    assert play.divergence.rows()["vip"][0] == 1


async def test_what_came_later_is_looked_for_in_all_topics(play: Play) -> None:
    """R9: also where others own every partition; a store that is shared forgets, too."""
    play.lack.oldest = float("-inf")
    play.letters.chunks = ([record("a", LONG_AGO)],)
    play.letters.gate.release()
    async with play.running() as logs:
        play.replays.recovered(play.segment)
        await eventually(lambda: events_of(logs, "replay.looked_back"), "it is told")
    assert play.letters.asked == {"events", "elsewhere"}


async def test_an_epoch_that_ends_during_a_replay_ends_it(play: Play) -> None:
    """P6: nothing of it is put into the buffer any more."""
    async with play.running() as logs:
        play.replays.recovered(play.segment)
        play.letters.gate.release()
        await play.until_waiting("a")
        play.replays.reset()
        play.divergence.lacks.clear()
        play.scene.buffer.discard(0.0)
        play.letters.gate.release()
        await eventually(lambda: play.letters.ended == 1, "the letters are read")
        assert play.scene.buffer.empty
        assert not events_of(logs, "segment.recovered")


async def test_one_change_is_tried_of_a_segment_that_has_no_other(play: Play) -> None:
    """Else nothing would ever show that it is well; what waits already shows it as well."""
    play.waiting.failed(play.segment, 0.0, 1.0, "no", own=True)
    play.letters.gate.release()
    async with play.running():
        play.replays.silent(play.segment)
        await play.until_waiting("a")
        play.letters.gate.release()
        await eventually(play.letters.gate.locked, "the probe ends")
        await play.until_waiting("a")
    assert play.divergence.rows()["vip"][0] == 2
    assert "vip" in play.letters.places


async def test_an_epoch_that_ends_while_one_segment_is_probed_ends_the_others_too(
    play: Play,
) -> None:
    """P6: what they lack is not known any more; whoever owns the partitions asks again."""
    play.letters.places["other"] = {}
    other = segment("other")
    play.divergence.lacks[other] = Lack(0.0, changes=1)
    async with play.running():
        for each in (play.segment, other):
            play.replays.silent(each)
        await eventually(lambda: play.letters.reads == 1, "the first one is read")
        play.replays.reset()
        play.divergence.clear()
        play.letters.places.clear()
        play.letters.gate.release()
        await play.until_looked()


async def test_a_segment_whose_replay_is_parked_again_is_probed_when_that_is_over(
    play: Play,
) -> None:
    """Nothing else is left that could show it well; its replay ends when the letters are safe."""
    async with play.running():
        play.replays.recovered(play.segment)
        play.letters.gate.release()
        play.letters.gate.release()
        await play.until_waiting("a", "b")
        await eventually(lambda: play.letters.ended == 1, "all is applied")
        play.waiting.failed(play.segment, 0.0, 1.0, "no", own=True)
        batch = play.scene.buffer.park(play.segment, 0.0)
        assert batch is not None
        play.lack.changes += 2
        play.replays.silent(play.segment)
        await play.until_looked()
        play.letters.places["vip"] = {}
        play.scene.buffer.release(batch, 0.0)
        play.letters.gate.release()
        await play.until_waiting("a")


async def test_nothing_is_probed_while_nothing_may_be_added(play: Play) -> None:
    """As while the process drains: it would wait for what is safe as a letter."""
    play.may_add = False
    async with play.running():
        play.replays.silent(play.segment)
        await play.until_looked()
        assert play.letters.reads == 1  # of the other one
        play.may_add = True
        await eventually(lambda: play.letters.reads == 2, "it is read")
        play.may_add = False
        play.letters.gate.release()
        await play.until_looked()
        assert play.scene.buffer.empty
        play.may_add = True
        play.letters.gate.release()
        await play.until_waiting("a")


async def test_changes_that_are_too_old_are_told_as_such_also_after_later_replays(
    play: Play,
) -> None:
    """They are still parked, for the same reason."""
    play.scene.remember(1)
    play.lack.older, play.lack.given_up, play.lack.changes = 1, 1, 3
    play.letters.gate.release()
    play.letters.gate.release()
    async with play.running() as logs:
        play.replays.recovered(play.segment)
        await play.until_waiting("a", "b")
        play.write()
        await eventually(lambda: events_of(logs, "segment.replayed"), "it is told")
    assert (play.lack.changes, play.lack.given_up, play.lack.older) == (1, 1, 1)
