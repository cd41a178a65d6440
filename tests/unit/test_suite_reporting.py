"""The promise of `tests/conftest.py`: a broker suite that did not run never looks like a pass."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
ONE_OF_EACH = """
import pytest

@pytest.mark.broker
def test_on_the_broker(): pass

def test_without(): pass
"""


def _run(
    root: Path, *, missing: list[str], ci: bool, workers: int
) -> subprocess.CompletedProcess[str]:
    """Run a tiny suite under the real settings and conftest on a machine that lacks `missing`."""
    tests = root / "tests"
    (tests / "support").mkdir(parents=True)
    (root / "ldsync").symlink_to(REPOSITORY / "ldsync")
    shutil.copy(REPOSITORY / "pyproject.toml", root)
    shutil.copy(REPOSITORY / "tests" / "conftest.py", tests)
    (tests / "support" / "real_kafka.py").write_text(f"def missing_tools(): return {missing}\n")
    (tests / "test_it.py").write_text(ONE_OF_EACH)
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", f"-n{workers}"],
        cwd=root,
        env=environment | ({"CI": "true"} if ci else {}),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("ci", "workers", "code", "summary"),
    [
        pytest.param(False, 0, 0, "1 passed, 1 skipped", id="at a desk: skipped"),
        pytest.param(True, 1, 1, "1 passed, 1 error", id="in CI: failed"),
    ],
)
def test_a_broker_suite_that_cannot_run_says_what_to_install(
    tmp_path: Path, ci: bool, workers: int, code: int, summary: str
) -> None:
    """A line names what is missing, and pytest's own summary still comes last."""
    result = _run(tmp_path, missing=["Maven (mvn)"], ci=ci, workers=workers)

    lines = result.stdout.splitlines()
    assert result.returncode == code, result.stdout + result.stderr
    assert "broker suite: NOT RUN (install Maven (mvn))" in lines
    assert summary in lines[-1]


def test_a_broker_suite_that_can_run_is_not_mentioned(tmp_path: Path) -> None:
    """With everything installed there is nothing to say."""
    result = _run(tmp_path, missing=[], ci=True, workers=0)

    assert result.returncode == 0, result.stdout + result.stderr
    assert "NOT RUN" not in result.stdout
    assert "2 passed" in result.stdout.splitlines()[-1]
