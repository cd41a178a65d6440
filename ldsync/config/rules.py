"""What must hold between keys, and what must be given at all.

Each rule is a function from the settings to its violations. A violation names every key that it
depends on, so that a rule is not applied to values that are already known to be wrong.
"""

import os.path
import re
import ssl
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ldsync.config.values import INSTANCES
from ldsync.config.violation import Violation
from ldsync.config.write_paths import context_kinds, synced

if TYPE_CHECKING:
    from ldsync.config.settings import Settings

_HEARTBEATS_PER_SESSION = 3
# What ldsync.kafka.topics leaves out of a pattern.
_DEAD_LETTERS = (".dead-letters", ".ldsync-dead-letters")
_LONGEST_TOPIC = 249
_SSL_KEYS = ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_key_password")
_is_file = os.path.isfile  # unlike that of a Path it bears names that are too long


def violations(settings: "Settings") -> Iterator[Violation]:
    """All violations of all rules."""
    for rule in _RULES:
        yield from rule(settings)


def _required(settings: "Settings") -> Iterator[Violation]:
    launchdarkly = settings.launchdarkly
    if not launchdarkly.api_token.get_secret_value():
        yield Violation(
            ("launchdarkly.api_token",),
            "is required: set LDSYNC_LAUNCHDARKLY__API_TOKEN, or "
            "LDSYNC_LAUNCHDARKLY__API_TOKEN_FILE to the path of a file that holds it",
        )
    yield from _environment_named(settings)


def _environment_named(settings: "Settings") -> Iterator[Violation]:
    """What is needed to know which environment is meant, on which write path."""
    launchdarkly = settings.launchdarkly
    if launchdarkly.write_path == "synced" and not launchdarkly.client_side_id:
        yield Violation(
            ("launchdarkly.client_side_id", "launchdarkly.write_path"),
            'is required while launchdarkly.write_path is "synced": it is all that these '
            "requests name the environment by",
        )
        return
    given = {
        "launchdarkly.project_key": launchdarkly.project_key,
        "launchdarkly.environment_key": launchdarkly.environment_key,
    }
    missing = [key for key, value in given.items() if not value]
    if len(missing) == 1:
        (other,) = given.keys() - set(missing)
        yield Violation(
            (missing[0], other), f"is required with {other}: one does not name an environment"
        )
    elif missing and not launchdarkly.client_side_id:
        yield Violation(
            ("launchdarkly.client_side_id", *given),
            "is required: LaunchDarkly shows it with the keys of the environment (or set "
            "launchdarkly.project_key and launchdarkly.environment_key)",
        )


def _topics(settings: "Settings") -> Iterator[Violation]:
    kafka = settings.kafka
    keys = ("kafka.topics", "kafka.topic_pattern")
    if kafka.topics and kafka.topic_pattern:
        yield Violation(
            tuple(reversed(keys)), "excludes kafka.topics: leave out one of them, or set it empty"
        )
    if not kafka.topics and not kafka.topic_pattern:
        yield Violation(keys, "must name at least one topic (or set kafka.topic_pattern)")


def _dead_letters(settings: "Settings") -> Iterator[Violation]:
    """What ldsync writes must not come in again."""
    kafka, topic = settings.kafka, settings.dead_letters.topic
    if not settings.dead_letters.enabled:
        return
    written = {topic} if topic else {f"{name}{_DEAD_LETTERS[0]}" for name in kafka.topics}
    for name in sorted(written & set(kafka.topics)):
        yield Violation(
            ("dead_letters.topic", "kafka.topics"),
            f"would have ldsync read its own dead letters: {name} is in kafka.topics",
        )
    if (
        topic
        and kafka.topic_pattern
        and not topic.endswith(_DEAD_LETTERS)
        and re.compile(kafka.topic_pattern).fullmatch(topic)
    ):
        yield Violation(
            ("dead_letters.topic", "kafka.topic_pattern"),
            "would have ldsync read its own dead letters: kafka.topic_pattern matches it. A name "
            f"that ends with {_DEAD_LETTERS[0]} is never matched",
        )
    longest = _LONGEST_TOPIC - len(_DEAD_LETTERS[0])
    for name in kafka.topics if not topic else ():
        if len(name) > longest:
            yield Violation(
                ("dead_letters.topic", "kafka.topics"),
                f"is required: {name}{_DEAD_LETTERS[0]} is too long for a topic",
            )


def _sasl(settings: "Settings") -> Iterator[Violation]:
    kafka = settings.kafka
    given = {
        "kafka.sasl_username": bool(kafka.sasl_username),
        "kafka.sasl_password": bool(kafka.sasl_password.get_secret_value()),
        "kafka.sasl_oauth_token_provider": bool(kafka.sasl_oauth_token_provider),
    }
    if kafka.security_protocol not in {"SASL_PLAINTEXT", "SASL_SSL"}:
        wanted: set[str] = set()
        context: tuple[str, ...] = ("kafka.security_protocol",)
        why = f"kafka.security_protocol is {kafka.security_protocol}"
    else:
        oauth = {"kafka.sasl_oauth_token_provider"}
        wanted = oauth if kafka.sasl_mechanism == "OAUTHBEARER" else set(given) - oauth
        context = ("kafka.security_protocol", "kafka.sasl_mechanism")
        why = f"kafka.sasl_mechanism is {kafka.sasl_mechanism}"
    for key, is_given in given.items():
        if key in wanted and not is_given:
            yield Violation((key, *context), f"is required: {why}")
        elif is_given and key not in wanted:
            yield Violation((key, *context), f"would be ignored: {why}")


def _ssl(settings: "Settings") -> Iterator[Violation]:
    kafka = settings.kafka
    if kafka.security_protocol not in {"SSL", "SASL_SSL"}:
        why = f"would be ignored: kafka.security_protocol is {kafka.security_protocol}"
        given = [name for name in _SSL_KEYS if _is_given(getattr(kafka, name))]
        given += [] if kafka.ssl_check_hostname else ["ssl_check_hostname"]
        for name in given:
            yield Violation((f"kafka.{name}", "kafka.security_protocol"), why)
        return
    for name in ("ssl_keyfile", "ssl_key_password"):
        if _is_given(getattr(kafka, name)) and not kafka.ssl_certfile:
            yield Violation(
                (f"kafka.{name}", "kafka.ssl_certfile"), "is of no use without kafka.ssl_certfile"
            )
    for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
        file = getattr(kafka, name)
        if file and not _is_file(file):
            yield Violation((f"kafka.{name}",), f"is no file that can be read: {file!r}")


def _kafka_times(settings: "Settings") -> Iterator[Violation]:
    """The budget chain: what is waited for inside something must be shorter than that."""
    kafka, shutdown = settings.kafka, settings.shutdown
    least = _HEARTBEATS_PER_SESSION * kafka.heartbeat_interval_seconds
    if least > kafka.session_timeout_seconds:
        yield Violation(
            ("kafka.heartbeat_interval_seconds", "kafka.session_timeout_seconds"),
            f"must be at most a third of kafka.session_timeout_seconds "
            f"({kafka.session_timeout_seconds:g}), not {kafka.heartbeat_interval_seconds:g}: "
            "a lost heartbeat would cost the partitions",
        )
    handover = shutdown.drain_seconds + shutdown.commit_seconds
    if handover >= kafka.rebalance_timeout_seconds:
        yield Violation(
            (
                "shutdown.drain_seconds",
                "shutdown.commit_seconds",
                "kafka.rebalance_timeout_seconds",
            ),
            f"plus shutdown.commit_seconds ({shutdown.drain_seconds:g} + "
            f"{shutdown.commit_seconds:g}) must be less than kafka.rebalance_timeout_seconds "
            f"({kafka.rebalance_timeout_seconds:g}): the group waits no longer for a hand-over",
        )
    if kafka.rebalance_timeout_seconds >= kafka.request_timeout_seconds:
        yield Violation(
            ("kafka.rebalance_timeout_seconds", "kafka.request_timeout_seconds"),
            f"must be less than kafka.request_timeout_seconds ({kafka.request_timeout_seconds:g}), "
            f"not {kafka.rebalance_timeout_seconds:g}: joining waits for the whole rebalance",
        )


def _launchdarkly(settings: "Settings") -> Iterator[Violation]:
    launchdarkly, ordering, retry = settings.launchdarkly, settings.ordering, settings.retry
    address = INSTANCES[launchdarkly.instance]
    if launchdarkly.instance != "us" and launchdarkly.base_url != address:
        yield Violation(
            ("launchdarkly.base_url", "launchdarkly.instance"),
            f'contradicts launchdarkly.instance = "{launchdarkly.instance}", whose address is '
            f"{address}: leave out one of them",
        )
    if ordering.settle_seconds <= launchdarkly.timeout_seconds:
        yield Violation(
            ("ordering.settle_seconds", "launchdarkly.timeout_seconds"),
            f"must be greater than launchdarkly.timeout_seconds "
            f"({launchdarkly.timeout_seconds:g}), not {ordering.settle_seconds:g}: "
            "a request may still be applied after it has timed out",
        )
    yield from _authorities(launchdarkly.ca_file)
    for prefix, first, longest in (
        ("", retry.initial_seconds, retry.max_seconds),
        ("operator_", retry.operator_initial_seconds, retry.operator_max_seconds),
    ):
        if first > longest:
            yield Violation(
                (f"retry.{prefix}initial_seconds", f"retry.{prefix}max_seconds"),
                f"must be at most retry.{prefix}max_seconds ({longest:g}), not {first:g}",
            )
    if launchdarkly.adopt != "any" and not launchdarkly.tags:
        yield Violation(
            ("launchdarkly.tags", "launchdarkly.adopt"),
            f'must not be empty while launchdarkly.adopt is "{launchdarkly.adopt}": '
            "ldsync would not know its own segments again",
        )


def _ordering(settings: "Settings") -> Iterator[Violation]:
    ordering = settings.ordering
    has_url = bool(ordering.redis_url.get_secret_value())
    if ordering.store == "redis" and not has_url:
        yield Violation(
            ("ordering.redis_url", "ordering.store"),
            'is required: ordering.store is "redis"; set LDSYNC_ORDERING__REDIS_URL, or '
            "LDSYNC_ORDERING__REDIS_URL_FILE to the path of a file that holds it",
        )
    if ordering.store == "memory" and has_url:
        yield Violation(
            ("ordering.redis_url", "ordering.store"),
            'would be ignored: ordering.store is "memory"',
        )
    if ordering.retention_seconds <= ordering.settle_seconds:
        yield Violation(
            ("ordering.retention_seconds", "ordering.settle_seconds"),
            f"must be greater than ordering.settle_seconds ({ordering.settle_seconds:g}), not "
            f"{ordering.retention_seconds:g}: a mark must outlive the write that it is for",
        )


def _authorities(file: str) -> Iterator[Violation]:
    if not file:
        return
    if not _is_file(file):
        yield Violation(("launchdarkly.ca_file",), f"is no file that can be read: {file!r}")
        return
    try:
        ssl.create_default_context(cafile=file)
    except (ssl.SSLError, OSError):
        yield Violation(("launchdarkly.ca_file",), f"holds no certificates in PEM form: {file!r}")


def _limits(settings: "Settings") -> Iterator[Violation]:
    batch, buffer = settings.batch, settings.buffer
    for name, held, one in (
        ("max_changes", buffer.max_changes, ("batch.max_size", batch.max_size)),
        ("max_bytes", buffer.max_bytes, ("batch.max_bytes", batch.max_bytes)),
    ):
        if held < one[1]:
            yield Violation(
                (f"buffer.{name}", one[0]),
                f"must be at least {one[0]} ({one[1]}), not {held}: it must hold one batch",
            )


def _mappings(settings: "Settings") -> Iterator[Violation]:
    if settings.membership_mode != "segment":
        return
    for number, mapping in enumerate(settings.mappings, start=1):
        if mapping.journey_step_without_flag != "dead_letter":
            yield Violation(
                (f"mappings[{number}].journey_step_without_flag", "membership_mode"),
                "would be ignored: membership_mode is segment, where a flag that is missing means "
                "that the member is out",
            )


def _is_given(value: object) -> bool:
    return bool(value) and bool(str(value))


_RULES: tuple[Callable[["Settings"], Iterator[Violation]], ...] = (
    _required,
    _topics,
    _dead_letters,
    _sasl,
    _ssl,
    _kafka_times,
    _launchdarkly,
    _ordering,
    _limits,
    _mappings,
    synced,
    context_kinds,
)
