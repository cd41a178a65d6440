"""The outcomes of a record (P7): every consumed record has exactly one."""

from __future__ import annotations

from enum import StrEnum


class RecordOutcome(StrEnum):
    """What became of a consumed record."""

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


STALE = "stale"
"""Reason of a skipped record: something newer was known of its member when it was to be written."""
