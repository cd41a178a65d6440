"""`ldsync demo` as a user runs it: the real command, the real `ldsync run`, and its verdict."""

from __future__ import annotations

import contextlib
import functools
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ldsync.demo import demo
from ldsync.demo.broker import BrokerUnavailable
from ldsync.demo.child import Child
from ldsync.demo.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_SECONDS = 90
CHECKS = (
    "every record has one outcome: 1,500 produced, 1,500 consumed, 1,500 settled",
    "outcomes are what the events say",
    "LaunchDarkly equals the fold of all events",
    "segments are named after their audiences",
    "offsets are committed to the end of the log: 8 partitions",
    "ldsync stopped cleanly: exit code 0 after SIGTERM",
)


@contextlib.contextmanager
def running(*options: str) -> Iterator[subprocess.Popen[str]]:
    """`ldsync demo` in a process that does not outlive the test."""
    command = [sys.executable, "-u", "-m", "ldsync", "demo", "--events", "1500", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until(process: subprocess.Popen[str], pattern: str) -> tuple[str, re.Match[str]]:
    """What the process prints up to a line that matches, and the match."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if match := re.search(pattern, line):
            return seen, match
    pytest.fail(f"{pattern} was never printed:\n{seen}")


def rest(process: subprocess.Popen[str]) -> tuple[str, int]:
    """What the process still prints, and its exit code."""
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    return output, process.returncode


def status_of(url: str) -> int | None:
    """The HTTP status of a page; None where nothing listens."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 (our own URL)
            status: int = answer.status
            return status
    except urllib.error.URLError:
        return None


def test_the_demo_verifies_itself_and_exits_with_success() -> None:
    """Everything is settled once, LaunchDarkly equals the fold, ldsync stops when asked."""
    with running("--seed", "7") as process:
        output, code = rest(process)
    assert code == 0, output
    for check in CHECKS:
        assert re.search(rf"^ok {{4}}{re.escape(check)}", output, re.MULTILINE), output
    for shown in ("delivered", "coalesced", "ignored", "skipped", "invalid", "delay p99", "writes"):
        assert shown in output
    assert "FAIL" not in output


def test_kept_up_its_pages_answer_until_ctrl_c() -> None:
    """With --keep metrics and simulator stay reachable after the verdict; Ctrl-C ends it all."""
    with running("--keep") as process:
        _, addresses = until(process, r"^ldsync +(\S+/metrics) +(\S+/status)")
        _, simulator = until(process, r"^simulator +(\S+)")
        until(process, "Ctrl-C")
        pages = (*addresses.groups(), simulator[1])
        assert [status_of(page) for page in pages] == [200, 200, 200]
        process.send_signal(signal.SIGINT)
        output, code = rest(process)
        assert code == 0, output
        assert [status_of(page) for page in pages] == [None, None, None]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl_c", "terminated"]
)
def test_interrupted_it_leaves_nothing_behind(number: signal.Signals, code: int) -> None:
    """No stack trace, no process, no directory; the exit code names the signal."""
    with running("--events", "20000") as process:
        _, address = until(process, r"^ldsync +(\S+/metrics)")
        _, config = until(process, r"--config (\S+)")
        until(process, "^writing events: .* [1-9][0-9,]* consumed")
        process.send_signal(number)
        output, found = rest(process)
    assert found == code
    assert "Traceback" not in output
    assert output.endswith("everything is stopped.\n")
    assert status_of(address[1]) is None
    assert not Path(config[1]).exists()


def test_too_few_events_are_a_usage_error() -> None:
    """The number that is needed is named."""
    with running("--events", "10") as process:
        output, code = rest(process)
    assert code == 2
    assert "500" in output


class Forgetful(Simulator):
    """A LaunchDarkly that has lost one member."""

    def state(self) -> dict[str, dict[str, set[str]]]:
        """All members but one."""
        state = super().state()
        for kinds in state.values():
            if members := kinds.get("user"):
                members.pop()
                break
        return state


@pytest.mark.blocking  # the demo writes its few small files from its own event loop
def test_one_wrong_member_fails_the_demo(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The verdict names the member, and the exit code says so too."""
    monkeypatch.setattr(demo, "Simulator", Forgetful)
    assert demo.run_demo(500, keep=False, seed=1) == 1
    output = capsys.readouterr().out
    assert re.search(r"^FAIL  LaunchDarkly equals .* 1 of .* is missing$", output, re.MULTILINE)
    assert "The demo FAILED" in output


@pytest.mark.blocking
@pytest.mark.parametrize(
    ("program", "said"),
    [
        pytest.param("raise SystemExit('no configuration')", "no configuration", id="at_once"),
        pytest.param("import time; print('bye'); time.sleep(0.2); 1 / 0", "bye", id="crash"),
    ],
)
def test_an_ldsync_that_dies_fails_the_demo_with_its_last_words(
    program: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What `ldsync run` printed last is shown; there is no stack trace of the demo's own."""
    script = tmp_path / "program.py"
    script.write_text(program, encoding="utf-8")
    command = [sys.executable, str(script)]
    monkeypatch.setattr(demo, "Child", functools.partial(Child, command=command))
    assert demo.run_demo(500, keep=False, seed=1) == 1
    output = capsys.readouterr().out
    assert "ldsync run ended with exit code 1" in output
    assert said in output


def test_without_the_embedded_broker_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing extra is a missing dependency: exit code 69."""

    def missing() -> None:
        raise BrokerUnavailable("install it with pip")

    monkeypatch.setattr(demo, "EmbeddedBroker", missing)
    assert demo.run_demo(500, keep=False, seed=1) == 69
    assert capsys.readouterr().out == "install it with pip\n"
