"""Logins and certificates of the source on real Apache Kafka, and how it says what keeps it out."""

import asyncio
import base64
import json
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ldsync.config import KafkaSettings
from ldsync.kafka import (
    CommitOutcome,
    SourceError,
    SourceMisconfigured,
    SourceUnavailable,
)
from ldsync.sync.ledger import Partition
from tests.support.certificates import Certificates, make_certificates
from tests.support.eventually import eventually
from tests.support.kafka_source import Reader, kafka_settings, reading, write_to
from tests.support.real_kafka import RealKafka

pytestmark = pytest.mark.broker

PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def certificates(kafka_directory: Path) -> Certificates:
    """An authority that lives as long as these tests, with a client's certificate."""
    return make_certificates(kafka_directory / "certificates")


@pytest.fixture(scope="module")
def secured(kafka_directory: Path, certificates: Certificates) -> Iterator[RealKafka]:
    """A broker with listeners for SASL and for TLS with client certificates, and topic `events`."""
    kafka = RealKafka(
        kafka_directory / "secured", plain_users={"plain": PASSWORD}, tls=certificates.server
    )
    try:
        kafka.start()
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
            kafka.admin.add_scram_user(mechanism.lower(), PASSWORD, mechanism)
        kafka.create_topic("events")
        yield kafka
    finally:
        kafka.stop()


def token() -> str:
    """A token without a signature, as brokers take them that are set up for tests."""
    now = int(time.time())
    parts = [{"alg": "none"}, {"sub": "somebody", "iat": now, "exp": now + 600}]
    return (
        ".".join(
            base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
            for part in parts
        )
        + "."
    )


async def token_in_time() -> str:
    """The same from a coroutine function."""
    await asyncio.sleep(0)
    return token()


def no_token() -> str:
    """What a token service that is away looks like; the message must not be repeated."""
    raise ConnectionError(f"https://user:{PASSWORD}@example.com/token")


def bad_token() -> str:
    """Nothing that a broker takes."""
    return "bad." + base64.urlsafe_b64encode(PASSWORD.encode()).decode() + "."


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an importable module that has the functions above."""
    module = types.ModuleType("tokens_for_tests")
    for function in (token, token_in_time, no_token, bad_token):
        setattr(module, function.__name__, function)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module.__name__


async def assert_readable(kafka: RealKafka, settings: KafkaSettings) -> None:
    """Records come through, and offsets can be committed."""
    await write_to(kafka, Partition("events", 0), b"x")
    async with reading(settings) as reader:
        await reader.read(1)
        committed = await reader.source.commit({Partition("events", 0): 1})
        assert committed is CommitOutcome.COMMITTED


def sasl(kafka: RealKafka, mechanism: str, **changes: Any) -> KafkaSettings:
    """Settings for the SASL listener; the user is named after the mechanism."""
    defaults: dict[str, Any] = {
        "bootstrap_servers": kafka.sasl_bootstrap_servers,
        "group_id": f"{mechanism}-{time.monotonic_ns()}",
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": mechanism,
        "sasl_username": mechanism.lower(),
        "sasl_password": SecretStr(PASSWORD),
    }
    return kafka_settings(**(defaults | changes))


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_a_password_opens_the_broker(secured: RealKafka, mechanism: str) -> None:
    """By every mechanism on offer."""
    await assert_readable(secured, sasl(secured, mechanism))


@pytest.mark.parametrize("function", ["token", "token_in_time"])
async def test_a_token_opens_the_broker(secured: RealKafka, tokens: str, function: str) -> None:
    """From an ordinary function and from a coroutine function."""
    changes = {
        "sasl_username": "",
        "sasl_password": SecretStr(""),
        "sasl_oauth_token_provider": f"{tokens}:{function}",
    }
    await assert_readable(secured, sasl(secured, "OAUTHBEARER", **changes))


def tls(kafka: RealKafka, certificates: Certificates, **changes: Any) -> KafkaSettings:
    """Settings for the TLS listener."""
    defaults: dict[str, Any] = {
        "bootstrap_servers": kafka.ssl_bootstrap_servers,
        "group_id": f"tls-{time.monotonic_ns()}",
        "security_protocol": "SSL",
        "ssl_cafile": str(certificates.authority),
        "ssl_certfile": str(certificates.client_certificate),
        "ssl_keyfile": str(certificates.client_key),
    }
    return kafka_settings(**(defaults | changes))


async def test_a_client_certificate_opens_the_broker(
    secured: RealKafka, certificates: Certificates
) -> None:
    """The broker demands one, and its own is checked."""
    await assert_readable(secured, tls(secured, certificates))


Make = Callable[[RealKafka, Certificates, str], KafkaSettings]


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        pytest.param(
            lambda kafka, *_: sasl(kafka, "PLAIN", sasl_password=SecretStr(PASSWORD + "!")),
            SourceMisconfigured,
            ["refused the login by PLAIN", "kafka.sasl_username and kafka.sasl_password"],
            id="PLAIN, wrong password",
        ),
        pytest.param(
            lambda kafka, *_: sasl(kafka, "SCRAM-SHA-512", sasl_password=SecretStr("no")),
            SourceMisconfigured,
            ["refused the login by SCRAM-SHA-512", "kafka.sasl_password"],
            id="SCRAM, wrong password",
        ),
        pytest.param(
            lambda kafka, *_: sasl(kafka, "SCRAM-SHA-256", sasl_username="nobody"),
            SourceMisconfigured,
            ["refused the login by SCRAM-SHA-256", "kafka.sasl_username"],
            id="SCRAM, no such user",
        ),
        pytest.param(
            lambda kafka, _, tokens: sasl(
                kafka, "OAUTHBEARER", sasl_oauth_token_provider=f"{tokens}:bad_token"
            ),
            SourceMisconfigured,
            ["refused the login by OAUTHBEARER", "kafka.sasl_oauth_token_provider"],
            id="OAUTHBEARER, bad token",
        ),
        pytest.param(
            lambda kafka, _, tokens: sasl(
                kafka, "OAUTHBEARER", sasl_oauth_token_provider=f"{tokens}:no_token"
            ),
            SourceUnavailable,
            ["no token for the login", "no_token raised ConnectionError"],
            id="OAUTHBEARER, no token",
        ),
        pytest.param(
            lambda kafka, *_: sasl(kafka, "PLAIN", bootstrap_servers=kafka.bootstrap_servers),
            SourceMisconfigured,
            ["takes no login", "kafka.security_protocol = SASL_PLAINTEXT"],
            id="login at a listener without",
        ),
        pytest.param(
            lambda kafka, *_: sasl(kafka, "PLAIN", security_protocol="PLAINTEXT"),
            SourceUnavailable,
            ["closed the connection", "kafka.security_protocol"],
            id="no login at a listener with",
        ),
        pytest.param(
            lambda kafka, files, _: tls(kafka, files, ssl_certfile="", ssl_keyfile=""),
            SourceMisconfigured,
            ["TLS could not be agreed on", "kafka.ssl_certfile"],
            id="TLS, no client certificate",
        ),
        pytest.param(
            lambda kafka, files, _: tls(kafka, files, ssl_cafile=""),
            SourceMisconfigured,
            ["certificate is not accepted", "kafka.ssl_cafile"],
            id="TLS, unknown authority",
        ),
        pytest.param(
            lambda kafka, files, _: tls(kafka, files, security_protocol="PLAINTEXT"),
            SourceUnavailable,
            ["kafka.security_protocol"],
            id="no TLS at a listener with",
        ),
        pytest.param(
            lambda kafka, files, _: tls(kafka, files, bootstrap_servers=kafka.bootstrap_servers),
            SourceError,
            ["kafka.security_protocol"],
            id="TLS at a listener without",
        ),
    ],
)
async def test_what_keeps_us_out_is_named_without_secrets(  # noqa: PLR0917 - a table
    secured: RealKafka,
    certificates: Certificates,
    tokens: str,
    make: Make,
    error: type[SourceError],
    words: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What an operator must correct is said at once; neither message nor log has the password."""
    settings = make(secured, certificates, tokens).model_copy(update={"start_timeout_seconds": 1.5})
    with pytest.raises(error) as caught:
        await Reader(settings).source.start()

    for word in words:
        assert word in str(caught.value)
    for text in (str(caught.value), repr(settings), caplog.text):
        assert PASSWORD not in text


async def test_a_certificate_for_another_host_is_refused_unless_told_otherwise(
    secured: RealKafka, certificates: Certificates
) -> None:
    """`ssl_check_hostname = false` is for brokers whose certificates do not name them."""
    address = secured.ssl_bootstrap_servers.replace("127.0.0.1", "127.1")
    strict = tls(secured, certificates, bootstrap_servers=address, start_timeout_seconds=1.5)
    with pytest.raises(SourceError) as caught:
        await Reader(strict).source.start()

    assert "kafka.ssl_check_hostname" in str(caught.value)
    lax = strict.model_copy(update={"ssl_check_hostname": False})
    async with reading(lax) as reader:
        await eventually(lambda: reader.source.is_member, "membership")
