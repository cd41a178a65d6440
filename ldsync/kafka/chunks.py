"""Chunks: what the worker takes in at a time, so that the loop gets a turn soon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aiokafka import ConsumerRecord

RECORDS: Final = 1000
"""At the most: about 5 ms of work where events are of the usual size."""

BYTES: Final = 1_048_576
"""Of values: no more records after so many. A larger value is a chunk of its own."""


def chunks(records: Sequence[ConsumerRecord]) -> Iterator[Sequence[ConsumerRecord]]:
    """Divide the records of one partition, in order."""
    for start in range(0, len(records), RECORDS):
        chunk = records[start : start + RECORDS]
        sizes = [len(record.value or b"") for record in chunk]
        if sum(sizes) <= BYTES:
            yield chunk
        else:
            yield from _divided(chunk, sizes)


def _divided(
    records: Sequence[ConsumerRecord], sizes: Sequence[int]
) -> Iterator[Sequence[ConsumerRecord]]:
    begin = size = 0
    for place, more in enumerate(sizes):
        if size and size + more > BYTES:
            yield records[begin:place]
            begin, size = place, 0
        size += more
    yield records[begin:]
