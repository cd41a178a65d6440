"""The mapping: which events are wanted, and which member of which segment they change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from weakref import WeakValueDictionary

from ldsync.engage import events, naming, verdict
from ldsync.engage.times import Versions
from ldsync.engage.verdict import Verdict
from ldsync.sync.change import IN, OUT, Change, Segment, Target

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

    def read(self, value: bytes | None, record_ms: int) -> Change | Verdict:  # noqa: C901 - guards
        """Say what a record changes, or why it changes nothing.

        `record_ms` is the record's time in epoch milliseconds, negative if it has none. This runs
        for every record: each step takes what an event usually looks like as it is, and leaves
        everything else to the careful function for it.
        """
        if value is None:
            return verdict.TOMBSTONE
        document = events.parse(value)
        if not isinstance(document, dict):
            return document
        kind = document.get("type")
        if kind not in _WANTED_TYPES:
            return verdict.TYPE_NOT_AUDIENCE
        personas = events.personas(document)
        if not isinstance(personas, dict):
            return personas

        audience_id = personas.get("computation_id")
        target = self._targets.get(audience_id) if type(audience_id) is str else None
        if target is None or target.audience_key != personas.get("computation_key"):
            audience = events.audience(document, value)
            if isinstance(audience, Verdict):
                return audience
            target = self._target(*audience)

        flags = document.get("traits" if kind == "identify" else "properties")
        entered = flags.get(target.audience_key) if type(flags) is dict else None
        if type(entered) is not bool:
            entered = events.membership(document, target.audience_key)
            if isinstance(entered, Verdict):
                return entered

        key = document.get("userId")
        if type(key) is not str or not key.isascii() or not key or key.isspace():
            key = events.user_id(document, value)
            if isinstance(key, Verdict):
                return key

        stamp = self._versions.version(
            document.get("timestamp"), document.get("receivedAt"), record_ms
        ) + (IN if entered else OUT)
        # What Change(…) comes down to, for half its price.
        return tuple.__new__(Change, (target, target.prefix + key, stamp))

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
