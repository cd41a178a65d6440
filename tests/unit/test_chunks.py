"""Chunks: no more at a time than the loop can wait for."""

from typing import Any, NamedTuple

import pytest

from ldsync.kafka.chunks import BYTES, RECORDS, chunks

HALF = BYTES // 2


class Seen(NamedTuple):
    """A record with a value of some size."""

    value: bytes | None


def sizes(*given: int | None) -> list[list[int | None]]:
    """The sizes of the values of each chunk."""
    records: Any = [Seen(None if size is None else bytes(size)) for size in given]
    found = list(chunks(records))
    assert [record for chunk in found for record in chunk] == records
    return [[None if each.value is None else len(each.value) for each in part] for part in found]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([None, 0, 5], [[None, 0, 5]], id="few"),
        pytest.param([HALF, HALF], [[HALF, HALF]], id="as many bytes as fit"),
        pytest.param([HALF, HALF, 1], [[HALF, HALF], [1]], id="one byte more"),
        pytest.param([1, BYTES + 1, None, 1], [[1], [BYTES + 1], [None, 1]], id="a large one"),
        pytest.param([BYTES + 1, BYTES + 1], [[BYTES + 1], [BYTES + 1]], id="only large ones"),
        pytest.param([0, BYTES, 0], [[0, BYTES, 0]], id="empty ones do not count"),
    ],
)
def test_chunks_are_bounded_in_bytes(
    given: list[int | None], expected: list[list[int | None]]
) -> None:
    """Nothing is lost or changes its place, and no chunk is empty."""
    assert sizes(*given) == expected


def test_chunks_are_bounded_in_records() -> None:
    """The usual case."""
    assert [len(part) for part in sizes(*[1] * (2 * RECORDS + 1))] == [RECORDS, RECORDS, 1]
