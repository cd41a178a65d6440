"""From the configuration to the writer: which way into LaunchDarkly, and what it can take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldsync.launchdarkly.segments import Adopt, Terms
from ldsync.launchdarkly.writers.big import BigWriter
from ldsync.launchdarkly.writers.sides import ExitAction
from ldsync.launchdarkly.writers.standard import StandardWriter
from ldsync.launchdarkly.writers.synced import SyncedWriter
from ldsync.sync.limits import Limits

if TYPE_CHECKING:
    import random

    from ldsync.config import LaunchDarklySettings, Settings
    from ldsync.launchdarkly.client import LaunchDarklyClient
    from ldsync.launchdarkly.environment import Environment
    from ldsync.launchdarkly.writers.writer import Writer
    from ldsync.telemetry.metrics import Metrics


def writer_of(
    section: LaunchDarklySettings,
    client: LaunchDarklyClient,
    environment: Environment,
    metrics: Metrics,
    rng: random.Random,
) -> Writer:
    """Return the writer for the configured write path."""
    if section.write_path == "synced":
        return SyncedWriter(
            client,
            environment,
            max_members=section.max_members_per_request,
            writes_per_segment=section.writes_per_segment,
            rng=rng,
        )
    terms = Terms(
        tags=section.tags,
        adopt=Adopt(section.adopt),
        view_keys=section.view_keys,
        create=section.create_segments,
        recreate=section.recreate_deleted,
    )
    exit_action = ExitAction(section.exit_action)
    if section.write_path == "big":
        return BigWriter(
            client,
            environment,
            terms,
            exit_action=exit_action,
            max_members=section.max_members_per_request,
            writes_per_segment=section.writes_per_segment,
            metrics=metrics,
            rng=rng,
        )
    return StandardWriter(
        client, environment, terms, exit_action=exit_action, metrics=metrics, rng=rng
    )


def limits_of(settings: Settings, writer: Writer) -> Limits:
    """Return how large a batch may grow: as configured, and as one request can take.

    One segment gets no more than half of the requests at a time: if they hang, others go on (P5).
    """
    batch, most = settings.batch, max(1, settings.launchdarkly.max_in_flight // 2)
    return Limits(
        max_size=min(batch.max_size, writer.max_members),
        max_bytes=batch.max_bytes,
        max_age=batch.max_age_seconds,
        writes_per_segment=min(writer.writes_per_segment, most),
    )
