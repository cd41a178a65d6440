"""`make mutations`: does the judge of the chaos suite see what it must?

Each bug of `bugs` is put into a copy of ldsync, one at a time, and chaos runs are made with that
copy until the judge, from outside, finds what must be found. The rest (runner, simulator, judge) is
what it is. Exit status 1 if a bug is not found within `--seeds` runs; with `--control`, which makes
the same runs without the bugs, if anything is found.
"""

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.ground import Ground
from tests.chaos.mutations.bug import Bug
from tests.chaos.mutations.bugs import BUGS, NOT_TRIED
from tests.chaos.run import Report, run

ROOT = Path(__file__).resolve().parents[3]


@dataclass(slots=True)
class Found:
    """What became of a bug.

    Attributes:
        bug: Which.
        rules: How many violations of which rule there were in the run that failed.
        seed: Of that run.
        runs: How many there were, that one included.
        seconds: How long they took.
        first: A violation, in words.
    """

    bug: Bug
    rules: Counter[str] = field(default_factory=Counter)
    seed: int = 0
    runs: int = 0
    seconds: float = 0.0
    first: str = ""

    @property
    def caught(self) -> bool:
        """Whether the judge found what it must."""
        return bool(self.bug.expected & self.rules.keys())

    def row(self) -> str:
        """A row of the table in docs/delivery.md."""
        rules = ", ".join(f"{rule} ({count})" for rule, count in sorted(self.rules.items()))
        bug = self.bug
        return (
            f"| `{bug.name}` | {bug.breaks} | {bug.what} | {rules or '**nothing**'} | "
            f"{self.seed or '-'} | {self.runs} | {self.seconds:.0f} |"
        )


def main() -> int:
    """Try the bugs that the command line asks for; returns the exit status."""
    wanted = _arguments()
    bugs = [bug for bug in BUGS if not wanted.only or bug.name in wanted.only]
    with tempfile.TemporaryDirectory(prefix="ldsync-mutations-") as scratch:
        results = asyncio.run(
            _try_all(bugs, Path(scratch), wanted.seeds, control=wanted.control, keep=wanted.keep)
        )
    print("| bug | breaks | what is done wrong | found by | seed | runs | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for found in results:
        print(found.row())
    for rule, why in NOT_TRIED.items():
        print(f"| | {rule} | not tried: {why} | | | | |")
    if wanted.control:
        return int(any(found.rules for found in results))
    return int(not all(found.caught for found in results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.mutations", description=__doc__)
    parser.add_argument("--only", nargs="*", help="names of bugs")
    parser.add_argument("--seeds", type=int, default=4, help="runs of each bug at most")
    parser.add_argument("--control", action="store_true", help="the same runs without the bugs")
    parser.add_argument("--keep", type=Path, help="where the evidence is to be kept")
    return parser.parse_args()


async def _try_all(
    bugs: list[Bug], scratch: Path, seeds: int, *, control: bool, keep: Path | None
) -> list[Found]:
    ground = Ground(scratch / "ground")
    results = []
    task = asyncio.current_task()
    assert task is not None
    # Told to stop it ends what it has started: no broker is left behind.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        for bug in bugs:
            tree = scratch / bug.name
            shutil.copytree(
                ROOT / "ldsync", tree / "ldsync", ignore=shutil.ignore_patterns("__pycache__")
            )
            if not control:
                bug.apply(tree)
            # The processes of ldsync take it from there: they inherit both.
            os.chdir(tree)
            os.environ["PYTHONPATH"] = str(tree)
            results.append(await _try(bug, ground, (keep or scratch) / f"runs-{bug.name}", seeds))
    finally:
        await ground.clear()
        ground.end()
    return results


async def _try(bug: Bug, ground: Ground, directory: Path, seeds: int) -> Found:
    """Run seeds until one fails by a rule that counts."""
    found = Found(bug)
    began = time.monotonic()
    while found.runs < seeds and not found.caught:
        found.runs += 1
        report = Report(bug.plan(found.runs), directory / f"seed-{found.runs}")
        try:
            await run(report, ground)
        except Exception:  # noqa: BLE001 - a run that cannot be judged is told as such
            print(f"{bug.name}: a run could not be judged: {traceback.format_exc()}", flush=True)
        if report.violations:
            found.seed = found.runs
            found.rules = Counter(str(each).partition(":")[0] for each in report.violations)
            telling = [v for v in report.violations if v.partition(":")[0] in bug.expected]
            found.first = (telling or report.violations)[0][:300]
    found.seconds = time.monotonic() - began
    word = "found" if found.caught else "not found"
    print(f"{bug.name}: {word} in {found.runs} runs: {found.first}", flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
