"""How clients of the brokers prove who they are: settings to aiokafka's options.

Every client of this package (the consumer, the check before it, the writer of dead letters)
is opened with what `client_options` returns. It holds passwords: it is handed on and never logged.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import inspect
import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError

from ldsync.kafka.errors import SourceMisconfigured

if TYPE_CHECKING:
    from collections.abc import Callable

    from ldsync.config import KafkaSettings

TOKEN_SECONDS = 20.0
"""How long a token function may take; a broker waits some 30 seconds for a login to go on."""


class TokenUnavailable(KafkaError):  # type: ignore[misc]  # aiokafka has no types
    """The token function gave no token. aiokafka tries again, as after a lost connection."""

    retriable = True


class TokenProvider(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no types
    """Tokens for OAUTHBEARER from a function of the operator's.

    The function takes no arguments and returns the token as text. It may be a coroutine function,
    or an ordinary one that blocks: it is called in a thread. It is called for each new connection,
    so it should keep its token until that is about to expire. It reports its own troubles: what it
    raises is named in our logs by type only, because the message might hold a secret (P8).

    Args:
        function: What to call.
        name: Its name in the configuration, for messages.
    """

    def __init__(self, function: Callable[[], Any], name: str) -> None:
        self._function = function
        self._name = name

    async def token(self) -> str:
        """A token for one login.

        Raises:
            TokenUnavailable: the function raised, took more than `TOKEN_SECONDS`, or returned
                something else than text. aiokafka's tasks survive only errors of its own kind.
        """
        try:
            async with asyncio.timeout(TOKEN_SECONDS):
                token = await _in_a_thread(self._function)
                if inspect.isawaitable(token):
                    token = await token
        except Exception as error:  # noqa: BLE001 - whatever the operator's code raises
            raise TokenUnavailable(f"{self._name} raised {type(error).__name__}") from None
        if not isinstance(token, str) or not token:
            raise TokenUnavailable(f"{self._name} returned no text but {type(token).__name__}")
        return token


def _in_a_thread(function: Callable[[], Any]) -> asyncio.Future[Any]:
    """What a blocking function returns.

    Not in the loop's own pool of threads: ldsync could not end before a function that hangs.
    """
    outcome: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def run() -> None:
        outcome.set_running_or_notify_cancel()
        try:
            outcome.set_result(function())
        except BaseException as error:  # noqa: BLE001 - for whoever waits
            outcome.set_exception(error)

    threading.Thread(target=run, name="kafka-token", daemon=True).start()
    return asyncio.wrap_future(outcome)


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """The options of any aiokafka client that concern security.

    Reads files and imports the token function: call it outside the event loop.

    Raises:
        SourceMisconfigured: a setting is missing or names something that cannot be used.
    """
    protocol = settings.security_protocol
    options: dict[str, Any] = {"security_protocol": protocol}
    if protocol in {"SSL", "SASL_SSL"}:
        options["ssl_context"] = _tls(settings)
    if protocol in {"SASL_PLAINTEXT", "SASL_SSL"}:
        options |= _sasl(settings)
    return options


def _tls(settings: KafkaSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=_readable("ssl_cafile", settings.ssl_cafile))
    except ssl.SSLError as error:
        raise SourceMisconfigured(
            f"kafka.ssl_cafile: {settings.ssl_cafile} holds no certificates in PEM form "
            f"({error.reason or 'nothing found'})"
        ) from None
    context.check_hostname = settings.ssl_check_hostname
    certificate = _readable("ssl_certfile", settings.ssl_certfile)
    key = _readable("ssl_keyfile", settings.ssl_keyfile)
    if key and not certificate:
        raise SourceMisconfigured(
            "kafka.ssl_keyfile is given without kafka.ssl_certfile: a key needs its certificate"
        )
    if certificate:
        # Without any password OpenSSL would ask for one on the terminal and wait.
        password = settings.ssl_key_password.get_secret_value()
        try:
            context.load_cert_chain(certificate, key, password)
        except ssl.SSLError as error:
            raise SourceMisconfigured(
                f"kafka.ssl_certfile, kafka.ssl_keyfile: {certificate}"
                f"{f' and {key}' if key else ''} are no certificate with its key in PEM form "
                f"({error.reason or 'wrong format'}); for an encrypted key check "
                "kafka.ssl_key_password"
            ) from None
    return context


def _readable(name: str, path: str) -> str | None:
    """The path of a file that can be read; None if none is given."""
    if not path:
        return None
    try:
        with Path(path).open("rb"):
            return path
    except OSError as error:
        raise SourceMisconfigured(
            f"kafka.{name}: {path} cannot be read: {error.strerror}"
        ) from None


def _sasl(settings: KafkaSettings) -> dict[str, Any]:
    options: dict[str, Any] = {"sasl_mechanism": settings.sasl_mechanism}
    if settings.sasl_mechanism == "OAUTHBEARER":
        name = settings.sasl_oauth_token_provider
        return options | {"sasl_oauth_token_provider": TokenProvider(_load(name), name)}
    password = settings.sasl_password.get_secret_value()
    if not settings.sasl_username or not password:
        raise SourceMisconfigured(
            f"kafka.sasl_mechanism = {settings.sasl_mechanism} needs kafka.sasl_username and "
            "kafka.sasl_password"
        )
    return options | {
        "sasl_plain_username": settings.sasl_username,  # aiokafka's names, for SCRAM too
        "sasl_plain_password": password,
    }


def _load(name: str) -> Callable[[], Any]:
    """The function that `kafka.sasl_oauth_token_provider` names."""
    key = "kafka.sasl_oauth_token_provider"
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise SourceMisconfigured(
            f'{key} must name a function as "package.module:function" for OAUTHBEARER'
        )
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise SourceMisconfigured(f"{key}: {name} cannot be imported: {error}") from None
    except Exception as error:
        raise SourceMisconfigured(
            f"{key}: importing {module} raised {type(error).__name__}"
        ) from error
    if not callable(function):
        raise SourceMisconfigured(f"{key}: {name} is no function")
    return function  # type: ignore[no-any-return]
