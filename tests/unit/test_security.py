"""Settings become connections that are as safe as they say, or a message that names the setting."""

import asyncio
import ssl
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ldsync.config import KafkaSettings
from ldsync.kafka import SourceMisconfigured, security
from ldsync.kafka.security import TokenUnavailable, client_options
from tests.support.certificates import Certificates, make_certificates

SECRET = "a word that nobody may see"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority and a client's certificate; beside its key the same key, encrypted."""
    certificates = make_certificates(tmp_path_factory.mktemp("certificates"))
    command = ["openssl", "pkcs8", "-topk8", "-in", str(certificates.client_key)]
    command += ["-out", str(encrypted(certificates)), "-passout", f"pass:{SECRET}"]
    subprocess.run(command, check=True, capture_output=True)
    return certificates


def encrypted(certificates: Certificates) -> Path:
    """The client's key, encrypted with `SECRET`."""
    return certificates.client_key.with_suffix(".encrypted")


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """An importable module `tokens_for_tests` to put functions in."""
    module = types.ModuleType("tokens_for_tests")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def provider(module: types.ModuleType, function: Callable[[], Any]) -> Any:
    """The provider that aiokafka gets for this function."""
    module.function = function  # type: ignore[attr-defined]
    settings = KafkaSettings(
        security_protocol="SASL_SSL",
        sasl_mechanism="OAUTHBEARER",
        sasl_oauth_token_provider="tokens_for_tests:function",
    )
    return client_options(settings)["sasl_oauth_token_provider"]


# --- which options -------------------------------------------------------------------------------


def test_plaintext_needs_nothing() -> None:
    """Settings for SASL and TLS that were left in the file are not even looked at."""
    settings = KafkaSettings(ssl_cafile="/nowhere", sasl_username="somebody")

    assert client_options(settings) == {"security_protocol": "PLAINTEXT"}


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_passwords_go_to_every_mechanism_that_has_them(mechanism: Any) -> None:
    """Aiokafka's names for them say `plain`, whatever the mechanism."""
    settings = KafkaSettings(
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism=mechanism,
        sasl_username="somebody",
        sasl_password=SecretStr(SECRET),
    )

    assert client_options(settings) == {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": mechanism,
        "sasl_plain_username": "somebody",
        "sasl_plain_password": SECRET,
    }


def test_tls_checks_certificates_and_hosts_by_default() -> None:
    """Against the system's authorities when none are given."""
    context = client_options(KafkaSettings(security_protocol="SSL"))["ssl_context"]

    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_tls_may_leave_the_host_out_but_never_the_certificate() -> None:
    """`ssl_check_hostname = false` still wants a certificate of a known authority."""
    settings = KafkaSettings(security_protocol="SASL_SSL", ssl_check_hostname=False)
    settings = settings.model_copy(
        update={"sasl_username": "somebody", "sasl_password": SecretStr(SECRET)}
    )
    context = client_options(settings)["ssl_context"]

    assert not context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_an_authority_of_its_own_replaces_the_systems(files: Certificates) -> None:
    """Only what is in the file is trusted."""
    settings = KafkaSettings(security_protocol="SSL", ssl_cafile=str(files.authority))
    (authority,) = client_options(settings)["ssl_context"].get_ca_certs()

    assert authority["subject"] == ((("commonName", "authority"),),)


@pytest.mark.parametrize("password", ["", SECRET])
def test_a_client_key_may_be_encrypted(files: Certificates, password: str) -> None:
    """A password is given only when one is needed."""
    key = encrypted(files) if password else files.client_key
    settings = KafkaSettings(
        security_protocol="SSL",
        ssl_certfile=str(files.client_certificate),
        ssl_keyfile=str(key),
        ssl_key_password=SecretStr(password),
    )

    assert client_options(settings)["ssl_context"]


# --- what cannot work ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param(
            {"ssl_cafile": "/nowhere/ca.pem"},
            ["kafka.ssl_cafile: /nowhere/ca.pem cannot be read", "No such file"],
            id="no authority file",
        ),
        pytest.param(
            {"ssl_cafile": "{key}"}, ["kafka.ssl_cafile", "no certificates in PEM form"],
            id="an authority file without certificates",
        ),
        pytest.param(
            {"ssl_certfile": "/nowhere/me.pem"},
            ["kafka.ssl_certfile: /nowhere/me.pem cannot be read"],
            id="no certificate file",
        ),
        pytest.param(
            {"ssl_certfile": "{certificate}", "ssl_keyfile": "/nowhere"},
            ["kafka.ssl_keyfile: /nowhere cannot be read"],
            id="no key file",
        ),
        pytest.param(
            {"ssl_keyfile": "{key}"}, ["kafka.ssl_keyfile", "without kafka.ssl_certfile"],
            id="a key without certificate",
        ),
        pytest.param(
            {"ssl_certfile": "{certificate}"}, ["kafka.ssl_certfile", "PEM"],
            id="a certificate without key",
        ),
        pytest.param(
            {"ssl_certfile": "{certificate}", "ssl_keyfile": "{server}"},
            ["kafka.ssl_certfile, kafka.ssl_keyfile", "KEY_VALUES_MISMATCH"],
            id="somebody else's key",
        ),
        pytest.param(
            {"ssl_certfile": "{certificate}", "ssl_keyfile": "{encrypted}"},
            ["kafka.ssl_key_password"],
            id="an encrypted key without password",
        ),
        pytest.param(
            {
                "ssl_certfile": "{certificate}",
                "ssl_keyfile": "{encrypted}",
                "ssl_key_password": SecretStr(f"not {SECRET}"),
            },
            ["kafka.ssl_key_password"],
            id="an encrypted key with a wrong password",
        ),
    ],
)  # fmt: skip
def test_files_that_cannot_be_used_are_named_with_their_setting(
    files: Certificates, changes: dict[str, Any], words: list[str]
) -> None:
    """And nobody is asked for a password on a terminal that is not there."""
    places = {
        "{certificate}": str(files.client_certificate),
        "{key}": str(files.client_key),
        "{encrypted}": str(encrypted(files)),
        "{server}": str(files.server.keystore),
    }
    filled = {key: places.get(str(value), value) for key, value in changes.items()}
    settings = KafkaSettings(security_protocol="SSL", **filled)

    with pytest.raises(SourceMisconfigured) as caught:
        client_options(settings)

    for word in words:
        assert word in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("given", [{"sasl_username": "somebody"}, {"sasl_password": "x"}, {}])
def test_a_login_needs_name_and_password(given: dict[str, str]) -> None:
    """Both settings are named."""
    settings = KafkaSettings(security_protocol="SASL_SSL", sasl_mechanism="PLAIN").model_copy(
        update={key: SecretStr(v) if "password" in key else v for key, v in given.items()}
    )

    with pytest.raises(SourceMisconfigured, match=r"kafka\.sasl_username and kafka\.sasl_pass"):
        client_options(settings)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("", 'as "package.module:function"', id="nothing"),
        pytest.param("no_such_module:token", "No module named 'no_such_module'", id="no module"),
        pytest.param("tokens_for_tests:nothing", "no attribute 'nothing'", id="no such function"),
        pytest.param("tokens_for_tests:__name__", "is no function", id="no function"),
    ],
)
def test_a_token_function_that_is_not_there_is_named(
    module: types.ModuleType, name: str, words: str
) -> None:
    """The setting, what it says, and what Python says to it."""
    settings = KafkaSettings(
        security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", sasl_oauth_token_provider=name
    )

    with pytest.raises(SourceMisconfigured) as caught:
        client_options(settings)

    assert "kafka.sasl_oauth_token_provider" in str(caught.value)
    assert words in str(caught.value)


def test_a_module_that_fails_to_load_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the type of what it raised: the message might hold a secret."""
    (tmp_path / "broken_for_tests.py").write_text(f"raise RuntimeError({SECRET!r})")
    monkeypatch.syspath_prepend(tmp_path)
    settings = KafkaSettings(
        security_protocol="SASL_SSL",
        sasl_mechanism="OAUTHBEARER",
        sasl_oauth_token_provider="broken_for_tests:token",
    )

    with pytest.raises(SourceMisconfigured, match="broken_for_tests raised RuntimeError") as caught:
        client_options(settings)

    assert SECRET not in str(caught.value)


# --- tokens --------------------------------------------------------------------------------------


async def test_a_blocking_token_function_runs_in_a_thread(module: types.ModuleType) -> None:
    """The event loop, and with it the heartbeats, goes on."""
    threads: list[int] = []

    def token() -> str:
        threads.append(threading.get_ident())
        return "abc"

    assert await provider(module, token).token() == "abc"
    assert threads
    assert threads[0] != threading.get_ident()


async def test_a_token_function_may_be_a_coroutine_function(module: types.ModuleType) -> None:
    """It runs on the loop that waits for it."""

    async def token() -> str:
        await asyncio.sleep(0)
        return "abc"

    assert await provider(module, token).token() == "abc"


@pytest.mark.parametrize("value", [None, "", b"abc", ("abc", 60)])
async def test_what_is_no_token_is_refused(module: types.ModuleType, value: object) -> None:
    """With the name of the function, and the type of what it returned."""
    with pytest.raises(TokenUnavailable, match="tokens_for_tests:function") as caught:
        await provider(module, lambda: value).token()

    assert type(value).__name__ in str(caught.value)
    assert "abc" not in str(caught.value)


async def test_what_a_token_function_raises_is_told_by_type(module: types.ModuleType) -> None:
    """As an error that aiokafka's tasks survive, and that may pass; its message stays with it."""

    def token() -> str:
        raise LookupError(SECRET)

    with pytest.raises(TokenUnavailable, match="raised LookupError") as caught:
        await provider(module, token).token()

    assert caught.value.retriable
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.fixture
def stuck() -> Iterator[threading.Event]:
    """An event that is set at the end, so that no thread outlives its test."""
    event = threading.Event()
    yield event
    event.set()


async def test_a_token_function_that_hangs_is_given_up(
    module: types.ModuleType, monkeypatch: pytest.MonkeyPatch, stuck: threading.Event
) -> None:
    """No login may hold up all others."""
    monkeypatch.setattr(security, "TOKEN_SECONDS", 0.05)

    with pytest.raises(TokenUnavailable, match="TimeoutError"):
        await provider(module, stuck.wait).token()
