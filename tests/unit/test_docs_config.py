"""What the documentation repeats of the code is true: the example file and the README's tables."""

import re
import tomllib
from pathlib import Path

import pytest

from ldsync.config import Settings, load
from ldsync.config.schema import all_keys, keys_of, list_keys, lists_of, sections_of
from tests.support import docs_tables
from tests.support.configs import REQUIRED_VARIABLES

WRITE = "python -m tests.support.docs_tables --write"


def test_the_example_states_every_key_with_its_default() -> None:
    """Read as plain TOML it has all keys, with their defaults as values; except the secrets."""
    example = tomllib.loads(docs_tables.EXAMPLE.read_text(encoding="utf-8"))

    lists = {name: example.pop(name) for name in lists_of(Settings)}
    stated = {name: value for name, value in example.items() if not isinstance(value, dict)}
    for section, table in example.items():
        if isinstance(table, dict):
            stated |= {f"{section}.{name}": value for name, value in table.items()}
    expected = {
        key.path: list(key.default) if isinstance(key.default, tuple) else key.default
        for key in all_keys(Settings)
        if not key.secret
    }
    assert stated == expected
    assert lists == {
        name: [{key.name: key.default for key in keys}]
        for name, keys in list_keys(Settings).items()
    }


def test_the_example_shows_secrets_only_as_comments() -> None:
    """Each once, and with the variable that is the better place for it."""
    lines = docs_tables.EXAMPLE.read_text(encoding="utf-8").splitlines()

    for key in all_keys(Settings):
        if key.secret:
            (line,) = [line for line in lines if line.startswith(f"# {key.name} = ")]
            assert key.variable in line


def test_the_example_works_once_what_is_required_is_given() -> None:
    """Copied and completed, it changes nothing."""
    assert load(docs_tables.EXAMPLE, REQUIRED_VARIABLES) == load(None, REQUIRED_VARIABLES)


def test_the_example_is_what_the_schema_says() -> None:
    """Prose included. If this fails: python -m tests.support.docs_tables --write."""
    assert docs_tables.EXAMPLE.read_text(encoding="utf-8") == docs_tables.example_file(), WRITE


def test_lines_of_the_example_are_not_too_long() -> None:
    """It is read in terminals."""
    lines = docs_tables.EXAMPLE.read_text(encoding="utf-8").splitlines()

    assert [line for line in lines if len(line) > 100] == []


@pytest.mark.parametrize("name", docs_tables.TABLES)
def test_the_table_of_the_readme_is_what_the_code_says(name: str) -> None:
    """If this fails: python -m tests.support.docs_tables --write."""
    readme = docs_tables.README.read_text(encoding="utf-8")

    assert docs_tables.between_markers(readme, name) == docs_tables.TABLES[name](), WRITE


def test_the_rendered_table_has_every_key_under_its_section() -> None:
    """The comparison above is worth something only if the rendering is complete."""
    blocks = re.split(r"^\*\*`\[+(\w+)\]+`\*\*", docs_tables.config_table(), flags=re.MULTILINE)

    models = sections_of(Settings) | lists_of(Settings)
    assert blocks[1::2] == list(models)
    top = {"": blocks[0], **dict(zip(blocks[1::2], blocks[2::2], strict=True))}
    for section, block in top.items():
        model = models.get(section, Settings)
        named = re.findall(r"^\| `(\w+)` \|", block, flags=re.MULTILINE)
        assert named == [key.name for key in keys_of(section, model)]


def test_a_table_is_replaced_between_its_markers_and_nothing_else() -> None:
    """What `--write` does to the README."""
    text = "before\n<!-- config:begin -->\nold\n<!-- config:end -->\nafter\n"

    written = docs_tables.with_table(text, "config", "| new |")

    assert docs_tables.between_markers(written, "config") == "| new |"
    assert written.startswith("before\n<!-- config:begin -->\n")
    assert written.endswith("\n<!-- config:end -->\nafter\n")
    assert docs_tables.with_table(written, "config", "| new |") == written


@pytest.mark.parametrize("text", ["", "<!-- config:end --><!-- config:begin -->"])
def test_a_text_without_markers_is_not_written_to(text: str) -> None:
    """Better no table than one in the wrong place."""
    with pytest.raises(ValueError, match="config:begin"):
        docs_tables.with_table(text, "config", "| new |")


def test_writing_brings_everything_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One command mends whatever the tests above find."""
    readme, example = tmp_path / "README.md", tmp_path / "config.example.toml"
    markers = [f"<!-- {name}:begin -->\n<!-- {name}:end -->" for name in docs_tables.TABLES]
    readme.write_text("\n".join(markers), encoding="utf-8")
    monkeypatch.setattr(docs_tables, "README", readme)
    monkeypatch.setattr(docs_tables, "EXAMPLE", example)

    assert docs_tables.main(["--write"]) == 0

    text = readme.read_text(encoding="utf-8")
    for name, render in docs_tables.TABLES.items():
        assert docs_tables.between_markers(text, name) == render()
    assert example.read_text(encoding="utf-8") == docs_tables.example_file()
