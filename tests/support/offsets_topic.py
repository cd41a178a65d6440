"""What a group committed and when, read from the topic in which Kafka keeps it.

`__consumer_offsets` holds every commit with the broker's time, where sampling the admin API would
only show some. Formats: `OffsetCommitKey.json` and `OffsetCommitValue.json` in Apache Kafka's
`group-coordinator` module. Of a value only what all its versions begin and end with is read.
"""

import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

OFFSETS_TOPIC = "__consumer_offsets"
_OFFSET_COMMIT_KEYS = (0, 1)  # 2 is group metadata; 3 and more are the newer group protocols
_PLAIN_VALUES = (0, 1, 2, 3)
_FLEXIBLE_VALUE = 4


class Commit(NamedTuple):
    """One committed offset of one partition.

    Attributes:
        partition: Of the topic asked about.
        offset: Everything below it was passed.
        time: Seconds since the epoch by the broker's clock, which tells milliseconds.
    """

    partition: int
    offset: int
    time: float


def commits(records: Iterable[Any], group: str, topic: str) -> list[Commit]:
    """The commits of a group for a topic, in the order in which the broker took them.

    Args:
        records: The records of `OFFSETS_TOPIC` in order; deletions (no value) are left out.
        group: The consumer group.
        topic: The topic.
    """
    found = []
    for record in records:
        place = _place(record.key())
        value = record.value()
        if place is None or value is None or place[:2] != (group, topic):
            continue
        offset, milliseconds = _committed(value)
        found.append(Commit(place[2], offset, milliseconds / 1000))
    return found


def _place(key: bytes) -> tuple[str, str, int] | None:
    """Group, topic and partition of an offset commit's key; None for other keys."""
    (version,) = struct.unpack_from(">h", key)
    if version not in _OFFSET_COMMIT_KEYS:
        return None
    group, at = _string(key, 2)
    topic, at = _string(key, at)
    (partition,) = struct.unpack_from(">i", key, at)
    return group, topic, partition


def _committed(value: bytes) -> tuple[int, int]:
    """Offset and commit time (milliseconds) of an offset commit's value."""
    version, offset = struct.unpack_from(">hq", value)
    at = 10
    if version >= 3:
        at += 4  # the leader's epoch
    if version in _PLAIN_VALUES:
        _, at = _string(value, at)
    elif version == _FLEXIBLE_VALUE:
        length, at = _unsigned(value, at)
        at += length - 1  # a compact string tells its length plus one
    else:
        raise ValueError(f"this parser does not know version {version} of an offset commit")
    (time,) = struct.unpack_from(">q", value, at)
    return offset, time


def _string(data: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">h", data, at)
    return data[at + 2 : at + 2 + length].decode(), at + 2 + length


def _unsigned(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
