"""Policy: how long things may take, and how much may go on at a time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """Times in seconds, and the number of batches that may be in flight.

    A request without an answer may take effect until `settle_seconds` after it began (R1);
    `take_over_seconds` is how long after an assignment a previous owner's request may (R2);
    `drain_seconds` and `commit_seconds` bound what a revocation or a shutdown waits for.
    """

    max_in_flight: int
    settle_seconds: float
    take_over_seconds: float
    commit_interval_seconds: float
    drain_seconds: float
    commit_seconds: float
