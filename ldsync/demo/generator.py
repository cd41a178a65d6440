"""The event generator: what a busy Engage topic holds, reproducible from a seed.

`script` plans everything that a run of the demo produces: members who enter and leave audiences,
the same said twice, things said late, traffic that is not ours, and values that are broken. The
result has two parts. The *opening* is produced first. The *tail* is produced once everything of the
opening was delivered: it holds events that are older than what is already in LaunchDarkly (they
must not change anything) and events that are newer (they must).

Two events about one member that disagree never have the same time, unless they share a partition:
the outcome would be undefined.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ldsync.demo import shapes
from ldsync.demo.audiences import AUDIENCES, Audience
from ldsync.demo.corners import corners
from ldsync.demo.noise import MAKERS
from ldsync.demo.shapes import Event, Moment, Shape, TimeStyle

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

__all__ = ["MIN_EVENTS", "Message", "Script", "script"]

MIN_EVENTS = 500
"""Fewer do not hold one of every shape."""

_MILLISECOND = 1_000_000
_SECOND = 1_000_000_000
_RECEIVED_AFTER = 11_751 * _MILLISECOND
_TICKS = 2048
_CHANGES = 0.78
_ORDINARY_AUDIENCES = 16
_STYLES = {
    TimeStyle.MILLISECONDS: 60,
    TimeStyle.NANOSECONDS: 20,
    TimeStyle.OFFSET: 8,
    TimeStyle.NAIVE: 3,
    TimeStyle.SECONDS: 3,
    TimeStyle.RECEIVED_ONLY: 4,
    TimeStyle.UNREADABLE: 2,
}


@dataclass(frozen=True, slots=True)
class Message:
    """One record to produce. `value` is None for a tombstone."""

    partition: int
    shape: Shape
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Script:
    """Everything one run produces, in order; the tail after the opening was delivered."""

    opening: tuple[Message, ...]
    tail: tuple[Message, ...]

    def __len__(self) -> int:
        return len(self.opening) + len(self.tail)


@dataclass(frozen=True, slots=True)
class _Planned:
    """A message that reaches the topic at `at`, in any partition unless it says which."""

    at: int
    shape: Shape
    value: bytes | None
    late: bool
    partition: int | None = None


@dataclass(slots=True)
class _Plan:
    """A script in the making. Time runs in ticks, so that a member's events keep a distance."""

    rng: random.Random
    begin: int
    tick: int
    messages: list[_Planned] = field(default_factory=list)
    taken: defaultdict[tuple[str, str], set[int]] = field(default_factory=lambda: defaultdict(set))

    def moment(self, tick: int) -> Moment:
        """Somewhere inside the tick.

        A second before the next one, if ticks are long enough, so that times without a fraction
        still tell a member's changes apart. `time` has an even number of milliseconds and
        `received` an odd one: where only the latter is given, it equals no other event's time.
        """
        gap = _SECOND if self.has_seconds else 2 * _MILLISECOND
        time = self.begin + tick * self.tick + self.rng.randrange(self.tick - gap)
        milliseconds = time // (2 * _MILLISECOND) * (2 * _MILLISECOND)
        time = milliseconds + self.rng.randrange(_MILLISECOND)
        return Moment(time, milliseconds + _RECEIVED_AFTER)

    @property
    def has_seconds(self) -> bool:
        """Ticks are long enough for times in whole seconds."""
        return self.tick > 2 * _SECOND

    def put(
        self, shape: Shape, event: Event, time: int, *, late: bool, partition: int | None = None
    ) -> None:
        """Add an event that happened at `time`: most arrive in turn, one in five much later."""
        usual = self.tick * _TICKS // 240
        delay = usual if self.rng.randrange(5) else usual * 20
        at = time + round(self.rng.expovariate(1.0) * delay)
        self.messages.append(_Planned(at, shape, shapes.encode(event), late, partition))


def script(
    events: int,
    seed: int,
    *,
    partitions: int,
    start: dt.datetime,
    spread_seconds: float = 7200.0,
) -> Script:
    """Plan `events` messages; the same arguments give the same bytes.

    Args:
        events: how many, at least `MIN_EVENTS`.
        seed: of all randomness.
        partitions: of the topic. Messages are spread over them at random, as by a producer that
            sets no key.
        start: when producing begins, with its time zone. Events lie before it, except a few that
            lie in the future on purpose.
        spread_seconds: how long before `start` the first event happened, at least 60.

    Raises:
        ValueError: fewer events than `MIN_EVENTS`.
    """
    if events < MIN_EVENTS:
        raise ValueError(f"A script holds at least {MIN_EVENTS} events, one of every shape")
    rng = random.Random(seed)
    start_ns = round(start.timestamp() * 1000) * _MILLISECOND
    spread = round(spread_seconds * _SECOND)
    begin = (start_ns - spread - _RECEIVED_AFTER) // _SECOND * _SECOND
    plan = _Plan(rng, begin, tick=spread // _TICKS)
    users = max(50, events // 12)
    for number in range(max(1, events // 2000)):
        _corners(plan, number, start_ns)
    while len(plan.messages) < events * _CHANGES:
        _lifecycle(plan, users)
    _noise(plan, users, events - len(plan.messages))
    plan.messages.sort(key=lambda planned: planned.at)
    return Script(
        tuple(_placed(planned, partitions, rng) for planned in plan.messages if not planned.late),
        tuple(_placed(planned, partitions, rng) for planned in plan.messages if planned.late),
    )


def _placed(planned: _Planned, partitions: int, rng: random.Random) -> Message:
    partition = rng.randrange(partitions) if planned.partition is None else planned.partition
    return Message(partition % partitions, planned.shape, planned.value)


def _user(rng: random.Random, users: int) -> str:
    return f"u_{rng.randrange(users):06d}"


def _lifecycle(plan: _Plan, users: int) -> None:
    """One member's changes: mostly in turn in and out, now and then the same again."""
    rng = plan.rng
    audience = rng.choices(AUDIENCES, [1 / (rank + 1) for rank in range(len(AUDIENCES))])[0]
    user = _user(rng, users)
    taken = plan.taken[audience.key, user]
    count = rng.choices((1, 2, 3, 4, 6), (45, 20, 20, 10, 5))[0]
    ticks = sorted({*rng.sample(range(_TICKS), count)} - taken)
    taken.update(ticks)
    # What is held back for the tail: the newest change, or the one that it must not bring back.
    late = rng.choice((count - 1, count - 2)) if not rng.randrange(12) else -1
    flag = rng.randrange(5) > 0
    for index, tick in enumerate(ticks):
        for moment, shape, event in _change(plan, audience, user, tick, flag=flag):
            plan.put(shape, event, moment.time, late=index == late)
            if not rng.randrange(14):
                again = index == late or not rng.randrange(20)
                plan.put(Shape.DUPLICATE, event, moment.received, late=again)
        if rng.randrange(8):
            flag = not flag


def _change(
    plan: _Plan, audience: Audience, user: str, tick: int, *, flag: bool
) -> Iterator[tuple[Moment, Shape, Event]]:
    """The event of one change; both events where Send Identify and Send Track are on."""
    rng, moment = plan.rng, plan.moment(tick)
    style = rng.choices(tuple(_STYLES), tuple(_STYLES.values()))[0]
    if style is TimeStyle.SECONDS and not plan.has_seconds:
        style = TimeStyle.MILLISECONDS
    times = shapes.time_fields(moment, style, rng)
    if audience.computation_class == "journey_step":
        yield moment, Shape.JOURNEY_STEP, shapes.journey_step(audience, user, flag, times, rng)
    elif audience.key.startswith("j_o_"):
        yield moment, Shape.JOURNEY_STRING, shapes.journey_string(audience, user, flag, times, rng)
    else:
        sent = rng.choices(("identify", "track", "both"), (50, 35, 15))[0]
        if sent != "track":
            yield moment, Shape.IDENTIFY, shapes.identify(audience, user, flag, times, rng)
        if sent != "identify":
            yield moment, Shape.TRACK, shapes.track(audience, user, flag, times, rng)


def _corners(plan: _Plan, number: int, start: int) -> None:
    audience = AUDIENCES[number % _ORDINARY_AUDIENCES]
    for corner in corners(audience, number, plan.moment(_TICKS // 2), start, plan.rng):
        partition = plan.rng.getrandbits(16) if corner.together else None
        for step in corner.steps:
            plan.put(Shape.CORNER, step.event, plan.begin, late=step.late, partition=partition)


def _noise(plan: _Plan, users: int, count: int) -> None:
    """Everything that must not change a membership: each kind once, then by weight."""
    rng = plan.rng
    weights = [maker.weight for maker in MAKERS]
    makers = [*rng.sample(MAKERS, len(MAKERS)), *rng.choices(MAKERS, weights, k=count)]
    for maker in makers[:count]:
        audience, moment = rng.choice(AUDIENCES), plan.moment(rng.randrange(_TICKS))
        times = shapes.time_fields(moment, TimeStyle.MILLISECONDS, rng)
        value = maker.make(audience, _user(rng, users), times, rng)
        late = not rng.randrange(30)
        plan.messages.append(_Planned(moment.received, maker.shape, value, late))
