"""Audiences that ask for the same segment key, in metrics, log and status page alike."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import structlog

from ldsync.engage.segments import Likeness
from ldsync.telemetry.throttle import Throttle

if TYPE_CHECKING:
    from ldsync.engage.segments import Collision
    from ldsync.telemetry.metrics import Metrics

_SHARED: Final = (
    "both audiences write to this segment: right if the second is the first made again; otherwise "
    "put {audience_id} into naming.segment_key, or set naming.on_collision"
)
_REFUSED: Final = (
    "events of the second audience are skipped, as naming.on_collision says; put {audience_id} "
    "into naming.segment_key to give it a segment of its own"
)
_CASE: Final = (
    "two segments have keys that only their case tells apart; rename an audience or choose another "
    "naming.segment_key if that was not meant"
)


class Collisions:
    """Tells of each collision once: counts it, logs it, and keeps it for the status page.

    The log has one line a minute for each likeness; the rest of them are on the page.
    """

    def __init__(self, metrics: Metrics) -> None:
        """Count in `metrics`."""
        self._metrics = metrics
        self._log = structlog.get_logger()
        self._throttle = Throttle()
        self._told: list[Collision] = []

    def take(self, found: list[Collision]) -> None:
        """Tell of the collisions in `found`, and empty it."""
        for collision in found:
            self._told.append(collision)
            self._metrics.segment_key_collisions[collision.likeness].inc()
            suppressed = self._throttle.allow(collision.likeness, time.monotonic())
            if suppressed is not None:
                self._log.warning(
                    "segment.key_collision",
                    **_facts(collision),
                    suppressed=suppressed,
                    advice=_advice(collision),
                )
        found.clear()

    def rows(self) -> list[dict[str, Any]]:
        """Describe all of them for the status page."""
        return [_facts(collision) for collision in self._told]


def _facts(collision: Collision) -> dict[str, Any]:
    return {
        "segment": collision.segment_key,
        "audience_id": collision.audience_id,
        "first_segment": collision.first_segment_key,
        "first_audience_id": collision.first_audience_id,
        "likeness": collision.likeness.value,
        "refused": collision.refused,
    }


def _advice(collision: Collision) -> str:
    if collision.likeness is Likeness.CASE:
        return _CASE
    return _REFUSED if collision.refused else _SHARED
