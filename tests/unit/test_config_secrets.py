"""Secrets: how they come in, and that they never come out."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from ldsync.config import ConfigError, Settings, load, load_with_sources
from ldsync.config.effective import render
from ldsync.config.hidden import secrets_of
from ldsync.config.schema import Key, all_keys
from ldsync.config.secrets import FileSecret, read_secret
from tests.support.configs import REQUIRED, REQUIRED_VARIABLES, TOKEN, problems_of, write

SECRETS = [key for key in all_keys(Settings) if key.secret]
CANARY = "c4n4ry-never-to-be-seen"

# With these, every secret is one that is used.
SURROUNDINGS = {
    "kafka.security_protocol": '"SASL_SSL"',
    "kafka.sasl_username": '"reader"',
    "kafka.sasl_password": f'"{CANARY}-password"',
    "ordering.store": '"redis"',
    "ordering.redis_url": f'"redis://:{CANARY}-password@cache"',
}


def canary(key: Key) -> str:
    """A value for a secret that is allowed for it."""
    urls = {"proxy": f"http://user:{CANARY}@proxy:3128", "redis_url": f"redis://:{CANARY}@cache"}
    return urls.get(key.name, CANARY)


def value_of(settings: Settings, key: Key) -> str:
    """The secret itself."""
    secret: str = getattr(getattr(settings, key.section), key.name).get_secret_value()
    return secret


def surroundings(tmp_path: Path, but: Key) -> Path:
    """A file with everything that is required, except one secret."""
    pem = tmp_path / "client.pem"
    pem.write_text("", encoding="utf-8")
    return write(tmp_path, {**SURROUNDINGS, "kafka.ssl_certfile": f'"{pem}"', but.path: ""})


def test_the_secrets_are_the_token_and_the_passwords() -> None:
    """A key that ought to be secret shows up here by its name."""
    assert [key.path for key in SECRETS] == [
        "kafka.sasl_password",
        "kafka.ssl_key_password",
        "launchdarkly.api_token",
        "launchdarkly.proxy",
        "ordering.redis_url",
    ]
    suspicious = [
        key.path
        for key in all_keys(Settings)
        if key.name.endswith(("token", "password", "proxy", "redis_url"))
    ]
    assert suspicious == [key.path for key in SECRETS]


@pytest.mark.parametrize("key", SECRETS, ids=lambda key: key.path)
@pytest.mark.parametrize("ending", ["", "\n", "\r\n"], ids=["bare", "newline", "Windows"])
def test_a_secret_is_read_from_a_file_without_its_line_break(
    tmp_path: Path, key: Key, ending: str
) -> None:
    """As Docker and Kubernetes mount it, and as an editor leaves it."""
    secret = tmp_path / "secret"
    secret.write_bytes(canary(key).encode() + ending.encode())

    loaded = load_with_sources(surroundings(tmp_path, key), {key.file_variable: str(secret)})

    assert value_of(loaded.settings, key) == canary(key)
    assert loaded.sources[key.path] == f"file {str(secret)!r} named by {key.file_variable}"


@pytest.mark.parametrize("key", SECRETS, ids=lambda key: key.path)
def test_a_secret_from_a_file_knows_its_file(tmp_path: Path, key: Key) -> None:
    """So that it can be read again when it changes."""
    secret = tmp_path / "secret"
    secret.write_text(canary(key), encoding="utf-8")

    settings = load(surroundings(tmp_path, key), {key.file_variable: str(secret)})

    found = getattr(getattr(settings, key.section), key.name)
    assert isinstance(found, FileSecret)
    assert found.file == secret
    assert read_secret(found.file) == canary(key)
    assert CANARY not in repr(found)


def test_everything_secret_is_named_to_the_log(tmp_path: Path) -> None:
    """Passwords in addresses also by themselves, and as they read once they are decoded."""
    proxy = '"http://user:p%40ss@proxy:3128"'
    settings = load(write(tmp_path, {**SURROUNDINGS, "launchdarkly.proxy": proxy}), {})

    assert set(filter(None, secrets_of(settings))) == {
        TOKEN,
        f"{CANARY}-password",
        f"redis://:{CANARY}-password@cache",
        "http://user:p%40ss@proxy:3128",
        "p%40ss",
        "p@ss",
    }


def test_the_environment_wins_over_the_file_of_a_secret_and_that_over_toml(tmp_path: Path) -> None:
    """The whole chain: environment, file of the secret, TOML, default."""
    secret = tmp_path / "secret"
    secret.write_text("from-secret-file", encoding="utf-8")
    file = write(tmp_path, {"launchdarkly.api_token": '"from-toml"'})
    named = {"LDSYNC_LAUNCHDARKLY__API_TOKEN_FILE": str(secret)}
    direct = {"LDSYNC_LAUNCHDARKLY__API_TOKEN": "from-environment"}

    def token(environ: Mapping[str, str]) -> str:
        return load(file, environ).launchdarkly.api_token.get_secret_value()

    assert token({}) == "from-toml"
    assert token(named) == "from-secret-file"
    assert token(named | direct) == "from-environment"


def test_the_file_of_a_secret_that_is_overruled_is_not_opened(tmp_path: Path) -> None:
    """A file that is not needed may be missing."""
    environ = {**REQUIRED_VARIABLES, "LDSYNC_LAUNCHDARKLY__API_TOKEN_FILE": "/nowhere"}

    assert problems_of(None, environ) == []


def test_files_of_others_are_not_opened(tmp_path: Path) -> None:
    """Only declared secrets with our prefix are read: the host has such variables of its own."""
    environ = {
        **REQUIRED_VARIABLES,
        "SSL_CERT_FILE": str(tmp_path),
        "KAFKA__SASL_PASSWORD_FILE": str(tmp_path),
    }

    assert problems_of(None, environ) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "cannot be read: No such file or directory", id="missing"),
        pytest.param(b"\xff\xfe", "is not text in UTF-8", id="binary"),
    ],
)
def test_a_file_of_a_secret_that_cannot_be_read_is_named(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    """The problem names the key, the file and the variable, and nothing else is reported."""
    secret = tmp_path / "token"
    if content is not None:
        secret.write_bytes(content)

    (problem,) = problems_of(
        write(tmp_path, {"launchdarkly.api_token": ""}),
        {"LDSYNC_LAUNCHDARKLY__API_TOKEN_FILE": str(secret)},
    )

    assert problem.key == "launchdarkly.api_token"
    assert problem.source == f"file {str(secret)!r} named by LDSYNC_LAUNCHDARKLY__API_TOKEN_FILE"
    assert problem.message == message


@pytest.mark.parametrize("key", SECRETS, ids=lambda key: key.path)
def test_settings_never_show_a_secret(tmp_path: Path, key: Key) -> None:
    """Neither printed, nor dumped, nor as the effective configuration."""
    loaded = load_with_sources(surroundings(tmp_path, key), {key.variable: canary(key)})
    settings = loaded.settings

    assert value_of(settings, key) == canary(key)
    shown = [repr(loaded), str(settings), repr(settings), render(loaded)]
    shown += [str(settings.model_dump()), settings.model_dump_json()]
    assert [text for text in shown if CANARY in text] == []
    assert f'{key.name} = "**********"' in render(loaded)


@pytest.mark.parametrize(
    "toml",
    [
        pytest.param(f"launchdarkly.api_token = ['{CANARY}']", id="a list"),
        pytest.param(f"launchdarkly.api_token = '{CANARY} {CANARY}'", id="two words"),
        pytest.param(f"launchdarkly.api_token = 'sdk-{CANARY}'", id="an SDK key"),
        pytest.param(f"launchdarkly.api_token = {{ value = '{CANARY}' }}", id="a table"),
        pytest.param(f"launchdarkly.api_tokn = '{CANARY}'", id="a misspelt key"),
        pytest.param(f"api_token = '{CANARY}'", id="the wrong table"),
        pytest.param(f"launchdarkly = '{CANARY}'", id="instead of the table"),
        pytest.param(f"launchdarkly.base_url = 'https://u:{CANARY}@x'", id="in the address"),
        pytest.param(f"launchdarkly.base_url = 'u:{CANARY}@x'", id="in half an address"),
        pytest.param(f"kafka.bootstrap_servers = 'u:{CANARY}@x:9092'", id="in the brokers"),
        pytest.param(f"kafka.sasl_password = '{CANARY}'", id="a password that is not used"),
        pytest.param(f"ordering.redis_url = 'redis://:{CANARY}@x'", id="a Redis that is not used"),
        pytest.param(f"ordering.redis_url = 'http://:{CANARY}@x'", id="the address of no Redis"),
        pytest.param(f"ordering.redis_url = 'redis://x?a={CANARY}'", id="an option of a Redis"),
        pytest.param(f"launchdarkly.api_token = '{CANARY}", id="an open quotation"),
        pytest.param(f"launchdarkly.api_token = {CANARY}", id="no quotation"),
        pytest.param(f"launchdarkly.api_token = '''{CANARY}", id="an open long quotation"),
        pytest.param(f"[{CANARY}", id="an open table"),
    ],
)
def test_no_mistake_makes_a_message_show_a_secret(tmp_path: Path, toml: str) -> None:
    """Wherever it stands, what might be a secret is not repeated, nor kept in the exception."""
    file = tmp_path / "config.toml"
    file.write_text(toml, encoding="utf-8")

    with pytest.raises(ConfigError) as raised:
        load(file, {})

    assert CANARY not in str(raised.value) + repr(raised.value) + repr(raised.value.problems)


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({"LDSYNC_LAUNCHDARKLY__API_TOKN": CANARY}, id="a misspelt variable"),
        pytest.param({"LDSYNC_LAUNCHDARKLY__API_TOKEN": f"{CANARY} x"}, id="two words"),
        pytest.param({"LDSYNC_KAFKA__SASL_PASSWORD": CANARY}, id="a password that is not used"),
    ],
)
def test_no_mistake_in_the_environment_shows_a_secret(environ: Mapping[str, str]) -> None:
    """The same for variables."""
    with pytest.raises(ConfigError) as raised:
        load(None, environ)

    assert CANARY not in str(raised.value) + repr(raised.value)


def test_the_content_of_a_secret_file_is_not_shown(tmp_path: Path) -> None:
    """A file that holds something else than the token may hold any secret."""
    secret = tmp_path / "token"
    secret.write_text(f"two words {CANARY}", encoding="utf-8")

    (problem,) = problems_of(
        write(tmp_path, {"launchdarkly.api_token": ""}),
        {"LDSYNC_LAUNCHDARKLY__API_TOKEN_FILE": str(secret)},
    )

    assert CANARY not in str(problem)
    assert str(secret) in str(problem)


def test_the_canary_of_the_other_tests_is_a_token() -> None:
    """What they search for is what they put in."""
    assert REQUIRED["launchdarkly.api_token"] == f'"{TOKEN}"'
