"""Verdicts: each reason once, each in the documentation."""

import re
from collections import Counter
from pathlib import Path

from ldsync.engage import verdict
from ldsync.engage.times import Fallback
from ldsync.engage.verdict import VERDICTS, Verdict
from ldsync.sync.outcomes import OLDER, STALE, RecordOutcome

PAGE = (Path(__file__).parents[2] / "docs" / "events.md").read_text(encoding="utf-8")


def test_all_verdicts_are_listed() -> None:
    """Metrics and documentation go by the list."""
    assert [one for one in vars(verdict).values() if isinstance(one, Verdict)] == list(VERDICTS)


def test_a_reason_belongs_to_one_verdict() -> None:
    """A reason alone says what became of a record."""
    assert max(Counter(one.reason for one in VERDICTS).values()) == 1


def test_verdicts_are_compared_by_identity() -> None:
    """They are counted on the path of every record."""
    assert Verdict(RecordOutcome.INVALID, "bad_json") != verdict.BAD_JSON


def test_the_outcomes_of_reasons_are_these() -> None:
    """Ordinary traffic is no error, and what cannot be keyed is no broken event."""
    by_outcome: dict[str, set[str]] = {}
    for one in VERDICTS:
        by_outcome.setdefault(one.outcome.value, set()).add(one.reason)

    assert by_outcome == {
        "ignored": {
            "tombstone",
            "type_not_audience",
            "not_engage",
            "class_not_audience",
            "not_wanted",
            "step_without_flag",
            "empty_batch",
        },
        "skipped": {"no_context_key", "segment_key_collision"},
        "invalid": {
            "too_large",
            "bad_json",
            "not_an_object",
            "bad_audience_id",
            "bad_audience_key",
            "membership_missing",
            "membership_not_boolean",
            "bad_context_kind",
            "bad_identifier",
            "context_kind_conflict",
        },
    }


def test_the_page_on_events_lists_every_reason_with_its_outcome() -> None:
    """docs/events.md, "Reasons": those of verdicts, and those that the version store adds."""
    expected = [(one.reason, one.outcome.value) for one in VERDICTS]
    expected += [(one.reason, one.outcome.value) for one in (STALE, OLDER)]

    assert sorted(_table("Reasons")) == sorted(expected)


def test_the_page_on_events_lists_every_other_time() -> None:
    """docs/events.md, "Times and versions": the reasons of ldsync_event_time_fallbacks_total."""
    assert [first for first, _ in _table("Times and versions")] == [one.value for one in Fallback]


def _table(section: str) -> list[tuple[str, str]]:
    """The first two cells, where the first is code, of the rows of a section's tables."""
    _, _, rest = PAGE.partition(f"\n## {section}\n")
    text, _, _ = rest.partition("\n## ")
    return re.findall(r"^\| `([a-z_]+)` \| ([^|]+) \|", text, re.MULTILINE)


def test_the_worst_verdict_counts() -> None:
    """Invalid before skipped before ignored, and the first of two that are as bad (P7)."""
    ignored, skipped, invalid = verdict.NOT_ENGAGE, verdict.NO_CONTEXT_KEY, verdict.BAD_JSON

    assert verdict.worse(None, ignored) is ignored
    assert verdict.worse(ignored, skipped) is skipped
    assert verdict.worse(invalid, skipped) is invalid
    assert verdict.worse(skipped, invalid) is invalid
    assert verdict.worse(ignored, verdict.TOMBSTONE) is ignored
