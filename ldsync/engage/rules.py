"""Rules: mappings made ready for the path of every event, and arranged by type of call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ldsync.engage import verdict
from ldsync.engage.mapping import (
    DEFAULT_FIELDS,
    Mapping,
    MembershipMode,
    Priority,
    WithoutFlag,
)
from ldsync.engage.paths import Path
from ldsync.engage.plan import UNUSUAL, Candidate, Choice, Chooser
from ldsync.engage.reference import ReferenceReader
from ldsync.engage.segments import Segments
from ldsync.engage.strict import StrictReader
from ldsync.engage.verdict import Verdict
from ldsync.sync.change import IN, OUT, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from ldsync.engage.events import Document
    from ldsync.engage.reading import Audience, Reader, TextReader
    from ldsync.engage.segments import OnCollision
    from ldsync.engage.trigger import Trigger

_CALLS = ("identify", "track", "page", "screen", "group", "alias", "delete")
JOURNEY_STEP = "journey_step"
"""The computation class of journey steps."""

WITHOUT_FLAG: dict[WithoutFlag, bool | Verdict] = {
    WithoutFlag.DEAD_LETTER: verdict.MEMBERSHIP_MISSING,
    WithoutFlag.ADD: True,
    WithoutFlag.IGNORE: verdict.STEP_WITHOUT_FLAG,
}
"""What a journey step without a flag means, by what the mapping says."""


def reader_of(mapping: Mapping, mode: MembershipMode) -> Reader:
    """Return what reads events for a mapping."""
    if mode is MembershipMode.STRICT:
        return StrictReader(mapping.fields)
    return ReferenceReader(mapping.fields, batched=mapping.batch_events)


class Rule:
    """What one mapping, or several that differ in name and trigger only, makes of an event.

    `kind` is the context kind, or what reads it. `without_flag` is what a journey step means that
    has no flag. `targets` are those made so far, by context kind and audience id, or by the id
    alone where the kind is constant: at most `most` of them.
    """

    __slots__ = (
        "_most",
        "_one_kind",
        "_segments",
        "kind",
        "mapping",
        "read_kind",
        "targets",
        "without_flag",
    )

    def __init__(
        self,
        mapping: Mapping,
        reader: Reader,
        segments: Segments,
        most: int,
        *,
        one_kind: bool = False,
    ) -> None:
        """Make `mapping` ready; `segments` are those of all rules."""
        kind = mapping.context_kind
        self.mapping = mapping
        self.kind = kind if isinstance(kind, str) else ""
        self.read_kind = reader.kind_reader(kind) if isinstance(kind, Path) else None
        self.without_flag = WITHOUT_FLAG[mapping.journey_step_without_flag]
        self.targets: dict[Any, Target] = {}
        self._segments = segments
        self._most = most
        self._one_kind = one_kind

    def apply(
        self,
        document: Document,
        value: bytes,
        audience: Audience,
        entered: bool | Verdict,  # noqa: FBT001 - what the flag says
        key: str | Verdict,
    ) -> tuple[Target, str, str] | Verdict:
        """Return target, member and sign of the change that an event leads to, or why to none."""
        kind = self.kind if self.read_kind is None else self.read_kind(document, value)
        if isinstance(kind, Verdict):
            return kind
        if entered is verdict.MEMBERSHIP_MISSING and audience.computation_class == JOURNEY_STEP:
            entered = self.without_flag
        if isinstance(entered, Verdict):
            return entered
        if isinstance(key, Verdict):
            return key
        target = self._target(audience, kind)
        if isinstance(target, Verdict):
            return target
        return target, target.prefix + key, IN if entered else OUT

    def _target(self, audience: Audience, kind: str) -> Target | Verdict:
        """Return the target of an audience, which is made anew when its key has changed.

        Where a segment can have one context kind only, another has no target.
        """
        place = audience.id if self.read_kind is None else (kind, audience.id)
        target = self.targets.get(place)
        if target is not None and target.audience_key == audience.key:
            return target
        segment = self._segments.of(audience, self.mapping)
        if isinstance(segment, Verdict):
            return segment
        if self._one_kind:
            if segment.context_kind not in ("", kind):
                return verdict.CONTEXT_KIND_CONFLICT
            segment.context_kind = kind
        target = Target(
            segment,
            context_kind=kind,
            batch_events=self.mapping.batch_events,
            audience_key=audience.key,
        )
        if len(self.targets) >= self._most:
            self.targets.clear()
        self.targets[place] = target
        return target


class _Ready(NamedTuple):
    """A rule, what it reads with, and the triggers of the mappings that share it."""

    rule: Rule
    reader: Reader
    read_key: TextReader
    triggers: list[Trigger]


class Usual(NamedTuple):
    """Where to find the targets of the rule that alone decides on events that look as usual.

    `targets` are those of one rule, or `choose` finds them for each event.
    """

    targets: dict[Any, Target]
    choose: Callable[[Document], Choice] | None


class Rules:
    """The enabled mappings by type of call.

    Mappings that differ only in name and trigger share a rule: what two of them would do to an
    event is the same, and is done once. `plans` chooses for the types that triggers name, `others`
    for all other types. `collisions` are those newly found among segment keys (Segments).
    """

    def __init__(
        self,
        mappings: Iterable[Mapping],
        mode: MembershipMode,
        on_collision: OnCollision,
        most: int,
        *,
        one_kind: bool = False,
        segments: Segments | None = None,
    ) -> None:
        """Arrange `mappings`; their rules keep at most `most` targets together.

        `segments` are those of other rules, if they are to be shared.
        """
        enabled = [mapping for mapping in mappings if mapping.enabled]
        self._mode = mode
        self._ready: dict[Hashable, _Ready] = {}
        segments = segments or Segments(on_collision, most)
        self.segments = segments
        self.collisions = segments.found
        readers: dict[Hashable, Reader] = {}
        key_readers: dict[Hashable, TextReader] = {}
        for mapping in enabled:
            same = _without_name_and_trigger(mapping)
            if same not in self._ready:
                fields = self._reads(mapping)
                reader = readers.setdefault(fields, reader_of(mapping, mode))
                key = (fields, mapping.context_key, mapping.email_normalization)
                if key not in key_readers:
                    key_readers[key] = reader.key_reader(
                        mapping.context_key, mapping.email_normalization
                    )
                share = max(1, most // len(enabled))
                rule = Rule(mapping, reader, segments, share, one_kind=one_kind)
                self._ready[same] = _Ready(rule, reader, key_readers[key], [])
            self._ready[same].triggers.append(mapping.trigger)
        types = {type_ for mapping in enabled for type_ in mapping.trigger.types or ()}
        self.plans = {type_: self._chooser(type_) for type_ in types}
        self.others = self._chooser(None)

    def usual(self) -> dict[str, Usual]:
        """Return, by type, how to find the rule that alone decides on events of the usual looks.

        Such a rule is the only one that wants an event, in strict mode, with all fields at their
        usual places, a constant context kind and, if there is one, the user id as key.
        """
        found = {}
        for type_, chooser in self._by_type().items():
            if chooser.classes == {DEFAULT_FIELDS.computation_class}:
                _, targets, tests = chooser.choose({})
                if chooser.selects or tests:
                    found[type_] = Usual(UNUSUAL, chooser.choose)
                elif targets is not None and targets is not UNUSUAL:
                    found[type_] = Usual(targets, None)
        return found

    def ordinary(self) -> dict[str, Verdict]:
        """Return, by type, the verdict on calls that have a context and no `personas` in it."""
        found = {}
        for type_, chooser in self._by_type().items():
            if not chooser.classes:
                found[type_] = verdict.TYPE_NOT_AUDIENCE
            elif chooser.classes == {DEFAULT_FIELDS.computation_class}:
                found[type_] = verdict.NOT_ENGAGE
        return found

    def _by_type(self) -> dict[str, Chooser]:
        return dict.fromkeys(_CALLS, self.others) | self.plans

    def _is_usual(self, rule: Rule) -> bool:
        mapping = rule.mapping
        return (
            self._mode is MembershipMode.STRICT
            and mapping.fields == DEFAULT_FIELDS
            and rule.read_kind is None
            and isinstance(mapping.context_key, Priority)
            and mapping.context_key is not Priority.EMAIL_ONLY
        )

    def _reads(self, mapping: Mapping) -> Hashable:
        """Return what tells readers apart; only the destination's own way depends on batching."""
        if self._mode is MembershipMode.STRICT:
            return mapping.fields
        return mapping.fields, mapping.batch_events

    def _chooser(self, type_: str | None) -> Chooser:
        """Return what chooses for events of a type; None for all that no trigger names."""
        candidates = []
        for rule, reader, read_key, triggers in self._ready.values():
            possible = tuple(
                trigger for trigger in triggers if trigger.types is None or type_ in trigger.types
            )
            if possible:
                candidates.append(Candidate(reader, read_key, rule, possible))
        return Chooser(candidates, self._is_usual)


def _without_name_and_trigger(mapping: Mapping) -> Hashable:
    return (
        mapping.context_kind,
        mapping.context_key,
        mapping.email_normalization,
        mapping.journey_step_without_flag,
        mapping.batch_events,
        mapping.segment_key,
        mapping.segment_name,
        mapping.fields,
    )
