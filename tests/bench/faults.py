"""What does a fault of one segment do to the others? `python -m tests.bench faults`.

A stream of changes for many segments goes through `ldsync run` on a real broker. One fault after
the other befalls a segment of its own for a while, each after a pause without a fault; then faults
that concern everything. For each the delay of the *other* segments' changes, from being produced to
being answered, is put beside that of the pause before it: on a machine with other work to do only
such neighbours compare. In the end every segment is held against the fold of the topic.

The stream and LaunchDarkly's simulator are in this process, so that all times are of one clock.
"""

import argparse
import asyncio
import itertools
import threading
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from ldsync.demo.fold import Fold
from ldsync.demo.simulator import Fault, Simulator
from tests.bench.fault_table import Reach, Row, show
from tests.support.eventually import eventually
from tests.support.faults import CASES, MANY, SHARED, WRITES, Case
from tests.support.ldsync_process import TOKEN, LdsyncProcess
from tests.support.real_kafka import RealKafka
from tests.support.traffic import Record, engage_event, keyed

PARTITIONS, GROUP = 6, "faults"
HEALTHY = [f"healthy_{number:02}" for number in range(24)]
USERS = 40  # of each segment, who change one after the other
TICK = 0.125  # seconds between two changes of a segment
ANSWER_SECONDS = 0.05  # that LaunchDarkly takes for a write
LEFT_OVER = 3.0  # seconds after a fault that count for nothing
UNDER_WAY = 1.0  # seconds before a fault that count for nothing
LIMIT = 600.0  # seconds that anything may take in the end

ALL = (*CASES, *MANY, *SHARED)

Made = tuple[str, str, float]
"""Segment and user of a change, and when it was produced (monotonic seconds)."""

Span = tuple[float, float]
"""From when to when (monotonic seconds)."""


@dataclass(slots=True)
class Stream:
    """Changes without end: of the healthy segments, and of those that have their fault just now."""

    ill: list[str] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def records(self) -> Iterator[Record]:
        """Records at the time at which they are to be produced, until it is over."""
        started = time.monotonic()
        for number in itertools.count():
            # The segments take turns within a tick, so that they are not all due at once.
            segments = [*HEALTHY, *self.ill]
            for place, segment in enumerate(segments):
                due = started + (number + place / len(segments)) * TICK
                if self.over.wait(max(0.0, due - time.monotonic())):
                    return
                user, entered = f"user-{number % USERS:03}", number // USERS % 2 == 0
                self.made.append((segment, user, time.monotonic()))
                yield keyed(engage_event(user, segment, entered, datetime.now(UTC)))


class Course:
    """One run: the faults in their turn, and the stream meanwhile."""

    def __init__(
        self, options: argparse.Namespace, console: Console, simulator: Simulator, stream: Stream
    ) -> None:
        self._options = options
        self._console = console
        self._simulator = simulator
        self._stream = stream
        self._cases = [
            case
            for case in ALL
            if not (case.only_standard and options.path != "standard")
            and (not options.only or case.name in options.only)
        ]

    async def run(self) -> list[Row]:
        """Have every fault befall its segment for a while, and then let everything come right."""
        began = time.monotonic()
        # What another process may have left under way is waited for after the start.
        await eventually(lambda: self._answered_since(began), "writes begin", LIMIT, 0.2)
        spans = [await self._befall(case) for case in self._cases]
        # Once more everyone, so that a segment that was deleted holds everyone who is in.
        self._stream.ill = [each for case in self._cases for each in case.segments]
        await asyncio.sleep((USERS + 1) * TICK)
        self._stream.over.set()
        await eventually(self._all_answered, "the other segments are delivered", LIMIT, 1.0)
        writes = self._writes()
        return [
            Row(
                case.name,
                befallen,
                self._delays(before, writes),
                self._delays(during, writes),
                _reach(case),
            )
            for case, befallen, before, during in spans
        ]

    async def _befall(self, case: Case) -> tuple[Case, int, Span, Span]:
        options, stream = self._options, self._stream
        stream.ill = [] if case.unseen else case.segments
        # What the fault before has left is not the delay without a fault.
        await asyncio.sleep(LEFT_OVER)
        began = time.monotonic()
        await asyncio.sleep(options.pause)
        force = case.put_in_force(self._simulator, options.path)
        stream.ill = case.segments
        middle = time.monotonic()
        await asyncio.sleep(options.seconds)
        ended, befallen = time.monotonic(), force.befallen
        force.end()
        self._console.print(f"{case.name}: over after {ended - middle:.1f} s", style="dim")
        if case in SHARED:
            await eventually(lambda: self._answered_since(ended), "writes go on", LIMIT, 0.2)
        # What was produced last before the fault may be delivered during it.
        return case, befallen, (began, middle - UNDER_WAY), (middle, ended)

    def _answered_since(self, moment: float) -> bool:
        newest = itertools.islice(reversed(self._simulator.log.exchanges), 100)
        return any(
            each.segment in HEALTHY and each.applied is not None and each.applied > moment
            for each in newest
        )

    def _all_answered(self) -> bool:
        writes = self._writes()
        last = {(segment, user): moment for segment, user, moment in self._stream.made[-5_000:]}
        return all(
            bool(writes[place]) and writes[place][-1][0] >= moment
            for place, moment in last.items()
            if place[0] in HEALTHY
        )

    def _writes(self) -> dict[tuple[str, str], list[Span]]:
        """When writes of each healthy member took effect and were answered."""
        assert self._simulator.log.dropped == 0, "the journal is not complete"
        found: dict[tuple[str, str], list[Span]] = defaultdict(list)
        for write in self._simulator.log.writes():
            exchange = write.exchange
            if exchange.applied is not None and exchange.ended is not None:
                found[write.segment, write.key].append((exchange.applied, exchange.ended))
        return found

    def _delays(self, span: Span, writes: dict[tuple[str, str], list[Span]]) -> list[float]:
        """Seconds from producing a healthy change to the answer of the first write after it.

        A member's changes are five seconds apart: a write carries the one, or a newer one that took
        its place.
        """
        delays = []
        for segment, user, made in self._stream.made:
            if segment in HEALTHY and span[0] <= made < span[1]:
                own = writes[segment, user]
                delays.append(own[bisect_left(own, (made, 0.0))][1] - made)
        return sorted(delays)


async def bench(
    options: argparse.Namespace, console: Console, kafka: RealKafka, scratch: Path
) -> bool:
    """Measure and print; say whether everything was right in the end."""
    topic = await asyncio.to_thread(kafka.create_topic, "", PARTITIONS)
    stream = Stream()
    async with Simulator(
        project="bench", environment="bench", token=TOKEN, log_cap=10_000_000
    ) as simulator:
        for segment in HEALTHY:
            route = WRITES[options.path].format(segment)
            simulator.faults.add(Fault(route=route, answer_delay_seconds=ANSWER_SECONDS))
        process = _process(options, kafka, topic, simulator, scratch)
        process.start()
        try:
            await process.until_ready(60)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(asyncio.to_thread(kafka.admin.produce, topic, stream.records()))
                try:
                    rows = await Course(options, console, simulator, stream).run()
                finally:
                    stream.over.set()
            wrong = await _judge(kafka, topic, simulator, process)
        finally:
            process.kill()
    show(rows, console)
    for each in wrong[:20]:
        console.print(f"wrong: {each}", style="red")
    console.print("everything is right in the end" if not wrong else "NOT right in the end")
    return not wrong


def _process(
    options: argparse.Namespace,
    kafka: RealKafka,
    topic: str,
    simulator: Simulator,
    scratch: Path,
) -> LdsyncProcess:
    """With default settings, but for the age of batches: two seconds would hide much."""
    return LdsyncProcess(
        scratch / "ldsync",
        {
            "kafka": {
                "bootstrap_servers": kafka.bootstrap_servers,
                "topics": [topic],
                "group_id": GROUP,
            },
            "launchdarkly": {
                "base_url": simulator.url,
                "project_key": "bench",
                "environment_key": "bench",
                "write_path": options.path,
            },
            "batch": {"max_age_seconds": 0.5},
            "log": {"format": "json"},
        },
    )


async def _judge(
    kafka: RealKafka, topic: str, simulator: Simulator, process: LdsyncProcess
) -> list[str]:
    """What is wrong when everything was given time to come right; nothing should be."""
    admin = kafka.admin
    ends = await asyncio.to_thread(admin.end_offsets, topic)

    async def caught_up() -> bool:
        return await asyncio.to_thread(admin.group_offsets, GROUP, topic) == ends

    await eventually(caught_up, "everything is committed", LIMIT, 0.5)
    fold = Fold()
    for record in await asyncio.to_thread(admin.read, topic):
        moment = int(record.timestamp()[1])
        fold.add(record.value(), partition=record.partition(), recorded_ms=moment)
    wrong = [str(each) for each in fold.differences(simulator.state())]
    scrape = await process.scrape()
    if scrape.unexplained() or scrape.total("ldsync_records_pending"):
        wrong.append("not every record has one outcome")
    if rejected := scrape.total("ldsync_records_total", outcome="rejected"):
        wrong.append(f"{rejected:.0f} changes were rejected, and nobody was to blame")
    return wrong


def _reach(case: Case) -> Reach:
    if case in SHARED:
        return Reach.ALL
    return Reach.MANY if case in MANY else Reach.ONE


def add_options(parser: argparse.ArgumentParser) -> None:
    """What can be chosen."""
    group = parser.add_argument_group("faults")
    group.add_argument("--seconds", type=float, default=20.0, metavar="S", help="of each fault: 20")
    group.add_argument("--pause", type=float, default=10.0, metavar="S", help="before each: 10")
    group.add_argument("--path", choices=tuple(WRITES), default="standard", help="the write path")
    names = [case.name for case in ALL]
    group.add_argument(
        "--only", action="append", choices=names, metavar="FAULT", help=f"of {', '.join(names)}"
    )
