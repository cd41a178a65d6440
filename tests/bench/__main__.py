"""How fast is it? `python -m tests.bench`, on a real broker, beside the limits of the same moment.

`python -m tests.bench decode` measures what mappings cost, without a broker: tests/bench/decode.py.
`python -m tests.bench faults` measures what faults of one segment do to others:
tests/bench/faults.py.

Absolute figures move from machine to machine and from minute to minute: only ratios within one run
compare, so the subjects take turns. The topic is filled once. Two cores are enough; CPU seconds are
of the measured process alone, not of the broker nor of the sink that stands for LaunchDarkly.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from tests.bench import decode, faults
from tests.bench.result import Result, show
from tests.bench.subject import Sink, run, sink
from tests.bench.topic import events as topic_events
from tests.bench.topic import ordinary_calls
from tests.support.real_kafka import RealKafka, missing_tools

PARTITIONS = 6
GOAL, GOAL_ORDINARY = 0.75, 0.8
"""Events per CPU second of `ldsync run`, beside those of the parse limit."""


def main() -> int:
    """Measure and print; the exit code is 0 if that could be done, and goals were reached."""
    options = _options()
    console = Console(width=None if sys.stdout.isatty() else 120)
    if options.what == "decode":
        return int(not decode.bench(console, count=options.events, rounds=options.rounds))
    lacking = missing_tools()
    if lacking:
        console.print(f"The bench needs a real Apache Kafka: install {' and '.join(lacking)}.")
        return 1
    with tempfile.TemporaryDirectory(prefix="ldsync-bench-") as scratch:
        kafka = RealKafka(Path(scratch) / "kafka")
        try:
            kafka.start()
            if options.what == "faults":
                right = asyncio.run(faults.bench(options, console, kafka, Path(scratch)))
                return int(not right)
            with sink() as server:
                _bench(options, console, kafka, server, Path(scratch))
        finally:
            kafka.stop()
    return 0


def _bench(
    options: argparse.Namespace, console: Console, kafka: RealKafka, server: Sink, scratch: Path
) -> None:
    began = time.monotonic()
    topic = kafka.create_topic(partitions=PARTITIONS)
    load = topic_events(options.events, audiences=options.audiences, members=options.members)
    if options.ordinary:
        load = ordinary_calls(options.events)
    kafka.admin.produce(topic, load, queue_buffering_max_messages=20_000)
    console.print(f"{options.events:,} events written in {time.monotonic() - began:.0f} s")
    rounds: list[list[Result]] = []
    for number in range(options.rounds):
        results = [
            _limit("raw limit", "raw", kafka, topic),
            _limit("parse limit", "parse", kafka, topic),
            _subject(kafka, topic, server, scratch / f"round-{number}", ""),
        ]
        rounds.append(results)
        console.print(
            f"round {number + 1}: "
            + ", ".join(f"{each.subject} {each.cpu_rate:,.0f}/CPU s" for each in results)
        )
    show(rounds, console, GOAL_ORDINARY if options.ordinary else GOAL)
    if options.profile:
        _subject(kafka, topic, server, scratch / "profiled", options.profile)
        console.print(f"flame graph of one more run: {options.profile}")


def _limit(subject: str, what: str, kafka: RealKafka, topic: str) -> Result:
    command = [sys.executable, "-m", "tests.bench.limits", what, kafka.bootstrap_servers, topic]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return Result(subject, **json.loads(done.stdout))


def _subject(kafka: RealKafka, topic: str, server: Sink, directory: Path, profile: str) -> Result:
    return asyncio.run(run(kafka.admin, topic, server, directory, profile))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        choices=("run", "decode", "faults"),
        default="run",
        help="run: ldsync on a real broker (the default); decode: mappings, without a broker; "
        "faults: what a fault of one segment does to the others",
    )
    parser.add_argument("--events", type=int, metavar="N", help="1,000,000; decode: 20,000")
    parser.add_argument("--rounds", type=int, metavar="N", help="3; decode: 9")
    parser.add_argument("--audiences", type=int, default=50, metavar="N")
    parser.add_argument("--members", type=int, default=200_000, metavar="N")
    parser.add_argument(
        "--ordinary", action="store_true", help="a topic of calls that are not from Engage"
    )
    parser.add_argument(
        "--profile", default="", metavar="FILE", help="draw a flame graph (SVG) of one more run"
    )
    faults.add_options(parser)
    options = parser.parse_args()
    events, rounds = (20_000, 9) if options.what == "decode" else (1_000_000, 3)
    options.events = options.events or events
    options.rounds = options.rounds or rounds
    return options


if __name__ == "__main__":
    sys.exit(main())
