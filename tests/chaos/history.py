"""The history of a run: what a producer writes to the topic, when, and to which partition.

Two events that disagree about one member have the same time only if they share a partition: the
outcome would be undefined (docs/ordering.md). The partition is always chosen here, never by a key:
keys only tell a compacted topic what may go.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tests.chaos.plan import SECONDS, Plan
from tests.support.traffic import engage_event

_NOISE_KEY = b"noise"
_FILLING = 90_000  # bytes of a record that makes a segment of the log fill up, and be compacted


@dataclass(frozen=True, slots=True)
class Post:
    """One record to write.

    Attributes:
        at: Seconds after the beginning of the run; those before it was begun are at 0.
        partition: Where to.
        key: Or None.
        value: None for a tombstone.
    """

    at: float
    partition: int
    key: bytes | None
    value: bytes | None


def audience(number: int) -> str:
    """The key of an audience, and of its segment."""
    return f"audience_{number:02}"


def user_key(number: int) -> str:
    """The key of a user."""
    return f"user-{number:04}"


def history(plan: Plan, start: datetime) -> list[Post]:
    """All that is written, in order. `start` is now, at the beginning of the run."""
    rng = random.Random(plan.seed ^ 0x5EED)
    posts = [*_fillings(plan), *_events(plan, rng, start)]
    return sorted(posts, key=lambda post: post.at)


def _fillings(plan: Plan) -> Iterator[Post]:
    """Ordinary calls with one key, of which compaction leaves the last: gaps among what follows."""
    if not plan.compacted:
        return
    value = json.dumps({"type": "page", "filling": "x" * _FILLING}).encode()
    for at in (0.0, 4.0):
        for partition in range(plan.partitions):
            for _ in range(13):
                yield Post(at, partition, _NOISE_KEY, value)


def _events(plan: Plan, rng: random.Random, start: datetime) -> Iterator[Post]:
    """Changes, most of them other than the one before, with all that a topic holds beside them."""
    flags: dict[tuple[int, int], bool] = {}
    times: dict[tuple[int, int], datetime] = {}
    first = start - timedelta(minutes=30)
    span = timedelta(minutes=30, seconds=SECONDS)
    for number in range(plan.events):
        share = number / plan.events
        at = max(0.0, (share - 0.15) / 0.85) * SECONDS * 0.95
        user, group = rng.randrange(plan.members), rng.randrange(plan.audiences)
        partition = _partition(plan, rng, user, at)
        if partition is None:
            continue
        if rng.random() < 0.06:
            yield _other(rng, number, user, at, partition, start)
            continue
        place = (user, group)
        flag = not flags.get(place, False) if rng.random() < 0.85 else rng.random() < 0.5
        flags[place] = flag
        moment = first + span * share * 0.9
        if plan.disordered:
            late = 1_200_000 if rng.random() < 0.3 else 60_000
            moment -= timedelta(milliseconds=rng.randint(0, late))
        if rng.random() < 0.01:
            moment = start + timedelta(hours=rng.randint(1, 48))  # a clock that is ahead
        # Unique to the microsecond, so that two that disagree never tie by chance.
        moment = moment.replace(microsecond=0) + timedelta(microseconds=number)
        before = times.get(place)
        if plan.keyed and before is not None and rng.random() < 0.05:
            moment = before  # a tie within one partition: what comes later wins
        times[place] = moment
        call = "track" if number % 3 == 0 else "identify"
        value = _event(user, group, moment, flag=flag, call=call)
        key = f"{user_key(user)}/{number}".encode()  # compaction leaves it alone
        yield Post(at, partition, key, value)
        if rng.random() < 0.04:  # delivered twice
            again = partition if plan.keyed else rng.randrange(plan.partitions)
            yield Post(at + rng.uniform(0, 4), again, key + b"/again", value)


def _partition(plan: Plan, rng: random.Random, user: int, at: float) -> int | None:
    """Where an event of a user goes; None if that partition comes later."""
    if not plan.keyed:
        return rng.randrange(plan.partitions if at < SECONDS * 0.5 else plan.more_partitions)
    partition = user % plan.more_partitions
    return None if partition >= plan.partitions and at < SECONDS * 0.5 else partition


def _event(user: int, group: int, moment: datetime, *, flag: bool, call: str) -> bytes:
    event = engage_event(user_key(user), audience(group), flag, moment, call=call)
    event["timestamp"] = moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return _json(event)


def _other(
    rng: random.Random, number: int, user: int, at: float, partition: int, start: datetime
) -> Post:
    """What changes nothing: tombstones, ordinary calls, computed traits, and what is invalid."""
    event = engage_event(user_key(user), audience(0), True, start.astimezone(UTC))
    kind = rng.randrange(6)
    value: bytes | None = None
    if kind == 1:
        value = b'{"type": "identify", '
    elif kind == 2:
        del event["context"]
        value = _json(event)
    elif kind == 3:
        event["context"]["personas"]["computation_class"] = "trait"  # type: ignore[index]
        value = _json(event)
    elif kind == 4:
        event["traits"][audience(0)] = "perhaps"  # type: ignore[index]
        value = _json(event)
    elif kind == 5:
        del event["userId"]
        value = _json(event)
    return Post(at, partition, f"other/{number}".encode(), value)


def _json(event: object) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()
