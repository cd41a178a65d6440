"""How large batches may grow, and how many of a segment may be written at a time."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from ldsync.config import load
from ldsync.writers import limits_of
from tests.support.configs import write

if TYPE_CHECKING:
    from ldsync.launchdarkly.writers.writer import Writer


class SomeWriter:
    """What a writer can do, as far as limits depend on it."""

    def __init__(self, max_members: int, writes_per_segment: int) -> None:
        self.max_members = max_members
        self.writes_per_segment = writes_per_segment


def limits(path: Path, writer: SomeWriter, **launchdarkly: Any) -> Any:
    """The limits with these settings of `[launchdarkly]`."""
    values = {f"launchdarkly.{key}": str(value) for key, value in launchdarkly.items()}
    return limits_of(load(write(path, values), {}), cast("Writer", writer))


@pytest.mark.parametrize(
    ("writes", "max_in_flight", "expected"),
    [(1, 8, 1), (4, 8, 4), (8, 8, 4), (100, 9, 4), (4, 2, 1), (4, 1, 1)],
)
def test_one_segment_gets_no_more_than_half_of_the_requests(
    tmp_path: Path, writes: int, max_in_flight: int, expected: int
) -> None:
    """P5: if all of them hang, the others still have the other half; one it always gets."""
    found = limits(tmp_path, SomeWriter(1_000, writes), max_in_flight=max_in_flight)
    assert found.writes_per_segment == expected


@pytest.mark.parametrize(("can", "expected"), [(1_000, 1_000), (1_500, 1_500), (9_000, 1_500)])
def test_a_batch_is_no_larger_than_a_request_and_than_configured(
    tmp_path: Path, can: int, expected: int
) -> None:
    """The default is 1,500 members."""
    assert limits(tmp_path, SomeWriter(can, 1)).max_size == expected
