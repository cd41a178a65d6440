"""What a record leads to and why, step by step: for `ldsync explain`, not for the worker.

Nothing is decided here. Outcome and changes are what the decoder of all mappings says; which
mapping a change is from, and why another made none, is what a decoder of that mapping alone says;
and the steps in between are asked of the same triggers and readers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, cast

from ldsync.engage import events, steps, verdict
from ldsync.engage.decoder import Several
from ldsync.engage.mapping import DEFAULT_TRIGGER, MembershipMode
from ldsync.engage.rules import reader_of
from ldsync.engage.trigger.reasons import shown
from ldsync.engage.verdict import Verdict
from ldsync.engage.words import words_of
from ldsync.sync.change import Change
from ldsync.sync.outcomes import RecordOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator

    from ldsync.engage.decoder import Decoder, Found
    from ldsync.engage.events import Document
    from ldsync.engage.mapping import Mapping
    from ldsync.engage.reading import Audience
    from ldsync.engage.steps import Step
    from ldsync.sync.change import Segment

CHANGE: Final = "change"
"""The outcome of what changes something, before any write."""

_FOUND_BY: Final = ("event", "messageId")


@dataclass(frozen=True, slots=True)
class Effect:
    """One change, the mapping it is from, and the audience that its event is about."""

    mapping: str
    audience: Audience
    change: Change


@dataclass(frozen=True, slots=True)
class MappingStory:
    """What one mapping makes of one event.

    `verdict` None: a change, or nothing because the mapping is not enabled. `same_as` names the
    mapping whose change this one would only repeat, because it differs in name and trigger alone.
    """

    mapping: Mapping
    wanted: bool
    steps: tuple[Step, ...]
    verdict: Verdict | None
    same_as: str = ""


@dataclass(frozen=True, slots=True)
class EventStory:
    """What one event leads to; `call` says which event it is, `order` when it was.

    `verdict` None: it changes something. What is no object has neither an order nor mappings.
    """

    call: str
    verdict: Verdict | None
    effects: tuple[Effect, ...] = ()
    order: Step | None = None
    mappings: tuple[MappingStory, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """What one record leads to.

    `verdict` None: it changes something, and `beside` is the worst verdict on parts of it that do
    not, if one of them is invalid. `events` are those in it: none if it cannot be read, one for an
    ordinary record, and any number if it is `nested`.
    """

    verdict: Verdict | None
    effects: tuple[Effect, ...]
    events: tuple[EventStory, ...]
    nested: bool
    beside: Verdict | None

    @property
    def outcome(self) -> str:
        """`change`, `ignored`, `skipped` or `invalid`."""
        return CHANGE if self.verdict is None else self.verdict.outcome.value

    @property
    def reason(self) -> str | None:
        """The reason that is counted; None for a change."""
        return None if self.verdict is None else self.verdict.reason

    @property
    def words(self) -> str:
        """The reason in words; empty for a change."""
        return "" if self.verdict is None else words_of(self.verdict)


class Explainer:
    """Explains records under some mappings.

    Args:
        mappings: All of them, those that are not enabled among them.
        mode: By which rules events are read.
        decoder: Makes the decoder of some mappings, as the worker would have it.
    """

    def __init__(
        self, mappings: Iterable[Mapping], mode: MembershipMode, decoder: Callable[..., Decoder]
    ) -> None:
        self._mode = mode
        self._mappings = tuple(mappings)
        self._decoder = decoder(*self._mappings)
        segments = self._decoder.segments
        self._alone = [
            _Alone(mapping, mode, decoder(mapping, segments=segments)) for mapping in self._mappings
        ]

    def explain(self, value: bytes | None, record_ms: int) -> Explanation:
        """Say what a record leads to, and how.

        `record_ms` is the record's time in epoch milliseconds, negative if it has none.
        """
        found = self._decoder.read(value, record_ms)
        document: object = None
        if value is not None and found is not verdict.TOO_LARGE:
            document = events.parse(value)
        parts = None if value is None else events.nested(document, value)
        if parts is not None:
            stories = tuple(self._story(part, events.EXACT, record_ms) for part in parts)
        elif value is not None and isinstance(document, dict):
            stories = (self._story(document, value, record_ms),)
        else:
            stories = ()
        return Explanation(
            found if isinstance(found, Verdict) else None,
            tuple(effect for story in stories for effect in story.effects),
            stories,
            nested=parts is not None,
            beside=_invalid_part(found),
        )

    def _story(self, document: object, value: bytes, record_ms: int) -> EventStory:
        """Tell of one event, and of all mappings."""
        if not isinstance(document, dict):
            return EventStory(shown(document), verdict.NOT_AN_OBJECT)
        found = self._decoder.read_event(document, value, record_ms)
        changes = _changes(found)
        effects: dict[int, Effect] = {}
        stories = []
        first: dict[Mapping, str] = {}
        for alone in self._alone:
            one = alone.read(document, value, record_ms)
            same_as = ""
            if isinstance(one, Change) and alone.effect in first:
                same_as = first[alone.effect]
            elif isinstance(one, Change):
                first[alone.effect] = alone.mapping.name
                place = _place(one, changes, effects)
                audience = cast("Audience", alone.reader.audience(document, value))
                effects[place] = Effect(alone.mapping.name, audience, changes[place])
            stories.append(alone.story(document, value, one, same_as))
        return EventStory(
            _call(document),
            found if isinstance(found, Verdict) else None,
            tuple(effects[place] for place in sorted(effects)),
            steps.version_step(document, record_ms),
            tuple(stories),
        )


class _Alone:
    """One mapping, as if there were no other.

    `effect` is equal for mappings that differ in name and trigger only.
    """

    def __init__(self, mapping: Mapping, mode: MembershipMode, decoder: Decoder) -> None:
        self.mapping = mapping
        self.effect = replace(mapping, name="", trigger=DEFAULT_TRIGGER)
        self.reader = reader_of(mapping, mode)
        self._mode = mode
        self._read = decoder.read_event

    def read(self, document: Document, value: bytes, record_ms: int) -> Change | Verdict:
        """Say what this mapping makes of an event: one thing, since it is one mapping."""
        return cast("Change | Verdict", self._read(document, value, record_ms))

    def story(
        self, document: Document, value: bytes, found: Change | Verdict, same_as: str
    ) -> MappingStory:
        """Tell how it came to what was found."""
        trigger = steps.trigger_step(self.mapping, document)
        told = [trigger]
        if trigger.passed:
            told += self._steps(document, value)
        if isinstance(found, Change):
            told.append(steps.segment_step(found.target.segment))
        elif all(step.passed for step in told):
            told.append(steps.no_segment_step(found))
        off = not self.mapping.enabled
        return MappingStory(
            self.mapping,
            wanted=trigger.passed,
            steps=tuple(told),
            verdict=None if off or isinstance(found, Change) else found,
            same_as=same_as,
        )

    def _steps(self, document: Document, value: bytes) -> Iterator[Step]:
        mapping, reader = self.mapping, self.reader
        audience = reader.audience(document, value)
        yield steps.audience_step(mapping, reader, document, audience)
        if not isinstance(audience, Verdict):
            yield steps.kind_step(mapping, reader, document, value)
            yield steps.membership_step(mapping, reader, document, audience, self._mode)
            yield steps.key_step(mapping, reader, document, value, self._mode)


def _invalid_part(found: Found) -> Verdict | None:
    """Return the verdict on what is lost of a record that changes something."""
    worst = found.worst if isinstance(found, Several) else None
    return worst if worst and worst.outcome is RecordOutcome.INVALID else None


def _changes(found: Found) -> tuple[Change, ...]:
    if isinstance(found, Several):
        return found.changes
    return (found,) if isinstance(found, Change) else ()


def _place(one: Change, among: tuple[Change, ...], taken: Container[int]) -> int:
    """Return where a change that a mapping makes alone stands among those of all mappings."""
    return next(
        place
        for place, other in enumerate(among)
        if place not in taken and _gist(one) == _gist(other)
    )


def _gist(change: Change) -> tuple[Segment, str, str, bool]:
    target = change.target
    return target.segment, change.member, change.stamp, target.batch_events


def _call(document: Document) -> str:
    """Say which call it is, with what it can be found by."""
    names = [f"{name} {shown(document[name])}" for name in _FOUND_BY if name in document]
    kind = document.get("type")
    if not isinstance(kind, str):
        call = "call without a type"
    else:
        call = (
            f"{kind} call" if kind.isascii() and kind.isalpha() else f"call of type {shown(kind)}"
        )
    return ", ".join([call, *names])
