"""Rate windows shared by several processes, ten minutes at a time: few refusals, good use.

What LaunchDarkly's limits are is not published, so sizes, lengths, phases and families are drawn,
with and without announced limits, and every process has a clock that is wrong by up to 5 minutes.
"""

import random
from itertools import pairwise

import pytest

from tests.support.rate_simulation import Family, Simulation, random_families

SECONDS = 600.0
PROCESSES = [1, 2, 4]


def simulate(
    seed: int, processes: int, share: float, fewest: int = 20, most: int = 200
) -> tuple[Simulation, list[Family]]:
    """Ten minutes of processes that always have something to write."""
    families = random_families(random.Random(seed), fewest, most)
    simulation = Simulation(families, processes=processes, share=share, seed=seed, skew=300.0)
    simulation.run(SECONDS)
    return simulation, families


@pytest.mark.parametrize("processes", PROCESSES)
@pytest.mark.parametrize("share", [0.25, 0.5, 0.8])
@pytest.mark.parametrize("seed", range(5))
def test_few_requests_are_refused_and_the_share_is_used(
    seed: int, share: float, processes: int
) -> None:
    """Under 1 % of all requests get a 429; over 90 % of what the share allows is used."""
    simulation, families = simulate(seed, processes, share)
    assert simulation.refused_share < 0.01
    used = max(family.share_used(share, SECONDS) for family in families)
    assert used > 0.9


@pytest.mark.parametrize("processes", PROCESSES)
@pytest.mark.parametrize("seed", range(4))
def test_what_is_left_to_others_is_not_touched(seed: int, processes: int) -> None:
    """Beyond the share at most what each process sends before it can know: two in each window."""
    _, families = simulate(seed, processes, 0.5)
    told = [family for family in families if family.announced]
    for family in told:
        for window in range(1, family.window(SECONDS)):
            assert family.used[window] <= 0.5 * family.limit(window) + 2 * processes


@pytest.mark.parametrize("seed", range(3))
def test_nobody_storms_after_a_common_reset(seed: int) -> None:
    """Sixteen processes with eight slots each: the first hundredth of a window sees a few."""
    families = [Family("X-Ratelimit-Global", "X-Ratelimit-Reset", 10.0, 0.0, (200,), True)]
    simulation = Simulation(families, processes=16, share=0.5, seed=seed)
    simulation.run(120.0)
    for start in range(20, 120, 10):
        first = [each for each in simulation.arrivals if start <= each < start + 0.1]
        assert len(first) <= 8
    assert simulation.refused == 0


def test_what_others_use_is_theirs() -> None:
    """With the share used up by somebody else, ldsync asks only what it must to know."""
    families = [Family("X-Ratelimit-Global", "X-Ratelimit-Reset", 10.0, 0.0, (100,), True)]
    for window in range(-1, 60):
        families[0].used[window] = 60
    simulation = Simulation(families, processes=1, share=0.5, seed=1)
    simulation.run(SECONDS)
    assert simulation.refused == 0
    assert 40 <= simulation.accepted <= 130


def test_a_server_without_limits_is_used_as_fast_as_it_answers() -> None:
    """Only the number of requests at once is bounded."""
    simulation = Simulation([], processes=1, share=0.5, seed=1, latency=(0.05, 0.05))
    simulation.run(30.0)
    assert simulation.accepted > 0.9 * 30 * 8 / 0.1


def test_refusals_of_an_unannounced_limit_make_it_slower() -> None:
    """A 429 that names nothing: exponential backoff, and never a tight loop."""
    family = Family("X-Unknown", "X-Unknown-Reset", 10.0, 0.0, (20,), False)
    simulation = Simulation([family], processes=1, share=0.5, seed=1)
    simulation.run(120.0)
    assert simulation.refused < 120
    assert all(later >= earlier for earlier, later in pairwise(simulation.arrivals))
