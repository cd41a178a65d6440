"""Which store the configuration makes, and what is said when it cannot."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from ldsync.checks.finding import State
from ldsync.checks.ordering import check_ordering
from ldsync.config import OrderingSettings, Settings
from ldsync.telemetry.metrics import Metrics
from ldsync.versions.base import StoreMisconfigured
from ldsync.versions.memory import MemoryVersions
from ldsync.versions.opening import Examined, examine, open_versions
from ldsync.versions.redis import RedisVersions
from tests.support.configs import REQUIRED, write

REDIS = OrderingSettings(store="redis", redis_url=SecretStr("redis://cache"))


@pytest.mark.parametrize(
    ("ordering", "kind"),
    [
        pytest.param(OrderingSettings(), MemoryVersions, id="memory"),
        pytest.param(REDIS, RedisVersions, id="redis"),
    ],
)
def test_the_configured_store_is_made(ordering: OrderingSettings, kind: type) -> None:
    """Nothing is connected yet."""
    store = open_versions(ordering, "p/e", Metrics())
    assert isinstance(store, kind)
    assert store.shared is (kind is RedisVersions)


async def test_nothing_is_wrong_with_memory_by_itself() -> None:
    """Nor is there anything to look at."""
    assert await examine(OrderingSettings()) == Examined("", ())


WITHOUT_REDIS = """
import sys
sys.modules["redis"] = None  # as if it were not installed
from ldsync.cli import main
sys.argv = ["ldsync", "run", "--config", sys.argv[1]]
main()
"""


def test_redis_without_its_package_ends_the_start_and_says_what_to_install(tmp_path: Path) -> None:
    """Exit code 78, one line, no traceback; the address with its password is not in it (P8)."""
    values = {
        **REQUIRED,
        "ordering.store": '"redis"',
        "ordering.redis_url": '"redis://:c4n4ry@cache"',
        "admin.port": "0",
    }
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_REDIS, str(write(tmp_path, values))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 78, done.stdout + done.stderr
    assert "ordering.misconfigured" in done.stdout
    assert "pip install 'ldsync[redis]'" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "c4n4ry" not in done.stdout + done.stderr


async def test_a_missing_package_is_a_mistake_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the start as in a check."""
    for module in ("redis", "connection"):
        monkeypatch.setitem(sys.modules, f"ldsync.versions.{module}", None)
    with pytest.raises(StoreMisconfigured, match="pip install"):
        open_versions(REDIS, "p/e", Metrics())
    with pytest.raises(StoreMisconfigured, match="pip install"):
        await examine(REDIS)
    (finding,) = await check_ordering(Settings(ordering=REDIS))
    assert finding.state is State.FAILED
    assert "pip install" in finding.detail
