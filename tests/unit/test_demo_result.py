"""The checks that decide the demo's exit code, and the figures it shows."""

from __future__ import annotations

import dataclasses
import io
import json
from collections import Counter
from typing import Any

import pytest
from rich.console import Console

from ldsync.demo import result
from ldsync.demo.fold import Change, Fold
from ldsync.demo.result import Check, Delays, Figures
from ldsync.demo.scrape import Reading
from ldsync.demo.screen import Progress, Screen
from ldsync.demo.simulator import Exchange
from ldsync.demo.simulator.calls import Write
from ldsync.demo.simulator.membership import Action
from ldsync.demo.simulator.membership import Change as MemberChange

KEY = "trial_users"


def fold_of(*users: str | None) -> Fold:
    """A fold of one entry per user; None for an anonymous one, "" for an empty record."""
    fold = Fold()
    personas = {"computation_class": "audience", "computation_id": "a", "computation_key": KEY}
    for user in users:
        event = {
            "type": "identify",
            "userId": user,
            "context": {"personas": personas},
            "traits": {KEY: True},
        }
        value = b"" if user == "" else json.dumps(event).encode()
        fold.add(value, partition=0, recorded_ms=1)
    return fold


def reading(**fields: Any) -> Reading:
    """What ldsync should say of `fold_of("u_1", "u_2", None, "")`."""
    outcomes = Counter({"delivered": 1, "coalesced": 1, "skipped": 1, "invalid": 1})
    return dataclasses.replace(Reading("running", consumed=4, outcomes=outcomes), **fields)


@pytest.mark.parametrize(
    ("produced", "said", "holds"),
    [
        pytest.param(4, reading(), [True, True], id="all_settled"),
        pytest.param(
            4,
            reading(
                outcomes=Counter({"delivered": 1, "skipped": 2, "invalid": 1}),
                reasons=Counter({("skipped", "stale"): 1}),
            ),
            [True, True],
            id="one_is_stale",
        ),
        pytest.param(5, reading(), [False, True], id="one_not_consumed"),
        pytest.param(4, reading(pending=1), [False, True], id="one_pending"),
        pytest.param(4, reading(consumed=5), [False, True], id="one_without_an_outcome"),
        pytest.param(
            4,
            reading(outcomes=Counter({"delivered": 2, "skipped": 2})),
            [True, False],
            id="another_outcome",
        ),
        pytest.param(
            4,
            reading(outcomes=Counter({"delivered": 1, "rejected": 1, "skipped": 1, "invalid": 1})),
            [True, False],
            id="rejected",
        ),
    ],
)
def test_outcomes_must_add_up_and_agree_with_the_fold(
    produced: int, said: Reading, holds: list[bool]
) -> None:
    """Consumed = settled = produced, and of each kind as many as the events say."""
    checks = result.check_outcomes(produced, fold_of("u_1", "u_2", None, ""), said)
    assert [check.holds for check in checks] == holds
    assert result.failed(checks) is not all(holds)


@pytest.mark.parametrize(
    ("users", "name", "holds", "detail"),
    [
        pytest.param({"u_1", "u_2"}, "Trial users", [True, True], "2 members", id="equal"),
        pytest.param({"u_1"}, "Trial users", [False, True], "u_2 is missing", id="missing"),
        pytest.param(
            {"u_1", "u_2", "u_3"}, "Trial users", [False, True], "u_3 should not", id="too_many"
        ),
        pytest.param({"u_1", "u_2"}, "Trial Users", [True, False], "2 members", id="misnamed"),
    ],
)
def test_the_final_state_must_equal_the_fold(
    users: set[str], name: str, holds: list[bool], detail: str
) -> None:
    """Members and names are compared, and what differs is said."""
    checks = result.check_state(fold_of("u_1", "u_2"), {KEY: {"user": users}}, {KEY: name})
    assert [check.holds for check in checks] == holds
    assert detail in checks[0].detail


@pytest.mark.parametrize(
    ("committed", "holds", "detail"),
    [
        pytest.param({0: 3, 1: 5}, True, "2 partitions", id="at_the_end"),
        pytest.param({0: 3, 1: 4}, False, "partition 1: 4 of 5", id="behind"),
        pytest.param({0: 3}, False, "partition 1: 0 of 5", id="never_committed"),
        pytest.param({0: 3, 1: 6}, False, "partition 1: 6 of 5", id="beyond"),
    ],
)
def test_offsets_must_be_committed_to_the_end(
    committed: dict[int, int], holds: bool, detail: str
) -> None:
    """A partition that is behind, or beyond, is named."""
    assert result.check_offsets(committed, {0: 3, 1: 5})[1:] == (holds, detail)


def asked(route: str, arrived: float) -> Exchange:
    """A request in the simulator's journal."""
    return Exchange(
        sequence=1, route=route, method="", path="/", query="", headers={}, arrived=arrived
    )


def write(*users: str, arrived: float, ended: float, status: int = 200) -> Exchange:
    """A patch that includes users."""
    exchange = asked("patch_segment", arrived)
    exchange.writes = (Write(KEY, (MemberChange(Action.INCLUDE, "user", users),)),)
    exchange.status, exchange.ended = status, ended
    return exchange


def said(user: str, version: int, *, included: bool = True) -> Change:
    """A change of `KEY`."""
    return Change(KEY, user, included, (version, 0), 0)


@pytest.mark.parametrize(
    ("produced", "exchanges", "delays"),
    [
        pytest.param([(said("a", 1), 10.0)], [write("a", arrived=11, ended=12)], (2.0,), id="one"),
        pytest.param(
            [(said("a", 1), 10.0), (said("a", 2), 11.0)],
            [write("a", arrived=11.5, ended=12)],
            (1.0,),
            id="the_newest_counts",
        ),
        pytest.param(
            [(said("a", 2), 10.0), (said("a", 1), 11.0)],
            [write("a", arrived=11.5, ended=12)],
            (2.0,),
            id="late_news_does_not",
        ),
        pytest.param(
            [(said("a", 1), 10.0), (said("a", 1), 11.0)],
            [write("a", arrived=11.5, ended=12)],
            (2.0,),
            id="nor_a_duplicate",
        ),
        pytest.param(
            [(said("a", 1), 10.0), (said("a", 2), 11.6)],
            [write("a", arrived=11.5, ended=12)],
            (2.0,),
            id="nor_what_came_after",
        ),
        pytest.param(
            [(said("a", 1, included=False), 10.0)],
            [write("a", arrived=11, ended=12)],
            (),
            id="nor_the_opposite",
        ),
        pytest.param(
            [(said("a", 1), 10.0), (said("b", 1), 11.0)],
            [write("b", "a", arrived=11.5, ended=12)],
            (1.0, 2.0),
            id="sorted",
        ),
        pytest.param(
            [(said("a", 1), 10.0)],
            [write("a", arrived=11, ended=12), write("a", arrived=13, ended=14)],
            (2.0,),
            id="nor_a_repetition",
        ),
        pytest.param(
            [(said("a", 1), 10.0)],
            [write("a", arrived=11, ended=12, status=503)],
            (),
            id="a_failure_confirms_nothing",
        ),
    ],
)
def test_a_delay_is_measured_from_the_change_that_a_write_confirms(
    produced: list[tuple[Change, float]], exchanges: list[Exchange], delays: tuple[float, ...]
) -> None:
    """It ends with the answer and begins with the newest matching change before the write."""
    measure = Delays()
    for change, at in produced:
        measure.produced(change, at)
    assert measure.figures(exchanges).delays == delays


def test_figures_count_requests_accepted_writes_and_their_members() -> None:
    """Look-ups are requests too; a refused write delivers nothing."""
    exchanges = [
        asked("get_segment", 1.0),
        write("a", "b", arrived=1, ended=2),
        write("c", arrived=1, ended=2, status=429),
    ]
    figures = Delays().figures(exchanges)
    assert (figures.requests, figures.writes, figures.members) == (3, 1, 2)


def test_quantiles_are_taken_from_the_measured_delays() -> None:
    """Half of a hundred delays are within the middle one, 99 % within the last but none."""
    figures = Figures(0, 0, 0, tuple(float(number) for number in range(100)))
    assert (figures.quantile(0.5), figures.quantile(0.99)) == (50.0, 99.0)
    assert Figures(0, 0, 0, ()).quantile(0.5) is None


EXPOSITION = """
# TYPE ldsync_records_consumed counter
ldsync_records_consumed_total{topic="a"} 7.0
ldsync_records_consumed_total{topic="b"} 5.0
# TYPE ldsync_records_pending gauge
ldsync_records_pending 3.0
# TYPE ldsync_records counter
ldsync_records_total{outcome="delivered",reason=""} 4.0
ldsync_records_total{outcome="invalid",reason="bad_json"} 2.0
ldsync_records_total{outcome="invalid",reason="not_an_object"} 3.0
# TYPE ldsync_batches_closed counter
ldsync_batches_closed_total{trigger="age"} 2.0
# TYPE ldsync_state gauge
ldsync_state{state="running"} 1.0
ldsync_state{state="paused"} 0.0
"""


def test_a_reading_sums_up_the_metrics_page() -> None:
    """Topics and reasons are summed; the state is the one that is set."""
    assert Reading.parse(EXPOSITION) == Reading(
        state="running",
        consumed=12,
        pending=3,
        outcomes=Counter(delivered=4, invalid=5),
        reasons=Counter({("invalid", "bad_json"): 2, ("invalid", "not_an_object"): 3}),
        closed=Counter(age=2),
    )
    assert Reading.parse(EXPOSITION).settled == 9
    assert Reading.parse("") == Reading()


def printed(screen_of: Any, *, terminal: bool) -> str:
    """What a screen prints."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100, highlight=False)
    screen = Screen(console)
    screen_of(screen)
    screen.close()
    return out.getvalue()


PROGRESS = Progress("writing", 1500, 2000, Reading.parse(EXPOSITION), 3, 17, 1234)


def test_without_a_terminal_progress_is_plain_lines_and_not_more_than_one_a_second() -> None:
    """Logs of a CI job stay readable: no control sequences, no flood."""

    def show(screen: Screen) -> None:
        for _ in range(50):
            screen.progress(PROGRESS)

    text = printed(show, terminal=False)
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert "1,500 produced, 12 consumed, 9 settled, 17 requests, 1,234 members" in text


def test_on_a_terminal_the_cursor_comes_back() -> None:
    """The live view hides the cursor, and shows it again when it is closed."""
    text = printed(lambda screen: screen.progress(PROGRESS), terminal=True)
    assert text.index("\x1b[?25l") < text.rindex("\x1b[?25h")
    assert "9 of 2,000 records settled" in text


def test_the_summary_shows_outcomes_traffic_and_delays() -> None:
    """Records by outcome, requests, batches by trigger, coalescing, p50 and p99."""

    def show(screen: Screen) -> None:
        figures = Figures(requests=10, writes=7, members=4, delays=(0.25, 0.5))
        screen.summary(
            events=12, changes=6, seconds=1.0, figures=figures, reading=Reading.parse(EXPOSITION)
        )
        screen.checks([Check("good", True, "fine"), Check("bad", False, "wrong")])

    text = printed(show, terminal=False)
    for expected in (
        "12 records in 1.0 s",
        "delivered",
        "10, of them 7 writes",
        "2 by age",
        "6 changes in 4 member writes: 1.50",
        "0.500 s",
        "ok    good: fine",
        "FAIL  bad: wrong",
    ):
        assert expected in text


def test_addresses_are_never_broken_into_lines() -> None:
    """A URL can be copied from a narrow terminal."""
    url = "http://127.0.0.1:40123/" + "x" * 200
    assert url in printed(lambda screen: screen.say(url), terminal=False)
