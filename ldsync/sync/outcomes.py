"""The outcomes of a record (P7): every consumed record has exactly one."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class RecordOutcome(StrEnum):
    """What became of a consumed record, from the mildest to the worst.

    Of several changes in a record, or events nested in it, the worst one counts.
    """

    IGNORED = "ignored"
    """Not an audience event: ordinary traffic of a shared topic."""
    SKIPPED = "skipped"
    """An audience event that changes nothing here: no context key, or older than what is known."""
    INVALID = "invalid"
    """An audience event, or no event at all, that cannot be read."""
    COALESCED = "coalesced"
    """Superseded by a newer change of its member before it was written."""
    DELIVERED = "delivered"
    """Accepted by LaunchDarkly."""
    REJECTED = "rejected"
    """Refused by LaunchDarkly, for this member alone."""
    ABANDONED = "abandoned"
    """Its partition was revoked first; whoever owns the partition now consumes it again."""


_SEVERITY: Final = {outcome: severity for severity, outcome in enumerate(RecordOutcome)}


class Ending(NamedTuple):
    """How a record ended: its outcome and, where the outcome has several, the reason."""

    outcome: RecordOutcome
    reason: str = ""


STALE: Final = Ending(RecordOutcome.SKIPPED, "stale")
"""Something newer was known of its member when it was to be written."""
OLDER: Final = Ending(RecordOutcome.SKIPPED, "older_than_horizon")
"""It was to be replayed, but what came since may be forgotten already (R9)."""
PARKED: Final = Ending(RecordOutcome.REJECTED, "parked")
"""Its segment could not be written for too long, or held too much: it is a dead letter now."""
COALESCED: Final = Ending(RecordOutcome.COALESCED)
DELIVERED: Final = Ending(RecordOutcome.DELIVERED)
ABANDONED: Final = Ending(RecordOutcome.ABANDONED)


def is_worse(outcome: RecordOutcome, other: RecordOutcome) -> bool:
    """Say whether a record of which both are true has ended as `outcome` (P7)."""
    return _SEVERITY[outcome] > _SEVERITY[other]
