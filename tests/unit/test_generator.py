"""The demo's event generator: it must make what it promises, or the demo proves nothing."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import re
from collections import Counter

import pytest

from ldsync.demo.audiences import AUDIENCES
from ldsync.demo.fold import Fold, Verdict
from ldsync.demo.generator import MIN_EVENTS, Message, Script, script
from ldsync.demo.shapes import Shape

START = dt.datetime(2026, 3, 4, 10, 0, tzinfo=dt.UTC)
START_MS = round(START.timestamp() * 1000)
PARTITIONS = 8

MEANT = {
    Shape.IDENTIFY: Verdict.CHANGE,
    Shape.TRACK: Verdict.CHANGE,
    Shape.JOURNEY_STRING: Verdict.CHANGE,
    Shape.JOURNEY_STEP: Verdict.CHANGE,
    Shape.DUPLICATE: Verdict.CHANGE,
    Shape.CORNER: Verdict.CHANGE,
    Shape.ANONYMOUS: Verdict.SKIPPED,
    Shape.COMPUTED_TRAIT: Verdict.IGNORED,
    Shape.ORDINARY: Verdict.IGNORED,
    Shape.TOMBSTONE: Verdict.IGNORED,
    Shape.NO_FLAG: Verdict.INVALID,
    Shape.BROKEN: Verdict.INVALID,
}


def made(events: int = 4000, seed: int = 1) -> Script:
    """A script that starts at `START`."""
    return script(events, seed, partitions=PARTITIONS, start=START)


def folded(*parts: tuple[Message, ...], recorded_ms: int = START_MS) -> Fold:
    """The fold of some messages, all recorded at one time."""
    fold = Fold()
    for message in itertools.chain(*parts):
        fold.add(message.value, partition=message.partition, recorded_ms=recorded_ms)
    return fold


@pytest.mark.parametrize("events", [MIN_EVENTS, MIN_EVENTS + 1, 3333])
def test_a_script_holds_exactly_the_events_asked_for(events: int) -> None:
    """Opening and tail together, every shape among them, in every partition."""
    plan = made(events)
    everything = [*plan.opening, *plan.tail]
    assert len(plan) == len(everything) == events
    assert {message.shape for message in everything} == set(Shape)
    assert {message.partition for message in everything} == set(range(PARTITIONS))


def test_too_few_events_are_refused() -> None:
    """A script that could not hold every shape is not made."""
    with pytest.raises(ValueError, match=str(MIN_EVENTS)):
        made(MIN_EVENTS - 1)


def test_the_same_seed_gives_the_same_bytes() -> None:
    """A run can be repeated, and another seed is another run."""
    assert made(seed=5) == made(seed=5)
    assert made(seed=5) != made(seed=6)


@pytest.mark.parametrize("seed", range(5))
def test_every_message_comes_to_what_its_shape_says(seed: int) -> None:
    """The judge, which reads the bytes alone, agrees with what the generator meant."""
    plan = made(seed=seed)
    fold = Fold()
    for message in (*plan.opening, *plan.tail):
        judged = fold.add(message.value, partition=message.partition, recorded_ms=START_MS)
        assert judged.verdict is MEANT[message.shape], message
    assert set(fold.names) == {audience.key for audience in AUDIENCES}


@pytest.mark.parametrize("spread_seconds", [60.0, 7200.0])
@pytest.mark.parametrize("seed", range(3))
def test_no_ending_depends_on_how_partitions_interleave(seed: int, spread_seconds: float) -> None:
    """Reading partition after partition, forwards or backwards, gives one and the same state."""
    plan = script(6000, seed, partitions=PARTITIONS, start=START, spread_seconds=spread_seconds)
    everything = [*plan.opening, *plan.tail]
    forwards = [[m for m in everything if m.partition == p] for p in range(PARTITIONS)]
    one = folded(*map(tuple, forwards))
    other = folded(*map(tuple, reversed(forwards)))
    assert one.members == other.members
    assert one.differences({}) == other.differences({})
    expected = {segment: {"user": users} for segment, users in one.members.items()}
    assert sum(len(users) for users in one.members.values()) == len(one.differences({}))
    assert not one.differences(expected)


def test_the_tail_decides_some_members_and_must_not_decide_others() -> None:
    """It holds newer changes and older ones, so both kinds of mistake would show."""
    plan = made()
    opening, everything = folded(plan.opening), folded(plan.opening, plan.tail)
    naive = {segment: set(users) for segment, users in opening.members.items()}
    changed = stale = 0
    for message in plan.tail:
        alone = folded((message,))
        if alone.verdicts != {Verdict.CHANGE: 1}:
            continue
        ((segment, users),) = alone.members.items()
        said = next(iter(users), None)
        if said is not None and said not in everything.members[segment]:
            stale += 1
        if said is not None and said not in naive.get(segment, set()):
            changed += said in everything.members[segment]
    assert changed > 0
    assert stale > 0


def test_events_are_out_of_order_within_partitions_and_between_them() -> None:
    """Old news comes after newer news, also about the same member of the same partition."""
    seen: dict[tuple[str, str, int | None], str] = {}
    within = between = 0
    for message in made(20_000).opening:
        if message.shape not in (Shape.IDENTIFY, Shape.TRACK):
            continue
        event = json.loads(message.value or b"")
        stamp = event.get("timestamp")
        if not isinstance(stamp, str) or not re.fullmatch(r".{19}\.\d{3}Z", stamp):
            continue
        member = (event["context"]["personas"]["computation_key"], event["userId"])
        within += stamp < seen.get((*member, message.partition), "")
        between += stamp < seen.get((*member, None), "")
        for place in (message.partition, None):
            seen[*member, place] = max(stamp, seen.get((*member, place), ""))
    assert within > 0
    assert between > within


def test_duplicates_repeat_bytes_that_are_there_already() -> None:
    """A duplicate is the very same message, delivered twice."""
    plan = made()
    values = Counter(message.value for message in (*plan.opening, *plan.tail))
    copies = [m for m in (*plan.opening, *plan.tail) if m.shape is Shape.DUPLICATE]
    assert copies
    assert all(values[copy.value] > 1 for copy in copies)


def test_a_wrong_clock_would_show_in_the_final_state() -> None:
    """An event of 2099 is newest only if it is not clamped: its member would stay in."""
    plan = made()
    late = START_MS + 15_000
    fold = folded(plan.opening)
    for message in plan.tail:
        fold.add(message.value, partition=message.partition, recorded_ms=late)
    members = set().union(*fold.members.values())
    assert "corner_only_in_the_future_0" in members
    assert "corner_wrong_clock_then_right_0" not in members
    assert "corner_wrong_clock_then_right_0" in set().union(*folded(plan.opening).members.values())


def test_audience_keys_are_valid_segment_keys() -> None:
    """Segment key and audience key agree, so the judge needs no rule for making keys valid."""
    assert len(AUDIENCES) == 20
    for audience in AUDIENCES:
        assert re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", audience.key)
