"""What mappings cost: the decoder alone, without a broker (`python -m tests.bench decode`).

The figures are ratios between subjects that take turns on the same events in the same process, and
what counts of several rounds is the median. CPU time of the process, with its garbage collector set
as `ldsync run` sets it.
"""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import orjson
from rich.console import Console
from rich.table import Table

from ldsync.engage.decoder import Decoder
from ldsync.engage.mapping import Mapping, MembershipMode
from ldsync.engage.trigger import parse as trigger
from ldsync.kafka.chunks import RECORDS
from tests.bench.topic import AUDIENCE_KEY, events, ordinary_calls

MAPPINGS = 50
RECORD_MS = 4_102_444_800_000  # 2100: no event is after its record
ALL_MATCH_EVENTS = 20  # of so many one: each makes 50 changes


class Seen(NamedTuple):
    """A record."""

    value: bytes
    timestamp: int
    offset: int


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that is timed, beside what it is compared with.

    Attributes:
        name: What it is.
        work: Does it once, for all its events.
        count: Of how many events, or changes where each event makes several.
        beside: The name of the subject whose time per event is 1.
        most: The goal: the ratio is at most this; None if it is the measure itself.
    """

    name: str
    work: Callable[[], object]
    count: int
    beside: str
    most: float | None


def bench(console: Console, *, count: int, rounds: int) -> bool:
    """Measure and print; say whether every goal was reached."""
    subjects = _subjects(count)
    taken: dict[str, list[float]] = {subject.name: [] for subject in subjects}
    for subject in subjects:
        subject.work()  # targets are made, caches are warm
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)
    for _ in range(rounds):
        for subject in subjects:
            gc.collect()
            began = time.process_time()
            subject.work()
            taken[subject.name].append((time.process_time() - began) / subject.count)
    return _show(console, subjects, taken)


def _show(console: Console, subjects: Sequence[Subject], taken: dict[str, list[float]]) -> bool:
    rounds = len(taken[subjects[0].name])
    table = Table(title=f"Decoding, CPU time, {rounds} rounds in turn")
    table.add_column("subject")
    for heading in ("µs each", "ratio", "lowest", "highest", "goal", ""):
        table.add_column(heading, justify="right")
    reached = True
    for subject in subjects:
        times = taken[subject.name]
        ratios = [one / other for one, other in zip(times, taken[subject.beside], strict=True)]
        ratio = statistics.median(ratios)
        cells = [subject.name, f"{statistics.median(times) * 1e6:.2f}"]
        if subject.most is None:
            table.add_row(*cells)
            continue
        is_reached = ratio <= subject.most
        reached = reached and is_reached
        cells += [f"{each:.2f}" for each in (ratio, min(ratios), max(ratios))]
        cells += [f"≤ {subject.most:.2f}", "reached" if is_reached else "MISSED"]
        table.add_row(*cells)
    console.print(table)
    console.print(
        "Per event; where all mappings match, per change. "
        "A ratio is to the nearest row above that has none."
    )
    return reached


def _subjects(count: int) -> list[Subject]:
    load = _records([value for _, value in events(count, audiences=MAPPINGS, members=200_000)])
    plain = _records([value for _, value in ordinary_calls(count)])
    few = load[: max(1, count // ALL_MATCH_EVENTS)]
    found: list[Subject] = []
    for mode in MembershipMode:
        one = f"{mode}: one mapping"
        found.append(Subject(one, _reading(load, mode, [Mapping()]), count, one, None))
        for name, mappings in _configurations().items():
            work = _reading(load, mode, mappings)
            found.append(Subject(f"{mode}: {name}", work, count, one, 2.0))
        changes = len(few) * MAPPINGS
        work = _reading(few, mode, _for_all())
        found.append(Subject(f"{mode}: {MAPPINGS} that all match", work, changes, one, 2.0))
    bare = "ordinary calls: orjson.loads alone"
    found.append(Subject(bare, _parsing(plain), count, bare, None))
    found += [
        Subject(f"ordinary calls: {name}", _reading(plain, mode, mappings), count, bare, 1.5)
        for mode in MembershipMode
        for name, mappings in (
            (f"{mode}, one mapping", [Mapping()]),
            (f"{mode}, {MAPPINGS} by audience", _by_audience(AUDIENCE_KEY)),
        )
    ]
    return found


def _configurations() -> dict[str, list[Mapping]]:
    """Fifty mappings, of which at most one wants any event, by constants in their triggers."""
    names = [f"mapping {number}" for number in range(MAPPINGS)]
    return {
        f"{MAPPINGS} with the preset's trigger": [Mapping(name=name) for name in names],
        f"{MAPPINGS} by type, one matches": [
            Mapping(),
            *(
                Mapping(trigger=trigger(f'type = "{name}"'), segment_key=f"{name}-{{audience_key}}")
                for name in names[1:]
            ),
        ],
        f"{MAPPINGS} by audience, one matches": _by_audience(AUDIENCE_KEY),
        f"{MAPPINGS} by audience, alike but for that": [
            Mapping(name=each.name, trigger=each.trigger) for each in _by_audience(AUDIENCE_KEY)
        ],
        f"{MAPPINGS} by audience, none matches": _by_audience("nobody_%04d"),
        f"{MAPPINGS} by audience and event, one matches": [
            Mapping(
                trigger=trigger(f'{each.trigger} and (event = null or event = "Audience Entered")'),
                segment_key=each.segment_key,
            )
            for each in _by_audience(AUDIENCE_KEY)
        ],
    }


def _by_audience(key: str) -> list[Mapping]:
    return [
        Mapping(
            trigger=trigger(
                '(type = "identify" or type = "track") and '
                f'context.personas.computation_key = "{key % number}"'
            ),
            segment_key=f"mapping-{number}-{{audience_key}}",
        )
        for number in range(MAPPINGS)
    ]


def _for_all() -> list[Mapping]:
    return [Mapping(segment_key=f"mapping-{number}-{{audience_key}}") for number in range(MAPPINGS)]


def _records(values: Sequence[bytes]) -> list[Seen]:
    return [Seen(value, RECORD_MS, offset) for offset, value in enumerate(values)]


def _reading(
    records: Sequence[Seen], mode: MembershipMode, mappings: Sequence[Mapping]
) -> Callable[[], None]:
    decoder = Decoder(*mappings, membership_mode=mode)

    def work() -> None:
        for start in range(0, len(records), RECORDS):
            decoder.read_all(records[start : start + RECORDS])

    return work


def _parsing(records: Sequence[Seen]) -> Callable[[], None]:
    def work() -> None:
        for record in records:
            orjson.loads(record.value)

    return work
