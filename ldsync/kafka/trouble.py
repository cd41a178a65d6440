"""Troubles with the brokers: what passes is logged now and then, what does not ends the process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aiokafka.errors import (
    CorruptRecordException,
    GroupAuthorizationFailedError,
    InconsistentGroupProtocolError,
    InvalidGroupIdError,
    InvalidSessionTimeoutError,
    KafkaError,
    RecordTooLargeError,
    TopicAuthorizationFailedError,
    UnsupportedCodecError,
)

from ldsync.kafka.errors import SourceFailed, SourceRefused
from ldsync.telemetry.throttle import Throttle

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from ldsync.config import KafkaSettings

QUIET_SECONDS = 60.0
"""While brokers are away nearly everything fails, several times a second."""

GIVE_UP_SECONDS = 60.0
"""How long the client may go on failing for reasons other than brokers that are away."""

_FATAL = {
    TopicAuthorizationFailedError: (
        "Kafka does not let this user read {error.args[0]}: grant Read and Describe on the topic"
    ),
    GroupAuthorizationFailedError: (
        "Kafka does not let this user join the consumer group {group}: grant Read on the group "
        "(kafka.group_id)"
    ),
    InconsistentGroupProtocolError: (
        "The consumer group {group} is in use by consumers that share out partitions in another "
        "way: give ldsync a group of its own (kafka.group_id)"
    ),
    InvalidGroupIdError: "Kafka does not accept kafka.group_id = {group!r}",
    InvalidSessionTimeoutError: (
        "Kafka does not accept kafka.session_timeout_seconds = {session:g}: the brokers' "
        "group.min.session.timeout.ms and group.max.session.timeout.ms are the limits"
    ),
    # Only brokers from before Kafka 0.11; newer ones send a record that is too large alone.
    RecordTooLargeError: (
        "A record is larger than kafka.max_partition_fetch_bytes = {size}: ldsync stops rather "
        "than leave it out; raise that setting"
    ),
    CorruptRecordException: (
        "A record arrived damaged ({error}): ldsync stops rather than leave it out; if this comes "
        "again after a restart, the brokers' copy of that partition is damaged"
    ),
    UnsupportedCodecError: "Records are compressed in a way that ldsync cannot read: {error}",
}

_TO_CORRECT = {
    TopicAuthorizationFailedError,
    GroupAuthorizationFailedError,
    InconsistentGroupProtocolError,
    InvalidGroupIdError,
    InvalidSessionTimeoutError,
}


class Trouble:
    """What goes wrong between us and the brokers.

    Args:
        settings: Values that messages repeat.
        log: Where it is said, as `kafka.unreachable`, at most once in `QUIET_SECONDS`
            for each thing that was tried.
    """

    def __init__(self, settings: KafkaSettings, log: FilteringBoundLogger) -> None:
        self._settings = settings
        self._log = log
        self._throttle = Throttle(QUIET_SECONDS)
        self._since: float | None = None

    def report(self, doing: str, error: BaseException | str) -> None:
        """Something failed and will be tried again.

        Args:
            doing: What was tried: `commit`, `poll`, `lag`.
            error: What happened.
        """
        suppressed = self._throttle.allow(doing, time.monotonic())
        if suppressed is not None:
            self._log.warning(
                "kafka.unreachable",
                doing=doing,
                error=str(error) or type(error).__name__,
                suppressed=suppressed,
            )

    def weigh(self, error: BaseException) -> None:
        """Judge what a poll raised: return if it may pass.

        Raises:
            SourceFailed: it will not, or has not for `GIVE_UP_SECONDS`.
        """
        if isinstance(error, SourceFailed):
            raise error
        if type(error) in _FATAL:
            kind = SourceRefused if type(error) in _TO_CORRECT else SourceFailed
            raise kind(self._words(error)) from error
        if not isinstance(error, KafkaError | TimeoutError):
            raise SourceFailed(f"The Kafka client failed: {error!r}") from error
        if isinstance(error, TimeoutError) or error.retriable:
            return
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since >= GIVE_UP_SECONDS:
            raise SourceFailed(
                f"The Kafka client has been failing for {GIVE_UP_SECONDS:g} s: {error!r}; ldsync "
                "stops so that it can be started afresh"
            ) from error

    def over(self) -> None:
        """A poll went well."""
        self._since = None

    def _words(self, error: BaseException) -> str:
        return _FATAL[type(error)].format(
            error=error,
            group=self._settings.group_id,
            session=self._settings.session_timeout_seconds,
            size=self._settings.max_partition_fetch_bytes,
        )
