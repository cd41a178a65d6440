"""Three minutes of chaos: what `make chaos` does for hours, with seeds that meet everything."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.mischief import Trouble
from tests.chaos.plan import Plan, plan

pytestmark = [pytest.mark.broker, pytest.mark.redis, pytest.mark.xdist_group("chaos")]

SEEDS = (561, 1293, 81, 87, 232, 1, 490, 204)
_AT_ONCE = 3
_CHOICES: dict[str, set[object]] = {
    "brokers": {1, 2},
    "replicas": {1, 2, 3},
    "keyed": {True, False},
    "disordered": {True, False},
    "store": {"memory", "redis"},
    "write_path": {"standard", "big"},
    "exit_action": {"remove", "exclude"},
    "tight": {True, False},
    "transactions": {True, False},
    "compacted": {True, False},
    "clean": {True, False},
    "park_after": {None, 1.5},
}
"""What a plan chooses between."""


def test_a_seed_always_means_the_same_plan() -> None:
    """Who is told a seed can run it again."""
    assert [plan(seed) for seed in range(50)] == [plan(seed) for seed in range(50)]
    assert len({plan(seed).steps for seed in range(50)}) == 50


def test_the_slice_meets_with_every_trouble_and_every_choice() -> None:
    """Nothing that may befall a deployment is left to `make chaos` alone."""
    plans = [plan(seed) for seed in SEEDS]
    assert {step.trouble for each in plans for step in each.steps} == set(Trouble) - {
        Trouble.LETTERS_REFUSED  # that is for `make mutations`
    }
    assert {name: {_chosen(each, name) for each in plans} for name in _CHOICES} == _CHOICES


@pytest.mark.timeout(900)
def test_promises_are_kept_under_fire(tmp_path: Path) -> None:
    """Every seed of the slice runs without a violation."""
    _run(tmp_path, "--seeds", *map(str, SEEDS))


@pytest.mark.timeout(900)
def test_what_once_failed_does_not_fail_again(tmp_path: Path) -> None:
    """The plans of `regressions`, with their stories there."""
    _run(tmp_path, "--regressions")


def _chosen(of: Plan, name: str) -> object:
    return getattr(of, name)


def _run(directory: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "tests.chaos", *arguments, "--jobs", str(_AT_ONCE)]
    done = subprocess.run(
        [*command, "--directory", str(directory)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stdout + done.stderr
