"""An embedded Kafka cluster for the demo and the tests: librdkafka's mock cluster.

librdkafka carries a small cluster that speaks the real protocol over TCP: topics, produce, fetch,
classic consumer groups, commits. The `confluent-kafka` wheel ships librdkafka as a shared library,
and its public interface (`rdkafka_mock.h`) is called here through ctypes: nothing to compile,
nothing to install beside the wheel, up in milliseconds, gone with the process.

What it cannot do: it keeps nothing on disk, has no ACLs, TLS, SASL, compaction or quotas, and each
partition holds `PARTITION_BYTES`; older records are dropped when more come in. Two members of one
group need `leader_syncs_last`. Groups, restarts, load and security belong on a real broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib.util
from ctypes import c_char_p, c_int, c_int16, c_int32, c_int64, c_size_t, c_void_p
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

__all__ = [
    "PARTITION_BYTES",
    "Api",
    "BrokerFault",
    "BrokerUnavailable",
    "EmbeddedBroker",
    "leader_syncs_last",
]

PARTITION_BYTES = 5 * 1024 * 1024
"""Bytes one partition keeps; the oldest records go when newer ones need the room."""

_INSTALL = (
    "The embedded Kafka broker needs the confluent-kafka package, which is not installed. "
    'Install it with: pip install ".[demo]"'
)

_RD_KAFKA_PRODUCER = 0
_MESSAGE_BYTES = 512


class BrokerUnavailable(RuntimeError):
    """The embedded broker cannot be started here; the message says what to install."""


class BrokerFault(RuntimeError):
    """librdkafka refused a call on the embedded broker."""


class Api(IntEnum):
    """Kafka request types that can be made to fail (the protocol's own numbers)."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14


# name -> (result, arguments), as in rdkafka.h and rdkafka_mock.h.
_SIGNATURES: dict[str, tuple[type | None, tuple[type, ...]]] = {
    "rd_kafka_conf_new": (c_void_p, ()),
    "rd_kafka_conf_set_log_cb": (None, (c_void_p, c_void_p)),
    "rd_kafka_new": (c_void_p, (c_int, c_void_p, c_char_p, c_size_t)),
    "rd_kafka_destroy": (None, (c_void_p,)),
    "rd_kafka_err2str": (c_char_p, (c_int,)),
    "rd_kafka_mock_cluster_new": (c_void_p, (c_void_p, c_int)),
    "rd_kafka_mock_cluster_destroy": (None, (c_void_p,)),
    "rd_kafka_mock_cluster_bootstraps": (c_char_p, (c_void_p,)),
    "rd_kafka_mock_topic_create": (c_int, (c_void_p, c_char_p, c_int, c_int)),
    "rd_kafka_mock_topic_set_error": (None, (c_void_p, c_char_p, c_int)),
    "rd_kafka_mock_partition_delete_records": (c_int, (c_void_p, c_char_p, c_int32, c_int64)),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, (c_void_p, c_int32)),
    "rd_kafka_mock_push_request_errors_array": (None, (c_void_p, c_int16, c_size_t, c_void_p)),
    "rd_kafka_mock_clear_request_errors": (None, (c_void_p, c_int16)),
    "rd_kafka_mock_broker_set_down": (c_int, (c_void_p, c_int32)),
    "rd_kafka_mock_broker_set_up": (c_int, (c_void_p, c_int32)),
    "rd_kafka_mock_broker_set_rtt": (c_int, (c_void_p, c_int32, c_int)),
}


class EmbeddedBroker:
    """A Kafka cluster inside this process, listening on loopback ports of its own choice.

    `start` (or `with`) brings it up, `close` takes it down with everything in it. Calls take
    microseconds and may be made from any thread, an event loop's included. Brokers are numbered
    from 1.

    Raises:
        BrokerUnavailable: on `start`, when confluent-kafka is missing or unusable.
        BrokerFault: on any later call that librdkafka refuses.
    """

    def __init__(self, brokers: int = 1) -> None:
        self._brokers = brokers
        self._lib: ctypes.CDLL | None = None
        self._handle: int | None = None
        self._cluster: int | None = None

    def start(self) -> Self:
        """Bring the cluster up; it listens when this returns."""
        if self._cluster is not None:
            return self
        lib = _load()
        conf = lib.rd_kafka_conf_new()
        lib.rd_kafka_conf_set_log_cb(conf, None)  # a broker taken down on purpose is no news
        message = ctypes.create_string_buffer(_MESSAGE_BYTES)
        handle = lib.rd_kafka_new(_RD_KAFKA_PRODUCER, conf, message, _MESSAGE_BYTES)
        if not handle:
            raise BrokerUnavailable(f"librdkafka does not start: {message.value.decode()}")
        cluster = lib.rd_kafka_mock_cluster_new(handle, self._brokers)
        if not cluster:
            lib.rd_kafka_destroy(handle)
            raise BrokerUnavailable("librdkafka's mock cluster does not start: no loopback port?")
        self._lib, self._handle, self._cluster = lib, handle, cluster
        self.delay_first_rebalance(0.0)
        return self

    def close(self) -> None:
        """Take the cluster down; connections break and everything in it is gone."""
        if self._lib is None:
            return
        self._lib.rd_kafka_mock_cluster_destroy(self._cluster)
        self._lib.rd_kafka_destroy(self._handle)
        self._lib = self._handle = self._cluster = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def bootstrap_servers(self) -> str:
        """`host:port` of every broker, comma-separated: what Kafka clients are given."""
        servers: bytes = self._running().rd_kafka_mock_cluster_bootstraps(self._cluster)
        return servers.decode()

    def create_topic(self, name: str, partitions: int = 1) -> None:
        """Make an empty topic; each partition is kept on one broker."""
        lib = self._running()
        self._checked(
            f"create topic {name}",
            lib.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1),
        )

    def delete_records(self, topic: str, partition: int, before_offset: int) -> None:
        """Drop a partition's records below `before_offset`, as retention would."""
        lib = self._running()
        self._checked(
            f"delete records of {topic}-{partition}",
            lib.rd_kafka_mock_partition_delete_records(
                self._cluster, topic.encode(), partition, before_offset
            ),
        )

    def delay_first_rebalance(self, seconds: float) -> None:
        """How long a group that was empty waits for more members; 0 after `start`."""
        lib = self._running()
        lib.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, round(seconds * 1000))

    def fail(self, api: Api, *codes: int) -> None:
        """The next `len(codes)` requests of this type are answered with these error codes.

        Codes are the Kafka protocol's (0 answers properly), on any broker of the cluster.
        """
        array = (c_int * len(codes))(*codes)
        lib = self._running()
        lib.rd_kafka_mock_push_request_errors_array(self._cluster, api, len(codes), array)

    def clear_failures(self, api: Api) -> None:
        """Forget what `fail` announced for this type and did not happen yet."""
        self._running().rd_kafka_mock_clear_request_errors(self._cluster, api)

    def fail_topic(self, name: str, code: int) -> None:
        """Metadata of this topic carries the error code until it is set to 0."""
        self._running().rd_kafka_mock_topic_set_error(self._cluster, name.encode(), code)

    def take_down(self, broker: int = 1) -> None:
        """Break the broker's connections and refuse new ones."""
        lib = self._running()
        self._checked("take down", lib.rd_kafka_mock_broker_set_down(self._cluster, broker))

    def bring_up(self, broker: int = 1) -> None:
        """Let a broker that was taken down accept connections again, with all it had."""
        lib = self._running()
        self._checked("bring up", lib.rd_kafka_mock_broker_set_up(self._cluster, broker))

    def slow_down(self, seconds: float, broker: int = 1) -> None:
        """Every answer of the broker comes this much later; 0 ends it."""
        lib = self._running()
        milliseconds = round(seconds * 1000)
        self._checked(
            "slow down", lib.rd_kafka_mock_broker_set_rtt(self._cluster, broker, milliseconds)
        )

    def _running(self) -> ctypes.CDLL:
        if self._lib is None:
            raise BrokerFault("The embedded broker is not running: call start() first")
        return self._lib

    def _checked(self, call: str, code: int) -> None:
        if code != 0:
            text: bytes = self._running().rd_kafka_err2str(code)
            raise BrokerFault(f"The embedded broker refused to {call}: {text.decode()}")


@contextlib.contextmanager
def leader_syncs_last(delay_seconds: float = 0.1) -> Iterator[None]:
    """Hold back this process's group leaders, for groups of several members.

    The mock closes its sync phase as soon as the leader's SyncGroup is in, and then refuses the
    other members'; a real broker answers them. So the leader has to come last. It is chosen by the
    broker and computes the assignment inside aiokafka: that is the one place to wait.
    """
    from aiokafka.consumer.group_coordinator import GroupCoordinator  # noqa: PLC0415

    perform = GroupCoordinator._perform_assignment  # noqa: SLF001

    async def later(self: GroupCoordinator, *args: object) -> object:
        await asyncio.sleep(delay_seconds)
        return await perform(self, *args)

    GroupCoordinator._perform_assignment = later  # noqa: SLF001
    try:
        yield
    finally:
        GroupCoordinator._perform_assignment = perform  # noqa: SLF001


def _load() -> ctypes.CDLL:
    """The wheel's librdkafka, with the signatures of what is called here."""
    spec = importlib.util.find_spec("confluent_kafka")
    if spec is None or spec.origin is None:
        raise BrokerUnavailable(_INSTALL)
    package = Path(spec.origin).parent
    # Where the wheels put it: Linux beside the package, macOS inside it.
    candidates = [
        *sorted(package.with_name("confluent_kafka.libs").glob("librdkafka-*.so*")),
        *sorted((package / ".dylibs").glob("librdkafka*.dylib")),
    ]
    if not candidates:
        raise BrokerUnavailable(
            f"No librdkafka beside {package}: confluent-kafka was not installed from its wheel. "
            'Install the wheel with: pip install --only-binary confluent-kafka ".[demo]"'
        )
    lib = ctypes.CDLL(str(candidates[0]))
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(lib, name)
        function.restype = result
        function.argtypes = arguments
    return lib
