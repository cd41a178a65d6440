"""The states of the worker: which moves there are."""

from __future__ import annotations

import itertools

import pytest

from ldsync.sync.states import IllegalMoveError, State, move

MOVES = {
    "starting": "joining draining stopped",
    "joining": "warming running draining stopped",
    "warming": "running joining draining stopped",
    "running": "paused joining draining stopped",
    "paused": "running joining draining stopped",
    "draining": "stopped",
    "stopped": "",
}


@pytest.mark.parametrize(
    ("state", "target"),
    [
        pytest.param(state, target, id=f"{state}_to_{target}")
        for state, target in itertools.product(State, State)
    ],
)
def test_only_the_moves_of_the_table_are_made(state: State, target: State) -> None:
    """Staying is always allowed; anything else is a mistake of the program and says so."""
    if target in MOVES[state].split() or state is target:
        assert move(state, target) is target
    else:
        with pytest.raises(IllegalMoveError, match=f"from {state} to {target}"):
            move(state, target)


def test_every_state_can_stop() -> None:
    """There is a way out of everything, in at most two moves."""
    for state in State:
        if state is not State.STOPPED:
            assert move(state, State.STOPPED) is State.STOPPED


def test_the_states_are_those_of_the_metric() -> None:
    """Their values are seen outside, in their order of life."""
    assert list(State) == list(MOVES)
