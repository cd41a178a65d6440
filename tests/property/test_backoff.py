"""Backoff keeps its bounds whatever the schedule, the attempt and the luck."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import hypothesis.strategies as st
from hypothesis import given

from ldsync.sync.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

seconds = st.floats(0.001, 10_000)
attempts = st.integers(-1, 100_000)


@st.composite
def schedules(draw: Callable[[st.SearchStrategy[float]], float]) -> Backoff:
    """Any schedule that can be configured."""
    initial = draw(seconds)
    return Backoff(initial, max(initial, draw(seconds)), floor=draw(st.floats(0, 1)))


@given(schedules(), attempts)
def test_the_ceiling_is_between_the_first_wait_and_the_longest(
    backoff: Backoff, attempt: int
) -> None:
    """No attempt, however high its number, is outside of the schedule."""
    assert backoff.initial <= backoff.ceiling(attempt) <= backoff.maximum


@given(schedules(), attempts)
def test_the_ceiling_never_falls_and_at_most_doubles(backoff: Backoff, attempt: int) -> None:
    """Patience grows with the attempts, step by step."""
    ceiling, following = backoff.ceiling(attempt), backoff.ceiling(attempt + 1)
    assert ceiling <= following <= 2 * ceiling


@given(schedules(), attempts, st.floats(0, 10_000), st.integers(0, 1_000))
def test_a_wait_is_within_its_bounds(
    backoff: Backoff, attempt: int, at_least: float, seed: int
) -> None:
    """What the server asked for is waited in full; the jitter is at most the ceiling."""
    ceiling = backoff.ceiling(attempt)
    wait = backoff.delay(attempt, random.Random(seed), at_least)
    assert at_least + ceiling * backoff.floor <= wait * (1 + 1e-9)
    assert wait <= (at_least + ceiling) * (1 + 1e-9)
