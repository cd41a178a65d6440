"""One node of real Apache Kafka, started from its jars, for the suites marked `broker`.

A combined broker and controller in a directory and on ports of its own, so that it can be killed
and come back as the same node. `missing_tools` says what a machine lacks for it.
"""

import base64
import contextlib
import itertools
import signal
import subprocess
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.support.kafka_admin import KafkaAdmin
from tests.support.kafka_jars import jars, missing_tools
from tests.support.ports import unused_port

__all__ = ["KafkaUnavailable", "RealKafka", "Tls", "missing_tools"]

START_LIMIT = 60.0  # seconds; a start takes one or two, on a busy machine with two cores up to ten
STOP_LIMIT = 10.0
_LOGIN = "org.apache.kafka.common.security"


class KafkaUnavailable(RuntimeError):
    """The broker did not come up; the message ends with what it wrote last."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Files (PEM) of a listener with TLS: key and chain in one, and who may sign clients."""

    keystore: Path
    truststore: Path


class RealKafka:
    """A broker. Made stopped; `start` it, and `stop` it in a `finally`.

    Args:
        directory: Where its configuration, log (`server.log`) and data live; created if missing.
        plain_users: Name → password of users of SASL PLAIN. When given (it may be empty) there is a
            second listener, `sasl_bootstrap_servers`, with PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 (see
            `KafkaAdmin.add_scram_user`) and OAUTHBEARER with unsecured tokens.
        tls: When given there is a listener that demands a client certificate,
            `ssl_bootstrap_servers`; with `plain_users` also one with SASL and TLS,
            `sasl_ssl_bootstrap_servers`, which demands none.
        expired: When given there is one that shows this certificate, `expired_bootstrap_servers`.
        config: Further broker settings.
        advertised: Listeners without security beside the usual one, each named by the port under
            which clients are told to come back: that of a proxy which leads to `port(name)`.
        joins: A started node, whose cluster this one becomes a second broker of.
        jvm: Further options of the Java machine, after ours.
    """

    def __init__(
        self,
        directory: Path,
        *,
        plain_users: Mapping[str, str] | None = None,
        tls: Tls | None = None,
        expired: Tls | None = None,
        config: Mapping[str, str] | None = None,
        advertised: Mapping[str, int] | None = None,
        joins: "RealKafka | None" = None,
        jvm: Iterable[str] = (),
    ) -> None:
        self.directory = directory
        self._advertised = dict(advertised or {})
        self._joins = joins
        self._plain_users = plain_users
        self._tls = tls
        self._expired = expired
        self._extra = dict(config or {})
        self._jvm = list(jvm)
        self._ports = {"PLAINTEXT": unused_port(), "CONTROLLER": unused_port()}
        self._ports |= {name: unused_port() for name in self._advertised}
        if plain_users is not None:
            self._ports["SASL_PLAINTEXT"] = unused_port()
        if tls is not None:
            self._ports["SSL"] = unused_port()
        if tls is not None and plain_users is not None:
            self._ports["SASL_SSL"] = unused_port()
        if expired is not None:
            self._ports["EXPIRED"] = unused_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._names = itertools.count()
        # It may not begin with "-": the tool that formats would take it for an option.
        identity = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        #: The cluster's.
        self.identity: str = joins.identity if joins else f"k{identity[1:]}"
        self.admin = KafkaAdmin(self.bootstrap_servers)

    @property
    def bootstrap_servers(self) -> str:
        """Where clients without security connect."""
        return f"127.0.0.1:{self._ports['PLAINTEXT']}"

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped since."""
        return self._process is not None

    def port(self, listener: str) -> int:
        """Where it listens for those of a listener, by its name."""
        return self._ports[listener]

    @property
    def sasl_bootstrap_servers(self) -> str:
        """Where clients with SASL and no TLS connect."""
        return f"127.0.0.1:{self._ports['SASL_PLAINTEXT']}"

    @property
    def ssl_bootstrap_servers(self) -> str:
        """Where clients with a certificate connect."""
        return f"127.0.0.1:{self._ports['SSL']}"

    @property
    def sasl_ssl_bootstrap_servers(self) -> str:
        """Where clients with SASL and TLS connect."""
        return f"127.0.0.1:{self._ports['SASL_SSL']}"

    @property
    def expired_bootstrap_servers(self) -> str:
        """Where an expired certificate is shown."""
        return f"127.0.0.1:{self._ports['EXPIRED']}"

    def create_topic(
        self, name: str = "", partitions: int = 1, config: Mapping[str, str] | None = None
    ) -> str:
        """Create a topic, named as no other test names one unless told; return its name."""
        name = name or f"events-{next(self._names)}-{uuid.uuid4().hex[:8]}"
        self.admin.create_topic(name, partitions, config)
        return name

    def start(self, limit: float = START_LIMIT) -> None:
        """Start, or start again on the same directory and ports, and wait until it answers.

        Raises:
            KafkaUnavailable: it ended, or did not answer within `limit` seconds.
        """
        assert self._process is None, "it is running already"
        self.directory.mkdir(parents=True, exist_ok=True)
        properties = self.directory / "server.properties"
        with (self.directory / "server.log").open("ab") as log:
            if not properties.exists():
                properties.write_text("".join(f"{k}={v}\n" for k, v in self._config().items()))
                self._format(properties, log)
            options = ["-Xms128m", "-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
            self._process = subprocess.Popen(
                [*_java(*options, *self._jvm), "kafka.Kafka", str(properties)],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                start_new_session=True,  # Ctrl-C is for the test run, which then stops the broker
            )
        self._await_answer(limit)

    def _await_answer(self, limit: float) -> None:
        assert self._process is not None
        deadline = time.monotonic() + limit
        while not self.admin.is_up():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise KafkaUnavailable(f"Kafka did not start:\n{self._last_words()}")

    def stop(self) -> None:
        """Stop by SIGTERM, by SIGKILL after `STOP_LIMIT` seconds; nothing if it is not running."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT)
            self._process = None
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Stop at once, as a crash would. Nothing happens if it is not running."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Have it answer nothing, while connections stay."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Stop in good order and start again."""
        self.stop()
        self.start()

    def _format(self, properties: Path, log: IO[bytes]) -> None:
        tool = [*_java(), "kafka.tools.StorageTool", "format"]
        tool += [] if self._joins else ["--standalone"]
        command = [*tool, "-t", self.identity, "-c", str(properties)]
        if subprocess.run(command, stdout=log, stderr=log, check=False).returncode != 0:
            properties.unlink()
            raise KafkaUnavailable(f"Kafka's storage was not formatted:\n{self._last_words()}")

    def _last_words(self) -> str:
        return (self.directory / "server.log").read_text(errors="replace")[-4000:]

    def _config(self) -> dict[str, str]:
        controller = (self._joins or self).port("CONTROLLER")
        ports = dict(self._ports)
        if self._joins:
            del ports["CONTROLLER"]
        plain = "".join(f",{name}:PLAINTEXT" for name in self._advertised)
        return {
            "process.roles": "broker" if self._joins else "broker,controller",
            "node.id": "2" if self._joins else "1",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
            "listeners": _addresses(ports),
            "advertised.listeners": _addresses(ports | self._advertised),
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,"
            f"SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL,EXPIRED:SSL{plain}",
            "log.dirs": str(self.directory / "data"),
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "offsets.topic.num.partitions": "1",
            # The judge reads every commit: the newest one of a key must not have erased the others.
            "log.cleaner.min.compaction.lag.ms": "86400000",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            "auto.create.topics.enable": "false",
            # A killed node may register again only when its old session is over (default 9 s).
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            **self._sasl_config("sasl_plaintext"),
            **self._sasl_config("sasl_ssl"),
            **_tls_config("ssl", self._tls, "required"),
            **_tls_config("sasl_ssl", self._tls, "none"),
            **_tls_config("expired", self._expired, "none"),
            **self._extra,
        }

    def _sasl_config(self, name: str) -> dict[str, str]:
        if self._plain_users is None:
            return {}
        listener = f"listener.name.{name}"
        users = "".join(f' user_{name}="{word}"' for name, word in self._plain_users.items())
        plain = f"{_LOGIN}.plain.PlainLoginModule required{users};"
        scram = f"{_LOGIN}.scram.ScramLoginModule required;"
        return {
            f"{listener}.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
            f"{listener}.plain.sasl.jaas.config": plain,
            f"{listener}.scram-sha-256.sasl.jaas.config": scram,
            f"{listener}.scram-sha-512.sasl.jaas.config": scram,
            f"{listener}.oauthbearer.sasl.jaas.config": f"{_LOGIN}.oauthbearer."
            'OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";',
        }


def _tls_config(name: str, tls: Tls | None, clients: str) -> dict[str, str]:
    """Settings of a listener; `clients` says whether it demands their certificates."""
    if tls is None:
        return {}
    return {
        f"listener.name.{name}.ssl.keystore.type": "PEM",
        f"listener.name.{name}.ssl.keystore.location": str(tls.keystore),
        f"listener.name.{name}.ssl.truststore.type": "PEM",
        f"listener.name.{name}.ssl.truststore.location": str(tls.truststore),
        f"listener.name.{name}.ssl.client.auth": clients,
    }


def _addresses(ports: Mapping[str, int]) -> str:
    return ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())


def _java(*options: str) -> list[str]:
    return ["java", *options, "-cp", f"{jars()}/*"]
