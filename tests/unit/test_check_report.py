"""How the findings of `ldsync check` are shown."""

import json

from ldsync.checks.finding import Finding, State
from ldsync.checks.report import Report, refused
from ldsync.config import ConfigError, Problem

GOOD = Finding("Kafka", State.OK, "answers")
ODD = Finding("clock", State.WARNING, "is wrong", "Synchronise it")
OPEN = Finding("createSegment", State.UNKNOWN, "nobody says")
BAD = Finding("token", State.FAILED, "is not valid", "Check it")


def test_only_a_failure_makes_it_fail() -> None:
    """A warning, or what could not be found out, does not."""
    assert Report((GOOD, ODD, OPEN)).passed
    assert not Report((GOOD, BAD)).passed


def test_people_see_a_line_for_each_and_what_to_do_below() -> None:
    """Names in one column, so that the details stand below each other."""
    assert Report((GOOD, ODD, OPEN, BAD)).as_text().splitlines() == [
        "✓ Kafka          answers",
        "! clock          is wrong",
        "                 → Synchronise it",
        "? createSegment  nobody says",
        "✗ token          is not valid",
        "                 → Check it",
    ]


def test_programs_see_the_same() -> None:
    """Names and states are the interface."""
    assert json.loads(Report((BAD,)).as_json()) == {
        "passed": False,
        "findings": [
            {
                "name": "token",
                "state": "failed",
                "detail": "is not valid",
                "advice": "Check it",
            }
        ],
    }


def test_a_configuration_that_cannot_be_used_is_all_there_is() -> None:
    """Each problem by its key, with where it was given."""
    report = refused(ConfigError([Problem("kafka.topics", "ldsync.toml", "must be a list")]))
    assert not report.passed
    (finding,) = report.findings
    assert (finding.name, finding.detail) == ("kafka.topics", "must be a list")
    assert "ldsync.toml" in finding.advice
