"""The promise of `tests/conftest.py`: a suite that did not run never looks like a pass."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
ONE_OF_EACH = """
import pytest

@pytest.mark.{suite}
def test_on_the_server(): pass

def test_without(): pass
"""


def _run(
    root: Path, suite: str, *, missing: list[str], ci: bool, workers: int
) -> subprocess.CompletedProcess[str]:
    """Run a tiny suite under the real settings and conftest on a machine that lacks `missing`."""
    tests = root / "tests"
    (tests / "support").mkdir(parents=True)
    (root / "ldsync").symlink_to(REPOSITORY / "ldsync")
    shutil.copy(REPOSITORY / "pyproject.toml", root)
    shutil.copy(REPOSITORY / "tests" / "conftest.py", tests)
    for name, server in (("broker", "real_kafka"), ("redis", "real_redis")):
        lacking = missing if name == suite else []
        (tests / "support" / f"{server}.py").write_text(f"def missing_tools(): return {lacking}\n")
    (tests / "test_it.py").write_text(ONE_OF_EACH.format(suite=suite))
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
    "suite_and_tool",
    [
        pytest.param(("broker", "Maven (mvn)"), id="broker"),
        pytest.param(("redis", "Redis (redis-server)"), id="redis"),
    ],
)
@pytest.mark.parametrize(
    ("ci", "workers", "code", "summary"),
    [
        pytest.param(False, 0, 0, "1 passed, 1 skipped", id="at a desk: skipped"),
        pytest.param(True, 1, 1, "1 passed, 1 error", id="in CI: failed"),
    ],
)
def test_a_suite_that_cannot_run_says_what_to_install(
    tmp_path: Path, suite_and_tool: tuple[str, str], ci: bool, workers: int, code: int, summary: str
) -> None:
    """A line names what is missing, and pytest's own summary still comes last."""
    suite, tool = suite_and_tool
    result = _run(tmp_path, suite, missing=[tool], ci=ci, workers=workers)

    lines = result.stdout.splitlines()
    assert result.returncode == code, result.stdout + result.stderr
    assert f"{suite} suite: NOT RUN (install {tool})" in lines
    assert summary in lines[-1]


@pytest.mark.parametrize("suite", ["broker", "redis"])
def test_a_suite_that_can_run_is_not_mentioned(tmp_path: Path, suite: str) -> None:
    """With everything installed there is nothing to say."""
    result = _run(tmp_path, suite, missing=[], ci=True, workers=0)

    assert result.returncode == 0, result.stdout + result.stderr
    assert "NOT RUN" not in result.stdout
    assert "2 passed" in result.stdout.splitlines()[-1]
