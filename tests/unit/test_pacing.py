"""The gate: when it closes, for how long, and that no header can close it for ever."""

import math
import random
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from ldsync.launchdarkly.pacing import MAX_CLOSED, Pacing, retry_after

NOW = 1_000.0
WALL = 1_795_104_000_000.0  # epoch milliseconds at NOW
PATCH = "PATCH /segment"
GET = "GET /segment"


def pacing(share: float = 0.5, seed: int = 1) -> Pacing:
    """An open gate."""
    return Pacing(budget_share=share, rng=random.Random(seed))


def observe(
    gate: Pacing, status: int = 200, *, at: float = 0.0, route: str = PATCH, **headers: Any
) -> bool:
    """Show a reply `at` seconds after NOW; `route_remaining=3` is X-Ratelimit-Route-Remaining."""
    named = {
        "Retry-After" if name == "retry_after" else f"X-Ratelimit-{name.replace('_', '-')}": value
        for name, value in headers.items()
    }
    lines = CIMultiDict({name: str(value) for name, value in named.items()})
    return gate.observe(lines, status, route, NOW + at, WALL + at * 1000)


def in_seconds(seconds: float) -> int:
    """A reset that many seconds after NOW, in epoch milliseconds."""
    return int(WALL + seconds * 1000)


def test_the_gate_is_open_at_first_and_without_limits() -> None:
    """A missing header means not applied, and nothing is known yet."""
    gate = pacing()
    assert not observe(gate)
    assert gate.open_at == 0.0
    assert gate.reason == ""


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        pytest.param({"retry_after": 4}, 4.0, id="Retry-After"),
        pytest.param({"reset": in_seconds(6)}, 6.0, id="reset"),
        pytest.param({"auth_token_reset": in_seconds(7)}, 7.0, id="reset of the token"),
        pytest.param(
            {"retry_after": 2, "reset": in_seconds(9), "auth_token_reset": in_seconds(5)},
            9.0,
            id="the latest of all",
        ),
    ],
)
def test_a_429_closes_the_gate_until_the_latest_moment_it_names(
    headers: dict[str, Any], wait: float
) -> None:
    """Plus jitter up to once that time (launchdarkly-api contract 1.5)."""
    gate = pacing()
    assert observe(gate, 429, **headers)
    assert NOW + wait <= gate.open_at <= NOW + 2 * wait
    assert gate.reason == "rate limited by LaunchDarkly"


def test_jitter_differs_between_processes() -> None:
    """All clients of an account wait for the same reset; they must not wake as one."""
    opened = set()
    for seed in range(20):
        gate = pacing(seed=seed)
        observe(gate, 429, reset=in_seconds(8))
        opened.add(round(gate.open_at, 3))
    assert len(opened) == 20


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none"),
        pytest.param({"reset": in_seconds(-3)}, id="past"),
        pytest.param({"reset": "soon"}, id="no number"),
        pytest.param({"reset": "nan"}, id="nan"),
        pytest.param({"reset": "inf"}, id="inf"),
        pytest.param({"reset": in_seconds(3) * 1_000_000}, id="nanoseconds"),
        pytest.param({"reset": in_seconds(3) // 1000}, id="seconds"),
        pytest.param({"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"}, id="date"),
        pytest.param({"retry_after": -5}, id="negative"),
    ],
)
def test_a_429_without_a_usable_time_backs_off_exponentially(headers: dict[str, Any]) -> None:
    """Real clients have slept negative times over these headers, and so not at all."""
    gate, waits, at = pacing(), [], 0.0
    for _ in range(9):
        assert observe(gate, 429, at=at, **headers)
        waits.append(gate.open_at - NOW - at)
        at = gate.open_at - NOW
    bases = [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert all(base <= wait <= 2 * base for base, wait in zip(bases, waits, strict=True))


def test_success_ends_the_backoff() -> None:
    """The next trouble begins with short waits again."""
    gate = pacing()
    for _ in range(5):
        observe(gate, 429, at=gate.open_at)
    at = gate.open_at - NOW
    observe(gate, 200, at=at)
    observe(gate, 429, at=at)
    assert 1.0 <= gate.open_at - NOW - at <= 2.0


def test_refusals_of_one_burst_count_once() -> None:
    """Eight requests in flight meet the same closed window: that is one refusal, not eight."""
    gate = pacing()
    assert observe(gate, 429)
    opened = gate.open_at
    for index in range(8):
        assert not observe(gate, 429, at=0.001 * index)
    assert gate.open_at == opened
    gate = pacing()
    assert observe(gate, 429, reset=in_seconds(5))
    opened = gate.open_at
    assert not any(observe(gate, 429, at=0.01 * index, reset=in_seconds(5)) for index in range(8))
    assert gate.open_at == opened


def test_the_gate_never_opens_earlier_than_promised() -> None:
    """A later reply that asks for less does not shorten the wait."""
    gate = pacing()
    observe(gate, 429, retry_after=60)
    opened = gate.open_at
    observe(gate, 429, at=1, retry_after=2)
    observe(gate, 200, at=2)
    assert gate.open_at == opened


@pytest.mark.parametrize("family", ["global", "route", "auth_token"])
def test_the_gate_closes_before_the_share_of_others_is_touched(family: str) -> None:
    """With half of 60 to ourselves, 31 left is fine and 30 is not: wait for the window's end."""
    reset = "auth_token_reset" if family == "auth_token" else "reset"
    headers: dict[str, Any] = {f"{family}_limit": 60, reset: in_seconds(6)}
    gate = pacing(share=0.5)
    assert not observe(gate, **headers | {f"{family}_remaining": 31})
    assert gate.open_at == 0.0
    assert observe(gate, **headers | {f"{family}_remaining": 30})
    assert NOW + 6 <= gate.open_at <= NOW + 7
    assert gate.reason == f"the share of the {family} rate window is used up"
    assert {name: window.remaining for name, window in gate.latest.items()} == {family: 30}


@pytest.mark.parametrize(
    ("share", "enough", "scarce"),
    [(1.0, 5, 4), (0.9, 11, 10), (0.5, 51, 50), (0.1, 91, 90)],
)
def test_the_share_is_a_setting(share: float, enough: int, scarce: int) -> None:
    """`launchdarkly.budget_share` of 100; at most 96, as others may be taking some just now."""
    gate = pacing(share)
    assert not observe(gate, global_limit=100, global_remaining=enough, reset=in_seconds(5))
    assert observe(gate, global_limit=100, global_remaining=scarce, reset=in_seconds(5))


def test_without_a_limit_the_most_seen_in_a_window_stands_for_it() -> None:
    """Older documents of the API announce what remains, and not of how many."""
    gate = pacing(share=0.5)
    first, second = in_seconds(9), in_seconds(19)
    assert not observe(gate, route_remaining=40, reset=first)
    assert not observe(gate, route_remaining=21, reset=first)
    assert observe(gate, route_remaining=20, reset=first)
    assert not observe(gate, at=10, route_remaining=39, reset=second)
    assert observe(gate, at=11, route_remaining=20, reset=second)


def test_a_limit_that_was_guessed_is_forgotten_after_some_windows() -> None:
    """Less in the next window may be the doing of others; less in four is a smaller window."""
    gate = pacing(share=0.5)
    observe(gate, route_remaining=40, reset=in_seconds(9))
    closed = [
        observe(gate, at=10 * n, route_remaining=15, reset=in_seconds(10 * n + 9))
        for n in range(1, 5)
    ]
    assert closed == [True, True, True, False]
    assert gate.latest["route"].limit == 15


def test_routes_have_budgets_of_their_own() -> None:
    """What remains of one route says nothing about the size of another's."""
    gate = pacing(share=0.5)
    assert not observe(gate, route=GET, route_remaining=100, reset=in_seconds(9))
    assert not observe(gate, route=PATCH, route_remaining=10, reset=in_seconds(9))
    assert observe(gate, route=PATCH, route_remaining=5, reset=in_seconds(9))


@pytest.mark.parametrize("reset", [None, in_seconds(-3), "soon"], ids=["none", "past", "no number"])
def test_an_empty_window_without_an_end_slows_down_a_little(reset: object) -> None:
    """Nothing left and no telling until when: a second, not zero and not for ever."""
    gate = pacing()
    headers: dict[str, Any] = {} if reset is None else {"reset": reset}
    assert observe(gate, global_limit=10, global_remaining=0, **headers)
    assert NOW + 1 <= gate.open_at <= NOW + 2


@pytest.mark.parametrize("remaining", ["", "many", "nan"])
def test_a_remainder_that_is_no_number_is_ignored(remaining: str) -> None:
    """As if it were not there."""
    gate = pacing()
    assert not observe(gate, global_limit=10, global_remaining=remaining, reset=in_seconds(5))
    assert gate.latest == {}


def test_a_route_that_is_used_up_stops_only_itself() -> None:
    """What looks segments up or creates them does not keep members from being written."""
    gate = pacing()
    create = "POST /api/v2/segments/{projectKey}/{environmentKey}"
    for route in (GET, create):
        assert observe(gate, route=route, route_limit=10, route_remaining=0, reset=in_seconds(8))
        assert gate.wait(route, NOW) >= 8
    assert gate.open_at == 0.0
    assert gate.wait(PATCH, NOW) == 0.0
    assert observe(gate, 429, route_limit=10, route_remaining=0, reset=in_seconds(8))
    assert NOW + 8 <= gate.open_at <= NOW + 9


def test_a_429_that_shows_which_window_is_empty_closes_that_one() -> None:
    """The others are for others; only one that shows nothing closes everything."""
    gate = pacing()
    observe(gate, 429, route_limit=10, route_remaining=0, reset=in_seconds(8))
    assert gate.wait(GET, NOW) == 0.0
    observe(gate, 429, route_limit=10, route_remaining=0, reset=in_seconds(8), retry_after=3)
    assert gate.wait(GET, NOW) >= 3.0
    gate = pacing()
    observe(gate, 429, route_limit=10, route_remaining=7, reset=in_seconds(8))
    assert gate.wait(GET, NOW) >= 8.0


def test_a_reply_about_an_earlier_window_is_ignored() -> None:
    """It overtook nobody: it is only late."""
    gate = pacing()
    observe(gate, global_limit=10, global_remaining=9, reset=in_seconds(12))
    assert not observe(gate, global_limit=10, global_remaining=0, reset=in_seconds(2))
    assert gate.latest["global"].remaining == 9


def test_replies_of_one_window_may_come_in_any_order() -> None:
    """The least that was left is what is left; resets may be computed anew for each of them."""
    gate = pacing()
    observe(gate, global_limit=100, global_remaining=80, reset=in_seconds(9))
    observe(gate, global_limit=100, global_remaining=83, reset=in_seconds(9) + 300)
    observe(gate, global_limit=100, global_remaining=82)
    assert gate.latest["global"].remaining == 80


def test_a_new_token_has_a_budget_of_its_own() -> None:
    """And what was held because of the old one goes on."""
    gate = pacing()
    turn = gate.begin(PATCH, NOW)
    observe(gate, 401, auth_token_limit=10, auth_token_remaining=0, auth_token_reset=in_seconds(9))
    gate.close_until(NOW + 30, "refused")
    gate.renew_token()
    gate.end(turn, NOW, 401)
    assert gate.open_at == 0.0
    assert gate.wait(PATCH, NOW) == 0.0


@pytest.mark.parametrize("minutes", [-20, -5, 0, 5, 20])
def test_a_wrong_clock_does_not_move_the_reset(minutes: int) -> None:
    """The `Date` of the replies says what time it is where resets come from."""
    gate = pacing()
    headers = CIMultiDict(
        {
            "X-Ratelimit-Global-Limit": "10",
            "X-Ratelimit-Global-Remaining": "0",
            "X-Ratelimit-Reset": str(in_seconds(8)),
            "Date": formatdate(WALL / 1000 - 0.4, usegmt=True),
        }
    )
    assert gate.observe(headers, 200, PATCH, NOW, WALL + minutes * 60_000.0)
    assert NOW + 7 <= gate.open_at <= NOW + 10


def test_a_request_waits_for_its_place_until_another_one_ended() -> None:
    """For how long nobody can say; what finds out what is wrong needs no place."""
    gate = Pacing(budget_share=0.5, rng=random.Random(1), max_in_flight=1)
    first = gate.begin(GET, NOW)
    gate.end(first, NOW, 200)
    second = gate.begin(GET, NOW)
    assert gate.wait(GET, NOW) == math.inf
    assert gate.wait(GET, NOW, urgent=True) == 0.0
    gate.end(second, NOW, 200)
    assert gate.wait(GET, NOW) == 0.0


def test_the_gate_can_be_closed_by_hand() -> None:
    """Only ever for longer."""
    gate = pacing()
    gate.close_until(NOW + 5, "someone said so")
    gate.close_until(NOW + 3, "someone else said so")
    assert gate.open_at == NOW + 5
    assert gate.reason == "someone said so"


def test_what_was_closed_by_hand_can_be_released() -> None:
    """A rate limit that was announced meanwhile goes on."""
    gate = pacing()
    gate.close_until(NOW + 500, "someone must act")
    assert gate.open_at == NOW + 500
    assert gate.wait(PATCH, NOW) == 500.0
    assert gate.wait(PATCH, NOW, urgent=True) == 0.0
    observe(gate, 429, retry_after=4)
    gate.release()
    assert NOW + 4 <= gate.open_at <= NOW + 8


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3", 3.0), ("0.5", 0.5), ("-1", 0.0), ("x", 0.0), ("1e9", MAX_CLOSED), ("inf", 0.0)],
)
def test_retry_after_is_a_bounded_number_of_seconds(text: str, seconds: float) -> None:
    """Dates and nonsense count as nothing said."""
    assert retry_after({"Retry-After": text}) == seconds
    assert retry_after({}) == 0.0


NUMBERS = st.one_of(
    st.integers(-(10**25), 10**25).map(str),
    st.floats().map(str),
    st.integers(-20, 2_000).map(lambda seconds: str(in_seconds(seconds))),
    st.text(max_size=8),
)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "Retry-After",
            "X-Ratelimit-Reset",
            "X-Ratelimit-Auth-Token-Reset",
            *(
                f"X-RateLimit-{family}-{what}"
                for family in ("Global", "Route", "Auth-Token")
                for what in ("Limit", "Remaining")
            ),
        ]
    ),
    NUMBERS,
)
REPLIES = st.lists(
    st.tuples(st.sampled_from([200, 429, 503]), HEADERS, st.floats(0, 30)), max_size=20
)


@given(REPLIES, st.floats(0.01, 1.0), st.integers(0, 2**32))
def test_no_sequence_of_replies_closes_the_gate_for_long(
    replies: list[tuple[int, dict[str, str], float]], share: float, seed: int
) -> None:
    """Never back, never in the past after a 429, and hardly beyond a quarter of an hour."""
    gate, now = pacing(share, seed), NOW
    for status, headers, pause in replies:
        now += pause
        before = gate.open_at
        closed = gate.observe(CIMultiDict(headers), status, PATCH, now, WALL + (now - NOW) * 1000)
        assert gate.open_at >= before
        assert gate.open_at <= now + MAX_CLOSED + 1.0
        assert not closed or gate.closed_until(PATCH) > now
        assert status != 429 or gate.closed_until(PATCH) > now
        assert 0.0 <= gate.wait(PATCH, now) <= MAX_CLOSED + 1.0
