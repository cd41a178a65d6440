"""The connection to LaunchDarkly as a whole: everything the writers stand on, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldsync.launchdarkly.client import LaunchDarklyClient
from ldsync.launchdarkly.environment import Environment
from ldsync.launchdarkly.pacing import Pacing
from ldsync.launchdarkly.watch import keep_resolved

if TYPE_CHECKING:
    import random

    from ldsync.config import LaunchDarklySettings
    from ldsync.telemetry.metrics import Metrics


class Connection:
    """What one process has to do with LaunchDarkly, but for what it writes.

    Attributes:
        client: Sends the requests.
        pacing: The gate in front of them.
        environment: Where the segments are.
    """

    def __init__(
        self, settings: LaunchDarklySettings, metrics: Metrics, rng: random.Random
    ) -> None:
        """Prepare; nothing is opened before the first request."""
        self.pacing = Pacing(budget_share=settings.budget_share, rng=rng)
        self.client = LaunchDarklyClient(
            settings.base_url,
            settings.api_token.get_secret_value(),
            timeout_seconds=settings.timeout_seconds,
            max_in_flight=settings.max_in_flight,
            pacing=self.pacing,
            metrics=metrics,
        )
        self.environment = Environment(
            settings.project_key, settings.environment_key, settings.client_side_id
        )
        self._rng = rng

    async def keep(self) -> None:
        """Do what has to be done in the background; never returns."""
        await keep_resolved(self.client, self.environment, self._rng)

    async def close(self) -> None:
        """Close all sockets."""
        await self.client.close()
