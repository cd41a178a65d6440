"""The steps from an event to a change under one mapping, in words for a person.

Everything is asked of what the decoder asks as well: the trigger, the reader of the mapping's
fields, and the candidates from which its context key is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ldsync.engage import verdict
from ldsync.engage.mapping import EmailNormalization, MembershipMode, Priority, WithoutFlag
from ldsync.engage.paths import Path
from ldsync.engage.paths import reader as reader_at
from ldsync.engage.rules import JOURNEY_STEP, WITHOUT_FLAG
from ldsync.engage.times import Fallback, Versions, split
from ldsync.engage.trigger.reasons import shown
from ldsync.engage.verdict import Verdict
from ldsync.engage.words import words_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ldsync.engage.events import Document
    from ldsync.engage.mapping import Mapping
    from ldsync.engage.reading import Audience, KeyCandidate, Reader
    from ldsync.sync.change import Segment

_FALLBACKS: Final = {
    None: "timestamp",
    Fallback.MISSING_TIMESTAMP: "receivedAt, because timestamp is missing",
    Fallback.BAD_TIMESTAMP: "receivedAt, because timestamp cannot be read",
    Fallback.NO_EVENT_TIME: "the record's time, because neither timestamp nor receivedAt can be "
    "read",
    Fallback.FUTURE_TIMESTAMP: "the record's time, because the event's is more than 60 s after it",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what it is called, whether it was passed, and what was found."""

    name: str
    passed: bool
    text: str
    details: tuple[str, ...] = ()


def trigger_step(mapping: Mapping, document: Document) -> Step:
    """Say whether the mapping wants the event, and if not, why."""
    if not mapping.enabled:
        return Step("trigger", passed=False, text="the mapping is not enabled")
    reasons = mapping.trigger.why_not(document)
    if reasons:
        return Step("trigger", passed=False, text="does not match", details=reasons)
    return Step("trigger", passed=True, text=f"matches: {mapping.trigger}")


def audience_step(
    mapping: Mapping, reader: Reader, document: Document, audience: Audience | Verdict
) -> Step:
    """Say which audience the event is about, or what stands where it should be."""
    if not isinstance(audience, Verdict):
        what = audience.computation_class.replace("_", " ")
        return Step("audience", passed=True, text=f"{what} {audience.key} ({audience.id})")
    looked_at = _looked_at(mapping, reader, document, audience)
    return Step(
        "audience",
        passed=False,
        text=words_of(audience),
        details=tuple(f"{place} is {_found(found)}" for place, found in looked_at),
    )


def _looked_at(
    mapping: Mapping, reader: Reader, document: Document, why_none: Verdict
) -> Iterable[tuple[object, object]]:
    """Return the places that a verdict is about, and what stands there."""
    if why_none is verdict.MEMBERSHIP_MISSING:
        return reader.flag_objects(document)
    if why_none is verdict.BAD_IDENTIFIER:
        every = Priority.USER_ID_THEN_EMAIL_THEN_ANONYMOUS_ID
        candidates = reader.key_candidates(every, EmailNormalization.NONE)
        return [(candidate.place, candidate.at(document)) for candidate in candidates]
    fields = mapping.fields
    path = {
        verdict.NOT_ENGAGE: Path(fields.computation_class.steps[:-1]),
        verdict.CLASS_NOT_AUDIENCE: fields.computation_class,
        verdict.BAD_AUDIENCE_ID: fields.audience_id,
        verdict.BAD_AUDIENCE_KEY: fields.audience_key,
    }[why_none]
    return [(path, _at(path, document))]


def kind_step(mapping: Mapping, reader: Reader, document: Document, value: bytes) -> Step:
    """Say of which kind the member is."""
    wanted = mapping.context_kind
    if isinstance(wanted, str):
        return Step("context kind", passed=True, text=f"{wanted}, as configured")
    kind = reader.kind_reader(wanted)(document, value)
    found = f"{wanted} is {_found(_at(wanted, document))}"
    if isinstance(kind, Verdict):
        return Step("context kind", passed=False, text=words_of(kind), details=(found,))
    return Step("context kind", passed=True, text=kind, details=(found,))


def membership_step(
    mapping: Mapping, reader: Reader, document: Document, audience: Audience, mode: MembershipMode
) -> Step:
    """Say whether the member is in or out, and where that is said."""
    found = []
    for place, flags in reader.flag_objects(document):
        if isinstance(flags, dict):
            found.append(f"{place}.{audience.key} is {_found(flags.get(audience.key))}")
            if flags.get(audience.key) is not None:
                break
        else:
            found.append(f"{place} is {_found(flags)}")
    if mode is MembershipMode.SEGMENT:
        found.append('read as JavaScript does (membership_mode = "segment")')
    entered = reader.membership(document, audience)
    if entered is verdict.MEMBERSHIP_MISSING and audience.computation_class == JOURNEY_STEP:
        setting = mapping.journey_step_without_flag
        entered = WITHOUT_FLAG[setting]
        if setting is not WithoutFlag.DEAD_LETTER:
            found.append(f'journey_step_without_flag is "{setting}"')
    if isinstance(entered, Verdict):
        text, passed = words_of(entered), False
    else:
        text, passed = ("the member is in" if entered else "the member is out"), True
    return Step("membership", passed=passed, text=text, details=tuple(found))


def key_step(
    mapping: Mapping, reader: Reader, document: Document, value: bytes, mode: MembershipMode
) -> Step:
    """Say which candidate became the context key, and why those before it did not."""
    candidates = reader.key_candidates(mapping.context_key, mapping.email_normalization)
    key: str | Verdict | None = None
    details = []
    for candidate in candidates:
        if key is not None:
            details.append(f"{candidate.place} is not looked at")
            continue
        key = candidate.read(document, value)
        details.append(_candidate(candidate, document, key, mode))
    if key is None or isinstance(key, Verdict):
        text = words_of(key or verdict.NO_CONTEXT_KEY)
        return Step("context key", passed=False, text=text, details=tuple(details))
    return Step("context key", passed=True, text=key, details=tuple(details))


def version_step(document: Document, record_ms: int) -> Step:
    """Say what orders the event, and which of its times that is."""
    versions = Versions()
    version = versions.version(document.get("timestamp"), document.get("receivedAt"), record_ms)
    reason = next((one for one, count in versions.fallbacks.items() if count), None)
    first, second = split(version)
    why = _FALLBACKS[reason]
    if reason is Fallback.NO_EVENT_TIME and record_ms < 0:
        why = (
            "no time, because neither timestamp nor receivedAt can be read, nor has the record any"
        )
    return Step(
        "version",
        passed=reason is None,
        text=f"{first} then {second}",
        details=(f"{why}; receivedAt decides ties",),
    )


def segment_step(segment: Segment) -> Step:
    """Say which segment the change is for."""
    return Step("segment", passed=True, text=f'{segment.key}, named "{segment.name}"')


def no_segment_step(why: Verdict) -> Step:
    """Say why the audience may not have the segment of its name."""
    return Step("segment", passed=False, text=words_of(why))


def _candidate(
    candidate: KeyCandidate, document: Document, key: str | Verdict | None, mode: MembershipMode
) -> str:
    found = candidate.at(document)
    text = f"{candidate.place} is {_found(found)}"
    if isinstance(key, Verdict):
        return f"{text}: {words_of(key)}"
    if key is not None:
        return f"{text}: taken"
    why = "" if found is None else _why_no_key(found, mode)
    return f"{text}, {why}" if why else text


def _why_no_key(found: object, mode: MembershipMode) -> str:
    """Say what is wrong with a value that is there and is no key."""
    if isinstance(found, str) and not found.strip():
        return "which is no key"
    if isinstance(found, str):
        return "which holds half a surrogate pair"
    if mode is MembershipMode.STRICT:
        return "which is neither text nor an integer"
    return "which is no key"


def _found(value: object) -> str:
    return "missing or null" if value is None else shown(value)


def _at(path: Path, document: Document) -> object:
    return reader_at(path)(document)
