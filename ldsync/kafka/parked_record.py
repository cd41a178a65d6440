"""What is in a dead-letter topic of what was parked: letters, and markers of those replayed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from ldsync.kafka.letter import CHANGE, POINTER, REPLAYED, REPLAYED_REASON
from ldsync.sync.change import IN, OUT
from ldsync.sync.ledger import Partition
from ldsync.sync.outcomes import PARKED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiokafka import ConsumerRecord

_SIGNS: Final = {"add": IN, "remove": OUT}
_NOT_OURS: Final = (KeyError, ValueError, TypeError, AttributeError)
"""What reading something raises that ldsync has not written."""


@dataclass(frozen=True, slots=True)
class Alone:
    """A change by itself, and what its segment was made of: its record was not found again."""

    stamp: str
    segment_name: str
    audience_id: str
    audience_key: str


@dataclass(frozen=True, slots=True)
class ParkedRecord:
    """A record that was parked, as it was: of which segment and member, and where it was first.

    Its letter stands at offset `at` of `place`. `value` is None if the letter does not have it:
    `sha256` is its hash then, if the record may still be where it was, and `alone` the change, if
    that is all there is.
    """

    place: Partition
    at: int
    segment: str
    member: str
    value: bytes | None
    partition: Partition
    offset: int
    timestamp: int
    sha256: str = ""
    alone: Alone | None = None


@dataclass(frozen=True, slots=True)
class Marker:
    """What says that parked letters of a segment need not be applied any more.

    Those of `place` in `ranges` of offsets (the second exclusive), whose records were in
    `partitions`; None for all of them.
    """

    place: Partition
    segment: str
    ranges: Sequence[tuple[int, int]]
    partitions: frozenset[Partition] | None

    def covers(self, record: ParkedRecord | Partition) -> bool:
        """Whether it speaks of letters of a partition."""
        partition = record if isinstance(record, Partition) else record.partition
        return self.partitions is None or partition in self.partitions


def read(record: ConsumerRecord, group: str) -> ParkedRecord | Marker | None:
    """Return what a record is, if it is a parked letter or a marker of this consumer group."""
    headers = dict(record.headers)
    reason = headers.get("ldsync-reason")
    if reason not in (_PARKED, _REPLAYED) or headers.get("ldsync-group") != group.encode():
        return None
    texts = {name: (content or b"").decode(errors="replace") for name, content in record.headers}
    try:
        return _parked(record, texts) if reason == _PARKED else _marker(record)
    except _NOT_OURS:
        return None


_PARKED: Final = PARKED.reason.encode()
_REPLAYED: Final = REPLAYED_REASON.encode()


def _parked(record: ConsumerRecord, headers: dict[str, str]) -> ParkedRecord:
    value, sha256, alone = record.value, "", None
    match headers["ldsync-value"]:
        case "pointer":
            value, sha256 = None, _sha256(record.value)
        case "change":
            value, alone = None, _alone(record.value)
    return ParkedRecord(
        Partition(record.topic, record.partition),
        record.offset,
        headers["ldsync-segment"],
        headers["ldsync-member"],
        value,
        Partition(headers["ldsync-topic"], int(headers["ldsync-partition"])),
        int(headers.get("ldsync-offset", "0")),
        int(headers.get("ldsync-timestamp", "-1")),
        sha256,
        alone,
    )


def _sha256(value: bytes | None) -> str:
    content = orjson.loads(value or b"")
    return str(content["sha256"]) if content["format"] == POINTER else ""


def _alone(value: bytes | None) -> Alone | None:
    content = orjson.loads(value or b"")
    if content["format"] != CHANGE:
        return None
    return Alone(
        content["version"] + _SIGNS[content["action"]],
        str(content["segment_name"]),
        str(content["audience_id"]),
        str(content["audience_key"]),
    )


def _marker(record: ConsumerRecord) -> Marker | None:
    content = orjson.loads(record.value or b"")
    if content["format"] != REPLAYED or not isinstance(content["segment"], str):
        return None
    owned = content.get("partitions")
    return Marker(
        Partition(record.topic, record.partition),
        content["segment"],
        [(int(first), int(end)) for first, end in content.get("letters", [(0, record.offset)])],
        None
        if owned is None
        else frozenset(Partition(topic, n) for topic, numbers in owned.items() for n in numbers),
    )
