"""A replay: parked records go through the buffer once more, and the newest wins (R6, R9)."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from ldsync.engage.decoder import Decoder
from ldsync.engage.mapping import Mapping
from ldsync.hindsight import Hindsight
from ldsync.kafka.parked_record import Alone, ParkedRecord
from ldsync.replaying import Replay, change_of
from ldsync.sync.buffer import Buffer
from ldsync.sync.change import Change
from ldsync.sync.ledger import Ledger, Partition
from ldsync.sync.limits import Budget, Limits
from ldsync.telemetry.journal import Journal
from ldsync.telemetry.metrics import Metrics
from ldsync.versions.memory import MemoryVersions
from tests.support.core import finished, partition
from tests.support.traffic import engage_event

NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=2)


class Scene:
    """A segment of which things were parked."""

    def __init__(self) -> None:
        """Nothing is known yet, and everything will be remembered."""
        self.decoder = Decoder(Mapping())
        self.buffer = Buffer(Limits(max_age=0.0), Budget())
        self.metrics = Metrics()
        self.journal = Journal(self.metrics)
        self.remember(1_000)
        self.segment = self.change("u", NOW).target.segment
        self.replay = self.new(time.monotonic())

    def remember(self, entries: int) -> None:
        """Begin to remember the versions of so many members."""
        self.versions = MemoryVersions(entries, time.monotonic())

    def new(self, oldest: float) -> Replay:
        """A replay of changes, the oldest of which came at `oldest`."""
        parts = (self.buffer, self.versions, self.decoder, self.journal)
        return Replay(self.segment, oldest, *parts)

    def change(self, user: str, moment: datetime, *, entered: bool = True) -> Change:
        """What the decoder makes of an event."""
        value = orjson.dumps(engage_event(user, "vip", entered, moment))
        found = self.decoder.read(value, int(moment.timestamp() * 1000))
        assert isinstance(found, Change)
        return found

    def know(self, change: Change) -> None:
        """Have a change known as the newest of its member."""
        finished(self.versions.merge(self.segment, {change.member: change.stamp}, 0.0))

    def apply(self, *records: ParkedRecord, probing: bool = False) -> dict[str, str]:
        """Replay records; what waits then."""
        known = finished(self.replay.known(records))
        self.replay.apply(records, known, probing=probing)
        assert self.journal.consumed == sum(self.journal.outcomes.values()) + self.buffer.records
        return dict(self.buffer.waiting(self.segment))


def record(
    user: str,
    moment: datetime,
    *,
    entered: bool = True,
    offset: int = 7,
    number: int = 0,
    value: bytes | None = None,
    alone: Alone | None = None,
) -> ParkedRecord:
    """A record that was parked."""
    content = orjson.dumps(engage_event(user, "vip", entered, moment)) if value is None else value
    at = int(moment.timestamp() * 1000)
    place, member = Partition("dead", 0), f"user/{user}"
    return ParkedRecord(
        place, offset, "vip", member, content, partition(number), offset, at, alone=alone
    )


@pytest.fixture
def scene() -> Scene:
    """Nothing replayed yet."""
    return Scene()


def test_a_replayed_change_is_what_it_was_and_holds_nothing_that_is_committed(
    scene: Scene,
) -> None:
    """P1 is about its letter, which stays; should it be refused, its record is where it was."""
    change = scene.change("u", NOW)
    assert scene.apply(record("u", NOW)) == {"user/u": change.stamp}
    assert (scene.replay.replayed, scene.replay.settled) == (1, False)
    assert Ledger().committable() == {}
    batch = scene.buffer.take(time.monotonic() + 1)
    assert batch is not None
    assert batch.lane.needed() == {partition(0): (7, 8)}
    scene.buffer.settle(batch, 0.0)
    assert scene.replay.settled


def test_what_an_event_needed_when_it_was_new_is_not_counted_once_more(scene: Scene) -> None:
    """Such as another time than its own, which it does not have."""
    event = engage_event("u", "vip", True, NOW) | {"timestamp": None}
    assert len(scene.apply(record("u", NOW, value=orjson.dumps(event)))) == 1
    sample = scene.metrics.registry.get_sample_value
    name = "ldsync_event_time_fallbacks_total"
    assert sample(name, {"reason": "missing_timestamp"}) == 0
    assert not any(scene.decoder.fallbacks.values())


@pytest.mark.parametrize(
    ("seconds", "wins"),
    [(-1, False), (0, True), (1, True)],
    ids=["older is known", "the same version came later", "newer is known"],
)
@pytest.mark.parametrize("where", ["known", "waiting"])
def test_the_newest_wins_over_a_replay(
    scene: Scene, seconds: int, where: str, *, wins: bool
) -> None:
    """Whether it was written, is about to be, or waits; parking had noted the last of two ties."""
    other = scene.change("u", NOW + timedelta(seconds=seconds), entered=False)
    if where == "known":
        scene.know(other)
    else:
        chunk = Ledger().account(partition(0)).open_chunk(9, 10, 0)
        scene.buffer.add([other], chunk, 0.0)
        scene.journal.records("events", 1)
    own = scene.change("u", NOW)
    assert scene.apply(record("u", NOW)) == {"user/u": other.stamp if wins else own.stamp}


def test_of_two_replayed_ties_the_later_record_wins(scene: Scene) -> None:
    """In whatever order their letters are found."""
    found = scene.apply(
        record("u", NOW, entered=False, offset=9), record("u", NOW, offset=8), record("w", NOW)
    )
    assert found["user/u"] == scene.change("u", NOW, entered=False).stamp
    assert scene.replay.replayed == 3
    assert scene.journal.outcomes["coalesced", ""] == 1


def test_a_change_of_any_age_is_replayed_while_all_that_came_since_is_remembered(
    scene: Scene,
) -> None:
    """Nothing that is newer can be forgotten."""
    assert len(scene.apply(record("u", LONG_AGO))) == 1
    assert scene.replay.older == 0


def test_a_change_that_is_older_than_what_is_remembered_is_not_written(scene: Scene) -> None:
    """R9: it is counted; one that is young enough is written, and so is what is newer and known."""
    scene.replay = scene.new(time.monotonic() - 1_000)
    scene.know(scene.change("newer", NOW + timedelta(hours=1)))
    records = [record(user, LONG_AGO) for user in ("old", "newer")]
    young = datetime.now(UTC) + timedelta(minutes=2)
    assert scene.apply(*records, record("young", young)).keys() == {"user/newer", "user/young"}
    assert scene.replay.old_members == {"user/old"}
    assert scene.replay.look_back(None) == {}
    assert (scene.replay.replayed, scene.replay.older) == (2, 1)
    assert scene.journal.outcomes["skipped", "older_than_horizon"] == 1


def test_what_was_too_old_is_applied_with_hindsight(scene: Scene) -> None:
    """R9: with what came later, and only while all that came since it was looked for is known."""
    scene.replay = scene.new(time.monotonic() - 1_000)
    letters = [record("u", LONG_AGO, offset=1), record("w", LONG_AGO, offset=3)]
    young = datetime.now(UTC) + timedelta(minutes=2)
    assert scene.apply(*letters, record("young", young, offset=2)).keys() == {"user/young"}
    newer = scene.change("u", LONG_AGO + timedelta(hours=1), entered=False)
    stamps = {"vip": {"user/u": newer.stamp}}
    places = scene.replay.look_back(Hindsight(time.monotonic(), stamps))
    assert places == {Partition("dead", 0): [(1, 2), (3, 4)]}
    found = scene.apply(*letters)
    assert found["user/u"] == newer.stamp
    assert found["user/w"] == scene.change("w", LONG_AGO).stamp
    assert (scene.replay.replayed, scene.replay.older) == (3, 0)


def test_hindsight_that_is_outdated_itself_helps_nobody(scene: Scene) -> None:
    """What came since may be forgotten: the second time it is left for good."""
    scene.replay = scene.new(time.monotonic() - 1_000)
    scene.apply(record("u", LONG_AGO))
    scene.replay.look_back(Hindsight(time.monotonic() - 1_000, {"vip": {}}))
    assert scene.apply(record("u", LONG_AGO)) == {}
    assert (scene.replay.replayed, scene.replay.older) == (0, 1)


def test_a_probe_passes_over_what_is_too_old_without_counting_it(scene: Scene) -> None:
    """Its time comes with the replay, or with hindsight: for a probe one of them is enough."""
    scene.replay = scene.new(time.monotonic() - 1_000)
    records = [record("old", LONG_AGO), record("older", LONG_AGO)]
    assert scene.apply(*records, probing=True) == {}
    assert scene.replay.old_members == {"user/old"}
    scene.replay.look_back(Hindsight(time.monotonic() - 1_000, {"vip": {}}))
    assert scene.apply(*records, probing=True) == {}
    assert scene.replay.older == 0
    assert scene.journal.consumed == 0


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"no JSON", id="unreadable"),
        pytest.param(orjson.dumps(engage_event("other", "vip", True, NOW)), id="another member"),
        pytest.param(orjson.dumps(engage_event("u", "other", True, NOW)), id="another segment"),
    ],
)
def test_a_record_that_does_not_say_the_change_any_more_is_left(scene: Scene, value: bytes) -> None:
    """Mappings may have changed since."""
    assert scene.apply(record("u", NOW, value=value)) == {}
    assert scene.replay.replayed == 0
    assert list(scene.replay.kept[Partition("dead", 0)]) == [7]


def test_of_a_record_with_several_changes_the_one_that_was_parked_is_replayed(
    scene: Scene,
) -> None:
    """The others have letters of their own, or were delivered."""
    events = [engage_event(user, "vip", True, NOW) for user in ("a", "u", "b")]
    assert scene.apply(record("u", NOW, value=orjson.dumps(events))).keys() == {"user/u"}


def test_a_change_by_itself_is_what_was_parked(scene: Scene) -> None:
    """Its record is gone: of its segment, member and version nothing else is known."""
    change = scene.change("u", NOW, entered=False)
    alone = Alone(change.stamp, "VIP", "aud_vip", "vip")
    assert scene.apply(record("u", NOW, alone=alone)) == {"user/u": change.stamp}
    assert list(scene.replay.done[Partition("dead", 0)]) == [7]


def test_a_change_by_itself_brings_its_segment_along() -> None:
    """No event of it needs to have come before; the one that comes later is of the same."""
    decoder = Decoder(Mapping())
    alone = Alone("2026-01-01T00:00:00.000Z+", "Very important", "aud_vip", "vip")
    change = change_of(record("u", NOW, alone=alone), decoder)
    assert change is not None
    segment = change.target.segment
    assert (segment.key, segment.name, segment.audience_id) == ("vip", "Very important", "aud_vip")
    value = orjson.dumps(engage_event("w", "vip", True, NOW))
    found = decoder.read(value, int(NOW.timestamp() * 1000))
    assert isinstance(found, Change)
    assert found.target.segment is segment
