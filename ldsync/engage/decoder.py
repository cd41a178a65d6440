"""The decoder: from the value of a record to the changes that it leads to, or to a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from ldsync.engage import events, verdict
from ldsync.engage.mapping import Mapping, MembershipMode
from ldsync.engage.rules import Rules
from ldsync.engage.segments import OnCollision
from ldsync.engage.times import Versions
from ldsync.engage.verdict import Verdict
from ldsync.sync.change import IN, OUT, Change
from ldsync.sync.outcomes import RecordOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ldsync.engage.plan import Keyed
    from ldsync.engage.segments import Segments
    from ldsync.engage.trigger.compiling import Test

MOST_BYTES: Final = 2 * 1024 * 1024
"""Of a value that is read, by default: some milliseconds of work. A broker's default is half."""

_MOST_TARGETS: Final = 100_000

# What the fast path raises for what it does not expect: a field that is missing, an audience that
# is not known yet, or something of another type than usual.
_UNUSUAL: Final = (KeyError, TypeError, AttributeError)


class Record(Protocol):
    """What is read of a record of Kafka."""

    @property
    def value(self) -> bytes | None:
        """The event."""

    @property
    def timestamp(self) -> int:
        """When the record was made, in epoch milliseconds; negative if that is not known."""

    @property
    def offset(self) -> int:
        """Where it stands in its partition."""


@dataclass(frozen=True, slots=True)
class Several:
    """What a record says that is more than one change, or a change and something invalid.

    A record has several parts if more than one mapping wants its event, or if it holds several
    events. `worst` is the worst verdict on parts that change nothing (P7), None if all do.
    """

    changes: tuple[Change, ...]
    worst: Verdict | None


Found = Change | Verdict | Several
"""What a record says: a change, nothing, or several things."""


class Decoder:
    """Turns the values of records into changes or verdicts, under some mappings.

    Segments and targets are made once and looked up by audience afterwards: the rest of the program
    compares them by identity. At most 100,000 targets are kept; beyond that they are made anew,
    while a segment that anything still refers to stays the one object of its key.

    `fallbacks` counts events by why they needed another time, and `collisions` are the audiences
    newly found that ask for a segment key like another's; who tells of them empties both.
    """

    def __init__(
        self,
        *mappings: Mapping,
        membership_mode: MembershipMode = MembershipMode.STRICT,
        on_collision: OnCollision = OnCollision.SHARE,
        most_bytes: int = MOST_BYTES,
        one_kind_per_segment: bool = False,
        segments: Segments | None = None,
    ) -> None:
        """Decode under `mappings`; those that are not enabled count as not there.

        Values of more than `most_bytes` are not parsed: one must not hold up everything else.
        `one_kind_per_segment` if segments have members of one context kind only: the first one that
        is seen then, or what is known of the segment (`Segment.context_kind`).
        `segments` are those of a decoder that this one is to share them with.
        """
        rules = Rules(
            mappings,
            membership_mode,
            on_collision,
            _MOST_TARGETS,
            one_kind=one_kind_per_segment,
            segments=segments,
        )
        self.segments = rules.segments
        self.collisions = rules.collisions
        self._most_bytes = most_bytes
        self._plans = rules.plans
        self._others = rules.others
        self._usual = rules.usual()
        self._ordinary = rules.ordinary()
        versions = Versions()
        self._version_of = versions.version
        self.fallbacks = versions.fallbacks

    def forget_fallbacks(self) -> None:
        """Let events that were read again not count: they did when they were new."""
        for reason in self.fallbacks:
            self.fallbacks[reason] = 0

    def read_all(
        self, records: Iterable[Record]
    ) -> tuple[list[Change], list[tuple[Verdict, Record]], list[tuple[Several, Record, int]]]:
        """Say what records change; which change nothing, and why; and which say several things.

        The same as `read` for each of them. The changes are in order of arrival. Those of records
        that say several things are not among them: the number beside such a record says how many
        of the other changes came before it.
        """
        read = self.read
        changes: list[Change] = []
        refused: list[tuple[Verdict, Record]] = []
        several: list[tuple[Several, Record, int]] = []
        for record in records:
            found = read(record.value, record.timestamp)
            if type(found) is Change:  # dearer by `isinstance`, of what is something else
                changes.append(found)
            elif type(found) is Verdict:
                refused.append((found, record))
            else:
                several.append((found, record, len(changes)))
        return changes, refused, several

    def read(self, value: bytes | None, record_ms: int) -> Found:
        """Say what a record changes, or why it changes nothing.

        `record_ms` is the record's time in epoch milliseconds, negative if it has none.
        """
        if value is None:
            return verdict.TOMBSTONE
        if len(value) > self._most_bytes:
            return verdict.TOO_LARGE
        try:
            document = orjson.loads(value)
        except ValueError:
            document = events.parse(value)
            if isinstance(document, Verdict):
                return document
        try:
            found = self._usual_reading(document, record_ms)
        except _UNUSUAL:
            found = None
        return found or self._read(document, value, record_ms)

    def read_event(self, document: events.Document, value: bytes, record_ms: int) -> Found:
        """Say what one event of a record changes, or why nothing; for explanations.

        `value` is that of the record, or `events.EXACT` if the event was nested in it.
        """
        return self._interpret(document, value, record_ms)

    def _usual_reading(self, document: Any, record_ms: int) -> Change | Verdict | None:
        """Read an event that looks as ordinary calls and those of known audiences usually do.

        Raises:
            KeyError, TypeError, AttributeError: It does not, as when it returns None.
        """
        personas = document["context"].get("personas")
        kind = document["type"]
        if not personas:
            return self._ordinary.get(kind) if personas is None else None
        targets, choose = self._usual[kind]
        if choose is not None:
            _, chosen, tests = choose(document)
            if chosen is None or (tests and not _passes(tests, document)):
                known = personas["computation_class"] in events.AUDIENCE_CLASSES
                return verdict.NOT_WANTED if known else None
            targets = chosen
        target = targets[personas["computation_id"]]
        audience_key = target.audience_key
        entered = document["properties" if kind == "track" else "traits"][audience_key]
        key = document["userId"]
        if (
            (entered is True or entered is False)
            and key.isascii()
            and key
            and not key.isspace()
            and personas["computation_key"] == audience_key
            and personas["computation_class"] in events.AUDIENCE_CLASSES
        ):
            version = self._version_of(document["timestamp"], document["receivedAt"], record_ms)
            # What Change(…) comes down to, for half its price.
            return tuple.__new__(
                Change, (target, target.prefix + key, version + (IN if entered else OUT))
            )
        return None

    def _read(self, document: Any, value: bytes, record_ms: int) -> Found:
        """Read one event, or all that are nested in a record."""
        parts = events.nested(document, value)
        if parts is not None:
            return self._read_parts(parts, record_ms)
        if isinstance(document, dict):
            return self._interpret(document, value, record_ms)
        return verdict.NOT_AN_OBJECT

    def _read_parts(self, parts: list[Any], record_ms: int) -> Found:
        """Read the events of a record, whose digits are all there."""
        changes: list[Change] = []
        worst = None if parts else verdict.EMPTY_BATCH
        for part in parts:
            found: Found = verdict.NOT_AN_OBJECT
            if isinstance(part, dict):
                found = self._interpret(part, events.EXACT, record_ms)
            if isinstance(found, Change):
                changes.append(found)
            elif isinstance(found, Verdict):
                worst = verdict.worse(worst, found)
            else:
                changes += found.changes
                worst = worst if found.worst is None else verdict.worse(worst, found.worst)
        return _together(changes, worst)

    def _interpret(self, document: events.Document, value: bytes, record_ms: int) -> Found:
        """Follow the rules of docs/events.md, in their order, for every mapping."""
        kind = document.get("type")
        chooser = self._others
        if isinstance(kind, str):
            chooser = self._plans.get(kind, chooser)
        plan = chooser.choose(document).plan
        if not plan:
            return verdict.TYPE_NOT_AUDIENCE
        changes: list[Change] = []
        worst: Verdict | None = None
        version = ""
        for reader, all_keyed in plan:
            audience = reader.audience(document, value)
            if isinstance(audience, Verdict):
                worst = verdict.worse(worst, _unless_unwanted(audience, all_keyed, document))
                continue
            entered = reader.membership(document, audience)
            for read_key, all_wanted in all_keyed:
                key: str | Verdict | None = None
                for rule, tests in all_wanted:
                    if tests and not _passes(tests, document):
                        worst = verdict.worse(worst, verdict.NOT_WANTED)
                        continue
                    if key is None:
                        key = read_key(document, value)
                    found = rule.apply(document, value, audience, entered, key)
                    if isinstance(found, Verdict):
                        worst = verdict.worse(worst, found)
                        continue
                    version = version or self._version_of(
                        document.get("timestamp"), document.get("receivedAt"), record_ms
                    )
                    target, member, sign = found
                    changes.append(Change(target, member, version + sign))
        return _together(changes, worst)


def _passes(tests: tuple[Test, ...], document: events.Document) -> bool:
    for test in tests:  # noqa: SIM110 - a generator costs more than the tests
        if test(document):
            return True
    return False


def _unless_unwanted(
    found: Verdict, all_keyed: tuple[Keyed, ...], document: events.Document
) -> Verdict:
    """Return the verdict on an event, which is nobody's concern if no trigger asks for it."""
    if found.outcome is RecordOutcome.IGNORED or any(
        not tests or _passes(tests, document) for keyed in all_keyed for _, tests in keyed.wanted
    ):
        return found
    return verdict.NOT_WANTED


def _together(changes: list[Change], worst: Verdict | None) -> Found:
    """Return what the parts of a record come to.

    Beside a change a part that is ignored or skipped says nothing; an invalid one is not lost.
    """
    if worst is not None and not changes:
        return worst
    if len(changes) == 1 and (worst is None or worst.outcome is not RecordOutcome.INVALID):
        return changes[0]
    return Several(tuple(changes), worst)
