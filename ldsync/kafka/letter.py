"""A dead letter: what is kept of a record that could not be applied, and how it is written.

docs/dead-letters.md describes for operators what is written here: the headers, and the JSON of the
values that are not the original one. Both are API; `FORMAT` grows when they change.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ldsync.sync.change import Segment
    from ldsync.sync.ledger import Partition

FORMAT: Final = "1"
POINTER: Final = "ldsync-pointer/1"
CHANGE: Final = "ldsync-change/1"
REPLAYED: Final = "ldsync-replayed/1"

REPLAYED_REASON: Final = "replayed"
"""Of a marker: it is no dead letter itself."""

OVERHEAD_BYTES: Final = 512
"""Memory and room on the wire that a letter takes beyond its key and value, headers included."""

_TRACEPARENT: Final = "traceparent"
_LONGEST_KEY: Final = 4096
_LONGEST_DETAIL: Final = 1024


class Receipt(Protocol):
    """What is settled when the broker has acknowledged the letter: a chunk, or a rejection."""

    def release(self) -> None:
        """Give it back."""


class Record(Protocol):
    """What is read of a record of Kafka."""

    @property
    def topic(self) -> str:
        """Its topic."""

    @property
    def partition(self) -> int:
        """Its partition."""

    @property
    def offset(self) -> int:
        """Its place in the partition."""

    @property
    def timestamp(self) -> int:
        """When it was made, in epoch milliseconds; negative if that is not known."""

    @property
    def key(self) -> bytes | None:
        """Its key."""

    @property
    def value(self) -> bytes | None:
        """Its value."""

    @property
    def headers(self) -> Iterable[tuple[str, bytes | None]]:
        """Its headers."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record stands, and its time in epoch milliseconds (negative if not known)."""

    topic: str
    partition: int
    offset: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a change was given up: the segment key, the member, and how often it was tried."""

    segment: str
    member: str
    attempts: int


@dataclass(frozen=True, slots=True, eq=False)
class Letter:
    """A record on its way into a dead-letter topic.

    `to` is that topic. `origin` is None for a change whose record was not found again: `value` is
    the change then, as JSON, and `owner` the partition of its member as far as that is known.
    `number` is the partition that a marker is for; what is no marker goes by its key. `reason` is a
    code, `detail` says more where there is more to say.
    """

    to: str
    key: bytes | None = field(repr=False)
    value: bytes | None = field(repr=False)
    origin: Origin | None
    reason: str
    receipt: Receipt = field(repr=False)
    detail: str = field(default="", repr=False)
    refusal: Refusal | None = None
    traceparent: bytes | None = None
    owner: Partition | None = None
    number: int | None = None

    @property
    def form(self) -> str:
        """What its value is, as long as it is no pointer."""
        if self.number is not None:
            return "marker"
        return "change" if self.origin is None else "original"

    @property
    def size(self) -> int:
        """About how many bytes it takes, in memory and in a request."""
        return len(self.key or b"") + len(self.value or b"") + OVERHEAD_BYTES


def letter_of(  # the parts of a letter that are not the record's own
    record: Record,
    to: str,
    reason: str,
    receipt: Receipt,
    *,
    detail: str = "",
    refusal: Refusal | None = None,
) -> Letter:
    """Put a record into a letter, its key and value as they are."""
    traceparent = None
    for name, content in record.headers:
        if name == _TRACEPARENT:
            traceparent = content
    return Letter(
        to,
        record.key,
        record.value,
        Origin(record.topic, record.partition, record.offset, record.timestamp),
        reason,
        receipt,
        detail,
        refusal,
        traceparent,
    )


def change_json(segment: Segment, member: str, *, included: bool, version: str) -> bytes:
    """Return a change as JSON, for when its record is not there any more."""
    kind, _, key = member.partition("/")
    return orjson.dumps(
        {
            "format": CHANGE,
            "segment": segment.key,
            "segment_name": segment.name,
            "audience_id": segment.audience_id,
            "audience_key": segment.audience_key,
            "context_kind": kind,
            "context_key": key,
            "action": "add" if included else "remove",
            "version": version,
        }
    )


def marker_json(
    segment: str, owned: Mapping[str, Sequence[int]], ranges: Sequence[tuple[int, int]]
) -> bytes:
    """Return what says that parked letters of a segment were replayed.

    Those in `ranges` of offsets (the second exclusive) of the partition that it is written to,
    whose records are of the partitions `owned`, by topic.
    """
    return orjson.dumps(
        {"format": REPLAYED, "segment": segment, "partitions": owned, "letters": ranges}
    )


Encoded = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]
"""Key, value and headers of a record that is written."""


def encode(letter: Letter, longest: int, group: str) -> Encoded:
    """Return what is written for a consumer group.

    A letter of more than `longest` bytes becomes a pointer.
    """
    if letter.size <= longest or letter.origin is None:
        return letter.key, letter.value, _headers(letter, letter.form, group)
    key = letter.key if len(letter.key or b"") <= _LONGEST_KEY else None
    return key, _pointer(letter, letter.origin), _headers(letter, "pointer", group)


def _pointer(letter: Letter, origin: Origin) -> bytes:
    value = letter.value or b""
    content: dict[str, str | int] = {
        "format": POINTER,
        "topic": origin.topic,
        "partition": origin.partition,
        "offset": origin.offset,
        "timestamp": origin.timestamp,
        "bytes": len(value),
        "sha256": hashlib.sha256(value).hexdigest(),
    }
    if len(letter.key or b"") > _LONGEST_KEY:
        key = letter.key or b""
        content |= {"key_bytes": len(key), "key_sha256": hashlib.sha256(key).hexdigest()}
    return orjson.dumps(content)


def _headers(letter: Letter, form: str, group: str) -> list[tuple[str, bytes]]:
    headers = [
        ("ldsync-format", FORMAT.encode()),
        ("ldsync-group", group.encode()),
        ("ldsync-value", form.encode()),
    ]
    if letter.origin is not None:
        headers += [
            ("ldsync-topic", letter.origin.topic.encode()),
            ("ldsync-partition", b"%d" % letter.origin.partition),
            ("ldsync-offset", b"%d" % letter.origin.offset),
            ("ldsync-timestamp", b"%d" % letter.origin.timestamp),
        ]
    elif letter.owner is not None:
        headers += [
            ("ldsync-topic", letter.owner.topic.encode()),
            ("ldsync-partition", b"%d" % letter.owner.number),
        ]
    headers.append(("ldsync-reason", letter.reason.encode()))
    if letter.detail:
        text = letter.detail[:_LONGEST_DETAIL]
        headers.append(("ldsync-detail", text.encode(errors="replace")))
    if letter.refusal is not None:
        headers += [
            ("ldsync-segment", letter.refusal.segment.encode()),
            ("ldsync-member", letter.refusal.member.encode()),
            ("ldsync-attempts", b"%d" % letter.refusal.attempts),
        ]
    if letter.traceparent is not None:
        headers.append((_TRACEPARENT, letter.traceparent))
    return headers
