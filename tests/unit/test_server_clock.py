"""What time it is at LaunchDarkly, from replies that say it to the second."""

import random
from email.utils import formatdate

import pytest

from ldsync.launchdarkly.server_clock import ServerClock

WALL = 1_795_104_000_000.0


def reply(clock: ServerClock, wall_ms: float, ahead_ms: float, took_ms: float = 100.0) -> None:
    """A reply that was written in the middle of its way, at LaunchDarkly's time."""
    server = (wall_ms + ahead_ms - took_ms / 2) / 1000
    clock.observe({"Date": formatdate(server, usegmt=True)}, wall_ms, took_ms)


def test_without_a_date_the_clocks_agree() -> None:
    """There is nothing better to believe."""
    clock = ServerClock()
    for date in ({}, {"Date": ""}, {"Date": "soon"}, {"Date": "Thu, 99 Foo 2026 99:99:99 GMT"}):
        clock.observe(date, WALL, 10.0)
    assert clock.ahead_ms == 0.0


def test_clocks_that_may_agree_do() -> None:
    """A local clock that is kept right is more exact than a date without milliseconds."""
    clock = ServerClock()
    for step in range(50):
        reply(clock, WALL + step * 137, 20.0)
    assert clock.ahead_ms == 0.0


@pytest.mark.parametrize("ahead", [-1_200_000.0, -45_000.0, -1_500.0, 1_700.0, 300_000.0])
def test_every_reply_narrows_it_down(ahead: float) -> None:
    """One is enough for a second, some for a quarter of that."""
    clock = ServerClock()
    rng = random.Random(1)
    at = WALL
    reply(clock, at, ahead)
    assert abs(clock.ahead_ms - ahead) <= 600
    for _ in range(100):
        at += rng.uniform(10, 900)
        reply(clock, at, ahead, took_ms=rng.uniform(20, 200))
        assert clock.lowest - 1 <= ahead <= clock.highest + 1
    assert abs(clock.ahead_ms - ahead) <= 250


def test_a_clock_that_is_set_is_believed_anew() -> None:
    """On either side; and after ten minutes, when clocks may have drifted apart."""
    clock = ServerClock()
    reply(clock, WALL, 60_000.0)
    reply(clock, WALL + 1_000, -60_000.0)
    assert abs(clock.ahead_ms + 60_000) <= 600
    reply(clock, WALL + 2_000, 60_000.0)
    assert abs(clock.ahead_ms - 60_000) <= 600
    width = clock.highest - clock.lowest
    reply(clock, WALL + 700_000, 60_000.0, took_ms=2_000)
    assert clock.highest - clock.lowest > width
