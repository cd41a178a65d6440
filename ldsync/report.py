"""What ldsync says about itself when asked: health, status page, and gauges of live state."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import ldsync
from ldsync.sync.gate import Held
from ldsync.sync.states import State
from ldsync.telemetry.health import Check, Health
from ldsync.versions.base import StoreState

if TYPE_CHECKING:
    from ldsync.launchdarkly.environment import Environment
    from ldsync.parts import Parts
    from ldsync.telemetry.metrics import Metrics
    from ldsync.worker import Worker

_STALLED_SECONDS: Final = {"ingest": 60.0, "flush": 30.0, "commit": 120.0}
"""How long each loop may take to go round before the process counts as stuck.

Ingest waits for brokers and commit for the answer to a commit, so they get longer; commit also for
its interval.
"""


class Report:
    """Looks at a worker and its parts; keeps nothing but what the application tells it.

    `stopping` is set when a signal came.
    """

    def __init__(self, worker: Worker, parts: Parts, environment: Environment) -> None:
        """Report on `worker`."""
        self._worker = worker
        self._parts = parts
        self._environment = environment
        self._started = time.monotonic()
        self.stopping = False

    def bind(self, metrics: Metrics) -> None:
        """Have the gauges of live state read it when they are scraped."""
        buffer, journal = self._parts.buffer, self._parts.journal
        versions = self._parts.versions
        letters = self._parts.dead_letters
        metrics.dead_letters_pending.set_function(lambda: float(letters.pending))
        metrics.records_pending.set_function(lambda: float(buffer.records))
        metrics.buffered_changes.set_function(lambda: float(buffer.changes))
        metrics.buffered_bytes.set_function(lambda: float(buffer.bytes))
        metrics.open_batches.set_function(lambda: float(buffer.open_batches))
        metrics.batches_in_flight.set_function(lambda: float(buffer.in_flight))
        metrics.segments_waiting.set_function(lambda: float(journal.fortunes.waiting))
        metrics.segments_diverged.set_function(
            lambda: float(self._parts.parking.divergence.segments)
        )
        for reason in (Held.TAKE_OVER, Held.LEASE):
            metrics.writes_held[reason].set_function(partial(self._is_held, reason))
        source = self._worker.source
        metrics.warm_up_left.set_function(lambda: float(source.history[0]))
        metrics.warm_up_duration.set_function(lambda: source.history[2])
        metrics.oldest_unsent_change_age.set_function(self._oldest_age)
        metrics.version_store_entries.set_function(lambda: versions.entries)
        metrics.version_store_up.set_function(lambda: float(versions.state is StoreState.UP))
        metrics.version_store_cold.set_function(lambda: float(versions.state is StoreState.COLD))
        metrics.ordering_horizon.set_function(lambda: versions.horizon(time.monotonic()))

    def _is_held(self, reason: Held) -> float:
        return float(self._worker.gate.held(time.monotonic()) is reason)

    def _oldest_age(self) -> float:
        oldest_ms = self._parts.buffer.oldest_ms()
        if oldest_ms is None or oldest_ms < 0:
            return 0.0
        return max(0.0, time.time() - oldest_ms / 1000)

    def health(self) -> Health:
        """Say whether the loops turn, and whether the process is ready to be counted on."""
        now = time.monotonic()
        turns = self._worker.turns
        interval = {"commit": self._worker.policy.commit_interval_seconds}
        # Loops begin when Kafka was reached, which may take as long as the operator allows.
        checks = tuple(
            Check(name, now - turns.get(name, now), limit + interval.get(name, 0.0))
            for name, limit in _STALLED_SECONDS.items()
        )
        reasons = []
        state = self._worker.state
        if self.stopping or state in (State.DRAINING, State.STOPPED):
            reasons.append("draining: the process is about to end")
        elif state in (State.STARTING, State.JOINING):
            reasons.append("waiting for the consumer group")
        if self._environment.problem:
            reasons.append(self._environment.problem)
        return Health(checks, ready=not reasons, reasons=tuple(reasons))

    def status(self) -> dict[str, Any]:
        """Describe everything an operator may want to know, for /status."""
        parts, worker = self._parts, self._worker
        buffer, journal = parts.buffer, parts.journal
        now = time.monotonic()
        gate = max(0.0, parts.pacing.open_at - now)
        loads = {lane.segment.key: (len(lane.changes), lane.in_flight) for lane in buffer.lanes()}
        return {
            "version": ldsync.__version__,
            "state": worker.state.value,
            "uptime_seconds": round(now - self._started, 3),
            "consumed_records": journal.consumed,
            "pending_records": buffer.records,
            "records": journal.records_by_outcome(),
            "warm_up": self._warm_up(),
            "partitions": self._partitions(),
            "buffer": {
                "changes": buffer.changes,
                "bytes": buffer.bytes,
                "batches": buffer.open_batches,
                "in_flight": buffer.in_flight,
                "paused": worker.state is State.PAUSED,
                "writes_held": worker.gate.held(now) or "",
            },
            "dead_letters": parts.dead_letters.status()
            | {"recall_problem": parts.parking.recalling.problem},
            "launchdarkly": {
                "project": self._environment.project_key,
                "environment": self._environment.environment_key,
                "client_side_id": self._environment.client_side_id,
                "problem": self._environment.problem,
                "gate_open_in_seconds": round(gate, 3),
                "gate_reason": parts.pacing.reason if gate else "",
            },
            "ordering": {
                "store": "redis" if parts.versions.shared else "memory",
                "state": parts.versions.state.value,
                "horizon_seconds": round(parts.versions.horizon(now), 3),
                "problem": parts.versions.problem or worker.ordering_concern,
            },
            "segments": journal.fortunes.rows(loads, parts.parking.divergence.rows()),
            "collisions": journal.collisions.rows(),
        }

    def _warm_up(self) -> dict[str, Any]:
        left, records, seconds = self._worker.source.history
        return {
            "offsets_left": left,
            "records": records,
            "seconds": round(seconds, 3),
            "known_for_seconds": round(self._parts.versions.horizon(time.monotonic()), 3),
        }

    def _partitions(self) -> list[dict[str, Any]]:
        committable = self._parts.ledger.committable()
        positions = self._worker.source.positions()
        return [
            {
                "topic": place.topic,
                "partition": place.number,
                "position": positions.get(place),
                "committable": committable.get(place),
                "lag": self._worker.offsets.lags.get(place),
            }
            for place in sorted(self._worker.source.assigned)
        ]
