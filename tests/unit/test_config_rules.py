"""What must hold between keys: of each rule, the last case that passes and the first that fails."""

from pathlib import Path

import pytest

from tests.support.configs import problems_of, write

SASL = {"kafka.security_protocol": '"SASL_SSL"'}
LOGIN = {"kafka.sasl_username": '"u"', "kafka.sasl_password": '"p"'}
OAUTH = {"kafka.sasl_mechanism": '"OAUTHBEARER"'}
PROVIDER = {"kafka.sasl_oauth_token_provider": '"a.b:c"'}
SSL = {"kafka.security_protocol": '"SSL"'}
CLIENT_SIDE_ID = {"launchdarkly.client_side_id": '"6123456789abcdef01234567"'}
NO_KEYS = {"launchdarkly.project_key": "", "launchdarkly.environment_key": ""}


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"kafka.topics": "[]", "kafka.topic_pattern": '"a"'}, id="pattern alone"),
        pytest.param({"kafka.topics": '["a"]', "kafka.topic_pattern": '""'}, id="topics alone"),
        pytest.param({**SASL, **LOGIN}, id="PLAIN with a login"),
        pytest.param({**SASL, **LOGIN, "kafka.sasl_mechanism": '"SCRAM-SHA-512"'}, id="SCRAM"),
        pytest.param({**SASL, **OAUTH, **PROVIDER}, id="OAUTHBEARER with a provider"),
        pytest.param({**SSL, "kafka.ssl_check_hostname": "false"}, id="SSL without host names"),
        pytest.param({"dead_letters.topic": '"engage-events.dlq"'}, id="another dead-letter topic"),
        pytest.param(
            {"kafka.topic_pattern": '".*"', "dead_letters.topic": '"ldsync.dead-letters"'},
            id="a dead-letter topic that no pattern matches",
        ),
        pytest.param(
            {"kafka.topic_pattern": '"engage.*"', "dead_letters.topic": '"dlq"'},
            id="a dead-letter topic that this pattern does not match",
        ),
        pytest.param(
            {"dead_letters.enabled": "false", "dead_letters.topic": '"engage-events"'},
            id="no dead letters",
        ),
        pytest.param({"kafka.topics": f'["{"x" * 236}"]'}, id="room for the dead-letter topic"),
        pytest.param({"kafka.heartbeat_interval_seconds": "10"}, id="a third of the session"),
        pytest.param({"shutdown.drain_seconds": "39.9"}, id="hand-over within the rebalance"),
        pytest.param({"kafka.rebalance_timeout_seconds": "59.9"}, id="rebalance within a request"),
        pytest.param({"ordering.settle_seconds": "10.1"}, id="settle time after the timeout"),
        pytest.param(
            {"ordering.store": '"redis"', "ordering.redis_url": '"redis://cache"'}, id="a Redis"
        ),
        pytest.param({"ordering.retention_seconds": "15.1"}, id="a short memory"),
        pytest.param({"retry.initial_seconds": "30"}, id="constant retries"),
        pytest.param({"buffer.max_changes": "1500"}, id="a buffer of one batch"),
        pytest.param({"launchdarkly.tags": "[]", "launchdarkly.adopt": '"any"'}, id="no tags"),
        pytest.param({**NO_KEYS, **CLIENT_SIDE_ID}, id="the client-side ID alone"),
        pytest.param(CLIENT_SIDE_ID, id="client-side ID and keys"),
        pytest.param({"launchdarkly.instance": '"eu"'}, id="an instance by name"),
        pytest.param(
            {
                "launchdarkly.instance": '"eu"',
                "launchdarkly.base_url": '"https://app.eu.launchdarkly.com/"',
            },
            id="an instance and its address",
        ),
        pytest.param(
            {
                "launchdarkly.instance": '"us"',
                "launchdarkly.base_url": '"http://127.0.0.1:8030"',
            },
            id="an address instead of the default instance",
        ),
        pytest.param(
            {
                "shutdown.drain_seconds": "0.2",
                "shutdown.commit_seconds": "0.1",
                "kafka.rebalance_timeout_seconds": "0.5",
                "kafka.request_timeout_seconds": "1",
            },
            id="everything scaled down",
        ),
    ],
)
def test_what_keeps_the_rules_is_taken(tmp_path: Path, values: dict[str, str]) -> None:
    """The last case that passes."""
    assert problems_of(write(tmp_path, values), {}) == []


@pytest.mark.parametrize(
    ("values", "key", "message"),
    [
        pytest.param(
            {"launchdarkly.api_token": ""}, "launchdarkly.api_token", "is required", id="token"
        ),
        pytest.param(
            {"launchdarkly.api_token": '""'}, "launchdarkly.api_token", "_FILE", id="empty token"
        ),
        pytest.param(
            {"launchdarkly.project_key": ""},
            "launchdarkly.project_key",
            "is required",
            id="project",
        ),
        pytest.param(
            {"launchdarkly.environment_key": ""},
            "launchdarkly.environment_key",
            "is required",
            id="environment",
        ),
        pytest.param(
            NO_KEYS, "launchdarkly.client_side_id", "is required", id="no environment at all"
        ),
        pytest.param(
            {**CLIENT_SIDE_ID, "launchdarkly.project_key": ""},
            "launchdarkly.project_key",
            "required with launchdarkly.environment_key",
            id="client-side ID and one key",
        ),
        pytest.param(
            {
                "launchdarkly.instance": '"eu"',
                "launchdarkly.base_url": '"https://app.launchdarkly.com"',
            },
            "launchdarkly.base_url",
            'contradicts launchdarkly.instance = "eu"',
            id="an instance and the address of another",
        ),
        pytest.param(
            {"launchdarkly.ca_file": '"/nowhere.pem"'},
            "launchdarkly.ca_file",
            "is no file that can be read",
            id="authorities that are not there",
        ),
        pytest.param(
            {"launchdarkly.ca_file": f'"{"x" * 300}"'},
            "launchdarkly.ca_file",
            "is no file that can be read",
            id="authorities in a file that can have no such name",
        ),
        pytest.param(
            {"launchdarkly.ca_file": f'"{__file__}"'},
            "launchdarkly.ca_file",
            "holds no certificates in PEM form",
            id="authorities that are none",
        ),
        pytest.param(
            {"kafka.topics": '["a"]', "kafka.topic_pattern": '"a"'},
            "kafka.topic_pattern",
            "excludes kafka.topics",
            id="topics and pattern",
        ),
        pytest.param(
            {"dead_letters.topic": '"engage-events"'},
            "dead_letters.topic",
            "read its own dead letters: engage-events is in kafka.topics",
            id="dead letters into the topic",
        ),
        pytest.param(
            {"kafka.topics": '["a", "a.dead-letters"]'},
            "dead_letters.topic",
            "a.dead-letters is in kafka.topics",
            id="dead letters of a topic read",
        ),
        pytest.param(
            {"kafka.topic_pattern": '"d.q"', "dead_letters.topic": '"dlq"'},
            "dead_letters.topic",
            "kafka.topic_pattern matches it",
            id="dead letters that a pattern matches",
        ),
        pytest.param(
            {"kafka.topics": f'["{"x" * 237}"]'},
            "dead_letters.topic",
            "too long",
            id="no room for the dead-letter topic",
        ),
        pytest.param({"kafka.topics": "[]"}, "kafka.topics", "at least one topic", id="no topic"),
        pytest.param(
            {**SASL, "kafka.sasl_username": '"u"'},
            "kafka.sasl_password",
            "is required: kafka.sasl_mechanism is PLAIN",
            id="no password",
        ),
        pytest.param(
            {**SASL, "kafka.sasl_password": '"p"'}, "kafka.sasl_username", "required", id="no user"
        ),
        pytest.param(
            {**SASL, **OAUTH}, "kafka.sasl_oauth_token_provider", "is required", id="no provider"
        ),
        pytest.param(
            {**SASL, **OAUTH, **PROVIDER, "kafka.sasl_username": '"u"'},
            "kafka.sasl_username",
            "would be ignored: kafka.sasl_mechanism is OAUTHBEARER",
            id="a user for OAUTHBEARER",
        ),
        pytest.param(
            {"kafka.sasl_username": '"u"'},
            "kafka.sasl_username",
            "would be ignored: kafka.security_protocol is PLAINTEXT",
            id="a user without SASL",
        ),
        pytest.param(
            {"kafka.ssl_cafile": '"ca.pem"'},
            "kafka.ssl_cafile",
            "would be ignored",
            id="CA, no SSL",
        ),
        pytest.param(
            {"kafka.ssl_key_password": '"p"'},
            "kafka.ssl_key_password",
            "would be ignored",
            id="key password, no SSL",
        ),
        pytest.param(
            {"kafka.ssl_check_hostname": "false"},
            "kafka.ssl_check_hostname",
            "would be ignored",
            id="host names, no SSL",
        ),
        pytest.param(
            {**SSL, "kafka.ssl_cafile": '"/nowhere/ca.pem"'},
            "kafka.ssl_cafile",
            "no file that can be read: '/nowhere/ca.pem'",
            id="missing CA",
        ),
        pytest.param(
            {**SSL, "kafka.ssl_certfile": f'"{"x" * 300}"'},
            "kafka.ssl_certfile",
            "no file that can be read",
            id="certificate in a file that can have no such name",
        ),
        pytest.param(
            {**SSL, "kafka.ssl_key_password": '"p"'},
            "kafka.ssl_key_password",
            "of no use without kafka.ssl_certfile",
            id="key password without certificate",
        ),
        pytest.param(
            {"kafka.heartbeat_interval_seconds": "10.1"},
            "kafka.heartbeat_interval_seconds",
            "at most a third of kafka.session_timeout_seconds (30), not 10.1",
            id="few heartbeats",
        ),
        pytest.param(
            {"shutdown.drain_seconds": "40"},
            "shutdown.drain_seconds",
            "(40 + 5) must be less than kafka.rebalance_timeout_seconds (45)",
            id="hand-over beyond the rebalance",
        ),
        pytest.param(
            {"kafka.rebalance_timeout_seconds": "60"},
            "kafka.rebalance_timeout_seconds",
            "less than kafka.request_timeout_seconds (60), not 60",
            id="rebalance beyond a request",
        ),
        pytest.param(
            {"ordering.settle_seconds": "10"},
            "ordering.settle_seconds",
            "greater than launchdarkly.timeout_seconds (10), not 10",
            id="settled before the timeout",
        ),
        pytest.param(
            {"ordering.store": '"redis"'},
            "ordering.redis_url",
            "is required: ordering.store is",
            id="a Redis without address",
        ),
        pytest.param(
            {"ordering.redis_url": '"redis://cache"'},
            "ordering.redis_url",
            "would be ignored: ordering.store is",
            id="an address without Redis",
        ),
        pytest.param(
            {"ordering.retention_seconds": "15"},
            "ordering.retention_seconds",
            "greater than ordering.settle_seconds (15), not 15",
            id="forgotten before it is settled",
        ),
        pytest.param(
            {"retry.initial_seconds": "31"},
            "retry.initial_seconds",
            "at most retry.max",
            id="retry",
        ),
        pytest.param(
            {"buffer.max_changes": "1499"},
            "buffer.max_changes",
            "at least batch.max_size (1500), not 1499",
            id="a buffer of less than a batch",
        ),
        pytest.param(
            {"buffer.max_bytes": "1000"}, "buffer.max_bytes", "at least batch.max_bytes", id="bytes"
        ),
        pytest.param(
            {"launchdarkly.tags": "[]"}, "launchdarkly.tags", "must not be empty", id="no tags"
        ),
        pytest.param(
            {"launchdarkly.tags": "[]", "launchdarkly.adopt": '"never"'},
            "launchdarkly.tags",
            'while launchdarkly.adopt is "never"',
            id="no tags to know our own by",
        ),
    ],
)
def test_what_breaks_a_rule_is_one_problem(
    tmp_path: Path, values: dict[str, str], key: str, message: str
) -> None:
    """The first case that fails: it names the key to change, and the keys it depends on."""
    (problem,) = problems_of(write(tmp_path, values), {})

    assert problem.key == key
    assert message in problem.message


def test_a_rule_between_keys_says_where_all_of_them_are_from(tmp_path: Path) -> None:
    """The value to change may be the one in the other source."""
    file = write(tmp_path, {"ordering.settle_seconds": "12"})

    (problem,) = problems_of(file, {"LDSYNC_LAUNCHDARKLY__TIMEOUT_SECONDS": "20"})

    assert problem.source == str(file)
    assert problem.message.endswith(
        "[launchdarkly.timeout_seconds is from "
        "environment variable LDSYNC_LAUNCHDARKLY__TIMEOUT_SECONDS]"
    )


def test_a_default_that_no_longer_fits_is_said_to_be_one(tmp_path: Path) -> None:
    """Raising one timeout may need another raised that nobody has set."""
    (problem,) = problems_of(write(tmp_path, {"launchdarkly.timeout_seconds": "20"}), {})

    assert (problem.key, problem.source) == ("ordering.settle_seconds", "not set")
    assert "[launchdarkly.timeout_seconds is from" in problem.message


def test_a_rule_is_not_applied_to_values_that_are_wrong_anyway(tmp_path: Path) -> None:
    """One mistake is one problem, not one for every rule that sees it."""
    file = write(tmp_path, {"kafka.security_protocol": '"TLS"', "kafka.ssl_cafile": '"ca.pem"'})

    assert [problem.key for problem in problems_of(file, {})] == ["kafka.security_protocol"]


def test_client_certificates_that_exist_are_taken(tmp_path: Path) -> None:
    """Files are only looked for; what is in them is for the Kafka client."""
    pem = tmp_path / "client.pem"
    pem.write_text("", encoding="utf-8")
    values = {f"kafka.ssl_{name}": f'"{pem}"' for name in ("cafile", "certfile", "keyfile")}

    assert problems_of(write(tmp_path, {**SSL, **values}), {}) == []
