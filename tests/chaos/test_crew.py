"""The crew of chaos runs: who carries out what, and what becomes of a run whose job crashes."""

import os
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from tests.chaos.crew import Crew
from tests.chaos.plan import plan

PLANS = [plan(seed) for seed in (1, 2, 3)]


def quick(directory: Path, number: int, line: Connection) -> None:
    """Answer at once, with a violation for seed 2."""
    while (given := line.recv()) is not None:
        line.send((f"seed {given.seed}", ["wrong"] if given.seed == 2 else []))


def crashing_once(directory: Path, number: int, line: Connection) -> None:
    """Crash in the middle of the first run, with a server left behind; jobs that follow do not."""
    while (given := line.recv()) is not None:
        if number == 0:
            ground = directory / "ground-0"
            ground.mkdir()
            server = subprocess.Popen(
                [sys.executable, "-c", "import time; time.sleep(600)"], cwd=ground
            )
            (directory / "server").write_text(str(server.pid))
            os.kill(os.getpid(), signal.SIGKILL)
        line.send((f"seed {given.seed} by {number}", []))


def crashing_always(directory: Path, number: int, line: Connection) -> None:
    """Never come to an answer."""
    line.recv()
    os.kill(os.getpid(), signal.SIGKILL)


def test_every_plan_is_carried_out_once(tmp_path: Path) -> None:
    """Whoever is free takes the next."""
    with Crew(tmp_path, 2, quick) as crew:
        done = {each.seed: violations for each, _, violations in crew.carry_out(PLANS, None)}
    assert done == {1: [], 2: ["wrong"], 3: []}


def test_a_run_whose_job_crashes_is_made_again_by_another(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It says nothing about ldsync; what the job had started is ended."""
    with Crew(tmp_path, 1, crashing_once) as crew:
        done = [(each.seed, text) for each, text, _ in crew.carry_out(PLANS, None)]
    assert done == [(1, "seed 1 by 1"), (2, "seed 2 by 1"), (3, "seed 3 by 1")]
    assert (
        "seed 1: the process that ran it ended with -9; it is run again" in capfd.readouterr().out
    )
    stat = Path("/proc", (tmp_path / "server").read_text(), "stat")
    assert not stat.exists() or stat.read_text().split()[2] == "Z"


def test_a_run_that_always_crashes_has_no_verdict(tmp_path: Path) -> None:
    """That is not taken for a clean one."""
    with Crew(tmp_path, 1, crashing_always) as crew:
        done = [(text, violations) for _, text, violations in crew.carry_out(PLANS[:1], None)]
    assert done == [("seed 1: the process that ran it ended with -9", ["no verdict"])]


def test_nothing_begins_after_the_deadline(tmp_path: Path) -> None:
    """With `--minutes` the rest is left."""
    with Crew(tmp_path, 1, quick) as crew:
        assert list(crew.carry_out(PLANS, time.monotonic())) == []
