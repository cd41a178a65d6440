"""A real Redis, started from the `redis-server` on the path, for the suites marked `redis`.

It keeps nothing on disk, so that a restart is a loss. `missing_tools` says what a machine lacks.
"""

import contextlib
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import AuthenticationError, RedisError

from tests.support.certificates import Certificates
from tests.support.ports import unused_port

START_LIMIT = 20.0  # seconds; a start takes a few hundredths


def missing_tools() -> list[str]:
    """What must be installed for a Redis to run, in words for a person; [] if nothing."""
    return [] if shutil.which("redis-server") else ["Redis (redis-server)"]


class RealRedis:
    """A Redis of its own. Made stopped; `start` it, and `stop` it in a `finally`.

    Args:
        directory: Where its log is; created if missing.
        password: What clients must give, if any.
        certificates: When given it speaks TLS only, and wants a client certificate.
        options: Further options of the server, name and value.
    """

    def __init__(
        self,
        directory: Path,
        *,
        password: str = "",
        certificates: Certificates | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        self.port = unused_port()
        self.password = password
        self._certificates = certificates
        self._directory = directory
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        #: A client of the test's own, for what ldsync never does.
        self.client: Any = Redis(port=self.port, **self._credentials())

    def _credentials(self) -> dict[str, Any]:
        credentials: dict[str, Any] = {"password": self.password or None, "socket_timeout": 5.0}
        if self._certificates is not None:
            credentials |= {
                "ssl": True,
                "ssl_ca_certs": str(self._certificates.authority),
                "ssl_certfile": str(self._certificates.client_certificate),
                "ssl_keyfile": str(self._certificates.client_key),
            }
        return credentials

    @property
    def url(self) -> str:
        """What `ordering.redis_url` must be to reach it."""
        user = f":{self.password}@" if self.password else ""
        if self._certificates is None:
            return f"redis://{user}127.0.0.1:{self.port}/0"
        files = self._certificates
        return (
            f"rediss://{user}127.0.0.1:{self.port}/0?ssl_ca_certs={files.authority}"
            f"&ssl_certfile={files.client_certificate}&ssl_keyfile={files.client_key}"
        )

    def start(self) -> None:
        """Start, or start again on the same port, empty, and wait until it answers."""
        assert self._process is None, "it is running already"
        self._directory.mkdir(parents=True, exist_ok=True)
        log = self._directory / f"redis-{self.port}.log"
        command = ["redis-server", "--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]
        command += ["--dir", str(self._directory), "--logfile", str(log)]
        command += self._listening()
        command += ["--requirepass", self.password] if self.password else []
        self._process = subprocess.Popen([*command, *self._options], start_new_session=True)
        deadline = time.monotonic() + START_LIMIT
        while not self._is_up():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"Redis did not start:\n{log.read_text(errors='replace')}")
            time.sleep(0.01)

    def _listening(self) -> list[str]:
        if self._certificates is None:
            return ["--port", str(self.port)]
        files = self._certificates
        options = ["--port", "0", "--tls-port", str(self.port)]
        options += ["--tls-ca-cert-file", str(files.authority)]
        # Certificate and key in one file.
        server = str(files.server.keystore)
        return [*options, "--tls-cert-file", server, "--tls-key-file", server]

    def _is_up(self) -> bool:
        with contextlib.suppress(RedisError, OSError):
            return bool(self.client.ping())
        return False

    def kill(self) -> None:
        """End it at once. Nothing happens if it is not running."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """End it and start it again: what it knew is lost."""
        self.kill()
        self.start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Have it answer nothing, while connections stay."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Close our client and end it; nothing of it is worth waiting for."""
        with contextlib.suppress(RedisError, OSError, AuthenticationError):
            self.client.close()
        self.kill()


@contextlib.contextmanager
def running(redis: RealRedis) -> Iterator[RealRedis]:
    """Start a Redis and end it."""
    try:
        redis.start()
        yield redis
    finally:
        redis.stop()
