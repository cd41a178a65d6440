"""`ldsync run` as an operator runs it: a process with a file, signals and an exit code."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support.eventually import eventually
from tests.support.ports import unused_port

# Long and odd enough to be found wherever it leaks.
TOKEN = "api-0f1e2d3c-secret-5a69-8778-token-b4c3d2e1f001"
OUTCOMES = ["ignored", "skipped", "invalid", "coalesced", "delivered", "rejected", "abandoned"]
Tables = Mapping[str, Mapping[str, Any]]

# Every duration of the lifecycle, scaled down together (docs/design.md, "Lifecycle").
QUICK: Tables = {
    "kafka": {
        "session_timeout_seconds": 6,
        "heartbeat_interval_seconds": 1,
        "rebalance_timeout_seconds": 10,
        "request_timeout_seconds": 12,
        "commit_interval_seconds": 0.5,
        "start_timeout_seconds": 20,
    },
    "launchdarkly": {"timeout_seconds": 3},
    "ordering": {"settle_seconds": 4},
    "retry": {"initial_seconds": 0.1, "max_seconds": 1},
    "shutdown": {"drain_seconds": 6, "commit_seconds": 2},
    "log": {"level": "debug", "format": "json"},
}


def merged(*layers: Tables) -> dict[str, dict[str, Any]]:
    """Tables of settings laid over each other; later ones win, key by key."""
    result: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for table, values in layer.items():
            result.setdefault(table, {}).update(values)
    return result


class LdsyncProcess:
    """One process. Made stopped; `start` it, and `kill` it in a `finally`.

    Args:
        directory: Where its configuration and its output go; made, and of this process alone.
        settings: Tables of the configuration file beside the token, which is in the environment.
        environment: Further environment variables.
        mappings: The mappings of the configuration file, as TOML.
        files: How many files it may have open, if not as many as the test run.
    """

    def __init__(
        self,
        directory: Path,
        settings: Tables,
        environment: Mapping[str, str] | None = None,
        token: str = TOKEN,
        mappings: str = "",
        files: int | None = None,
    ) -> None:
        self.port = unused_port()
        self._settings = merged({"admin": {"port": self.port}}, settings)
        own = {"LDSYNC_LAUNCHDARKLY__API_TOKEN": token} if token else {}
        self._environment = own | dict(environment or {})
        self._mappings = mappings
        self._files = files
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, without waiting for anything."""
        self._directory.mkdir(parents=True)
        config = self._directory / "ldsync.toml"
        config.write_text(_toml(self._settings) + self._mappings)
        # None of the test run's own settings, and no proxy between the loopback addresses.
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("LDSYNC_") and not name.lower().endswith("_proxy")
        }
        command = [sys.executable, "-m", "ldsync", "run", "--config", str(config)]
        if self._files is not None:
            command = ["sh", "-c", f'ulimit -n {self._files}; exec "$@"', "sh", *command]
        with (self._directory / "output").open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**kept, **self._environment},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def output(self) -> str:
        """Everything it wrote so far, standard output and standard error."""
        return (self._directory / "output").read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it by SIGKILL if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def poll(self) -> int | None:
        """Its exit code as `exit_code` tells it; None while it runs."""
        assert self._process is not None
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    async def exit_code(self, limit: float = 15.0) -> int:
        """Its exit code once it has ended; 128 + n if by signal n, as a shell says.

        Raises:
            AssertionError: It did not end within `limit` seconds.
        """
        process = self._process
        assert process is not None
        try:
            code = await asyncio.to_thread(process.wait, limit)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {limit} s:\n{self.output[-4000:]}") from None
        return code if code >= 0 else 128 - code

    async def ask(self, path: str) -> tuple[int, str]:
        """Status and body of a page of its admin endpoint; (0, why) while nobody answers there."""
        return await asyncio.to_thread(self._ask, path)

    def _ask(self, path: str) -> tuple[int, str]:
        assert self._process is not None
        assert self._process.poll() is None, f"ldsync ended:\n{self.output[-4000:]}"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read().decode()
        except OSError as problem:
            return 0, str(problem)

    async def until_ready(self, limit: float = 30.0) -> None:
        """Wait until `/readyz` says 200."""

        async def ready() -> bool:
            return (await self.ask("/readyz"))[0] == 200

        try:
            await eventually(ready, "ldsync is ready", limit)
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n{self.output[-4000:]}") from None

    async def scrape(self) -> "Scrape":
        """Its metrics as they are now; none while nobody answers."""
        status, text = await self.ask("/metrics")
        families = text_string_to_metric_families(text) if status == 200 else ()
        return Scrape(
            [(each.name, each.labels, each.value) for family in families for each in family.samples]
        )

    async def metric(self, name: str, **labels: str) -> float:
        """One metric as it is now; see `Scrape.total`."""
        return (await self.scrape()).total(name, **labels)


@dataclass(frozen=True, slots=True)
class Scrape:
    """What `/metrics` said at one moment: name, labels and value of every sample."""

    samples: list[tuple[str, dict[str, str], float]]

    def total(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name that carry these labels; 0 if there are none."""
        return sum(
            value
            for each, own, value in self.samples
            if each == name and labels.items() <= own.items()
        )

    def unexplained(self) -> float:
        """P7: records consumed that neither have an outcome nor are pending; 0 if all is well."""
        told = sum(self.total("ldsync_records_total", outcome=outcome) for outcome in OUTCOMES)
        pending = self.total("ldsync_records_pending")
        return self.total("ldsync_records_consumed_total") - told - pending


def _toml(tables: Tables) -> str:
    # Strings, numbers, booleans and lists of them are written alike in TOML and JSON.
    lines = []
    for table, values in tables.items():
        lines.append(f"[{table}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"
