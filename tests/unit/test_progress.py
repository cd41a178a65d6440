"""Progress: for how long nothing was done although there was something to do."""

import pytest

from ldsync.sync.progress import Progress


@pytest.mark.parametrize(
    ("looks", "stalled"),
    [
        pytest.param([(0, 5, True)], 0, id="the_first_look"),
        pytest.param([(0, 5, True), (10, 5, True)], 10, id="nothing_is_done"),
        pytest.param([(0, 5, True), (10, 6, True)], 0, id="something_is_done"),
        pytest.param([(0, 5, True), (10, 6, True), (30, 6, True)], 20, id="nothing_since_then"),
        pytest.param([(0, 5, True), (10, 5, False)], 0, id="nothing_is_expected"),
        pytest.param(
            [(0, 5, True), (10, 5, False), (30, 5, True)], 20, id="it_counts_from_the_last_reason"
        ),
    ],
)
def test_time_counts_while_something_is_expected_and_nothing_is_done(
    looks: list[tuple[float, int, bool]], stalled: float
) -> None:
    """Anything that is done, and any reason to do nothing, begins it anew."""
    progress = Progress()
    found = [progress.stalled_for(now, done, expected=expected) for now, done, expected in looks]
    assert found[-1] == stalled
