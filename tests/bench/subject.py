"""`ldsync run` under measurement, watched from outside: /proc, offsets, the sink's counts."""

import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from tests.bench.result import Result
from tests.bench.usage import Usage, usage
from tests.support.hand_over import leave_clean
from tests.support.kafka_admin import KafkaAdmin
from tests.support.ldsync_process import LdsyncProcess

LIMIT = 600.0  # seconds that a run may take


class Sink:
    """The process of `tests.bench.sink`."""

    def __init__(self, url: str) -> None:
        self.url = url

    def counts(self, method: str = "GET") -> dict[str, float]:
        """What it was asked since the last reset, which the method DELETE is."""
        request = urllib.request.Request(f"{self.url}/counts", method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310 - our own server
            counts: dict[str, float] = json.load(reply)
        return counts


@contextmanager
def sink() -> Iterator[Sink]:
    """A sink that runs."""
    command = [sys.executable, "-m", "tests.bench.sink"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Sink(f"http://127.0.0.1:{int(process.stdout.readline())}")
        finally:
            process.kill()


async def run(admin: KafkaAdmin, topic: str, server: Sink, directory: Path, profile: str) -> Result:
    """Let `ldsync run` read the topic once, as a new group with default settings.

    CPU is counted from just before the first record is consumed until the group's offsets are the
    ends of the log; wall time until the last write was answered (the commit interval would add up
    to its length), or until then if there was none. A profile, if asked for, makes the run slower.
    """
    group = f"bench-{uuid.uuid4().hex}"
    process = LdsyncProcess(
        directory,
        {
            "kafka": {
                "bootstrap_servers": admin.bootstrap_servers,
                "topics": [topic],
                "group_id": group,
                # The default of 5 s, only shorter: nothing is to be learned from waiting.
                "commit_interval_seconds": 1.0,
            },
            "launchdarkly": {
                "base_url": server.url,
                "project_key": "bench",
                "environment_key": "bench",
            },
            "log": {"format": "json"},
        },
    )
    await asyncio.to_thread(server.counts, "DELETE")
    # Nothing is to be learned from the wait of a take-over either.
    partitions = len(await asyncio.to_thread(admin.partitions, topic))
    await leave_clean(admin.bootstrap_servers, group, topic, partitions)
    process.start()
    try:
        before, began = await _first_record(process)
        async with _profiled(process.pid, profile):
            after = await _caught_up(process, admin, group, topic)
            caught_up = time.monotonic()
        counts = await asyncio.to_thread(server.counts)
        consumed = await process.metric("ldsync_records_consumed_total")
        process.signal(signal.SIGTERM)
        code = await process.exit_code(limit=60)
        assert code == 0, f"exit code {code}:\n{process.output[-4000:]}"
    finally:
        process.kill()
    return Result(
        "ldsync run",
        events=int(consumed),
        seconds=(counts["last_patch"] or caught_up) - began,
        cpu_seconds=after.cpu_seconds - before.cpu_seconds,
        start_cpu_seconds=before.cpu_seconds,
        peak_bytes=after.peak_bytes,
        requests=int(counts["patches"]),
        operations=int(counts["operations"]),
    )


async def _first_record(process: LdsyncProcess) -> tuple[Usage, float]:
    """Use and time just before the first record was consumed."""
    deadline = time.monotonic() + LIMIT
    last = usage(process.pid), time.monotonic()
    while last[1] < deadline:
        asked = usage(process.pid), time.monotonic()
        if await process.metric("ldsync_records_consumed_total"):
            return last
        last = asked
        await asyncio.sleep(0.02)
    raise RuntimeError(f"no record was consumed:\n{process.output[-4000:]}")


async def _caught_up(process: LdsyncProcess, admin: KafkaAdmin, group: str, topic: str) -> Usage:
    """Use when the group had no lag any more."""
    ends = await asyncio.to_thread(admin.end_offsets, topic)
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        used = usage(process.pid)
        if await asyncio.to_thread(admin.group_offsets, group, topic) == ends:
            return used
        await asyncio.sleep(0.1)
    raise RuntimeError(f"the group never caught up:\n{process.output[-4000:]}")


@asynccontextmanager
async def _profiled(pid: int, path: str) -> AsyncIterator[None]:
    """Draw a flame graph of what happens inside into a file; nothing if `path` is empty."""
    if not path:
        yield
        return
    recorder = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("py-spy"),
        *("record", "--pid", str(pid), "--output", path, "--rate", "200"),
        stdout=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        recorder.send_signal(signal.SIGINT)  # it writes the file then
        await recorder.wait()
