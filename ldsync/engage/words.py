"""What a reason means, in words: the column "what it is" of docs/events.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ldsync.engage.verdict import Verdict

REASONS: Final = {
    "tombstone": "a record without a value",
    "type_not_audience": "a call of a type that no trigger asks for, by default no identify or "
    "track call",
    "not_engage": "a call without `context.personas`: not from Engage",
    "class_not_audience": "a computed trait, for instance",
    "not_wanted": "an audience event that no trigger matches",
    "step_without_flag": "a journey step without a flag, with "
    '`journey_step_without_flag = "ignore"`',
    "empty_batch": "an array or batch without events",
    "no_context_key": "an audience event without a usable identifier, by default `userId`",
    "segment_key_collision": "an audience whose segment key belongs to another audience, with "
    '`naming.on_collision = "refuse"`',
    "too_large": "a value of more than `kafka.max_record_bytes`, which is not parsed",
    "bad_json": "not JSON in UTF-8",
    "not_an_object": "JSON, but no object: text, a number",
    "bad_audience_id": "an audience without a usable id",
    "bad_audience_key": "an audience without a usable key",
    "membership_missing": "no flag under the audience key",
    "membership_not_boolean": "a flag that is neither a boolean nor the text of one",
    "bad_context_kind": "no usable context kind where `context_kind` says",
    "context_kind_conflict": "another context kind than the segment has; only with `write_path` "
    '`"big"` and `"synced"`, whose segments have one',
    "bad_identifier": "an identifier that is an object or a list; only with "
    '`membership_mode = "segment"`',
}


def words_of(verdict: Verdict) -> str:
    """Return what a verdict means, without the marks that only a page needs."""
    return REASONS[verdict.reason].replace("`", "")
