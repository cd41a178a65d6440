"""The states of the worker and the moves between them."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """What the worker as a whole is doing."""

    STARTING = "starting"
    JOINING = "joining"
    WARMING = "warming"
    RUNNING = "running"
    PAUSED = "paused"
    DRAINING = "draining"
    STOPPED = "stopped"


_MOVES: dict[State, frozenset[State]] = {
    State.STARTING: frozenset({State.JOINING, State.DRAINING, State.STOPPED}),
    State.JOINING: frozenset({State.WARMING, State.RUNNING, State.DRAINING, State.STOPPED}),
    State.WARMING: frozenset({State.RUNNING, State.JOINING, State.DRAINING, State.STOPPED}),
    State.RUNNING: frozenset({State.PAUSED, State.JOINING, State.DRAINING, State.STOPPED}),
    State.PAUSED: frozenset({State.RUNNING, State.JOINING, State.DRAINING, State.STOPPED}),
    State.DRAINING: frozenset({State.STOPPED}),
    State.STOPPED: frozenset(),
}


class IllegalMoveError(Exception):
    """A move that the table of states does not have: a mistake of the program, not its input."""

    def __init__(self, state: State, target: State) -> None:
        """Name both ends of the move."""
        super().__init__(f"the worker cannot go from {state} to {target}")


def move(state: State, target: State) -> State:
    """Return `target` if the worker may go there from `state`; staying is always allowed.

    Raises IllegalMoveError for any other move.
    """
    if target is not state and target not in _MOVES[state]:
        raise IllegalMoveError(state, target)
    return target
