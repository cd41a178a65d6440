"""The commands: what they print, how they exit, and what they do not import."""

import re
import signal
import socket
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ldsync import __version__
from ldsync.cli import app
from ldsync.demo.feed import KafkaNotReady
from tests.support.commands import call, run_python, start
from tests.support.configs import REQUIRED_VARIABLES, TOKEN, write

COMMANDS = [
    *("run", "config", "check", "healthcheck", "version", "simulator", "generate", "demo"),
    *("explain", "check-events"),
]


@pytest.fixture
def replace(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, object], list[dict[str, Any]]]:
    """Put a function that records its arguments in the place of one that a command calls."""

    def put(module: str, name: str, result: object) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []

        def record(*args: Any, **kwargs: Any) -> object:
            calls.append({"args": args, **kwargs})
            return result

        stand_in = ModuleType(module)
        setattr(stand_in, name, record)
        monkeypatch.setitem(sys.modules, module, stand_in)
        return calls

    return put


@pytest.mark.parametrize("arguments", [["--version"], ["version"]], ids=["option", "command"])
def test_the_version_is_shown(arguments: list[str]) -> None:
    """Both spellings that people try."""
    result = call(*arguments)

    assert (result.exit_code, result.stdout) == (0, f"ldsync {__version__}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    """Help needs no configuration and starts nothing."""
    result = call(command, "--help")

    assert result.exit_code == 0
    assert f"ldsync {command}" in result.stdout


def test_the_list_of_commands_is_complete() -> None:
    """A new command is added to the tests above."""
    names = {
        command.name or getattr(command.callback, "__name__", "")
        for command in app.registered_commands
    }
    assert names == set(COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["sync"], id="unknown command"),
        pytest.param(["run", "--confg", "x"], id="unknown option"),
        pytest.param(["run", "config.toml"], id="a file without the option"),
        pytest.param(["healthcheck", "--port", "http"], id="a port that is none"),
        pytest.param(["healthcheck", "--port", "0"], id="no port to ask"),
        pytest.param(["demo", "--events", "499"], id="too few events"),
        pytest.param(["explain", "--topic", "t", "--partition", "0"], id="a record without offset"),
        pytest.param(
            ["explain", "f", "--topic", "t", "--partition", "0", "--offset", "0"],
            id="both a file and a record",
        ),
        pytest.param(["explain", "--record-time", "noon", "f"], id="a time that is none"),
        pytest.param(["check-events", "f", "--kafka"], id="both a file and topics"),
        pytest.param(["check-events", "--kafka", "--topic", "t"], id="topics named twice"),
        pytest.param(["check-events", "f", "--max-invalid-ratio", "2"], id="more than all"),
        pytest.param([], id="nothing at all"),
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    """Told apart from a wrong configuration and from a crash."""
    assert call(*arguments).exit_code == 2


@pytest.mark.parametrize("command", ["run", "config"])
def test_a_wrong_configuration_is_listed_and_exits_with_78(tmp_path: Path, command: str) -> None:
    """All of it on standard error, with what to do; no traceback, nothing on standard output."""
    file = write(tmp_path, {"kafka.gruop_id": '"x"', "batch.max_size": "5000"})

    result = start(command, "--config", str(file), environ={"LDSYNC_KAFAK__TOPICS": "x"})

    assert (result.returncode, result.stdout) == (78, "")
    lines = result.stderr.splitlines()
    assert lines[0] == "ldsync: configuration has 3 problems:"
    assert lines[1] == f"  kafka.gruop_id ({file}): is unknown; did you mean group_id?"
    assert lines[2].startswith("  LDSYNC_KAFAK__TOPICS (environment): is unknown")
    assert lines[3] == f"  batch.max_size ({file}): must be at most 1500, not 5000"
    assert "config.example.toml" in lines[4]
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["run", "config"])
def test_no_output_shows_a_secret(tmp_path: Path, command: str) -> None:
    """Also when it is the secret that is wrong."""
    wrong = {"LDSYNC_LAUNCHDARKLY__API_TOKEN": f"{TOKEN} {TOKEN}"}

    result = call(command, "--config", str(write(tmp_path, {})), environ=wrong)

    assert result.exit_code == 78
    assert "launchdarkly.api_token" in result.stderr
    assert TOKEN not in result.stdout + result.stderr


def test_the_effective_configuration_is_printed_without_secrets(tmp_path: Path) -> None:
    """As TOML, from the file that LDSYNC_CONFIG names, on standard output."""
    file = write(tmp_path, {"kafka.group_id": '"a-group"'})

    result = call("config", environ={"LDSYNC_CONFIG": str(file)})

    assert (result.exit_code, result.stderr) == (0, "")
    printed = tomllib.loads(result.stdout)
    assert printed["kafka"]["group_id"] == "a-group"
    assert printed["launchdarkly"]["api_token"] == "**********"
    assert TOKEN not in result.stdout


@pytest.mark.parametrize("code", [0, 1, 69])
def test_run_hands_over_the_settings_and_exits_as_it_is_told(
    tmp_path: Path, replace: Callable[[str, str, object], list[dict[str, Any]]], code: int
) -> None:
    """The composition root decides; the command only carries."""
    calls = replace("ldsync.app", "run", code)

    result = call("run", "--config", str(write(tmp_path, {"kafka.group_id": '"x"'})))

    assert result.exit_code == code
    (arguments,) = calls
    assert arguments["args"][0].kafka.group_id == "x"


def test_the_demo_exits_as_its_verdict_says(
    replace: Callable[[str, str, object], list[dict[str, Any]]],
) -> None:
    """Options are passed on by name."""
    calls = replace("ldsync.demo.demo", "run_demo", 1)

    assert call("demo", "--events", "500", "--keep", "--seed", "3").exit_code == 1
    assert calls == [{"args": (), "events": 500, "keep": True, "seed": 3}]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_the_simulator_serves_until_it_is_told_to_stop(number: signal.Signals) -> None:
    """It says where it is, accepts the token it was given, and ends as asked: with 0."""
    command = [sys.executable, "-m", "ldsync", "simulator", "--port", "0", "--token", "api-t"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = re.search(r"http://[^,\s]+", process.stdout.readline())
        assert url is not None
        request = urllib.request.Request(  # noqa: S310 - our own address
            f"{url[0].rstrip('/')}/api/v2/projects/demo", headers={"Authorization": "api-t"}
        )
        with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310
            assert reply.status == 200
        process.send_signal(number)
        assert process.wait(timeout=10) == 0


def test_a_simulator_that_cannot_listen_says_so() -> None:
    """In a sentence, not as a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = call("simulator", "--port", str(port))

    assert result.exit_code == 1
    assert result.stderr.startswith(f"ldsync: cannot listen on 127.0.0.1:{port}: ")


def test_the_generator_is_started_with_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order that the function wants them."""
    calls: list[tuple[object, ...]] = []

    async def write_events(*args: object) -> None:
        calls.append(args)

    monkeypatch.setattr("ldsync.demo.generate.generate", write_events)

    assert call("generate", "--topic", "t", "--rate", "5", "--events", "9").exit_code == 0
    assert calls == [("localhost:9092", "t", 5.0, 1, 9)]


def test_a_generator_without_kafka_exits_with_69(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dependency that does not answer is told apart from a crash."""

    async def write_events(*args: object) -> None:
        raise KafkaNotReady("no broker at localhost:9092")

    monkeypatch.setattr("ldsync.demo.generate.generate", write_events)

    result = call("generate")

    assert (result.exit_code, result.stderr) == (69, "ldsync: no broker at localhost:9092\n")


def imported_by(*arguments: str, environ: Mapping[str, str] | None = None) -> set[str]:
    """The packages that a command has imported when it ends."""
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(*sorted({m.split('.')[0] for m in sys.modules})))\n"
        "import types; app = types.ModuleType('ldsync.app'); app.run = lambda settings: 0\n"
        "sys.modules['ldsync.app'] = app\n"
        f"sys.argv = ['ldsync', *{list(arguments)}]\n"
        "from ldsync.cli import main; main()\n"
    )
    result = run_python("-c", code, environ=environ)
    return set(result.stdout.split())


def test_the_health_check_imports_only_what_it_needs() -> None:
    """It starts every few seconds beside the service, whose share of the processor it takes."""
    imported = imported_by("healthcheck", "--host", "nowhere.invalid")

    assert "ldsync" in imported
    heavy = {"aiohttp", "aiokafka", "orjson", "prometheus_client", "pydantic_settings", "rich"}
    assert imported & (heavy | {"structlog", "asyncio"}) == set()


def test_run_does_not_import_what_only_speaks_to_people() -> None:
    """Neither Rich nor the demo are paid for by the service."""
    imported = imported_by("run", environ=REQUIRED_VARIABLES)

    assert "pydantic_settings" in imported
    assert imported & {"rich", "confluent_kafka"} == set()
