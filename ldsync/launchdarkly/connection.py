"""The connection to LaunchDarkly as a whole: everything the writers stand on, put together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from ldsync.config.proxies import Proxy, proxy_for
from ldsync.config.secrets import FileSecret, read_secret
from ldsync.config.values import api_token_text
from ldsync.launchdarkly.client import LaunchDarklyClient
from ldsync.launchdarkly.environment import Environment
from ldsync.launchdarkly.pacing import Pacing
from ldsync.launchdarkly.token import Token
from ldsync.launchdarkly.transport import Way
from ldsync.launchdarkly.watch import keep_resolved
from ldsync.telemetry.log import hide

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from ldsync.config import LaunchDarklySettings
    from ldsync.sync.lease import Lease
    from ldsync.telemetry.metrics import Metrics


class Connection:
    """What one process has to do with LaunchDarkly, but for what it writes.

    Attributes:
        client: Sends the requests.
        pacing: The gate in front of them.
        environment: Where the segments are.
    """

    def __init__(
        self,
        settings: LaunchDarklySettings,
        metrics: Metrics,
        rng: random.Random,
        lease: Lease | None = None,
    ) -> None:
        """Prepare; nothing is opened before the first request.

        While `lease` does not hold, only what asks is sent (R4); None if there is no group.
        """
        self.pacing = Pacing(
            budget_share=settings.budget_share,
            rng=rng,
            max_in_flight=settings.max_in_flight,
            lease=lease,
        )
        secret = settings.api_token
        self._token = Token(
            secret.get_secret_value(),
            secret.file if isinstance(secret, FileSecret) else None,
            _token_in,
            self._renewed,
        )
        proxy = proxy_for(settings)
        _tell(proxy)
        self.client = LaunchDarklyClient(
            settings.base_url,
            self._token,
            timeout_seconds=settings.timeout_seconds,
            max_in_flight=settings.max_in_flight,
            pacing=self.pacing,
            metrics=metrics,
            way=Way(proxy.address, settings.ca_file),
            dry_run=settings.dry_run,
        )
        self.environment = Environment(
            settings.project_key,
            settings.environment_key,
            settings.client_side_id,
            needs_keys=settings.write_path != "synced",
        )
        self._rng = rng

    async def keep(self) -> None:
        """Do what has to be done in the background; never returns."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._token.watch())
            tasks.create_task(keep_resolved(self.client, self.environment, self._rng))

    async def close(self) -> None:
        """Close all sockets."""
        await self.client.close()

    def _renewed(self, token: str) -> None:
        """There is a new token: hide it, and try at once what the old one was refused for."""
        hide(token)
        self.pacing.renew_token()


def _token_in(file: Path) -> str:
    """The token in a file.

    Raises:
        OSError: The file cannot be read.
        ValueError: It holds no usable token.
    """
    token = api_token_text(read_secret(file))
    if not token:
        raise ValueError("is empty")
    return token


def _tell(proxy: Proxy) -> None:
    """Say which proxy is used: one that comes from the environment may surprise."""
    log = structlog.get_logger()
    if not proxy.usable:
        log.warning(
            "launchdarkly.proxy_ignored",
            origin=proxy.origin,
            advice="only http:// and https:// proxies can be used; set launchdarkly.proxy",
        )
    elif proxy.address:
        log.info("launchdarkly.proxy", proxy=proxy.place, origin=proxy.origin)
