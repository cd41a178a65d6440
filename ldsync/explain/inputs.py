"""The events of a file: which bytes of it stand for the value of one record."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from ldsync.engage import events, verdict
from ldsync.engage.decoder import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NO_TIME: Final = -1
"""The time of a record that has none."""

_is_blank = re.compile(rb"\s*").fullmatch
_opens = re.compile(rb"\s*[\[{]\s*").fullmatch


class KafkaRecord(Record, Protocol):
    """What is needed of a record of Kafka."""

    @property
    def topic(self) -> str:
        """Its topic."""

    @property
    def partition(self) -> int:
        """Its partition."""


class Item(NamedTuple):
    """The value of one record, its time in epoch milliseconds, and where it is from.

    `origin` names places: `line`, or `topic`, `partition`, `offset` and `timestamp`.
    """

    value: bytes | None
    timestamp: int
    origin: dict[str, str | int]

    @property
    def offset(self) -> int:
        """The line: for who takes it for a record."""
        return int(self.origin.get("line", 0))


def items(content: bytes, timestamp: int = NO_TIME) -> Iterator[Item]:
    """Return the events of a file: one JSON document, or one event in each line.

    The file is one document if it can be read as one, over however many lines it goes. Otherwise
    each line is an event as it is, broken or not; blank lines are none. A file whose first line is
    only a bracket, and whose next line is no JSON by itself, is one document that is broken.
    """
    lines = list(lines_of(content.split(b"\n"), timestamp))
    if len(lines) > 1 and _is_one_document(content, lines):
        yield Item(content, timestamp, {"line": lines[0].origin["line"]})
    else:
        yield from lines


def item_of(record: KafkaRecord) -> Item:
    """Return a record of Kafka."""
    origin: dict[str, str | int] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
    }
    return Item(record.value, record.timestamp, origin | {"timestamp": record.timestamp})


def lines_of(lines: Iterable[bytes], timestamp: int = NO_TIME) -> Iterator[Item]:
    """Return the events of JSON Lines: each line that is not blank, without its end."""
    for number, line in enumerate(lines, start=1):
        if not _is_blank(line):
            yield Item(line.rstrip(b"\r\n"), timestamp, {"line": number})


def _is_one_document(content: bytes, lines: list[Item]) -> bool:
    first, second = (line.value or b"" for line in lines[:2])
    if events.parse(content) is not verdict.BAD_JSON:
        return True
    return bool(_opens(first)) and events.parse(second) is verdict.BAD_JSON
