"""Rules: mappings made ready for the path of every event, and arranged by type of call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

from ldsync.engage import naming, verdict
from ldsync.engage.mapping import (
    DEFAULT_FIELDS,
    Mapping,
    MembershipMode,
    Priority,
    WithoutFlag,
)
from ldsync.engage.paths import Path
from ldsync.engage.reference import ReferenceReader
from ldsync.engage.strict import StrictReader
from ldsync.engage.verdict import Verdict
from ldsync.sync.change import IN, OUT, Segment, Target

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from ldsync.engage.events import Document
    from ldsync.engage.reading import Audience, Reader, TextReader
    from ldsync.engage.trigger.compiling import Test

_CALLS = ("identify", "track", "page", "screen", "group", "alias", "delete")
_JOURNEY_STEP = "journey_step"
_WITHOUT_FLAG: dict[WithoutFlag, bool | Verdict] = {
    WithoutFlag.DEAD_LETTER: verdict.MEMBERSHIP_MISSING,
    WithoutFlag.ADD: True,
    WithoutFlag.IGNORE: verdict.STEP_WITHOUT_FLAG,
}


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
        segments: WeakValueDictionary[str, Segment],
        most: int,
        *,
        one_kind: bool,
    ) -> None:
        """Make `mapping` ready; `segments` are those of all rules, by key."""
        kind = mapping.context_kind
        self.mapping = mapping
        self.kind = kind if isinstance(kind, str) else ""
        self.read_kind = reader.kind_reader(kind) if isinstance(kind, Path) else None
        self.without_flag = _WITHOUT_FLAG[mapping.journey_step_without_flag]
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
        if entered is verdict.MEMBERSHIP_MISSING and audience.computation_class == _JOURNEY_STEP:
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
        segment = self._segment(audience)
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

    def _segment(self, audience: Audience) -> Segment:
        names = {"audience_key": audience.key, "audience_id": audience.id}
        key = naming.segment_key(self.mapping.segment_key, **names)
        segment = self._segments.get(key)
        if segment is None:
            segment = Segment(
                key=key,
                name=naming.rendered_name(self.mapping.segment_name, **names),
                audience_id=audience.id,
                audience_key=audience.key,
            )
            self._segments[key] = segment
        return segment


class Wanted(NamedTuple):
    """A rule, and the tests one of which an event has to pass; none if its type is enough."""

    rule: Rule
    tests: tuple[Test, ...]


class Keyed(NamedTuple):
    """Rules that take the same context key."""

    read_key: TextReader
    wanted: tuple[Wanted, ...]


class Group(NamedTuple):
    """Rules that read the same fields."""

    reader: Reader
    keyed: tuple[Keyed, ...]


Plan = tuple[Group, ...]
"""All that is to be asked of an event of one type."""


@dataclass(slots=True)
class _Ready:
    """A rule, what it reads with, and the mappings that share it."""

    rule: Rule
    reader: Reader
    read_key: TextReader
    mappings: list[Mapping]


class Rules:
    """The enabled mappings by type of call.

    Mappings that differ only in name and trigger share a rule: what two of them would do to an
    event is the same, and is done once.
    """

    def __init__(
        self, mappings: Iterable[Mapping], mode: MembershipMode, most: int, *, one_kind: bool
    ) -> None:
        """Arrange `mappings`; their rules keep at most `most` targets together."""
        enabled = [mapping for mapping in mappings if mapping.enabled]
        self._mode = mode
        self._ready: dict[Hashable, _Ready] = {}
        segments: WeakValueDictionary[str, Segment] = WeakValueDictionary()
        readers: dict[Hashable, Reader] = {}
        key_readers: dict[Hashable, TextReader] = {}
        for mapping in enabled:
            same = _without_name_and_trigger(mapping)
            if same not in self._ready:
                fields = self._reads(mapping)
                reader = readers.setdefault(fields, self._reader(mapping))
                key = (fields, mapping.context_key, mapping.email_normalization)
                if key not in key_readers:
                    key_readers[key] = reader.key_reader(
                        mapping.context_key, mapping.email_normalization
                    )
                share = max(1, most // len(enabled))
                rule = Rule(mapping, reader, segments, share, one_kind=one_kind)
                self._ready[same] = _Ready(rule, reader, key_readers[key], [])
            self._ready[same].mappings.append(mapping)
        types = {type_ for mapping in enabled for type_ in mapping.trigger.types or ()}
        self.plans: dict[str, Plan] = {type_: self._plan(type_) for type_ in types}
        self.others: Plan = self._plan(None)

    def usual(self) -> dict[str, Rule]:
        """Return, by type, the rule that alone decides on events which look as they usually do.

        Those are all events of a type of which one rule in strict mode wants all, with all fields
        at their usual places, a constant context kind and, if there is one, the user id as key.
        """
        found = {}
        for type_, plan in self.plans.items():
            wanted = [each for group in plan for keyed in group.keyed for each in keyed.wanted]
            if len(wanted) == 1 and not wanted[0].tests and self._is_usual(wanted[0].rule):
                found[type_] = wanted[0].rule
        return found

    def ordinary(self) -> dict[str, Verdict]:
        """Return, by type, the verdict on calls that have a context and no `personas` in it."""
        found = {}
        for type_ in _CALLS:
            plan = self.plans.get(type_, self.others)
            classes = {
                each.rule.mapping.fields.computation_class
                for group in plan
                for keyed in group.keyed
                for each in keyed.wanted
            }
            if not plan:
                found[type_] = verdict.TYPE_NOT_AUDIENCE
            elif classes == {DEFAULT_FIELDS.computation_class}:
                found[type_] = verdict.NOT_ENGAGE
        return found

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

    def _reader(self, mapping: Mapping) -> Reader:
        if self._mode is MembershipMode.STRICT:
            return StrictReader(mapping.fields)
        return ReferenceReader(mapping.fields, batched=mapping.batch_events)

    def _plan(self, type_: str | None) -> Plan:
        """Return what is to be asked of events of a type; None for all that no trigger names."""
        groups: dict[int, tuple[Reader, dict[int, tuple[TextReader, list[Wanted]]]]] = {}
        for ready in self._ready.values():
            triggers = [
                mapping.trigger
                for mapping in ready.mappings
                if mapping.trigger.types is None or type_ in mapping.trigger.types
            ]
            if not triggers:
                continue
            decided = any(trigger.decided_by_type for trigger in triggers)
            tests = () if decided else tuple(trigger.matches for trigger in triggers)
            _, keyed = groups.setdefault(id(ready.reader), (ready.reader, {}))
            _, wanted = keyed.setdefault(id(ready.read_key), (ready.read_key, []))
            wanted.append(Wanted(ready.rule, tests))
        return tuple(
            Group(
                reader, tuple(Keyed(read_key, tuple(wanted)) for read_key, wanted in keyed.values())
            )
            for reader, keyed in groups.values()
        )


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
