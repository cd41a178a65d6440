"""Limits: how much may be in a batch, and in the buffer as a whole."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How large and how old a batch may grow, and how many batches of a segment may be in flight.

    `max_size` in members, `max_bytes` of member text, `max_age` in seconds.
    """

    max_size: int = 1500
    max_bytes: int = 1_048_576
    max_age: float = 2.0
    writes_per_segment: int = 1


@dataclass(frozen=True, slots=True)
class Budget:
    """How much the buffer may hold, in flight included, before consumption pauses (P3).

    `max_changes` in changes, `max_bytes` of memory. Consumption goes on when both measures are
    below `resume_ratio` of their limit.
    """

    max_changes: int = 200_000
    max_bytes: int = 67_108_864
    resume_ratio: float = 0.8
