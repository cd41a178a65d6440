"""The mapping: which events are wanted, and which member of which segment they change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakValueDictionary

import orjson

from ldsync.engage import events, naming, verdict
from ldsync.engage.times import Versions
from ldsync.engage.verdict import Verdict
from ldsync.sync.change import IN, OUT, Change, Segment, Target

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST_TARGETS: Final = 100_000
_WANTED_TYPES: Final = ("identify", "track")

# What the fast path raises for what it does not expect: broken JSON, a field that is missing, an
# audience that is not known yet, or something of another type than usual.
_UNUSUAL: Final = (ValueError, KeyError, TypeError, AttributeError)


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
class Mapping:
    """What to do with the events of a topic; the default is the preset of Segment's destination.

    `segment_key` is a template over `{audience_key}` and `{audience_id}`.
    """

    context_kind: str = "user"
    batch_events: bool = True
    segment_key: str = "{audience_key}"


class Decoder:
    """Turns the values of records into changes or verdicts, under one mapping.

    Segments and targets are made once and looked up by audience afterwards: the rest of the program
    compares them by identity. At most 100,000 targets are kept; beyond that they are made anew,
    while a segment that anything still refers to stays the one object of its key.
    """

    def __init__(self, mapping: Mapping) -> None:
        """Decode under `mapping`."""
        self._mapping = mapping
        self._targets: dict[str, Target] = {}
        self._segments: WeakValueDictionary[str, Segment] = WeakValueDictionary()
        self._versions = Versions()
        self.fallbacks = self._versions.fallbacks

    def read_all(
        self, records: Iterable[Record]
    ) -> tuple[list[Change], list[tuple[Verdict, Record]]]:
        """Say what records change, and which of them change nothing, and why.

        The same as `read` for each of them, in half the time: this runs for every record. It takes
        what an event of a known audience usually looks like, and leaves everything else to `read`.
        """
        loads, targets, version_of = orjson.loads, self._targets, self._versions.version
        changes: list[Change] = []
        refused: list[tuple[Verdict, Record]] = []
        for record in records:
            value: Any = record.value  # of a tombstone None, which `loads` refuses
            try:
                document = loads(value)
                kind = document["type"]
                personas = document["context"].get("personas")
                if personas and kind in _WANTED_TYPES:
                    target = targets[personas["computation_id"]]
                    audience_key = target.audience_key
                    flags = document["traits" if kind == "identify" else "properties"]
                    entered = flags[audience_key]
                    key = document["userId"]
                    if (
                        (entered is True or entered is False)
                        and key.isascii()
                        and key
                        and not key.isspace()
                        and personas["computation_key"] == audience_key
                        and personas["computation_class"] in events.AUDIENCE_CLASSES
                    ):
                        version = version_of(
                            document["timestamp"], document["receivedAt"], record.timestamp
                        )
                        stamp = version + (IN if entered else OUT)
                        # What Change(…) comes down to, for half its price.
                        changes.append(tuple.__new__(Change, (target, target.prefix + key, stamp)))
                        continue
                found = self._interpret(document, value, record.timestamp)
            except _UNUSUAL:
                found = self.read(value, record.timestamp)
            if isinstance(found, Change):
                changes.append(found)
            else:
                refused.append((found, record))
        return changes, refused

    def read(self, value: bytes | None, record_ms: int) -> Change | Verdict:
        """Say what a record changes, or why it changes nothing.

        `record_ms` is the record's time in epoch milliseconds, negative if it has none.
        """
        if value is None:
            return verdict.TOMBSTONE
        document = events.parse(value)
        if not isinstance(document, dict):
            return document
        return self._interpret(document, value, record_ms)

    def _interpret(
        self, document: events.Document, value: bytes, record_ms: int
    ) -> Change | Verdict:
        """Follow the rules of docs/events.md, in their order."""
        if document.get("type") not in _WANTED_TYPES:
            return verdict.TYPE_NOT_AUDIENCE
        audience = events.audience(document, value)
        if isinstance(audience, Verdict):
            return audience
        target = self._target(*audience)
        entered = events.membership(document, target.audience_key)
        if isinstance(entered, Verdict):
            return entered
        key = events.user_id(document, value)
        if isinstance(key, Verdict):
            return key
        version = self._versions.version(
            document.get("timestamp"), document.get("receivedAt"), record_ms
        )
        return Change(target, target.prefix + key, version + (IN if entered else OUT))

    def _target(self, audience_id: str, audience_key: str) -> Target:
        """Return the target of an audience, which is made anew when its key has changed."""
        target = self._targets.get(audience_id)
        if target is not None and target.audience_key == audience_key:
            return target
        mapping = self._mapping
        key = naming.segment_key(
            mapping.segment_key, audience_key=audience_key, audience_id=audience_id
        )
        segment = self._segments.get(key)
        if segment is None:
            segment = Segment(
                key=key,
                name=naming.segment_name(audience_key),
                audience_id=audience_id,
                audience_key=audience_key,
            )
            self._segments[key] = segment
        target = Target(
            segment,
            context_kind=mapping.context_kind,
            batch_events=mapping.batch_events,
            audience_key=audience_key,
        )
        if len(self._targets) >= _MOST_TARGETS:
            self._targets.clear()
        self._targets[audience_id] = target
        return target
