"""Which errors of the brokers pass, which do not, and how often they are told."""

import pytest
import structlog
from aiokafka.errors import (
    CorruptRecordException,
    GroupAuthorizationFailedError,
    InconsistentGroupProtocolError,
    InvalidGroupIdError,
    InvalidSessionTimeoutError,
    KafkaConnectionError,
    KafkaError,
    RecordTooLargeError,
    RequestTimedOutError,
    TopicAuthorizationFailedError,
    UnsupportedCodecError,
)
from structlog.testing import capture_logs

from ldsync.config import KafkaSettings
from ldsync.kafka import SourceFailed, trouble
from ldsync.kafka.errors import SourceRefused
from ldsync.kafka.trouble import Trouble


@pytest.fixture
def troubles() -> Trouble:
    """With the default settings."""
    return Trouble(KafkaSettings(), structlog.get_logger())


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TopicAuthorizationFailedError("events"), "read events: grant Read and Describe"),
        (GroupAuthorizationFailedError("ldsync"), r"consumer group ldsync: grant Read on the gr"),
        (InconsistentGroupProtocolError(), "group ldsync is in use by consumers"),
        (InvalidGroupIdError(), "kafka.group_id = 'ldsync'"),
        (InvalidSessionTimeoutError(), "kafka.session_timeout_seconds = 30:"),
        (RecordTooLargeError("x"), "kafka.max_partition_fetch_bytes = 1048576"),
        (CorruptRecordException("Invalid CRC"), "damaged .*Invalid CRC"),
        (UnsupportedCodecError("zstd"), "compressed in a way .*zstd"),
        (ValueError("cannot unpack"), "cannot unpack"),
        (SourceFailed("said before"), "said before"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_waiting_does_not_heal_ends_the_process(
    troubles: Trouble, error: Exception, words: str
) -> None:
    """At once, in an operator's words."""
    with pytest.raises(SourceFailed, match=words):
        troubles.weigh(error)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TopicAuthorizationFailedError("events"), SourceRefused),
        (GroupAuthorizationFailedError("ldsync"), SourceRefused),
        (InvalidGroupIdError(), SourceRefused),
        (CorruptRecordException("Invalid CRC"), SourceFailed),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_a_person_must_correct_is_told_from_what_a_restart_may_heal(
    troubles: Trouble, error: Exception, kind: type[SourceFailed]
) -> None:
    """The one is exit code 78, the other 1."""
    with pytest.raises(SourceFailed) as caught:
        troubles.weigh(error)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    "error", [KafkaConnectionError(), RequestTimedOutError(), TimeoutError()], ids=repr
)
def test_brokers_that_are_away_may_be_away_for_ever(
    troubles: Trouble, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """However long ago it began."""
    monkeypatch.setattr(trouble, "GIVE_UP_SECONDS", 0.0)

    troubles.weigh(error)
    troubles.weigh(error)


def test_a_client_that_only_fails_is_started_afresh(
    troubles: Trouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a time; a poll that went well lets the time begin again."""
    clock = [100.0]
    monkeypatch.setattr("ldsync.kafka.trouble.time.monotonic", lambda: clock[0])
    for now in (100.0, 159.0):
        clock[0] = now
        troubles.weigh(KafkaError("strange"))
    troubles.over()
    for now in (161.0, 220.0):
        clock[0] = now
        troubles.weigh(KafkaError("strange"))
    clock[0] = 222.0

    with pytest.raises(SourceFailed, match=r"failing for 60 s.*strange.*started afresh"):
        troubles.weigh(KafkaError("strange"))


def test_the_same_trouble_is_told_once_a_minute(
    troubles: Trouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the number of times that were left out."""
    clock = [100.0]
    monkeypatch.setattr("ldsync.kafka.trouble.time.monotonic", lambda: clock[0])
    with capture_logs() as logs:
        for now in (100.0, 101.0, 102.0, 161.0):
            clock[0] = now
            troubles.report("poll", KafkaConnectionError("gone"))
        troubles.report("commit", "no answer in 5 s")

    assert [(entry["doing"], entry["error"], entry["suppressed"]) for entry in logs] == [
        ("poll", "KafkaConnectionError: gone", 0),
        ("poll", "KafkaConnectionError: gone", 2),
        ("commit", "no answer in 5 s", 0),
    ]
