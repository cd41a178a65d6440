"""The page about triggers says what the code does."""

import re
from pathlib import Path

import pytest

from ldsync.engage.trigger import Condition, Operator, TriggerError, parse

DOCS = Path(__file__).parents[2] / "docs" / "triggers.md"


def _section(heading: str) -> str:
    text = DOCS.read_text(encoding="utf-8")
    return text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def test_the_examples_of_the_documentation_are_triggers() -> None:
    """Every line of them, in canonical text, and there are some."""
    examples = _section("Examples").split("```")[1].strip().splitlines()
    assert len(examples) >= 8
    assert [str(parse(example)) for example in examples] == examples


def test_the_error_of_the_documentation_is_the_one_shown() -> None:
    """Word for word."""
    with pytest.raises(TriggerError) as caught:
        parse("type = track")
    assert f"```\n{caught.value}\n```" in DOCS.read_text(encoding="utf-8")


def test_the_operators_of_the_documentation_are_all_there_are() -> None:
    """Both notations of each row of the table are the same condition."""
    documented = set()
    for notation, words in re.findall(
        r"\n\| `([^`]+)`(?: or `([^`]+)`)? \|", _section("Operators")
    ):
        condition = parse(notation).expression
        assert isinstance(condition, Condition)
        assert not words or parse(words).expression == condition
        documented.add(condition.operator)
    assert documented == set(Operator)
