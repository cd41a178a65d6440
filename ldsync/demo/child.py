"""The real `ldsync run`, as a process of its own with a configuration file of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

import aiohttp

from ldsync.demo.scrape import Reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["Child", "ChildDied", "Value"]

Value = str | int | float | list[str]
"""What a key of the configuration file may hold here."""

_COMMAND = (sys.executable, "-m", "ldsync", "run")
_READY_SECONDS = 40.0
_SCRAPE_SECONDS = 5.0
_POLL_SECONDS = 0.05
_LINES = 20


class ChildDied(RuntimeError):
    """`ldsync run` ended, or did not become ready; the message ends with what it logged last."""


class Child:
    """One `ldsync run`: written out, started, watched and stopped.

    Attributes:
        url: of its admin endpoints, for example `http://127.0.0.1:40123`.
        config: its configuration file.
        log: the file that holds everything it printed.
    """

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, Mapping[str, Value]],
        token: str,
        command: Sequence[str] = _COMMAND,
    ) -> None:
        """Write configuration and token into a directory that only this user can read."""
        self._command = command
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.log = directory / "ldsync.log"
        self.config = directory / "config.toml"
        self._token = directory / "token"
        admin: dict[str, Value] = {"host": "127.0.0.1", "port": port}
        self.config.write_text(_toml({**settings, "admin": admin}), encoding="utf-8")
        self._token.write_text(token, encoding="utf-8")
        self._token.chmod(0o600)
        self._process: asyncio.subprocess.Process | None = None
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Start it and wait until it says that it is ready.

        Raises:
            ChildDied: it ended, or is not ready after 40 seconds.
        """
        # Nothing that is set for another ldsync may leak into this one.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("LDSYNC_")}
        environment["LDSYNC_LAUNCHDARKLY__API_TOKEN_FILE"] = str(self._token)
        timeout = aiohttp.ClientTimeout(total=_SCRAPE_SECONDS)
        self._session = aiohttp.ClientSession(timeout=timeout)
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(*self._command, "--config", str(self.config)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # a Ctrl-C at the terminal is ours to pass on
            )
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await self._ready()
        except TimeoutError:
            raise ChildDied(self._said("is not ready after 40 seconds")) from None

    async def read(self) -> Reading:
        """Scrape its metrics.

        Raises:
            ChildDied: it is not there any more, or does not answer.
        """
        session = self._alive()
        try:
            async with session.get(f"{self.url}/metrics") as answer:
                return Reading.parse(await answer.text())
        except (aiohttp.ClientError, TimeoutError):
            await asyncio.sleep(_POLL_SECONDS)
            self._alive()
            raise ChildDied(self._said("does not answer on /metrics")) from None

    async def stop(self, patience_seconds: float) -> int | None:
        """Ask it to drain and stop (SIGTERM); kill it when it takes longer than that.

        Returns:
            Its exit code, negative for the signal that killed it; None if it never started.
        """
        if self._session is not None:
            await self._session.close()
        if self._process is None or self._process.returncode is not None:
            return None if self._process is None else self._process.returncode
        self._process.send_signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self._process.wait(), patience_seconds)
        except TimeoutError:
            return await self._kill()
        except asyncio.CancelledError:
            await self._kill()
            raise

    async def _kill(self) -> int | None:
        if self._process is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        return await self._process.wait()

    def last_lines(self, count: int = _LINES) -> str:
        """The end of what it printed."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-count:]) or "(it printed nothing)"

    async def _ready(self) -> None:
        while True:
            session = self._alive()
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(f"{self.url}/readyz") as answer:
                    if answer.ok:
                        return
            await asyncio.sleep(_POLL_SECONDS)

    def _alive(self) -> aiohttp.ClientSession:
        """The session to talk to it with.

        Raises:
            ChildDied: there is nobody to talk to.
        """
        if self._process is None or self._session is None:
            raise ChildDied("ldsync run was not started")
        if (code := self._process.returncode) is not None:
            raise ChildDied(self._said(f"ended with exit code {code}"))
        return self._session

    def _said(self, what: str) -> str:
        return f"ldsync run {what}. It printed last:\n{self.last_lines()}"


def _toml(settings: Mapping[str, Mapping[str, Value]]) -> str:
    """A configuration file; JSON's way of writing these values is TOML's as well."""
    tables = []
    for table, keys in settings.items():
        lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
        tables.append("\n".join([f"[{table}]", *lines, ""]))
    return "\n".join(tables)


def _free_port() -> int:
    """A loopback port that is free now; it is ldsync's a moment later."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
