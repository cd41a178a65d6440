"""What a warm-up need not read again (R5)."""

import pytest

from ldsync.sync.coverage import Coverage
from tests.support.core import partition

P = partition(0)


@pytest.fixture
def coverage() -> Coverage:
    """Offsets 100 to 200 of a partition are known."""
    coverage = Coverage()
    coverage.note(P, 100, 200)
    return coverage


@pytest.mark.parametrize(
    ("start", "end", "unknown_from"),
    [
        pytest.param(100, 200, 200, id="exactly_that"),
        pytest.param(150, 180, 180, id="less"),
        pytest.param(150, 200, 200, id="the_end_of_it"),
        pytest.param(150, 250, 200, id="goes_on_behind"),
        pytest.param(200, 250, 200, id="begins_right_behind"),
        pytest.param(201, 250, 201, id="a_gap"),
        pytest.param(99, 250, 99, id="begins_before"),
        pytest.param(0, 50, 0, id="all_of_it_before"),
        pytest.param(250, 240, 240, id="nothing_is_wanted"),
    ],
)
def test_only_what_was_noted_without_a_gap_is_left_out(
    coverage: Coverage, start: int, end: int, unknown_from: int
) -> None:
    """A partition that somebody else worked on meanwhile is read from where we stopped."""
    assert coverage.unknown_from(P, start, end) == unknown_from


def test_of_a_partition_that_never_was_ours_nothing_is_known(coverage: Coverage) -> None:
    """Each partition counts for itself."""
    assert coverage.unknown_from(partition(1), 100, 200) == 100


@pytest.mark.parametrize(
    ("start", "end", "known"),
    [
        pytest.param(200, 250, (100, 250), id="goes_on"),
        pytest.param(150, 250, (100, 250), id="overlaps_the_end"),
        pytest.param(50, 150, (50, 200), id="overlaps_the_beginning"),
        pytest.param(120, 150, (100, 200), id="lies_within"),
        pytest.param(300, 400, (300, 400), id="behind_a_gap"),
        pytest.param(10, 20, (10, 20), id="before_a_gap"),
    ],
)
def test_what_touches_makes_one_range_and_what_does_not_takes_its_place(
    coverage: Coverage, start: int, end: int, known: tuple[int, int]
) -> None:
    """A gap is not known, whatever lies on both sides."""
    coverage.note(P, start, end)
    assert coverage.unknown_from(P, known[0], known[1]) == known[1]
    assert coverage.unknown_from(P, known[0], known[1] + 1) == known[1]
    assert coverage.unknown_from(P, known[0] - 1, known[1]) == known[0] - 1


def test_what_is_consumed_afterwards_is_known(coverage: Coverage) -> None:
    """It goes on where history ended, and never back."""
    coverage.advance(P, 260)
    coverage.advance(P, 220)
    assert coverage.unknown_from(P, 100, 300) == 260


def test_without_its_history_a_partition_is_not_known(coverage: Coverage) -> None:
    """Where consuming began is not known here."""
    coverage.advance(partition(1), 50)
    assert coverage.unknown_from(partition(1), 0, 50) == 0


def test_a_partition_can_be_forgotten(coverage: Coverage) -> None:
    """A topic that was made anew begins at 0 again."""
    coverage.forget(P)
    coverage.forget(P)
    assert coverage.unknown_from(P, 150, 180) == 150


def test_of_what_was_lost_nothing_is_known(coverage: Coverage) -> None:
    """A store that forgot it makes every partition as one that never was ours."""
    coverage.note(partition(1), 100, 200)
    coverage.clear()
    assert [coverage.unknown_from(each, 100, 200) for each in (P, partition(1))] == [100, 100]
