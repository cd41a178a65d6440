"""Paths into events: how they are written, and what they lead to."""

from typing import Any

import pytest

from ldsync.engage.paths import Path, PathError, parse, reader


@pytest.mark.parametrize(
    ("text", "steps", "printed"),
    [
        ("userId", ("userId",), "userId"),
        ("context.traits.email", ("context", "traits", "email"), "context.traits.email"),
        ("$.context.kind", ("context", "kind"), "context.kind"),
        (r"traits.plan\.name", ("traits", "plan.name"), r"traits.plan\.name"),
        (r"traits.a\\b", ("traits", "a\\b"), r"traits.a\\b"),
        ("traits.two words", ("traits", "two words"), "traits.two words"),
        ("traits.日本\n.0", ("traits", "日本\n", "0"), "traits.日本\n.0"),
    ],
)
def test_a_path_is_keys_with_dots_between(text: str, steps: tuple[str, ...], printed: str) -> None:
    """Escapes for dots and backslashes; what is printed reads as the same path."""
    assert parse(text) == Path(steps)
    assert str(parse(text)) == printed
    assert parse(printed) == parse(text)


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "$.", "a\\", "a.\\", "$..a"])
def test_a_key_that_is_missing_is_an_error(text: str) -> None:
    """At start, not at the first event."""
    with pytest.raises(PathError, match="keys with dots"):
        parse(text)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a", {"b": [5, {"c": 6}], "": 1, "t": "text", "0": "zero"}),
        ("a.b.0", 5),
        ("a.b.1.c", 6),
        ("a.b.2", None),
        ("a.b.01", None),
        ("a.b.-1", None),
        ("a.b.length", None),
        ("a.0", "zero"),
        ("a.t.0", None),
        ("a.t.length", None),
        ("a.none.x", None),
        ("missing.x.y", None),
        ("null", None),
        ("null.x", None),
        ("zero.x", None),
    ],
)
def test_a_path_leads_to_a_value_or_nowhere(path: str, expected: Any) -> None:
    """Lists have elements; nothing else but objects has parts."""
    document = {
        "a": {"b": [5, {"c": 6}], "": 1, "t": "text", "0": "zero"},
        "null": None,
        "zero": 0,
    }

    assert reader(parse(path))(document) == expected
