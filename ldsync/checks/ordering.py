"""What `ldsync run` needs to put changes in order: a version store, and what speaks against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldsync.checks.finding import Finding, State
from ldsync.versions.base import StoreMisconfigured
from ldsync.versions.opening import examine

if TYPE_CHECKING:
    from ldsync.config import Settings

_MEMORY = (
    "is in memory: enough for one replica, or for several if the topic is keyed by user, which "
    "cannot be seen from here (docs/ordering.md)"
)


async def check_ordering(settings: Settings) -> list[Finding]:
    """Look at the version store; nothing is written to it."""
    name = "version store"
    if settings.ordering.store == "memory":
        return [Finding(name, State.OK, _MEMORY)]
    try:
        found = await examine(settings.ordering)
    except StoreMisconfigured as error:
        return [Finding(name, State.FAILED, str(error))]
    if found.trouble:
        return [Finding(name, State.FAILED, found.trouble)]
    concerns = [Finding(name, State.WARNING, concern) for concern in found.concerns]
    return concerns or [Finding(name, State.OK, "Redis answers, and does not evict")]
