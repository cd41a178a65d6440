"""What JavaScript makes of values (engage-events contract 2.1 to 2.4)."""

from typing import Any

import pytest

from ldsync.engage.javascript import NO_TEXT, number_text, text_of, truthy
from tests.support.engage_events import name_of


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (5, "5"),
        (-5, "-5"),
        (1.5, "1.5"),
        (-0.25, "-0.25"),
        (100.0, "100"),
        (12345678901234567890, "12345678901234567000"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (-1.5e300, "-1.5e+300"),
        (123456.789, "123456.789"),
        (1e-6, "0.000001"),
        (1.5e-6, "0.0000015"),
        (1e-7, "1e-7"),
        (1.25e-7, "1.25e-7"),
        (5e-324, "5e-324"),
        (10**400, "Infinity"),
        (-(10**400), "-Infinity"),
        (float("inf"), "Infinity"),
    ],
    ids=name_of,
)
def test_numbers_are_written_as_javascript_writes_them(value: float, text: str) -> None:
    """Doubles, in decimal up to 21 digits."""
    assert number_text(value) == text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, True),
        (False, False),
        (None, False),
        (0, False),
        (-0.0, False),
        ("", False),
        (1, True),
        (-1, True),
        ("0", True),
        ("false", True),
        ([], True),
        ({}, True),
    ],
    ids=name_of,
)
def test_truth_is_that_of_javascript(value: Any, expected: bool) -> None:
    """Empty arrays and objects are true."""
    assert truthy(value) is expected


@pytest.mark.parametrize(
    ("value", "kept", "dropped"),
    [
        ("a", "a", "a"),
        (" ", " ", " "),
        ("", "", None),
        (None, None, None),
        (5, "5", "5"),
        (True, "true", "true"),
        (False, "false", "false"),
        (["a"], "a", "a"),
        ([""], "", ""),
        ([None], "", ""),
        ([1e21], "1e+21", "1e+21"),
        ([False], "false", "false"),
        ([], NO_TEXT, NO_TEXT),
        (["a", "b"], NO_TEXT, NO_TEXT),
        ([["a"]], NO_TEXT, NO_TEXT),
        ([{}], NO_TEXT, NO_TEXT),
        ({}, NO_TEXT, NO_TEXT),
    ],
    ids=lambda value: "no text" if value is NO_TEXT else name_of(value),
)
def test_fields_of_text_are_coerced(value: Any, kept: Any, dropped: Any) -> None:
    """With and without empty text, which is dropped before arrays are opened."""
    assert text_of(value, keep_empty=True) == kept
    assert text_of(value, keep_empty=False) == dropped
