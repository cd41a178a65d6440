"""Where values come from, which source wins, and what makes a source unreadable."""

from pathlib import Path

import pytest

from ldsync.config import ConfigError, Settings, load, load_with_sources
from tests.support.configs import REQUIRED_VARIABLES, TOKEN, problems_of, write


def test_what_must_be_given_is_enough() -> None:
    """Token, project and environment are all that has no usable default."""
    settings = load(None, REQUIRED_VARIABLES)

    assert settings.launchdarkly.api_token.get_secret_value() == TOKEN
    assert settings.kafka == Settings().kafka


def test_the_file_wins_over_the_defaults(tmp_path: Path) -> None:
    """A key in the file replaces its default and no other."""
    settings = load(write(tmp_path, {"kafka.group_id": '"from-file"'}), {})

    assert settings.kafka.group_id == "from-file"
    assert settings.kafka.client_id == "ldsync"


def test_the_environment_wins_over_the_file_key_by_key(tmp_path: Path) -> None:
    """A variable replaces one key of a table; the others stay as the file has them."""
    file = write(tmp_path, {"kafka.group_id": '"from-file"', "kafka.client_id": '"from-file"'})

    settings = load(file, {"LDSYNC_KAFKA__GROUP_ID": "from-environment"})

    assert settings.kafka.group_id == "from-environment"
    assert settings.kafka.client_id == "from-file"


def test_the_file_is_found_through_the_environment(tmp_path: Path) -> None:
    """LDSYNC_CONFIG names the file, and is itself no key."""
    file = write(tmp_path, {"log.level": '"debug"'})

    assert load(None, {"LDSYNC_CONFIG": str(file)}).log.level == "debug"


def test_the_option_wins_over_the_variable_for_the_file(tmp_path: Path) -> None:
    """With --config nobody looks at LDSYNC_CONFIG."""
    file = write(tmp_path, {})

    assert load(file, {"LDSYNC_CONFIG": "/nowhere.toml"}).launchdarkly.project_key == "web-shop"


def test_an_empty_variable_names_no_file() -> None:
    """Compose files pass on variables that are unset as empty ones."""
    assert problems_of(None, {**REQUIRED_VARIABLES, "LDSYNC_CONFIG": ""}) == []


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an explicit environment, `load` reads that of the process."""
    for name, value in REQUIRED_VARIABLES.items():
        monkeypatch.setenv(name, value)

    assert load().launchdarkly.project_key == "web-shop"


def test_settings_made_directly_never_read_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only `load` knows the environment; a variable of any name changes nothing else."""
    monkeypatch.setenv("MEMBERSHIP_MODE", "segment")
    monkeypatch.setenv("KAFKA", '{"group_id": "other"}')

    assert Settings().kafka.group_id == "ldsync"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a", ("a",), id="one"),
        pytest.param("a,b", ("a", "b"), id="two"),
        pytest.param(" a , b,", ("a", "b"), id="blanks and a comma too many"),
    ],
)
def test_a_list_in_the_environment_has_commas(text: str, expected: tuple[str, ...]) -> None:
    """Topics are written as Kafka users write them, not as JSON."""
    settings = load(None, {**REQUIRED_VARIABLES, "LDSYNC_KAFKA__TOPICS": text})

    assert settings.kafka.topics == expected


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        pytest.param("LDSYNC_KAFKA__SSL_CHECK_HOSTNAME", "true", True, id="true"),
        pytest.param("LDSYNC_BATCH__MAX_SIZE", "10", 10, id="a whole number"),
        pytest.param("LDSYNC_BATCH__MAX_AGE_SECONDS", "0.25", 0.25, id="a number"),
        pytest.param("LDSYNC_BATCH__MAX_AGE_SECONDS", "3", 3.0, id="a whole number of seconds"),
        pytest.param("LDSYNC_LOG__LEVEL", "error", "error", id="a choice"),
        pytest.param("LDSYNC_MEMBERSHIP_MODE", "strict", "strict", id="a key without a table"),
    ],
)
def test_text_of_the_environment_becomes_what_the_key_wants(
    variable: str, text: str, expected: object
) -> None:
    """Variables are text; settings are not."""
    settings: object = load(None, {**REQUIRED_VARIABLES, variable: text})

    for name in variable.removeprefix("LDSYNC_").lower().split("__"):
        settings = getattr(settings, name)
    assert settings == expected
    assert type(settings) is type(expected)


@pytest.mark.parametrize("text", ["false", "False", "0", "no", "off"])
def test_every_spelling_of_no_is_false(text: str) -> None:
    """The text "false" is not true, as it would be for `bool`."""
    environ = {
        **REQUIRED_VARIABLES,
        "LDSYNC_KAFKA__SECURITY_PROTOCOL": "SSL",
        "LDSYNC_KAFKA__SSL_CHECK_HOSTNAME": text,
    }

    assert load(None, environ).kafka.ssl_check_hostname is False


def test_a_pattern_replaces_the_default_topics() -> None:
    """Who gives a pattern need not also empty the list of topics."""
    kafka = load(None, {**REQUIRED_VARIABLES, "LDSYNC_KAFKA__TOPIC_PATTERN": "engage-.*"}).kafka

    assert kafka.topics == ()
    assert kafka.topic_pattern == "engage-.*"


def test_every_value_remembers_where_it_is_from(tmp_path: Path) -> None:
    """Each given value has its own source; what nobody gave has none."""
    file = write(tmp_path, {"kafka.group_id": '"a"', "kafka.client_id": '"b"'})

    found = load_with_sources(file, {"LDSYNC_KAFKA__GROUP_ID": "c"}).sources

    assert found["kafka.group_id"] == "environment variable LDSYNC_KAFKA__GROUP_ID"
    assert found["kafka.client_id"] == str(file)
    assert "kafka.topics" not in found


@pytest.mark.parametrize("variable", ["LDSYNC_KAFKA__GROUP_ID", "LDSYNC_LAUNCHDARKLY__API_TOKEN"])
def test_a_variable_that_is_no_text_is_one_problem(variable: str) -> None:
    """Python keeps bytes that are not UTF-8 as lone surrogates, which nothing could print."""
    (problem,) = problems_of(None, {**REQUIRED_VARIABLES, variable: "a\udcff"})

    assert problem.source == f"environment variable {variable}"
    assert problem.message == "is not text in UTF-8"


def test_a_table_must_be_a_table(tmp_path: Path) -> None:
    """A value where a table belongs is one problem, also if the environment fills that table."""
    file = tmp_path / "config.toml"
    file.write_text("kafka = 3", encoding="utf-8")

    (problem,) = problems_of(file, {**REQUIRED_VARIABLES, "LDSYNC_KAFKA__GROUP_ID": "x"})

    assert str(problem) == f"kafka ({file}): must be a table: [kafka]"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"[kafka]\ngroup_id = \n", "is not TOML: ", id="syntax"),
        pytest.param(b"[log]\n[log]\n", "is not TOML: ", id="a table twice"),
        pytest.param(b'a = "\xff"', "is not text in UTF-8", id="encoding"),
        pytest.param(b"a = " + b"[" * 5000, "is not TOML: ", id="absurd nesting"),
    ],
)
def test_a_file_that_is_no_toml_is_one_problem(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    """Nothing else is reported: whatever is missing may stand in that file."""
    file = tmp_path / "config.toml"
    file.write_bytes(content)

    (problem,) = problems_of(file, {})

    assert problem.key == str(file)
    assert problem.message.startswith(expected)


def test_a_syntax_error_names_its_line(tmp_path: Path) -> None:
    """The place is what the operator needs."""
    file = tmp_path / "config.toml"
    file.write_text("[kafka]\ngroup_id = \n", encoding="utf-8")

    assert "at line 2" in problems_of(file, {})[0].message


def test_a_missing_file_is_one_problem_and_says_who_named_it(tmp_path: Path) -> None:
    """The defaults are not used silently when the file that was asked for is not there."""
    missing = tmp_path / "missing.toml"

    (by_option,) = problems_of(missing, {})
    (by_variable,) = problems_of(None, {"LDSYNC_CONFIG": str(missing)})

    assert by_option.source == "named by --config"
    assert by_variable.source == "named by LDSYNC_CONFIG"
    assert by_option.message == by_variable.message == "cannot be read: No such file or directory"


def test_everything_wrong_is_reported_at_once(tmp_path: Path) -> None:
    """Unknown names, wrong values, broken rules and unreadable files, all in one go."""
    file = write(
        tmp_path,
        {"colour": "3", "batch.max_size": '"many"', "shutdown.drain_seconds": "60"},
    )
    environ = {
        "LDSYNC_KAFAK__TOPICS": "x",
        "LDSYNC_ADMIN__PORT": "http",
        "LDSYNC_KAFKA__SASL_PASSWORD_FILE": str(tmp_path / "missing"),
    }

    with pytest.raises(ConfigError) as raised:
        load(file, environ)

    assert sorted(problem.key for problem in raised.value.problems) == [
        "LDSYNC_KAFAK__TOPICS",
        "admin.port",
        "batch.max_size",
        "colour",
        "kafka.sasl_password",
        "shutdown.drain_seconds",
    ]
    assert str(raised.value).startswith("configuration has 6 problems:\n  ")
    assert len(str(raised.value).splitlines()) == 7
