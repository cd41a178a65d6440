"""Keeping the environment resolved: the task that looks it up, and again when writes doubt it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from ldsync.launchdarkly.environment import Found
from ldsync.launchdarkly.outcome import Patience, RetryReason
from ldsync.launchdarkly.resolution import resolve
from ldsync.sync.backoff import Backoff

if TYPE_CHECKING:
    import random

    from ldsync.launchdarkly.client import LaunchDarklyClient
    from ldsync.launchdarkly.environment import Environment

_FIRST_SECONDS: Final = 1.0
_LONGEST_SECONDS: Final = 30.0


async def keep_resolved(
    client: LaunchDarklyClient, environment: Environment, rng: random.Random
) -> None:
    """Find the environment, then look again whenever it is doubted; never returns.

    Until it is found writes wait, and again when it is gone. When it comes back after that, they go
    on at once. That it cannot be asked for is no reason to stop writing.
    """
    while True:
        await _find(client, environment, rng)
        await environment.doubted()


async def _find(client: LaunchDarklyClient, environment: Environment, rng: random.Random) -> None:
    """Look the environment up until it is there."""
    log = structlog.get_logger()
    backoff = Backoff(_FIRST_SECONDS, _LONGEST_SECONDS)
    attempt = 0
    while not isinstance(found := await resolve(client, environment), Found):
        attempt += 1
        # What was found once is lost only if LaunchDarkly says so.
        if not environment.resolved or found.reason is RetryReason.NOT_FOUND:
            environment.lose(found.detail)
        level = log.error if found.patience is Patience.OPERATOR else log.warning
        level("environment.unresolved", reason=found.reason.value, detail=found.detail)
        await asyncio.sleep(backoff.delay(attempt, rng, found.after))
    if environment.resolved:
        log.info("environment.confirmed", environment=str(environment))
        return
    environment.resolve(found)
    client.pacing.release()  # whatever was held back because it was missing
    log.info(
        "environment.resolved",
        environment=str(environment),
        client_side_id=environment.client_side_id,
    )
    if environment.approvals_required:
        log.warning(
            "launchdarkly.approvals_required",
            project=environment.project_key,
            environment=environment.environment_key,
            advice="writes are refused unless the token's role has bypassRequiredSegmentApproval",
        )
