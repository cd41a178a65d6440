"""`make chaos RUNS=200 SEED=1 JOBS=5`: run seeds, several at once, and say what was violated.

Exit status 1 if anything was. The evidence of a failing run, and the output of its processes, are
kept in a directory that is named; `make chaos SEED=n RUNS=1` runs a seed again.
"""

import argparse
import asyncio
import multiprocessing
import os
import queue
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from tests.chaos.ground import Ground
from tests.chaos.plan import plan
from tests.chaos.run import Report, run

_JOBS_PER_CORE = 2


def main() -> int:
    """Run what the command line asks for; returns the exit status."""
    wanted = _arguments()
    directory = wanted.directory or Path(tempfile.mkdtemp(prefix="ldsync-chaos-"))
    deadline = time.monotonic() + wanted.minutes * 60 if wanted.minutes else None
    began = time.monotonic()
    context = multiprocessing.get_context("spawn")
    seeds, reports = context.Queue(), context.Queue()
    for seed in range(wanted.seed, wanted.seed + wanted.runs):
        seeds.put(seed)
    jobs = [
        context.Process(target=_job, args=(directory, number, seeds, reports, deadline))
        for number in range(min(wanted.jobs, wanted.runs))
    ]
    for job in jobs:
        job.start()
    runs, failed = _listen(jobs, reports)
    for job in jobs:
        job.join()
    minutes = (time.monotonic() - began) / 60
    print(
        f"{runs} runs from seed {wanted.seed} in {minutes:.1f} minutes with {len(jobs)} jobs: "
        f"{len(failed)} with violations {sorted(failed) or ''}"
    )
    if failed:
        print(f"The evidence is in {directory}/seed-…")
    elif wanted.directory is None:
        shutil.rmtree(directory, ignore_errors=True)
    return 1 if failed or not runs else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1, help="of the first run")
    parser.add_argument("--jobs", type=int, default=_JOBS_PER_CORE * (os.cpu_count() or 1))
    parser.add_argument("--minutes", type=float, default=0, help="begin no run after that")
    parser.add_argument("--directory", type=Path, help="for what is kept; made if missing")
    return parser.parse_args()


def _listen(jobs: list[Any], reports: Any) -> tuple[int, set[int]]:
    """Print the reports as they come, until all jobs have ended; their number, and who failed."""
    runs, failed = 0, set()
    while True:
        ended = not any(job.is_alive() for job in jobs)
        try:
            seed, text, violations = reports.get(timeout=0.5)
        except queue.Empty:
            if ended:
                return runs, failed
            continue
        runs += 1
        print(text, flush=True)
        for violation in violations[:20]:
            print(f"  {violation[:2000]}", flush=True)
        if violations:
            failed.add(seed)


def _job(directory: Path, number: int, seeds: Any, reports: Any, deadline: float | None) -> None:
    """One seed after the other, on ground of its own, in a process of its own."""
    try:
        asyncio.run(_runs(directory, number, seeds, reports, deadline))
    except KeyboardInterrupt:
        sys.exit(130)


async def _runs(
    directory: Path, number: int, seeds: Any, reports: Any, deadline: float | None
) -> None:
    ground = Ground(directory / f"ground-{number}")
    try:
        while deadline is None or time.monotonic() < deadline:
            try:
                seed = seeds.get(timeout=0.2)
            except queue.Empty:
                return
            own = directory / f"seed-{seed}"
            report = Report(plan(seed), own)
            try:
                report = await run(plan(seed), ground, own)
            except Exception:  # noqa: BLE001 - a run that cannot be judged is a failure, told as such
                report.violations = [f"the run itself failed:\n{traceback.format_exc()}"]
            if not report.violations:
                shutil.rmtree(own, ignore_errors=True)
            reports.put((seed, str(report), report.violations))
    finally:
        await ground.clear()
        shutil.rmtree(directory / f"ground-{number}", ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
