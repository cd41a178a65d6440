"""What is shipped says the same everywhere, and the lists that install it can be trusted."""

import email
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import ldsync

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PIN = re.compile(r"^([a-z0-9.-]+)(?:\[[a-z0-9, -]+\])?==(\S+)", re.MULTILINE)


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """The settings of the project."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel as it would be released."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True)
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


def _pins(lock: Path) -> dict[str, str]:
    return dict(PIN.findall(lock.read_text()))


def test_the_wheel_holds_the_whole_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """All modules, the type marker and the licence; no tests, no settings, no environment."""
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "ldsync").rglob("*.py")}

    assert modules <= shipped
    assert "ldsync/py.typed" in shipped
    assert all(name.startswith("ldsync/") for name in shipped)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel.namelist())


def test_the_wheel_says_who_it_is(wheel: zipfile.ZipFile) -> None:
    """Version, floor of Python, licence and console script are in the metadata."""
    (metadata_name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    (scripts_name,) = (name for name in wheel.namelist() if name.endswith("/entry_points.txt"))
    metadata = email.message_from_bytes(wheel.read(metadata_name))

    assert metadata["Name"] == "ldsync"
    assert metadata["Version"] == ldsync.__version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert b"ldsync = ldsync.cli:main" in wheel.read(scripts_name)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param([str(Path(sys.executable).with_name("ldsync"))], id="console script"),
        pytest.param([sys.executable, "-m", "ldsync"], id="module"),
    ],
)
def test_both_ways_to_call_it_give_the_version(command: list[str]) -> None:
    """`ldsync` and `python -m ldsync` are the same program."""
    result = subprocess.run([*command, "--version"], check=True, capture_output=True, text=True)

    assert ldsync.__version__ in result.stdout


def test_the_version_is_the_same_wherever_it_is_written() -> None:
    """The image and the Kubernetes example are of the version of the package."""
    kustomization = (ROOT / "deploy/kubernetes/kustomization.yaml").read_text()

    assert f"ARG VERSION={ldsync.__version__}\n" in (ROOT / "Dockerfile").read_text()
    assert f"newTag: {ldsync.__version__}\n" in kustomization


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_pins_with_hashes_and_names_no_index(lock: Path) -> None:
    """Whoever installs chooses where from; the hashes say what."""
    text = lock.read_text()

    assert "://" not in text
    assert not re.search(r"^\s*--(?!hash=sha256:[0-9a-f]{64})", text, re.MULTILINE)
    for entry in re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]:
        assert PIN.match(entry), entry
        assert "--hash=sha256:" in entry, entry


def test_the_locks_agree() -> None:
    """What is tested is what is shipped: every pin is that of dev.txt."""
    everything = _pins(ROOT / "requirements/dev.txt")

    assert [lock.name for lock in LOCKS] == ["build.txt", "demo.txt", "dev.txt", "run.txt"]
    for lock in LOCKS:
        assert _pins(lock).items() <= everything.items(), lock.name


def test_what_runs_is_locked_and_carries_no_tools(project: dict[str, Any]) -> None:
    """run.txt covers the dependencies of the package; the embedded broker is not among them."""
    pins = _pins(ROOT / "requirements/run.txt")
    needed = {re.split(r"[\[<>=]", need)[0] for need in project["project"]["dependencies"]}

    assert needed <= pins.keys()
    assert not {"confluent-kafka", "pytest", "ruff", "hatchling"} & pins.keys()
    assert "confluent-kafka" in _pins(ROOT / "requirements/demo.txt")


def test_running_does_not_import_what_only_tools_need() -> None:
    """`ldsync run` must not pay for the demo, nor need what only the demo has.

    (Rich is not among them: structlog imports it where it is installed.)
    """
    program = "import sys, json, ldsync.app; print(json.dumps(sorted(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT
    )
    loaded = {name.partition(".")[0] for name in json.loads(result.stdout)}

    assert not {"confluent_kafka", "pytest", "redis", "typer"} & loaded
    assert "ldsync.demo" not in json.loads(result.stdout)
