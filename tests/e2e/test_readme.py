"""What the README tells people to type works, in the order and with the files it shows."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ldsync.demo.broker import EmbeddedBroker
from ldsync.demo.simulator import Simulator
from tests.support.eventually import eventually
from tests.support.ports import unused_port

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(sh|toml)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line for kind, block in BLOCKS if kind == "sh" for line in block.splitlines() if line.strip()
]
CONFIG = next(block for kind, block in BLOCKS if kind == "toml")
TOKEN = "api-readme-token"


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """A broker with the topics of the README's file."""
    with EmbeddedBroker() as broker:
        for topic in tomllib.loads(CONFIG)["kafka"]["topics"]:
            broker.create_topic(topic, partitions=2)
            broker.create_topic(f"{topic}.dead-letters")
        yield broker


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The test run's environment without its own settings, and with `ldsync` on the path.

    The directory holds the file of the README, and the token beside it.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("LDSYNC_") and not name.lower().endswith("_proxy")
    }
    (tmp_path / "token").write_text(TOKEN + "\n")
    (tmp_path / "config.toml").write_text(CONFIG)
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}",
        "LDSYNC_LAUNCHDARKLY__API_TOKEN_FILE": str(tmp_path / "token"),
    }


def test_every_command_of_the_readme_is_known_here() -> None:
    """A command that is added to the README needs a test below."""
    assert COMMANDS == [
        "make demo",
        "make test",
        "docker compose up --build",
        "export LDSYNC_LAUNCHDARKLY__API_TOKEN_FILE=/run/secrets/launchdarkly-token",
        "ldsync config --config config.toml",
        "ldsync check --config config.toml",
        "ldsync run --config config.toml",
    ]


@pytest.mark.timeout(300)
def test_make_demo_sets_itself_up_and_succeeds() -> None:
    """`make demo`, with fewer events: its own environment, the whole road, and a verdict."""
    done = subprocess.run(
        ["make", "demo", f"PYTHON={sys.executable}", "ARGS=--events 1000"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The demo succeeded." in done.stdout


def test_make_test_is_what_ci_runs() -> None:
    """`make test` runs this suite, linters first; `.ci/run` calls the same command."""
    plan = subprocess.run(
        ["make", "--dry-run", "test"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    steps = [plan.index(tool) for tool in ("ruff check", "mypy", "lint-imports", "pytest")]
    assert steps == sorted(steps)
    assert "exec make test" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose not installed")
def test_the_compose_file_that_docker_compose_up_reads_is_valid() -> None:
    """No engine runs in tests, but the composition is resolved as `up` would resolve it."""
    subprocess.run(
        ["docker-compose", "config", "--quiet"], cwd=ROOT, capture_output=True, check=True
    )


def test_ldsync_config_shows_the_configuration_of_the_readme(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """`ldsync config --config config.toml` with the file of the README, and the token hidden."""
    done = subprocess.run(
        ["ldsync", "config", "--config", "config.toml"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown = tomllib.loads(done.stdout)
    assert shown["launchdarkly"]["client_side_id"] == "6123456789abcdef01234567"
    assert TOKEN not in done.stdout


async def test_ldsync_run_serves_with_the_configuration_of_the_readme(
    tmp_path: Path, environment: dict[str, str], broker: EmbeddedBroker
) -> None:
    """`ldsync run --config config.toml`, pointed at a broker and a simulator; SIGTERM ends it."""
    place = tomllib.loads(CONFIG)["launchdarkly"]
    async with Simulator(
        project="web-shop",
        environment="production",
        token=TOKEN,
        client_side_id=place["client_side_id"],
    ) as simulator:
        environment |= {
            "LDSYNC_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "LDSYNC_LAUNCHDARKLY__BASE_URL": simulator.url,
            "LDSYNC_ADMIN__PORT": str(unused_port()),
        }
        process = await asyncio.to_thread(
            subprocess.Popen,
            ["ldsync", "run", "--config", "config.toml"],
            cwd=tmp_path,
            env=environment,
        )
        try:
            await eventually(lambda: _is_ready(environment), "it is ready")
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 30) == 0
        finally:
            process.kill()
            await asyncio.to_thread(process.wait)


async def _is_ready(environment: dict[str, str]) -> bool:
    """Ask as a container's health check does."""
    check = await asyncio.to_thread(
        subprocess.run,
        ["ldsync", "healthcheck", "--ready"],
        env=environment,
        capture_output=True,
        check=False,
    )
    return check.returncode == 0
