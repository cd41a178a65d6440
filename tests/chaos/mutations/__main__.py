"""`make mutations`: does the judge of the chaos suite see what it must?

Each bug of `bugs` is put into a copy of the repository, one at a time, and chaos runs are made
with the copy until the judge, from outside, finds what must be found. Exit status 1 if one is not
found within `--seeds` runs, or if the right code fails one of these runs (`--control`).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.mutations.bug import Bug
from tests.chaos.mutations.bugs import BUGS, HARMLESS

ROOT = Path(__file__).resolve().parents[3]
_COPIED = ("ldsync", "tests", "pyproject.toml")


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
        trouble: Why a run could not be judged.
    """

    bug: Bug
    rules: Counter[str] = field(default_factory=Counter)
    seed: int = 0
    runs: int = 0
    seconds: float = 0.0
    first: str = ""
    trouble: str = ""

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
    if wanted.check:
        for bug in bugs:
            with tempfile.TemporaryDirectory() as tree:
                _copy(Path(tree))
                bug.apply(Path(tree))
        print(f"{len(bugs)} bugs fit the code")
        return 0
    results = [_try(bug, wanted.seeds, control=wanted.control) for bug in bugs]
    print("| bug | breaks | what is done wrong | found by | seed | runs | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for found in results:
        print(found.row())
    for rule, why in HARMLESS.items():
        print(f"| - | {rule} | not tried: {why} | - | - | - | - |")
    if wanted.control:
        return int(any(found.rules for found in results))
    return int(not all(found.caught for found in results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.mutations", description=__doc__)
    parser.add_argument("--only", nargs="*", help="names of bugs")
    parser.add_argument("--seeds", type=int, default=4, help="runs of each bug at most")
    parser.add_argument("--control", action="store_true", help="the same runs without the bugs")
    parser.add_argument("--check", action="store_true", help="only see whether the bugs still fit")
    return parser.parse_args()


def _try(bug: Bug, seeds: int, *, control: bool) -> Found:
    found = Found(bug)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ldsync-mutation-") as scratch:
        tree = Path(scratch) / "tree"
        _copy(tree)
        if not control:
            bug.apply(tree)
        command = [sys.executable, "-m", "tests.chaos.mutations.child", bug.name]
        command += [str(Path(scratch) / "runs"), str(seeds)]
        with subprocess.Popen(
            command,
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree)},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("{"):
                    _take(found, json.loads(line))
    found.seconds = time.monotonic() - began
    word = "found" if found.caught else "NOT FOUND"
    print(f"{bug.name}: {word} in {found.runs} runs: {found.first}", flush=True)
    if found.trouble:
        print(f"{bug.name}: a run could not be judged: {found.trouble}", flush=True)
    return found


def _take(found: Found, told: dict[str, object]) -> None:
    found.runs += 1
    found.trouble = found.trouble or str(told["trouble"])
    violations = told["violations"]
    assert isinstance(violations, list)
    if violations:
        found.seed = int(str(told["seed"]))
        found.rules = Counter(str(each).partition(":")[0] for each in violations)
        # The violation that counts, if there is one.
        telling = [each for each in violations if each.partition(":")[0] in found.bug.expected]
        found.first = str((telling or violations)[0])[:300]


def _copy(tree: Path) -> None:
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, tree / name, ignore=ignored)
        else:
            shutil.copy(source, tree / name)


if __name__ == "__main__":
    sys.exit(main())
