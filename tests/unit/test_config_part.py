"""A part of the configuration, for tools that need no more: what must be right there."""

from pathlib import Path

import pytest

from ldsync.config import ConfigError, load_part
from tests.support.configs import TOKEN, write

TABLES = ("membership_mode", "naming", "mappings")
KEYS = ("launchdarkly.project_key",)


def problems(path: Path, environ: dict[str, str], tables: tuple[str, ...] = TABLES) -> list[str]:
    """The keys that are wrong."""
    with pytest.raises(ConfigError) as caught:
        load_part(tables, KEYS, path, environ)
    return [problem.key for problem in caught.value.problems]


def test_nothing_need_be_configured() -> None:
    """All defaults: neither token nor keys are missed."""
    settings = load_part(TABLES, KEYS, None, {})

    assert settings.membership_mode == "strict"
    assert len(settings.mappings) == 1


def test_the_part_is_taken_and_the_rest_is_left(tmp_path: Path) -> None:
    """From the same sources; what is not needed keeps its default, even if it is right."""
    file = write(
        tmp_path,
        {
            "membership_mode": '"segment"',
            "batch.max_size": "7",
            "kafka.group_id": '"g"',
        },
    )

    settings = load_part(TABLES, KEYS, file, {"LDSYNC_NAMING__SEGMENT_KEY": "x-{audience_id}"})

    assert settings.membership_mode == "segment"
    assert settings.naming.segment_key == "x-{audience_id}"
    assert settings.launchdarkly.project_key == "web-shop"
    assert settings.launchdarkly.api_token.get_secret_value() == ""
    assert (settings.batch.max_size, settings.kafka.group_id) == (1500, "ldsync")


def test_what_is_wrong_elsewhere_does_not_matter(tmp_path: Path) -> None:
    """Values, secrets that cannot be read, and rules that other keys break."""
    file = write(
        tmp_path,
        {
            "launchdarkly.api_token": "",
            "launchdarkly.environment_key": '"no key!"',
            "batch.max_size": "5000",
            "kafka.session_timeout_seconds": "1",
            "ordering.settle_seconds": "1",
        },
    )

    settings = load_part(
        TABLES, KEYS, file, {"LDSYNC_LAUNCHDARKLY__API_TOKEN_FILE": str(tmp_path / "nowhere")}
    )

    assert settings.launchdarkly.environment_key == ""


def test_all_that_is_wrong_in_the_part_is_listed(tmp_path: Path) -> None:
    """Values and rules, also of keys that are only used; and every name that does not exist."""
    file = tmp_path / "config.toml"
    file.write_text(
        'membreship_mode = "segment"\nmembership_mode = "segment"\n[batch]\nmax_sise = 1\n'
        '[launchdarkly]\nproject_key = "no key!"\n'
        '[[mappings]]\ntrigger = "type ="\n'
    )
    environ = {"LDSYNC_NAMNIG__SEGMENT_KEY": "x", "LDSYNC_LAUNCHDARKLY__API_TOKEN": f"{TOKEN} x"}

    found = problems(file, environ)

    assert sorted(found) == [
        "LDSYNC_NAMNIG__SEGMENT_KEY",
        "batch.max_sise",
        "launchdarkly.project_key",
        "mappings[1].trigger",
        "membreship_mode",
    ]


def test_a_rule_holds_within_the_part(tmp_path: Path) -> None:
    """But not where it speaks of keys that are not needed."""
    file = tmp_path / "config.toml"
    file.write_text(
        'membership_mode = "segment"\n[kafka]\nsasl_username = "u"\nsession_timeout_seconds = 6\n'
        '[[mappings]]\njourney_step_without_flag = "add"\n'
    )

    assert problems(file, {}) == ["mappings[1].journey_step_without_flag"]
    assert sorted(problems(file, {}, (*TABLES, "kafka"))) == [
        "kafka.heartbeat_interval_seconds",
        "kafka.sasl_username",
        "mappings[1].journey_step_without_flag",
    ]


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    """It was named, so it matters."""
    assert problems(tmp_path / "nowhere.toml", {}) == [str(tmp_path / "nowhere.toml")]
