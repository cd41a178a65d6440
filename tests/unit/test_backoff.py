"""Backoff: how long the next attempt waits."""

from __future__ import annotations

import random

import pytest

from ldsync.sync.backoff import Backoff


class Luck(random.Random):
    """A generator that always draws the same."""

    def __init__(self, draw: float) -> None:
        """Draw `draw`."""
        super().__init__()
        self.draw = draw

    def random(self) -> float:
        """The draw."""
        return self.draw


@pytest.mark.parametrize(
    ("attempt", "ceiling"),
    [
        (-1, 0.5),
        (0, 0.5),
        (1, 0.5),
        (2, 1.0),
        (3, 2.0),
        (6, 16.0),
        (7, 30.0),
        (8, 30.0),
        (1_000_000, 30.0),
    ],
)
def test_the_ceiling_doubles_up_to_the_longest_wait(attempt: int, ceiling: float) -> None:
    """Without overflow, however many attempts there were."""
    assert Backoff(0.5, 30.0).ceiling(attempt) == ceiling


def test_the_exponent_stops_before_it_overflows() -> None:
    """A longest wait of for ever is finite all the same."""
    assert Backoff(1.0, float("inf")).ceiling(5_000) == 2.0**60
    assert Backoff(1.0, float("inf")).ceiling(61) == 2.0**60
    assert Backoff(1.0, float("inf")).ceiling(60) == 2.0**59


@pytest.mark.parametrize(
    ("floor", "draw", "at_least", "wait"),
    [
        pytest.param(0.0, 0.0, 0.0, 0.0, id="full_jitter_may_be_nothing"),
        pytest.param(0.0, 0.25, 0.0, 1.0, id="full_jitter"),
        pytest.param(0.5, 0.0, 0.0, 2.0, id="at_least_the_floor"),
        pytest.param(0.5, 0.5, 0.0, 3.0, id="jitter_above_the_floor"),
        pytest.param(1.0, 0.5, 0.0, 4.0, id="no_jitter"),
        pytest.param(0.0, 0.25, 10.0, 11.0, id="jitter_on_top_of_what_the_server_asked_for"),
    ],
)
def test_a_wait_is_drawn_between_floor_and_ceiling(
    floor: float, draw: float, at_least: float, wait: float
) -> None:
    """Of a ceiling of four seconds: the third attempt of a schedule that begins with one."""
    backoff = Backoff(1.0, 30.0, floor=floor)
    assert backoff.delay(3, Luck(draw), at_least) == wait


def test_jitter_is_full_and_nothing_is_asked_for_by_default() -> None:
    """Clients that failed together come back apart."""
    assert Backoff(1.0, 30.0).delay(3, Luck(0.0)) == 0.0
