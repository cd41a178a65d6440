"""The configuration in effect, written down: complete, reusable, and with its origins."""

import tomllib
from pathlib import Path

import pytest

from ldsync.config import Settings, load, load_with_sources
from ldsync.config.effective import render, toml_value
from ldsync.config.schema import all_keys, list_keys
from tests.support.configs import REQUIRED_VARIABLES, TOKEN, write

MAPPINGS = """[
    { name = "It's \\"one\\"", trigger = 'event = "a"', context_kind = { path = "context.kind" } },
    { enabled = false, context_key = { path = 'a\\.b.c' }, email = "traits.mail" },
]"""


def test_it_has_every_key() -> None:
    """In the order of the example file."""
    text = render(load_with_sources(None, REQUIRED_VARIABLES))

    names = [line.split(" = ")[0] for line in text.splitlines() if " = " in line]
    expected = [key.name for key in all_keys(Settings)]
    assert names == expected + [key.name for keys in list_keys(Settings).values() for key in keys]


def test_it_can_be_used_as_a_file_once_the_secrets_are_given(tmp_path: Path) -> None:
    """What is printed means what is in effect."""
    values = {
        "kafka.topic_pattern": '"engage-.*"',
        "kafka.group_id": '"say \\"hi\\"\\u007f\\u0001"',
        "mappings": MAPPINGS,
    }
    loaded = load_with_sources(write(tmp_path, values), {})
    written = tmp_path / "effective.toml"
    written.write_text(render(loaded), encoding="utf-8")

    assert load(written, {"LDSYNC_LAUNCHDARKLY__API_TOKEN": TOKEN}) == loaded.settings


def test_it_says_where_each_given_value_is_from(tmp_path: Path) -> None:
    """And nothing beside a default."""
    file = write(tmp_path, {"kafka.group_id": '"a"'})
    lines = render(load_with_sources(file, {"LDSYNC_LOG__LEVEL": "debug"})).splitlines()

    assert f'group_id = "a"  # {file}' in lines
    assert 'level = "debug"  # environment variable LDSYNC_LOG__LEVEL' in lines
    assert 'client_id = "ldsync"' in lines
    assert "[[mappings]]" in lines


def test_it_says_where_the_mappings_are_from(tmp_path: Path) -> None:
    """All of them are from the file, if one is."""
    file = write(tmp_path, {"mappings": MAPPINGS})

    lines = render(load_with_sources(file, {})).splitlines()

    assert lines.count(f"[[mappings]]  # {file}") == 2
    assert """trigger = 'event = "a"'""" in lines
    assert 'context_kind = { path = "context.kind" }' in lines


def test_the_name_of_a_file_cannot_break_the_comment(tmp_path: Path) -> None:
    """A file may be called anything, also by a name with line breaks."""
    odd = tmp_path / "a\nb = 1"
    odd.mkdir()

    text = render(load_with_sources(write(odd, {}), {}))

    assert tomllib.loads(text)["launchdarkly"]["project_key"] == "web-shop"
    assert "a?b = 1" in text


@pytest.mark.parametrize(
    "value",
    [
        '"',
        "'\"",
        '"\\',
        '"\n',
        "\\",
        "a\tb\n",
        "ü€",
        "\x00\x1f\x7f",
        0.5,
        1e-07,
        30.0,
        5,
        True,
        False,
        ("a", "b"),
        (),
    ],
    ids=repr,
)
def test_a_value_written_as_toml_is_read_back(value: object) -> None:
    """TOML's own parser is the judge."""
    read = tomllib.loads(f"x = {toml_value(value)}")["x"]

    assert read == (list(value) if isinstance(value, tuple) else value)
    assert type(read) in (type(value), list)
