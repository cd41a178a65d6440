"""When a batch that could not be written is tried again. Pure: the time is given."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ldsync.launchdarkly.outcome import Patience, Retry, RetryReason, Scope

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from ldsync.launchdarkly.pacing import Pacing
    from ldsync.sync.backoff import Backoff
    from ldsync.sync.change import Segment


class Schedule:
    """Decides how long to wait after failed attempts, and closes the gate if all have to.

    What passes by itself and what a person has to end are counted apart: after an outage of an hour
    the first refusal must not look like the hundredth.

    Args:
        transient: Waits after failures that pass by themselves, by the attempts of the segment.
        operator: Waits after failures that a person has to end, by how many there were in a row.
        pacing: The gate in front of every request.
        rng: Source of jitter.
        on_missing: Called when the environment itself seems to be gone.
    """

    def __init__(
        self,
        transient: Backoff,
        operator: Backoff,
        pacing: Pacing,
        rng: random.Random,
        on_missing: Callable[[], None] = lambda: None,
    ) -> None:
        self._transient = transient
        self._operator = operator
        self._pacing = pacing
        self._rng = rng
        self._on_missing = on_missing
        # In a row; under None those that concern everything.
        self._refusals: Counter[Segment | None] = Counter()
        self._until: dict[Segment, float] = {}

    def failed(self, segment: Segment, attempt: int, retry: Retry, now: float) -> float:
        """Return how many seconds the segment waits after its failed attempt number `attempt`."""
        if retry.patience is Patience.TRANSIENT:
            return self._transient.delay(attempt, self._rng, retry.after)
        if retry.scope is Scope.SEGMENT:
            return self._refused(segment, retry, now)
        # Several batches in flight report one refusal: only the first makes the wait longer.
        first = now >= self._pacing.open_at
        if first:
            if retry.reason is RetryReason.NOT_FOUND:
                self._on_missing()
            self._refusals[None] += 1
        wait = self._operator.delay(self._refusals[None], self._rng, retry.after)
        if first:
            self._pacing.close_until(now + wait, retry.detail)
        return wait

    def _refused(self, segment: Segment, retry: Retry, now: float) -> float:
        """Return how long a segment waits for a person.

        Several writes of it at a time, as big segments have, report one refusal.
        """
        if now >= self._until.get(segment, 0.0):
            self._refusals[segment] += 1
        wait = self._operator.delay(self._refusals[segment], self._rng, retry.after)
        self._until[segment] = now + wait
        return wait

    def succeeded(self, segment: Segment) -> None:
        """Forget what went wrong before: LaunchDarkly accepted a batch of the segment."""
        if self._refusals:
            self._refusals.pop(None, None)
            self._refusals.pop(segment, None)
            self._until.pop(segment, None)

    def hurry(self) -> None:
        """Begin anew with all refusals: someone has seen to them. Rate limits go on."""
        self._refusals.clear()
        self._until.clear()
        self._pacing.release()

    def reset(self) -> None:
        """Forget all segments: whatever is written to them next is the business of a new epoch."""
        everything = self._refusals[None]
        self._refusals.clear()
        self._until.clear()
        if everything:
            self._refusals[None] = everything
