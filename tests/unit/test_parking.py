"""Which failures leave a segment alone: those that are about it, and nothing that all share."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest

from ldsync.launchdarkly.outcome import Retry, RetryReason, Scope
from ldsync.parking import Parking
from ldsync.sync.waiting import Waiting
from tests.support.core import Intake, target


@pytest.mark.parametrize(
    ("retry", "alone"),
    [
        pytest.param(Retry(RetryReason.FORBIDDEN, "no"), True, id="the segment"),
        pytest.param(
            Retry(RetryReason.UNAUTHORIZED, "no", scope=Scope.EVERYTHING), False, id="everything"
        ),
        pytest.param(Retry(RetryReason.VERSION_STORE, "no"), False, id="the version store"),
    ],
)
def test_only_a_failure_of_its_own_leaves_a_segment_alone(retry: Retry, *, alone: bool) -> None:
    """Another one was served in between; what all depend on may have failed since."""
    intake, waiting, vip = Intake(), Waiting(100.0), target()
    nothing = cast("Any", None)
    parking = Parking(waiting, intake.buffer, nothing, nothing, nothing, nothing)
    intake.add(vip, "a", "b", "c")
    batch = intake.take(0.0)
    parking.failed(batch, retry, 0.0)
    waiting.accepted(target("other").segment, time.monotonic() + 1.0)
    parking.began(batch)
    parking.failed(batch, retry, -1.0)  # it began a second from now, whatever the clock's step
    wait = waiting.of(vip.segment)
    assert wait is not None
    assert wait.alone is alone
