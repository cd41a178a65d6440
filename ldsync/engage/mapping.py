"""The mapping: which events are wanted, and which member of which segment they change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from ldsync.engage import events, naming, verdict
from ldsync.engage.times import Versions
from ldsync.sync.change import IN, OUT, Change, Segment, Target

if TYPE_CHECKING:
    from ldsync.engage.events import Event
    from ldsync.engage.verdict import Verdict

_MOST_TARGETS: Final = 100_000
_WANTED_TYPES: Final = ("identify", "track")


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

    def read(self, value: bytes | None, record_ms: int) -> Change | Verdict:
        """Say what a record changes, or why it changes nothing.

        `record_ms` is the record's time in epoch milliseconds, negative if it has none.
        """
        if value is None:
            return verdict.TOMBSTONE
        document = events.parse(value)
        if not isinstance(document, dict):
            return document
        if document.get("type") not in _WANTED_TYPES:
            return verdict.TYPE_NOT_AUDIENCE
        event = events.read_event(document, value)
        if not isinstance(event, events.Event):
            return event
        key = document.get("userId")
        if type(key) is not str or not key or not key.isascii() or key.isspace():
            exact = events.exact_numbers(document, value, key)
            key = events.identifier(exact.get("userId"))
            if key is None:
                return verdict.NO_CONTEXT_KEY
        target = self._targets.get(event.audience_id)
        if target is None or target.audience_key != event.audience_key:
            target = self._target(event)
        version = self._versions.version(
            document.get("timestamp"), document.get("receivedAt"), record_ms
        )
        return Change(target, target.prefix + key, version + (IN if event.entered else OUT))

    def _target(self, event: Event) -> Target:
        mapping = self._mapping
        key = naming.segment_key(
            mapping.segment_key, audience_key=event.audience_key, audience_id=event.audience_id
        )
        segment = self._segments.get(key)
        if segment is None:
            segment = Segment(
                key=key,
                name=naming.segment_name(event.audience_key),
                audience_id=event.audience_id,
                audience_key=event.audience_key,
            )
            self._segments[key] = segment
        target = Target(
            segment,
            context_kind=mapping.context_kind,
            batch_events=mapping.batch_events,
            audience_key=event.audience_key,
        )
        if len(self._targets) >= _MOST_TARGETS:
            self._targets.clear()
        self._targets[event.audience_id] = target
        return target
