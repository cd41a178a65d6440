"""Does every bad input end where it must? `make letters`, on a real broker: a million of them.

Generated inputs go through `ldsync run`, with the stop on a ratio switched off. Then everything is
held against what the inputs were made to be: counters, the dead-letter topic (byte for byte, by
hash), committed offsets. The exit code is 0 if all of it is true.
"""

import argparse
import asyncio
import hashlib
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from rich.console import Console

from ldsync.demo.simulator import Simulator
from tests.bench.bad_inputs import DELIVERED, LARGEST, MAPPING, MIXED, POINTED, Input, bad_inputs
from tests.bench.usage import usage
from tests.support.ldsync_process import TOKEN, LdsyncProcess, Scrape
from tests.support.real_kafka import RealKafka, missing_tools

PARTITIONS = 6
GROUP = "letters"
LIMIT = 1800.0  # seconds that the run may take
MESSAGE_BYTES = LARGEST + 10_000

IGNORED = {"tombstone", "type_not_audience", "not_engage"}
SKIPPED = {"no_context_key"}
CHANGES = {DELIVERED, MIXED}


@dataclass(frozen=True, slots=True)
class Expected:
    """A record that must be in the dead-letter topic, in few bytes: there are many."""

    reason: str
    key: bytes
    value: bytes
    length: int


@dataclass(slots=True)
class Outcome:
    """What was found, and what of it is wrong."""

    kinds: Counter[str] = field(default_factory=Counter)
    letters: Counter[str] = field(default_factory=Counter)
    pointers: int = 0
    repeated: int = 0
    wrong: list[str] = field(default_factory=list)

    def check(self, what: str, found: object, expected: object) -> None:
        """Note a difference."""
        if found != expected:
            self.wrong.append(f"{what}: {found!r}, expected {expected!r}")


def main() -> int:
    """Run and judge; the exit code is 0 if everything is accounted for."""
    options = _options()
    console = Console(width=None if sys.stdout.isatty() else 120)
    lacking = missing_tools()
    if lacking:
        console.print(f"This needs a real Apache Kafka: install {' and '.join(lacking)}.")
        return 1
    with tempfile.TemporaryDirectory(prefix="ldsync-letters-") as scratch:
        kafka = RealKafka(Path(scratch) / "kafka")
        try:
            kafka.start()
            outcome = asyncio.run(_run(options, console, kafka, Path(scratch)))
        finally:
            kafka.stop()
    for line in outcome.wrong[:20]:
        console.print(f"wrong: {line}", style="red")
    console.print("everything is accounted for" if not outcome.wrong else "NOT accounted for")
    return 1 if outcome.wrong else 0


async def _run(
    options: argparse.Namespace, console: Console, kafka: RealKafka, scratch: Path
) -> Outcome:
    limit = {"max.message.bytes": str(MESSAGE_BYTES)}
    topic = await asyncio.to_thread(kafka.create_topic, "", PARTITIONS, limit)
    began = time.monotonic()
    inputs = bad_inputs(options.records, options.seed)
    await asyncio.to_thread(_write, kafka, topic, inputs)
    console.print(f"{options.records:,} inputs written in {time.monotonic() - began:.0f} s")
    async with Simulator(project="bench", environment="bench", token=TOKEN) as simulator:
        process = _process(kafka, topic, simulator, scratch)
        began = time.monotonic()
        process.start()
        try:
            await _until_committed(process, kafka, topic)
            seconds = time.monotonic() - began
            used = usage(process.pid)
            scrape = await process.scrape()
            process.signal(signal.SIGTERM)
            code = await process.exit_code(limit=60)
        finally:
            process.kill()
    outcome = Outcome()
    outcome.check("exit code", code, 0)
    await asyncio.to_thread(_judge, kafka, topic, options.records, scrape, outcome)
    console.print(
        f"consumed in {seconds:.1f} s ({options.records / seconds:,.0f}/s), "
        f"{used.cpu_seconds:.1f} CPU s, at most {used.peak_bytes / 2**20:.0f} MiB"
    )
    invalid = sum(outcome.letters.values())
    console.print(
        f"{invalid:,} letters, {outcome.pointers} of them pointers, {outcome.repeated} repeated"
    )
    for kind, count in sorted(outcome.kinds.items()):
        console.print(f"  {kind:28} {count:>9,}")
    return outcome


def _write(kafka: RealKafka, topic: str, inputs: Iterable[Input]) -> None:
    """Write the inputs; a header, which ldsync does not read, says what must become of each."""
    failed: list[str] = []
    producer = Producer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "partitioner": "murmur2_random",
            "linger.ms": 5,
            "message.max.bytes": MESSAGE_BYTES,
            "queue.buffering.max.messages": 50_000,
            "log_level": 0,
        }
    )

    def written(error: Any, _message: object) -> None:
        if error is not None:
            failed.append(str(error))

    for each in inputs:
        headers: dict[str, str | bytes | None] = {"expected": each.expected.encode()}
        while True:
            try:
                producer.produce(topic, each.value, each.key, headers=headers, on_delivery=written)
            except BufferError:
                producer.poll(0.05)
            else:
                break
    if producer.flush(60) or failed:
        raise RuntimeError(f"not every input was written: {failed[:3]}")


def _process(kafka: RealKafka, topic: str, simulator: Simulator, scratch: Path) -> LdsyncProcess:
    settings: dict[str, dict[str, Any]] = {
        "kafka": {
            "bootstrap_servers": kafka.bootstrap_servers,
            "topics": [topic],
            "group_id": GROUP,
            "commit_interval_seconds": 1.0,
            "max_partition_fetch_bytes": MESSAGE_BYTES,
        },
        "launchdarkly": {
            "base_url": simulator.url,
            "project_key": "bench",
            "environment_key": "bench",
        },
        "dead_letters": {"max_invalid_ratio": 1.0},
        "log": {"format": "json"},
    }
    return LdsyncProcess(scratch / "ldsync", settings, mappings=MAPPING)


async def _until_committed(process: LdsyncProcess, kafka: RealKafka, topic: str) -> None:
    ends = await asyncio.to_thread(kafka.admin.end_offsets, topic)
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        await asyncio.sleep(0.5)
        assert (await process.ask("/healthz"))[0] in (0, 200), "a loop stalled"
        committed = await asyncio.to_thread(kafka.admin.group_offsets, GROUP, topic)
        if committed == ends:
            return
    raise RuntimeError(f"the group never caught up:\n{process.output[-4000:]}")


def _judge(kafka: RealKafka, topic: str, records: int, scrape: Scrape, outcome: Outcome) -> None:
    expected: dict[tuple[int, int], Expected] = {}
    for record in kafka.admin.stream(topic):
        reason = dict(record.headers())["expected"].decode()
        outcome.kinds[reason] += 1
        if reason in IGNORED | SKIPPED | {DELIVERED}:
            continue
        reason = "not_an_object" if reason == MIXED else reason
        place = (record.partition(), record.offset())
        expected[place] = _fingerprint(reason, record.key(), record.value())
    _judge_letters(kafka, f"{topic}.dead-letters", expected, outcome)
    _judge_counters(records, scrape, outcome)


def _fingerprint(reason: str, key: bytes | None, value: bytes | None) -> Expected:
    value = value or b""
    # No key and an empty one are not the same.
    hashed = b"" if key is None else hashlib.sha256(key).digest()[:8]
    return Expected(reason, hashed, hashlib.sha256(value).digest()[:16], len(value))


def _judge_letters(
    kafka: RealKafka, topic: str, expected: dict[tuple[int, int], Expected], outcome: Outcome
) -> None:
    seen: set[tuple[int, int]] = set()
    for letter in kafka.admin.stream(topic):
        headers = {name: content.decode() for name, content in letter.headers()}
        place = (int(headers["ldsync-partition"]), int(headers["ldsync-offset"]))
        wanted = expected.get(place)
        if wanted is None:
            outcome.wrong.append(f"a letter of {place}, whose record is not invalid")
            continue
        if place in seen:
            outcome.repeated += 1
            continue
        seen.add(place)
        outcome.letters[wanted.reason] += 1
        found = _fingerprint(headers["ldsync-reason"], letter.key(), letter.value())
        if headers["ldsync-value"] == "pointer":
            outcome.pointers += 1
            pointer = json.loads(letter.value())
            hashed = bytes.fromhex(pointer["sha256"])[:16]
            found = Expected(found.reason, found.key, hashed, pointer["bytes"])
        if found != wanted:
            outcome.wrong.append(f"the letter of {place}: {found}, expected {wanted}")
    for place in list(expected.keys() - seen)[:5]:
        outcome.wrong.append(f"no letter of {place}: {expected[place]}")
    outcome.check("letters", len(seen), len(expected))
    large = sum(each.length >= POINTED for each in expected.values())
    outcome.check("pointers", outcome.pointers, large)


def _judge_counters(records: int, scrape: Scrape, outcome: Outcome) -> None:
    """Counters add up to the records consumed, and each reason is counted as often as it is."""
    check, total = outcome.check, scrape.total
    check("records consumed", total("ldsync_records_consumed_total"), records)
    check("records without an outcome", scrape.unexplained(), 0)
    for outcome_, kinds in (
        ("ignored", IGNORED),
        ("skipped", SKIPPED),
        ("invalid", _invalid(outcome)),
    ):
        for kind in kinds:
            counted = total("ldsync_records_total", outcome=outcome_, reason=kind)
            check(f"{outcome_}, {kind}", counted, outcome.kinds[kind])
    changed = sum(
        total("ldsync_records_total", outcome=each) for each in ("coalesced", "delivered")
    ) + total("ldsync_records_total", reason="stale")
    check("records with a change", changed, sum(outcome.kinds[kind] for kind in CHANGES))
    for reason, count in outcome.letters.items():
        counted = total("ldsync_dead_letters_total", reason=reason)
        check(f"dead letters, {reason}", counted, count)
    check("letters that wait", total("ldsync_dead_letters_pending"), 0)
    check("failed attempts", total("ldsync_dead_letter_failures_total"), 0)


def _invalid(outcome: Outcome) -> set[str]:
    return outcome.kinds.keys() - IGNORED - SKIPPED - CHANGES


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.letters", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
