"""The page about explaining shows what the command prints."""

import json
import re

import pytest
from typer.testing import CliRunner

from ldsync.cli import app
from tests.support import docs_explaining as examples
from tests.support.docs_tables import between_markers
from tests.support.engage_events import encode, identify

TEXT = examples.PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", examples.EXAMPLES)
def test_the_example_of_the_page_is_what_is_printed(name: str) -> None:
    """If this fails: python -m tests.support.docs_explaining --write."""
    shown = between_markers(TEXT, name)

    assert shown == examples.rendered(examples.EXAMPLES[name]), examples.WRITE


def test_there_are_ten_examples_of_all_outcomes() -> None:
    """Each under a heading of its own."""
    outcomes = re.findall(r"\nline 1: (\w+)", TEXT)

    assert len(outcomes) == len(examples.EXAMPLES) == 10
    assert set(outcomes) == {"change", "ignored", "skipped", "invalid"}


def test_the_names_of_the_json_are_those_of_the_page() -> None:
    """Of the document, of a change, of a mapping and of a request."""
    result = CliRunner().invoke(app, ["explain", "--json"], input=encode(identify()))
    document = json.loads(result.stdout)

    documented = set(re.findall(r"^\| `(\w+)` \|", TEXT, flags=re.MULTILINE))
    assert document.keys() | document["changes"][0].keys() <= documented


def test_writing_brings_the_page_up_to_date(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One command mends whatever the first test finds."""
    page = tmp_path_factory.mktemp("docs") / "explaining.md"
    markers = [f"<!-- {name}:begin -->\n<!-- {name}:end -->" for name in examples.EXAMPLES]
    page.write_text("\n".join(markers), encoding="utf-8")
    monkeypatch.setattr(examples, "PAGE", page)

    assert examples.main(["--write"]) == 0

    for name, example in examples.EXAMPLES.items():
        written = between_markers(page.read_text(encoding="utf-8"), name)
        assert written == examples.rendered(example)
