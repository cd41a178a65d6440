"""`make chaos RUNS=200 SEED=1 JOBS=5`: run seeds, several at once, and say what was violated.

Exit status 1 if anything was. The evidence of a failing run, and the output of its processes, are
kept in a directory that is named; `make chaos SEED=n RUNS=1` runs a seed again.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.crew import Crew
from tests.chaos.plan import Plan, plan
from tests.chaos.regressions import REGRESSIONS

_JOBS_PER_CORE = 3  # a run mostly waits


def main() -> int:
    """Run what the command line asks for; returns the exit status."""
    wanted = _arguments()
    directory = wanted.directory or Path(tempfile.mkdtemp(prefix="ldsync-chaos-"))
    deadline = time.monotonic() + wanted.minutes * 60 if wanted.minutes else None
    seeds = wanted.seeds or range(wanted.seed, wanted.seed + wanted.runs)
    plans = [plan(seed) for seed in seeds]
    if wanted.regressions:
        plans = [each.plan for each in REGRESSIONS]
    began = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Crew(directory, min(wanted.jobs, len(plans))) as crew:
        runs, failed = _run_all(crew, plans, deadline)
    minutes = (time.monotonic() - began) / 60
    print(
        f"{runs} of {len(plans)} runs in {minutes:.1f} minutes, {crew.size} at once: "
        f"{len(failed)} with violations {sorted(failed) or ''}"
    )
    if failed:
        print(f"The evidence is in {directory}/seed-…, to be judged again by tests.chaos.judge")
    elif wanted.directory is None:
        shutil.rmtree(directory, ignore_errors=True)
    complete = runs == len(plans) or (wanted.minutes and runs)
    return 1 if failed or not complete else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1, help="of the first run")
    parser.add_argument("--seeds", type=int, nargs="+", help="instead: each of these")
    parser.add_argument("--regressions", action="store_true", help="instead: what once failed")
    parser.add_argument("--jobs", type=int, default=_JOBS_PER_CORE * (os.cpu_count() or 1))
    parser.add_argument("--minutes", type=float, default=0, help="begin no run after that")
    parser.add_argument("--directory", type=Path, help="for what is kept; made if missing")
    return parser.parse_args()


def _run_all(crew: Crew, plans: list[Plan], deadline: float | None) -> tuple[int, set[int]]:
    """Have all plans carried out and print what came of them; their number, and who failed."""
    runs = 0
    failed: set[int] = set()
    for done, text, violations in crew.carry_out(plans, deadline):
        runs += 1
        print(text, flush=True)
        for violation in violations[:20]:
            print(f"  {violation[:2000]}", flush=True)
        if violations:
            failed.add(done.seed)
    return runs, failed


if __name__ == "__main__":
    sys.exit(main())
