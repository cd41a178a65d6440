"""What the records of a topic say: the judge's own reading of the events that a history writes.

It knows `identify` and `track` calls of an audience, and what is no change of one, by
docs/events.md; it knows no journeys, arrays or batches, and refuses to read what it does not know,
so that no run is judged by a guess.

"""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from tests.chaos.evidence import Record

Member = tuple[str, str, str]  # (segment key, context kind, context key)
Version = tuple[int, int]  # (time, received) in microseconds since the epoch
Place = tuple[int, int]  # (partition, offset)

_FUTURE = 60_000_000  # an event's time may be that much after its record's, not more
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Sort(StrEnum):
    """What a record comes to."""

    CHANGE = "change"
    IGNORED = "ignored"
    SKIPPED = "skipped"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Change:
    """A change of membership as it stands in the topic."""

    member: Member
    entered: bool
    version: Version
    partition: int
    offset: int
    at: float  # when its record was written

    def beats(self, other: "Change") -> bool:
        """Whether it is as new as the other one, or newer; a tie across partitions counts."""
        if self.version == other.version and self.partition == other.partition:
            return self.offset >= other.offset
        return self.version >= other.version

    def says_the_same_as(self, other: "Change") -> bool:
        """Whether nothing but their place tells them apart."""
        mine = self.member, self.version, self.entered
        return mine == (other.member, other.version, other.entered)

    def __str__(self) -> str:
        segment, _, key = self.member
        direction = "into" if self.entered else "out of"
        return f"{key} {direction} {segment} (record {self.partition}/{self.offset})"


class Topic:
    """All records, read.

    Attributes:
        sorts: What each record comes to, by its place.
        records: The records, by their places.
        changes: All changes, in the order of the log within each partition.
        by_member: The same for each member.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self.sorts: dict[Place, Sort] = {}
        self.records: dict[Place, Record] = {}
        self.changes: list[Change] = []
        self.by_member: dict[Member, list[Change]] = defaultdict(list)
        for record in sorted(records, key=lambda each: (each.partition, each.offset)):
            place = record.partition, record.offset
            self.records[place] = record
            found = read(record)
            if isinstance(found, Change):
                self.changes.append(found)
                self.by_member[found.member].append(found)
                self.sorts[place] = Sort.CHANGE
            else:
                self.sorts[place] = found

    def newest(self, member: Member) -> Change | None:
        """The change that decides; None if that is undefined, or there is none.

        A full tie goes to the later arrival in the same partition. Between partitions it does not
        matter while both say the same, and is undefined otherwise.
        """
        changes = self.by_member.get(member, ())
        if not changes:
            return None
        version = max(change.version for change in changes)
        last = {change.partition: change for change in changes if change.version == version}
        if len({change.entered for change in last.values()}) > 1:
            return None
        return max(last.values(), key=lambda change: change.at)


def read(record: Record) -> Change | Sort:
    """What one record comes to.

    Raises:
        ValueError: It is of a sort that no history writes.
    """
    if record.value is None:
        return Sort.IGNORED
    try:
        event = json.loads(record.value)
    except ValueError:
        return Sort.INVALID
    if not isinstance(event, dict) or "batch" in event:
        raise ValueError(f"the judge cannot read {record.value[:80]!r}")
    engage = _engage(event)
    if engage is None:
        return Sort.IGNORED
    audience = engage["computation_key"]
    values = event.get("traits" if event["type"] == "identify" else "properties") or {}
    entered = values.get(audience)
    if not isinstance(entered, bool):
        return Sort.INVALID
    user = event.get("userId")
    if not isinstance(user, str) or not user.strip():
        return Sort.SKIPPED
    return Change(
        (audience, "user", user),
        entered,
        _version(event, record.timestamp_ms * 1000),
        record.partition,
        record.offset,
        record.at,
    )


def _engage(event: dict[str, Any]) -> dict[str, Any] | None:
    """What Engage says of an audience; None if it is another call."""
    if event.get("type") not in ("identify", "track"):
        return None
    engage = (event.get("context") or {}).get("personas")
    if not isinstance(engage, dict) or engage.get("computation_class") != "audience":
        return None
    return engage


def _version(event: dict[str, Any], recorded: int) -> Version:
    received = _microseconds(event["receivedAt"])
    time = _microseconds(event["timestamp"])
    # A clock that is ahead must not win for ever.
    return (recorded if time > recorded + _FUTURE else time), received


def _microseconds(text: str) -> int:
    since = datetime.fromisoformat(text) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
