"""The page about delivery names what exists: rows, tests, modules, metrics and log lines."""

import re
from pathlib import Path

import pytest

from tests.chaos.mutations.bug import AnchorGone, Bug, Edit
from tests.chaos.mutations.bugs import BUGS, NOT_TRIED

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "delivery.md").read_text(encoding="utf-8")
DESIGN = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
TRAPS = re.findall(r"^\| (\d+) \|(.*)\|(.*)\|(.*)\|$", PAGE, re.MULTILINE)
UNTESTED = {"23"}  # accepted: nothing of ours to test


def _sources() -> str:
    return "".join(path.read_text(encoding="utf-8") for path in (ROOT / "ldsync").rglob("*.py"))


def test_every_trap_of_the_client_has_a_row_with_what_is_done_and_a_test() -> None:
    """All 38, in order."""
    assert [number for number, *_ in TRAPS] == [str(number) for number in range(1, 39)]
    for number, trap, here, test in TRAPS:
        assert trap.strip(), number
        assert here.strip(), number
        assert ("test_" in test) is (number not in UNTESTED), number


def test_every_test_that_is_named_exists() -> None:
    """The file, once, and the function in it."""
    named = re.findall(r"`(test_\w+\.py)(?:::(test_\w+))?`", PAGE)
    assert len(named) > 50
    for file, function in named:
        (path,) = (ROOT / "tests").rglob(file)
        assert not function or f"def {function}(" in path.read_text(encoding="utf-8"), function


def test_every_file_that_is_named_exists() -> None:
    """Modules are named as in docs/design.md, without the package and the suffix."""
    named = set(re.findall(r"`((?:kafka|sync|versions|config|tests)/[\w/.]+)`", PAGE))
    assert len(named) > 10
    for name in sorted(named):
        places = (ROOT / name, ROOT / "ldsync" / name, ROOT / "ldsync" / f"{name}.py")
        assert any(place.exists() for place in places), name


def test_every_metric_and_log_line_that_is_named_exists() -> None:
    """In the README's table, which a test compares with the code, and in the code."""
    readme, sources = (ROOT / "README.md").read_text(encoding="utf-8"), _sources()
    table = PAGE.split("## When it cannot be kept")[1].split("## How")[0]
    metrics = set(re.findall(r"`(ldsync_\w+)", table))
    events = set(
        re.findall(
            r"`((?:batch|segment|record|dead_letters|ordering|partitions|commit"
            r"|drain|watchdog|kafka)\.[a-z_]+)`",
            table,
        )
    ) - {"dead_letters.problem"}
    assert len(metrics) > 15
    assert len(events) > 12
    for name in metrics:
        assert f"`{name}`" in readme, name
    for event in events:
        assert f'"{event}"' in sources, event


@pytest.mark.parametrize("rule", [f"R{number}" for number in range(1, 10)])
def test_every_rule_has_a_place_in_the_code_that_names_it(rule: str) -> None:
    """docs/design.md says where; the module there says which rule it keeps."""
    (places,) = re.findall(rf"^\* \*\*{rule}, [^*]+\*\* \(([^)]+)\)", DESIGN, re.MULTILINE)
    for place in re.findall(r"`([\w/]+)`", places):
        module = ROOT / "ldsync" / f"{place}.py"
        assert rule in module.read_text(encoding="utf-8"), place


def test_every_rule_is_left_out_by_a_bug_or_it_is_said_why_not() -> None:
    """And at least ten bugs are told apart by their names."""
    tried = {bug.breaks for bug in BUGS}
    assert tried | NOT_TRIED.keys() >= {f"R{number}" for number in range(1, 10)}
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 10


def test_the_page_has_a_row_for_every_bug_and_each_was_found() -> None:
    """By one of the rules that it must be found by."""
    table = PAGE.split("<!-- mutations -->")[1].split("<!-- /mutations -->")[0]
    rows = re.findall(
        r"^\| `([\w-]+)` \| (\w+) \|.*\| ([^|]*) \| \d+ \| \d+ \| \d+ \|$", table, re.MULTILINE
    )
    found = {name: (breaks, set(re.findall(r"\w+(?= \()", rules))) for name, breaks, rules in rows}
    assert found.keys() == {bug.name for bug in BUGS}
    for bug in BUGS:
        breaks, rules = found[bug.name]
        assert breaks == bug.breaks
        assert rules & bug.expected, bug.name


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_every_bug_still_fits_the_code(bug: Bug, tmp_path: Path) -> None:
    """So that `make mutations` does not find out late."""
    for edit in bug.edits:
        copy = tmp_path / edit.file
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text((ROOT / edit.file).read_text(encoding="utf-8"), encoding="utf-8")
    bug.apply(tmp_path)
    for edit in bug.edits:
        compile((tmp_path / edit.file).read_text(encoding="utf-8"), edit.file, "exec")


def test_a_bug_that_does_not_fit_is_said_to(tmp_path: Path) -> None:
    """A bug that changes nothing would be found by nobody."""
    (tmp_path / "file").write_text("nothing of it")
    bug = Bug("x", "P1", "x", (Edit("file", "something", ""),), frozenset({"P1"}))
    with pytest.raises(AnchorGone, match="0 times"):
        bug.apply(tmp_path)
