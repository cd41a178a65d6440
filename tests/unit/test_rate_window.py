"""One budget: how what is left of it is spread over the time that is left."""

import random

import pytest

from ldsync.launchdarkly.rate_window import LARGEST_SHARE, RateWindow, Reset

NOW = 1_000.0
ENDS = 10.0


class Drawn(random.Random):
    """Draws the middle of everything."""

    def uniform(self, a: float, b: float) -> float:
        """The middle."""
        return (a + b) / 2

    def expovariate(self, lambd: float = 1.0) -> float:
        """The mean."""
        return 1 / lambd


RNG = Drawn()


def window(remaining: float | None = None, limit: float = 100, share: float = 0.5) -> RateWindow:
    """A window that ends in ten seconds, of which so much is left."""
    made = RateWindow(share)
    if remaining is not None:
        announce(made, remaining, limit)
    return made


def announce(
    made: RateWindow,
    remaining: float,
    limit: float | None = 100,
    *,
    at: float = 0.0,
    ends: float = ENDS,
) -> bool:
    """Tell it, `at` seconds after NOW, what is left until `ends` seconds after NOW."""
    reset = Reset(ends * 1000, ends - at, believed=ends > at)
    return made.announce(remaining, limit, reset, NOW + at, RNG)


def run(made: RateWindow, remaining: float, at: float, limit: float = 100) -> None:
    """One request, begun and answered at that time."""
    made.begin(NOW + at, RNG)
    announce(made, remaining, limit, at=at)
    made.end(answered=True)


def test_before_anything_is_known_one_request_goes_alone() -> None:
    """Another one after a while, should it have no answer; all if the answer names no limit."""
    made = window()
    assert made.wait(NOW) == 0.0
    made.begin(NOW, RNG)
    assert made.wait(NOW + 0.1) == pytest.approx(0.15)
    assert made.wait(NOW + 0.25) == 0.0
    made.begin(NOW + 0.25, RNG)
    made.end(answered=False)
    assert made.wait(NOW + 0.4) == pytest.approx(0.1)
    made.end(answered=True)
    for _ in range(100):
        assert made.wait(NOW + 0.4) == 0.0
        made.begin(NOW + 0.4, RNG)


def test_the_first_request_of_a_new_window_goes_alone() -> None:
    """What others took of it nobody knows; of a large one a few may go."""
    made = window(remaining=90)
    assert made.wait(NOW + ENDS) == 0.0
    made.begin(NOW + ENDS, RNG)
    assert made.wait(NOW + ENDS + 0.1) > 0.0
    announce(made, 80, at=ENDS + 0.2, ends=2 * ENDS)
    made.end(answered=True)
    assert made.wait(NOW + ENDS + 0.2) == 0.0
    large = window(remaining=900, limit=1000)
    begun = 0
    while large.wait(NOW + ENDS) == 0.0:
        large.begin(NOW + ENDS, RNG)
        begun += 1
    assert begun == 15  # a 32nd of the 500 that may be used


def test_of_what_is_left_a_quarter_is_on_its_way_at_once() -> None:
    """Several processes that think the same do not overdraw together."""
    made = window(remaining=90)  # 40 may still be used
    begun = 0
    while made.wait(NOW) == 0.0:
        made.begin(NOW, RNG)
        begun += 1
    assert begun == 10


def test_the_first_half_is_used_as_fast_as_it_comes() -> None:
    """A little traffic is not made to wait."""
    made = window(remaining=100)
    for left in range(99, 75, -1):
        run(made, left, at=0.5)
        assert made.wait(NOW + 0.5) == 0.0


def test_the_second_half_is_spread_over_the_time_to_the_reset() -> None:
    """Each gap anew, by what is left then: it is used up a little before the end."""
    made = window(remaining=75)
    at, left, gaps = 0.0, 74, []
    while left > 50:
        run(made, left, at=at)
        gaps.append(made.wait(NOW + at))
        at += gaps[-1]
        left -= 1
    assert all(gap > 0 for gap in gaps)
    assert gaps[0] == pytest.approx(0.7 * 10 / 24)
    assert 8.0 < at < ENDS


def test_several_that_share_wait_longer_each() -> None:
    """How many do is learnt from what others took in the window before."""
    made = window()
    for number in range(10):
        run(made, 100 - 4 * (number + 1), at=0.1)  # three others do the same
    run(made, 60, at=0.2)
    announce(made, 74, at=10.0, ends=20.0)
    gap = made.wait(NOW + 10.0)
    made.begin(NOW + 10.0, RNG)
    announce(made, 73, at=10.0, ends=20.0)
    made.end(answered=True)
    assert gap == 0.0
    assert made.wait(NOW + 10.0) > 2 * 0.7 * 10 / 23


def test_it_closes_when_the_share_is_used_up_and_opens_a_little_after_the_reset() -> None:
    """Nobody comes back in the same moment."""
    made = window()
    assert not announce(made, 51)
    assert announce(made, 50)
    assert not announce(made, 49)
    assert made.wait(NOW + 9) == pytest.approx(1.525)
    assert made.closed_until == pytest.approx(NOW + ENDS + 0.525)


@pytest.mark.parametrize(
    ("limit", "share", "allowed"),
    [(100, 0.5, 50), (100, 1.0, 96), (1, 0.1, 1), (3, 0.5, 1), (10, 0.99, 9)],
)
def test_at_least_one_request_of_a_window_may_be_used(
    limit: float, share: float, allowed: float
) -> None:
    """And never quite all of them: others may be on their way."""
    made = window(remaining=limit, limit=limit, share=share)
    assert made.allowed == made.usable == allowed
    assert allowed <= max(1.0, LARGEST_SHARE * limit)


def test_nothing_left_is_nothing_left_whatever_the_limit_is_said_to_be() -> None:
    """A guessed limit of 0 does not make one request out of none."""
    made = RateWindow(0.5)
    assert announce(made, 0, None)
    assert made.usable == 0.0


def test_a_late_reply_of_the_window_that_just_ended_is_no_news() -> None:
    """Its reset is past, but it is the one that was announced."""
    made = window(remaining=80)
    announce(made, 90, at=ENDS + 0.1, ends=ENDS)
    assert made.remaining == 80
    assert made.reset_ms == ENDS * 1000


def test_more_left_than_the_limit_is_a_larger_limit() -> None:
    """Headers may contradict each other."""
    made = window(remaining=120, limit=100)
    assert made.limit == 120
