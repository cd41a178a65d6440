"""Whether Kafka can be reached, trusted and read: asked before the consumer starts.

aiokafka only logs why it cannot connect, and waits for topics that do not exist. So the same
connection is made here first, by hand, and its troubles are told apart: what may pass is waited for
until `kafka.start_timeout_seconds`, what an operator must correct is said at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Any, TypeVar

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    InvalidTopicError,
    KafkaConnectionError,
    KafkaError,
    NoError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    UnsupportedSaslMechanismError,
    for_code,
)
from aiokafka.protocol.metadata import MetadataRequest

from ldsync.kafka.errors import SourceError, SourceMisconfigured, SourceUnavailable
from ldsync.kafka.security import TokenUnavailable
from ldsync.kafka.topics import whole_names

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator

    from ldsync.config import KafkaSettings

T = TypeVar("T")

ANSWER_SECONDS = 5.0
"""How long one broker may take to accept a connection, and to answer on it."""

PAUSE_SECONDS = 0.5
"""Between two rounds through all brokers."""

# A login that goes wrong half-way ends in ValueError or AssertionError inside aiokafka.
TROUBLE = (OSError, EOFError, KafkaError, ValueError, AssertionError)


async def reach(
    settings: KafkaSettings, options: dict[str, Any], patience: float | None = None
) -> str:
    """Wait until the brokers answer and have what we subscribe to.

    Args:
        settings: Addresses, topics and time limit.
        options: From `client_options`.
        patience: Seconds to try, if not `kafka.start_timeout_seconds`.

    Returns:
        The address of a broker that answers, to begin with. The others of
        `kafka.bootstrap_servers` are not needed any more: the cluster names its members itself.

    Raises:
        SourceMisconfigured: an operator must correct something; waiting would not help.
        SourceUnavailable: brokers or topics were not there in time.
    """
    return await patiently(settings, lambda: _attempt(settings, options), patience)


async def patiently(
    settings: KafkaSettings, attempt: Callable[[], Awaitable[T]], patience: float | None = None
) -> T:
    """Attempt something until it does not raise SourceUnavailable any more.

    Raises:
        SourceUnavailable: it did for `patience` seconds, if given, or else for
            `kafka.start_timeout_seconds`.
        SourceMisconfigured: an operator must correct something.
    """
    limit = patience or settings.start_timeout_seconds
    named = "" if patience else " (kafka.start_timeout_seconds)"
    trouble = SourceUnavailable(f"Kafka at {settings.bootstrap_servers} did not answer")
    try:
        async with asyncio.timeout(limit):
            while True:
                try:
                    return await attempt()
                except SourceUnavailable as error:
                    trouble = error
                await asyncio.sleep(PAUSE_SECONDS)
    except TimeoutError:
        raise SourceUnavailable(f"{trouble}. It was tried for {limit:g} s{named}") from None


async def _attempt(settings: KafkaSettings, options: dict[str, Any]) -> str:
    """Ask one broker after the other until one answers."""
    troubles: list[SourceError] = []
    for host, port, _family in collect_hosts(settings.bootstrap_servers):
        address = _address(host, port)
        try:
            async with connection(host, port, settings, options) as opened:
                topics = None if settings.topic_pattern else list(settings.topics)
                answer = await opened.send(MetadataRequest(topics, allow_auto_topic_creation=False))
        except TROUBLE as error:
            troubles.append(diagnosis(address, error, settings))
            continue
        await _check_named_brokers(answer, address, settings, options)
        _check_topics(answer, settings)
        return address
    raise together(troubles)


@contextlib.asynccontextmanager
async def connection(
    host: str, port: int, settings: KafkaSettings, options: dict[str, Any]
) -> AsyncIterator[Any]:
    """A connection of aiokafka's, logged in, closed at the end."""
    connection = await create_conn(
        host,
        port,
        client_id=settings.client_id,
        request_timeout_ms=int(1000 * min(ANSWER_SECONDS, settings.request_timeout_seconds)),
        **options,
    )
    try:
        yield connection
    finally:
        closed = connection.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await asyncio.shield(closed)


async def _check_named_brokers(
    answer: Any, answered: str, settings: KafkaSettings, options: dict[str, Any]
) -> None:
    """At least one broker must be reachable where the cluster says that it is.

    Clients use the given addresses only to begin with. A cluster that advertises names which mean
    nothing here (the classic of containers) would otherwise look like one that is always down.
    """
    named = {_address(host, port): (host, port) for _node, host, port, *_ in answer.brokers}
    if not named:
        raise SourceUnavailable(f"Kafka at {answered} knows no brokers yet")
    if answered in named:
        return
    troubles: list[SourceError] = []
    for address, (host, port) in named.items():
        try:
            async with connection(host, port, settings, options):
                return
        except TROUBLE as error:
            troubles.append(diagnosis(address, error, settings))
    trouble = together(troubles)
    raise type(trouble)(
        f"Kafka answers at {answered} but names its brokers as {', '.join(sorted(named))}, which "
        f"cannot be used from here (see the brokers' advertised.listeners): {trouble}"
    )


def _check_topics(answer: Any, settings: KafkaSettings) -> None:
    found = {name: for_code(code) for code, name, *_ in answer.topics}
    where = f"Kafka at {settings.bootstrap_servers}"
    if settings.topic_pattern:
        pattern = whole_names(settings.topic_pattern)
        if not any(pattern.match(name) for name in found):
            raise SourceUnavailable(
                f"{where} has no topic that kafka.topic_pattern = {settings.topic_pattern!r} "
                "matches (a pattern stands for the whole name; dead-letter topics are left out)"
            )
        return
    for name in settings.topics:
        error = found.get(name, UnknownTopicOrPartitionError)
        if error is UnknownTopicOrPartitionError:
            raise SourceUnavailable(
                f"{where} has no topic {name} (kafka.topics); create it, or allow this user to "
                "describe it"
            )
        if error is TopicAuthorizationFailedError:
            raise SourceMisconfigured(
                f"{where} does not allow this user to describe topic {name} (kafka.topics): "
                "grant Describe and Read on it"
            )
        if error is InvalidTopicError:
            raise SourceMisconfigured(f"{where} says that no topic can be named {name}")
        if error is not NoError:
            raise SourceUnavailable(f"{where}: topic {name} is not ready ({error.__name__})")


def diagnosis(address: str, error: BaseException, settings: KafkaSettings) -> SourceError:
    """What a failed connection means for an operator."""
    for cause in _chain(error):
        text = _to_correct(cause, settings)
        if text:
            return SourceMisconfigured(f"{address}: {text}")
    return SourceUnavailable(f"{address}: {_to_wait_for(error)}")


def _to_correct(cause: BaseException, settings: KafkaSettings) -> str:
    """What is wrong with the configuration, if this is what the exception says."""
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"the broker's certificate is not accepted: {cause.verify_message}. Check "
            "kafka.ssl_cafile (who signed it), the host in kafka.bootstrap_servers and "
            "kafka.ssl_check_hostname"
        )
    if isinstance(cause, ssl.SSLError):
        return (
            f"TLS could not be agreed on ({cause.reason or cause}). Check kafka.security_protocol, "
            "and kafka.ssl_certfile and kafka.ssl_keyfile if the broker asks for a certificate"
        )
    if isinstance(cause, SaslAuthenticationFailed | AuthenticationFailedError):
        what = (
            "kafka.sasl_oauth_token_provider"
            if settings.sasl_mechanism == "OAUTHBEARER"
            else "kafka.sasl_username and kafka.sasl_password"
        )
        return f"the broker refused the login by {settings.sasl_mechanism}. Check {what}"
    if isinstance(cause, UnsupportedSaslMechanismError):
        return f"the broker does not offer kafka.sasl_mechanism = {settings.sasl_mechanism}"
    if isinstance(cause, IllegalSaslStateError):
        return (
            "this listener takes no login. Check kafka.security_protocol = "
            f"{settings.security_protocol} and the port"
        )
    return ""


def _to_wait_for(error: BaseException) -> str:
    if isinstance(error, socket.gaierror):
        return f"the name is not known ({error.strerror})"
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER_SECONDS:g} s"
    if isinstance(error, TokenUnavailable):
        return f"no token for the login: {error.args[0]}"
    if isinstance(error, KafkaConnectionError | EOFError | ConnectionResetError):
        return "the broker closed the connection; if this lasts, check kafka.security_protocol"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return str(error) or type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def together(troubles: Iterable[SourceError]) -> SourceError:
    """One error for all brokers; something to correct outweighs what may pass."""
    troubles = list(troubles)
    for trouble in troubles:
        if isinstance(trouble, SourceMisconfigured):
            return trouble
    return SourceUnavailable(
        "Kafka cannot be reached: " + "; ".join(str(trouble) for trouble in troubles)
    )


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
