"""Verdicts on records that lead to no change, each with exactly one reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from ldsync.sync.outcomes import Ending, RecordOutcome, is_worse


@final
@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """Why a record changes nothing: its outcome (P7) and the reason that is counted for it.

    Each is made once, here, and compared by identity: they are counted on the path of every event.
    """

    outcome: RecordOutcome
    reason: str

    @property
    def ending(self) -> Ending:
        """How a record ends of which this is the verdict."""
        return Ending(self.outcome, self.reason)


TOMBSTONE = Verdict(RecordOutcome.IGNORED, "tombstone")
TYPE_NOT_AUDIENCE = Verdict(RecordOutcome.IGNORED, "type_not_audience")
NOT_ENGAGE = Verdict(RecordOutcome.IGNORED, "not_engage")
CLASS_NOT_AUDIENCE = Verdict(RecordOutcome.IGNORED, "class_not_audience")
NOT_WANTED = Verdict(RecordOutcome.IGNORED, "not_wanted")
STEP_WITHOUT_FLAG = Verdict(RecordOutcome.IGNORED, "step_without_flag")
EMPTY_BATCH = Verdict(RecordOutcome.IGNORED, "empty_batch")

NO_CONTEXT_KEY = Verdict(RecordOutcome.SKIPPED, "no_context_key")
SEGMENT_KEY_COLLISION = Verdict(RecordOutcome.SKIPPED, "segment_key_collision")

TOO_LARGE = Verdict(RecordOutcome.INVALID, "too_large")
BAD_JSON = Verdict(RecordOutcome.INVALID, "bad_json")
NOT_AN_OBJECT = Verdict(RecordOutcome.INVALID, "not_an_object")
BAD_AUDIENCE_ID = Verdict(RecordOutcome.INVALID, "bad_audience_id")
BAD_AUDIENCE_KEY = Verdict(RecordOutcome.INVALID, "bad_audience_key")
MEMBERSHIP_MISSING = Verdict(RecordOutcome.INVALID, "membership_missing")
MEMBERSHIP_NOT_BOOLEAN = Verdict(RecordOutcome.INVALID, "membership_not_boolean")
BAD_CONTEXT_KIND = Verdict(RecordOutcome.INVALID, "bad_context_kind")
BAD_IDENTIFIER = Verdict(RecordOutcome.INVALID, "bad_identifier")
CONTEXT_KIND_CONFLICT = Verdict(RecordOutcome.INVALID, "context_kind_conflict")

VERDICTS = (
    TOMBSTONE,
    TYPE_NOT_AUDIENCE,
    NOT_ENGAGE,
    CLASS_NOT_AUDIENCE,
    NOT_WANTED,
    STEP_WITHOUT_FLAG,
    EMPTY_BATCH,
    NO_CONTEXT_KEY,
    SEGMENT_KEY_COLLISION,
    TOO_LARGE,
    BAD_JSON,
    NOT_AN_OBJECT,
    BAD_AUDIENCE_ID,
    BAD_AUDIENCE_KEY,
    MEMBERSHIP_MISSING,
    MEMBERSHIP_NOT_BOOLEAN,
    BAD_CONTEXT_KIND,
    BAD_IDENTIFIER,
    CONTEXT_KIND_CONFLICT,
)
"""All verdicts, for metrics that bind their labels once and for the documentation."""


def worse(one: Verdict | None, other: Verdict) -> Verdict:
    """Return the verdict that counts for a record of which both are true (P7).

    Invalid before skipped before ignored; the first of two that are as bad.
    """
    if one is None or is_worse(other.outcome, one.outcome):
        return other
    return one
