"""The page for operators knows every alert, every warning and error, and every reason to retry."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ldsync.launchdarkly.outcome import RetryReason
from tests.support.docs_tables import between_markers

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
ALERTS = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())
RULES = {rule["alert"]: rule for rule in ALERTS["groups"][0]["rules"]}
LEVELS = {"warning": "warning", "error": "error", "exception": "error"}
EVENT = re.compile(r"[a-z_]+\.[a-z_]+")
# The level is chosen in a line before.
CHOSEN = {
    "batch.retry": {"warning", "error"},
    "dead_letters.reread": {"warning"},
    "environment.unresolved": {"warning", "error"},
    "partition.started_at": {"warning"},
}


def _logged(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Events of a module that are logged as warning or error, with their level."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(attr=method), args=[ast.Constant(value=str(event)), *_]
            ) if method in LEVELS and EVENT.fullmatch(event):
                yield event, LEVELS[method]


def _modules() -> Iterator[str]:
    for path in (ROOT / "ldsync").rglob("*.py"):
        if "demo" not in path.parts:
            yield path.read_text(encoding="utf-8")


def test_every_alert_has_a_section_to_which_its_runbook_leads() -> None:
    """Whoever is paged finds what it means and what to do."""
    alerts = PAGE.split("\n## Alerts\n")[1].split("\n## ")[0]
    sections = re.findall(r"^### (\w+)$", alerts, re.MULTILINE)

    assert sections == list(RULES)
    for name, rule in RULES.items():
        assert rule["annotations"]["runbook"] == f"docs/operating.md#{name.lower()}"


def test_every_warning_and_error_is_explained_with_its_level() -> None:
    """All of them, in alphabetical order, and nothing that is never logged."""
    logged: dict[str, set[str]] = {event: set(levels) for event, levels in CHOSEN.items()}
    for text in _modules():
        for event, level in _logged(ast.parse(text)):
            logged.setdefault(event, set()).add(level)
    table = between_markers(PAGE, "log")
    rows = re.findall(r"^\| `([\w.]+)` \| ([\w, ]+) \| \S", table, re.MULTILINE)

    assert len(logged) > 30
    assert [event for event, _ in rows] == sorted(logged)
    assert {event: set(levels.split(", ")) for event, levels in rows} == logged


@pytest.mark.parametrize("event", CHOSEN)
def test_an_event_whose_level_is_chosen_is_logged(event: str) -> None:
    """The list above would hide one that is gone."""
    assert any(f'"{event}"' in text for text in _modules())


def test_every_way_to_choose_a_level_is_known() -> None:
    """`log.log(…)`, or a method that is taken first and called later: for these the list above."""
    chosen = re.compile(r"\.log\(\s*(?:30|40)|= \S*log\.(?:warning|error) if ")

    assert sum(len(chosen.findall(text)) for text in _modules()) == len(CHOSEN)


def test_every_reason_of_a_retry_is_explained() -> None:
    """In the order of the code, which is roughly from what passes to what does not."""
    table = between_markers(PAGE, "reasons")

    assert re.findall(r"^\| `(\w+)` \| \S", table, re.MULTILINE) == [*RetryReason]
