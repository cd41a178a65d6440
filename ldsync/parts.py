"""The parts that the worker works with; the composition root makes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ldsync.engage.decoder import Decoder
    from ldsync.kafka.dead_letters import DeadLetters
    from ldsync.launchdarkly.environment import Environment
    from ldsync.launchdarkly.pacing import Pacing
    from ldsync.launchdarkly.schedule import Schedule
    from ldsync.launchdarkly.writers.writer import Writer
    from ldsync.parking import Parking
    from ldsync.sync.buffer import Buffer
    from ldsync.sync.lease import Lease
    from ldsync.sync.ledger import Ledger
    from ldsync.telemetry.journal import Journal
    from ldsync.telemetry.metrics import Metrics
    from ldsync.versions.base import Versions


@dataclass(frozen=True, slots=True)
class Parts:
    """What the worker works with."""

    decoder: Decoder
    buffer: Buffer
    ledger: Ledger
    dead_letters: DeadLetters
    parking: Parking
    lease: Lease
    versions: Versions
    writer: Writer
    environment: Environment
    pacing: Pacing
    schedule: Schedule
    journal: Journal
    metrics: Metrics
