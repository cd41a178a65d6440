"""What each key accepts: types and ranges, for every key there is, and the forms of values."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from ldsync.config import BatchSettings, KafkaSettings, OrderingSettings, Settings, load
from ldsync.config.schema import Key, all_keys
from tests.support.configs import REQUIRED_VARIABLES, problems_of, write

KEYS = all_keys(Settings)
PATHS = {key.path: key for key in KEYS}

# One literal of every type that TOML has.
LITERALS = {
    "text": '"text"',
    "whole number": "7",
    "number": "7.5",
    "truth": "true",
    "list": "[1]",
    "table": "{ x = 1 }",
    "date": "2026-01-02",
}
FITTING: dict[object, set[str]] = {
    bool: {"truth"},
    int: {"whole number"},
    float: {"whole number", "number"},
    tuple[str, ...]: set(),
}

# Keys of free text: whatever a variable holds is of the right type.
WRONG_TEXT = {
    "kafka.bootstrap_servers": "kafka://localhost:9092",
    "kafka.topics": "engage events",
    "kafka.topic_pattern": "engage-(",
    "kafka.group_id": " ",
    "kafka.group_instance_id": "pod 0",
    "kafka.client_id": "",
    "kafka.sasl_oauth_token_provider": "package.module",
    "launchdarkly.api_token": "two words",
    "launchdarkly.base_url": "app.launchdarkly.com",
    "launchdarkly.proxy": "proxy:3128",
    "launchdarkly.ca_file": "/nowhere.pem",
    "launchdarkly.client_side_id": "production",
    "launchdarkly.view_keys": "web shop",
    "launchdarkly.project_key": "Web shop",
    "launchdarkly.environment_key": "-production",
    "launchdarkly.tags": "ldsync,with blank",
    "naming.segment_key": "{audience}",
    "dead_letters.topic": "dead letters",
    "ordering.redis_url": "cache:6379",
    "admin.host": "",
}
ANY_TEXT = {
    "kafka.sasl_username",
    "kafka.sasl_password",
    "kafka.ssl_cafile",
    "kafka.ssl_certfile",
    "kafka.ssl_keyfile",
    "kafka.ssl_key_password",
}


def wrong_literals() -> list[object]:
    """Every key with every TOML type that is not its own."""
    cases: list[object] = []
    for key in KEYS:
        fitting = FITTING.get(key.type, {"text"})
        for kind, literal in LITERALS.items():
            if kind not in fitting:
                cases.append(pytest.param(key, literal, id=f"{key.path}: {kind}"))
    return cases


def wrong_variables() -> list[object]:
    """Every key that does not take any text, with text that it does not take."""
    return [
        pytest.param(key, WRONG_TEXT.get(key.path, "nonsense"), id=key.path)
        for key in KEYS
        if key.path not in ANY_TEXT
    ]


def numbers() -> list[object]:
    """Every key that is a number, with values that can never be meant."""
    huge = "1" + "0" * 400  # no float can hold it
    never = {int: ["-1", huge], float: ["-1", "inf", "nan", "0.0", "1e300"]}
    return [
        pytest.param(key, literal, id=f"{key.path}: {literal[:5]}")
        for key in KEYS
        for literal in never.get(key.type, [])
    ]


@pytest.mark.parametrize(("key", "literal"), wrong_literals())
def test_a_wrong_type_in_the_file_is_one_problem(tmp_path: Path, key: Key, literal: str) -> None:
    """It names the key and the file; TOML has types, so a number in quotes is no number."""
    file = write(tmp_path, {key.path: literal})

    (problem,) = problems_of(file, {})

    assert (problem.key, problem.source) == (key.path, str(file))
    assert re.match(r"(entry 1 )?must be ", problem.message)


@pytest.mark.parametrize(("key", "text"), wrong_variables())
def test_a_wrong_value_in_the_environment_is_one_problem(key: Key, text: str) -> None:
    """It names the key and the variable."""
    (problem,) = problems_of(None, {**REQUIRED_VARIABLES, key.variable: text})

    assert problem.key == key.path
    assert problem.source == f"environment variable {key.variable}"


def test_no_key_is_left_out_of_the_tables_above() -> None:
    """A new key of free text needs a decision: what is wrong for it, or that nothing is."""
    text = {key.path for key in KEYS if key.type in (str, SecretStr, tuple[str, ...])}

    assert text == set(WRONG_TEXT) | ANY_TEXT


@pytest.mark.parametrize(("key", "literal"), numbers())
def test_a_number_that_cannot_be_meant_is_refused(tmp_path: Path, key: Key, literal: str) -> None:
    """No time, size or share is negative or infinite, and no time or share is zero."""
    problems = problems_of(write(tmp_path, {key.path: literal}), {})

    assert [problem.key for problem in problems] == [key.path]


@pytest.mark.parametrize(
    ("path", "good", "bad"),
    [
        pytest.param("batch.max_size", "1500", "1501", id="members in a request"),
        pytest.param("batch.max_size", "1", "0", id="an empty batch"),
        pytest.param("launchdarkly.budget_share", "1.0", "1.01", id="all of the rate limit"),
        pytest.param("buffer.resume_ratio", "0.99", "1.0", id="no hysteresis"),
        pytest.param("admin.port", "65535", "65536", id="the last port"),
        pytest.param("admin.port", "0", "-1", id="any port"),
        pytest.param("launchdarkly.max_in_flight", "1", "0", id="no request at all"),
    ],
)
def test_ranges_end_where_they_should(tmp_path: Path, path: str, good: str, bad: str) -> None:
    """The last good value and the first bad one."""
    assert problems_of(write(tmp_path, {path: good}), {}) == []
    assert [p.key for p in problems_of(write(tmp_path, {path: bad}), {})] == [path]


@pytest.mark.parametrize(
    ("path", "literal"),
    [
        pytest.param("kafka.bootstrap_servers", '"a:9092, b.example.com:9093"', id="two brokers"),
        pytest.param("kafka.bootstrap_servers", '"[::1]:9092"', id="an IPv6 broker"),
        pytest.param("kafka.bootstrap_servers", '"kafka"', id="Kafka's default port"),
        pytest.param("kafka.topics", '["a", "B.c_d-1"]', id="topics"),
        pytest.param("kafka.topic_pattern", "'engage-\\w+'", id="a pattern"),
        pytest.param("kafka.group_instance_id", '""', id="no static membership"),
        pytest.param("kafka.group_instance_id", '"ldsync-0"', id="the name of a pod"),
        pytest.param("kafka.group_instance_id", f'"{"A_b.9-" * 41}abc"', id="249 characters"),
        pytest.param("launchdarkly.base_url", '"http://127.0.0.1:8030"', id="plain http"),
        pytest.param("launchdarkly.base_url", '"https://app.eu.launchdarkly.com/"', id="a slash"),
        pytest.param("launchdarkly.project_key", '"Web_shop.2-x"', id="a key"),
        pytest.param("launchdarkly.proxy", '"http://user:p@proxy.example:3128/"', id="a proxy"),
        pytest.param("launchdarkly.proxy", '"none"', id="no proxy"),
        pytest.param("naming.segment_key", '"engage-{audience_key}-{audience_id}"', id="both"),
        pytest.param("naming.segment_key", '"{audience_id}"', id="the id alone"),
        pytest.param("naming.segment_key", '"a.B_9-{audience_id}._-"', id="all that keys may have"),
        pytest.param("naming.on_collision", '"refuse"', id="refuse"),
    ],
)
def test_the_forms_that_are_meant_are_taken(tmp_path: Path, path: str, literal: str) -> None:
    """What operators really write."""
    assert problems_of(write(tmp_path, {path: literal}), {}) == []


@pytest.mark.parametrize(
    ("path", "literal", "message"),
    [
        pytest.param("kafka.bootstrap_servers", '"a:9092,,b:9092"', "entry 2 is not", id="a gap"),
        pytest.param("kafka.bootstrap_servers", '"a:70000"', "must be host:port", id="port"),
        pytest.param("kafka.topics", '["a", "b", "a"]', "names a more than once", id="twice"),
        pytest.param("kafka.topics", '["engage-.*"]', "kafka.topic_pattern", id="a pattern"),
        pytest.param("kafka.topics", '["."]', "cannot be the name of a topic", id="a dot"),
        pytest.param("kafka.topics", f'["{"a" * 250}"]', "1 to 249", id="long"),
        pytest.param("kafka.group_instance_id", '".."', "neither . nor ..", id="dots for an id"),
        pytest.param("kafka.group_instance_id", f'"{"a" * 250}"', "1 to 249", id="a long id"),
        pytest.param("kafka.group_instance_id", '"pod/0"', "a-z A-Z 0-9", id="a slash in an id"),
        pytest.param("kafka.group_instance_id", '"pod-ü"', "a-z A-Z 0-9", id="a letter of an id"),
        pytest.param("kafka.topic_pattern", '"["', "is not a regular expression", id="regex"),
        pytest.param("launchdarkly.api_token", '"sdk-1234"', "is an SDK key", id="an SDK key"),
        pytest.param("launchdarkly.api_token", '"mob-1234"', "is an SDK key", id="a mobile key"),
        pytest.param("launchdarkly.api_token", '"api-1\\n2"', "line breaks", id="a line break"),
        pytest.param("launchdarkly.api_token", '"api-ü"', "plain characters", id="a letter"),
        pytest.param("launchdarkly.base_url", '"ftp://x"', "http:// or https://", id="ftp"),
        pytest.param("launchdarkly.base_url", '"https://"', "http:// or https://", id="no host"),
        pytest.param("launchdarkly.base_url", '"https://[x"', "http:// or https://", id="no IPv6"),
        pytest.param("launchdarkly.base_url", '"http://x:99999"', "http:// or", id="no port"),
        pytest.param("launchdarkly.base_url", '"http://x/?a=b"', "a query", id="a query"),
        pytest.param("launchdarkly.proxy", '"socks5://x:1"', "http:// or https://", id="socks"),
        pytest.param("launchdarkly.proxy", '"http://x:99999"', "http:// or", id="proxy port"),
        pytest.param("launchdarkly.proxy", '"http://x/y"', "without a path", id="proxy path"),
        pytest.param("launchdarkly.client_side_id", '"5f"', "24 hexadecimal digits", id="id"),
        pytest.param("launchdarkly.client_side_id", '"sdk-1"', "is a secret", id="SDK key as id"),
        pytest.param("launchdarkly.tags", f'["{"a" * 65}"]', "1 to 64", id="a long tag"),
        pytest.param("naming.segment_key", '"all"', "would go to one segment", id="constant"),
        pytest.param("naming.segment_key", '"{audience_key"', "is not a template", id="brace"),
        pytest.param("naming.segment_key", '"{}"', "knows only", id="by position"),
        pytest.param("naming.segment_key", '"{audience_key!r}"', "{audience_key!r}", id="repr"),
        pytest.param("naming.segment_key", '"{audience_key:>9}"', "{audience_key:>9}", id="width"),
        pytest.param("naming.segment_key", '"{audience_key.x}"', "knows only", id="attribute"),
        pytest.param("naming.segment_key", '"my {audience_key}"', "letters, digits", id="a blank"),
        pytest.param("naming.segment_key", '"-{audience_key}"', "a letter or digit first", id="-"),
        pytest.param("naming.segment_key", '"{{{audience_key}}}"', "no other keys", id="braces"),
        pytest.param("naming.on_collision", '"stop"', "'share' or 'refuse'", id="collision"),
    ],
)
def test_the_forms_that_cannot_work_are_refused(
    tmp_path: Path, path: str, literal: str, message: str
) -> None:
    """At start, not at the first event."""
    (problem,) = problems_of(write(tmp_path, {path: literal}), {})

    assert problem.key == path
    assert message in problem.message


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("redis://cache", id="a host"),
        pytest.param("redis://cache:6380/3", id="a database"),
        pytest.param("redis://:secret@cache/", id="a password"),
        pytest.param("redis://user:se%2Fcret@[::1]:6379", id="a user, and IPv6"),
        pytest.param("rediss://cache:6380", id="TLS"),
        pytest.param("rediss://cache?ssl_ca_certs=/ca.pem", id="authorities"),
        pytest.param("rediss://cache/0?ssl_certfile=/c.pem&ssl_keyfile=/k.pem", id="certificate"),
    ],
)
def test_addresses_of_redis_that_are_meant_are_taken(tmp_path: Path, url: str) -> None:
    """What operators really write; and what redis-py would make of it is the same."""
    values = {"ordering.store": '"redis"', "ordering.redis_url": f'"{url}"'}
    assert problems_of(write(tmp_path, values), {}) == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        pytest.param("cache:6379", "must be redis://", id="no scheme"),
        pytest.param("http://cache", "must be redis://", id="another scheme"),
        pytest.param("unix:///run/redis.sock", "must be redis://", id="a socket"),
        pytest.param("redis://:secret@", "must be redis://", id="no host"),
        pytest.param("redis://cache:99999", "must be redis://", id="no port"),
        pytest.param("redis://cache/zero", "must be redis://", id="no database"),
        pytest.param("redis://cache#1", "must be redis://", id="a fragment"),
        pytest.param("rediss://cache?ssl_ca_certs", "must be redis://", id="half an option"),
        pytest.param("rediss://cache?ssl_cert_reqs=none", "no other options", id="blind trust"),
        pytest.param("redis://cache?ssl_ca_certs=/ca.pem", "only with rediss://", id="no TLS"),
    ],
)
def test_addresses_of_redis_that_cannot_work_are_refused(
    tmp_path: Path, url: str, message: str
) -> None:
    """At start; the address is not repeated, for it may hold a password."""
    values = {"ordering.store": '"redis"', "ordering.redis_url": f'"{url}"'}
    (problem,) = problems_of(write(tmp_path, values), {})
    assert problem.key == "ordering.redis_url"
    assert message in problem.message
    assert url not in problem.message


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        pytest.param("", [], id="none"),
        pytest.param("redis://cache", ["redis://cache"], id="no password"),
        pytest.param(
            "redis://u:a%2Fb@cache", ["redis://u:a%2Fb@cache", "a%2Fb", "a/b"], id="a password"
        ),
    ],
)
def test_what_of_the_address_of_redis_is_secret(url: str, secrets: list[str]) -> None:
    """The log is searched for these: the whole, and the password as written and as meant (P8)."""
    assert OrderingSettings(redis_url=SecretStr(url)).redis_secrets() == secrets


def test_a_slash_at_the_end_of_the_address_is_dropped(tmp_path: Path) -> None:
    """Paths begin with one."""
    settings = load(write(tmp_path, {"launchdarkly.base_url": '"https://example.com/"'}), {})

    assert settings.launchdarkly.base_url == "https://example.com"


@pytest.mark.parametrize(
    ("instance", "address"),
    [
        ("us", "https://app.launchdarkly.com"),
        ("eu", "https://app.eu.launchdarkly.com"),
        ("federal", "https://app.launchdarkly.us"),
    ],
)
def test_an_instance_stands_for_its_address(tmp_path: Path, instance: str, address: str) -> None:
    """launchdarkly-api contract 1.1; from the file and from the environment."""
    written = load(write(tmp_path, {"launchdarkly.instance": f'"{instance}"'}), {})
    named = load(write(tmp_path, {}), {"LDSYNC_LAUNCHDARKLY__INSTANCE": instance})

    assert written.launchdarkly.base_url == named.launchdarkly.base_url == address


def test_a_client_side_id_is_kept_in_lower_case(tmp_path: Path) -> None:
    """It is compared with what LaunchDarkly shows."""
    identity = '"6123456789ABCDEF01234567"'
    settings = load(write(tmp_path, {"launchdarkly.client_side_id": identity}), {})

    assert settings.launchdarkly.client_side_id == "6123456789abcdef01234567"


def test_a_long_wrong_value_is_shortened(tmp_path: Path) -> None:
    """A listing stays readable whatever was pasted."""
    (problem,) = problems_of(write(tmp_path, {"batch.max_size": f'"{"x" * 5000}"'}), {})

    assert len(problem.message) < 120


def test_all_wrong_entries_of_a_list_are_one_problem(tmp_path: Path) -> None:
    """One problem for a key, with every entry that is wrong."""
    (problem,) = problems_of(write(tmp_path, {"kafka.topics": '[1, "a", true]'}), {})

    assert problem.message == "entry 1 must be text, not 1; entry 3 must be text, not true"


def test_settings_cannot_be_changed() -> None:
    """What was checked stays what was checked."""
    settings = Settings()

    with pytest.raises(ValidationError):
        settings.batch.max_size = 1
    with pytest.raises(ValidationError):
        settings.batch = BatchSettings(max_size=1)


def test_sections_can_be_made_by_hand() -> None:
    """Parts of the program are tested with their slice alone."""
    kafka = KafkaSettings(topics=("a",), session_timeout_seconds=0.5)

    assert Settings(kafka=kafka).kafka.topics == ("a",)


def test_every_key_has_one_line_of_prose() -> None:
    """The example file and the README are made of it."""
    assert [
        path for path, key in PATHS.items() if not re.fullmatch(r".+[.]", key.description)
    ] == []
