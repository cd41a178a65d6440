"""When a batch that could not be written is tried again."""

import random

import pytest

from ldsync.launchdarkly.outcome import Patience, Retry, RetryReason, Scope
from ldsync.launchdarkly.pacing import Pacing
from ldsync.launchdarkly.schedule import Schedule
from ldsync.sync.backoff import Backoff
from ldsync.sync.change import Segment

NOW = 1000.0
ONE, TWO = (Segment(key=key, name=key, audience_id=key, audience_key=key) for key in ("1", "2"))
BUSY = Retry(RetryReason.SERVER_ERROR, "busy")
REFUSED = Retry(RetryReason.APPROVAL_REQUIRED, "refused", patience=Patience.OPERATOR)
LOCKED_OUT = Retry(
    RetryReason.UNAUTHORIZED, "locked out", scope=Scope.EVERYTHING, patience=Patience.OPERATOR
)


@pytest.fixture
def pacing() -> Pacing:
    """An open gate."""
    return Pacing(budget_share=0.5, rng=random.Random(1))


@pytest.fixture
def schedule(pacing: Pacing) -> Schedule:
    """Waits of 1, 2, 4 … 30 s, and of 30, 60 … 3,600 s; no jitter."""
    return Schedule(Backoff(1.0, 30.0, 1.0), Backoff(30.0, 3600.0, 1.0), pacing, random.Random(1))


def test_what_passes_by_itself_is_tried_again_soon(schedule: Schedule, pacing: Pacing) -> None:
    """By the attempts of the segment, and not before the server wants it; no gate is closed."""
    waits = [schedule.failed(ONE, attempt, BUSY, NOW) for attempt in (1, 2, 3, 9)]
    assert waits == [1.0, 2.0, 4.0, 30.0]
    asked = Retry(RetryReason.RATE_LIMITED, "slow down", after=7.0, scope=Scope.EVERYTHING)
    assert schedule.failed(ONE, 1, asked, NOW) == 8.0
    assert pacing.open_at == 0.0


def test_what_a_person_has_to_end_is_counted_apart(schedule: Schedule, pacing: Pacing) -> None:
    """The first refusal after a hundred failures of another kind waits as long as a first one."""
    assert schedule.failed(ONE, 100, REFUSED, NOW) == 30.0
    assert schedule.failed(ONE, 101, REFUSED, NOW + 31.0) == 60.0
    assert schedule.failed(TWO, 1, REFUSED, NOW) == 30.0
    assert pacing.open_at == 0.0


def test_a_success_ends_the_row_of_a_segment(schedule: Schedule) -> None:
    """Of that segment alone."""
    for segment in (ONE, TWO):
        schedule.failed(segment, 1, REFUSED, NOW)
    schedule.succeeded(ONE)
    assert schedule.failed(ONE, 1, REFUSED, NOW) == 30.0
    assert schedule.failed(TWO, 2, REFUSED, NOW + 31.0) == 60.0


def test_writes_of_one_segment_at_a_time_are_refused_once(schedule: Schedule) -> None:
    """Four at a time must not make the first wait one of minutes."""
    waits = [schedule.failed(ONE, attempt, REFUSED, NOW + attempt) for attempt in range(4)]
    assert waits == [30.0] * 4
    assert schedule.failed(ONE, 5, REFUSED, NOW + 40.0) == 60.0


def test_what_concerns_everything_closes_the_gate(schedule: Schedule, pacing: Pacing) -> None:
    """Several batches in flight report one refusal: they make it neither longer nor two."""
    assert schedule.failed(ONE, 1, LOCKED_OUT, NOW) == 30.0
    assert (pacing.open_at, pacing.reason) == (NOW + 30.0, "locked out")
    assert schedule.failed(TWO, 1, LOCKED_OUT, NOW + 0.1) == 30.0
    assert pacing.open_at == NOW + 30.0
    assert schedule.failed(TWO, 2, LOCKED_OUT, NOW + 31.0) == 60.0
    assert pacing.open_at == NOW + 91.0


def test_a_missing_environment_is_asked_for_once(pacing: Pacing) -> None:
    """The first of several batches that find it gone says so; a lost permission is no reason."""
    asked: list[bool] = []
    backoff = Backoff(30.0, 3600.0, 1.0)
    schedule = Schedule(
        backoff, backoff, pacing, random.Random(1), on_missing=lambda: asked.append(True)
    )
    gone = Retry(RetryReason.NOT_FOUND, "gone", scope=Scope.EVERYTHING, patience=Patience.OPERATOR)
    schedule.failed(ONE, 1, LOCKED_OUT, NOW)
    assert asked == []
    schedule.failed(ONE, 2, gone, NOW + 31.0)
    schedule.failed(TWO, 1, gone, NOW + 31.1)
    assert asked == [True]


def test_any_success_shows_that_not_everything_is_locked(schedule: Schedule) -> None:
    """Whichever segment it is."""
    schedule.failed(ONE, 1, LOCKED_OUT, NOW)
    schedule.succeeded(TWO)
    assert schedule.failed(ONE, 2, LOCKED_OUT, NOW + 31.0) == 30.0


def test_a_new_epoch_forgets_segments_but_not_a_refused_token(schedule: Schedule) -> None:
    """Segments may be somebody else's by now; the token is still ours."""
    schedule.failed(ONE, 1, REFUSED, NOW)
    schedule.failed(ONE, 2, LOCKED_OUT, NOW)
    schedule.reset()
    assert schedule.failed(ONE, 1, REFUSED, NOW + 31.0) == 30.0
    assert schedule.failed(ONE, 2, LOCKED_OUT, NOW + 31.0) == 60.0


def test_whoever_has_seen_to_it_has_everything_begin_anew(
    schedule: Schedule, pacing: Pacing
) -> None:
    """What waits for a person is tried at once, and soon again if that did not help."""
    assert schedule.failed(ONE, 1, REFUSED, NOW) == 30.0
    schedule.failed(TWO, 1, LOCKED_OUT, NOW)
    assert pacing.open_at == NOW + 30.0
    schedule.hurry()
    assert pacing.open_at == 0.0
    assert schedule.failed(ONE, 2, REFUSED, NOW + 1.0) == 30.0
    assert schedule.failed(TWO, 2, LOCKED_OUT, NOW + 1.0) == 30.0
