"""What every test shares: profiles, hygiene, and how the broker suite reports that it did not run.

How modules are found. Tests are imported by path (`--import-mode=importlib`) and the directories
below `tests/` are no packages, so that two test files may have the same name. `pythonpath = ["."]`
in `pyproject.toml` puts the root of the repository on `sys.path`: helpers are imported in full, as
in `from tests.support import factories`, wherever pytest is started from.

Suites that need more than Python. Tests that need real Apache Kafka carry `@pytest.mark.broker`;
they run one after the other in one xdist worker, because they share a broker. Tests that need a
Redis carry `@pytest.mark.redis`. Where what they need is not installed they are skipped and the
summary says so in one line; with `CI` set they fail instead: a suite that silently did not run
proves nothing.
"""

import os
from collections.abc import Iterator
from functools import cache

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import HealthCheck, settings

IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}

# No deadline: how long one example takes says more about the machine than about the code.
settings.register_profile("dev", deadline=None)
settings.register_profile(
    "ci",
    deadline=None,
    derandomize=True,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# For `make nightly`. Other examples every night; one that fails is kept and tried first.
settings.register_profile(
    "nightly",
    deadline=None,
    max_examples=20_000,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci" if IN_CI else "dev")

SUITES = ("broker", "redis")


@cache
def _lacking(suite: str) -> str:
    """What to install for a suite to run on this machine; empty if nothing is missing."""
    from tests.support import real_kafka, real_redis

    server = {"broker": real_kafka, "redis": real_redis}[suite]
    return " and ".join(server.missing_tools())


def _not_run(suite: str) -> str:
    return f"{suite} suite: NOT RUN (install {_lacking(suite)})"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the broker suite together in one xdist worker."""
    for item in items:
        if item.get_closest_marker("broker") and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group("broker"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Where a server cannot run, skip what needs it; in CI let it fail."""
    for suite in SUITES:
        if item.get_closest_marker(suite) and _lacking(suite):
            if IN_CI:
                pytest.fail(_not_run(suite), pytrace=False)
            pytest.skip(_not_run(suite))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line each, above pytest's own, that and why a suite did not run."""
    reports = terminalreporter.getreports("skipped") + terminalreporter.getreports("error")
    for suite in SUITES:
        if any(f"{suite} suite: NOT RUN" in report.longreprtext for report in reports):
            terminalreporter.section(f"{suite} suite", sep="!", red=True)
            terminalreporter.write_line(_not_run(suite), red=True)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads the settings of whoever runs it."""
    for name in [name for name in os.environ if name.startswith("LDSYNC_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_blocking_calls(request: pytest.FixtureRequest) -> Iterator[None]:
    """A blocking call made by `ldsync` inside a running event loop is an error.

    Writing log lines to standard output is exempt: that is where logs belong, a line is written
    whole, and a queue in between would lose the last ones when the process dies.
    """
    if request.node.get_closest_marker("blocking"):
        yield
        return
    with blockbuster_ctx("ldsync") as blockbuster:
        for function in blockbuster.functions.values():
            function.can_block_in("structlog/_output.py", {"msg"})
            function.can_block_in("logging/__init__.py", {"emit", "flush"})
        yield
