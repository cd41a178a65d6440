"""Which version store the configuration asks for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ldsync.versions.base import StoreMisconfigured
from ldsync.versions.memory import MemoryVersions

if TYPE_CHECKING:
    from ldsync.config import OrderingSettings
    from ldsync.telemetry.metrics import Metrics
    from ldsync.versions.base import Versions


def open_versions(ordering: OrderingSettings, environment: str, metrics: Metrics) -> Versions:
    """Make the store for a LaunchDarkly environment (`project/environment`). Connects to nothing.

    Raises:
        StoreMisconfigured: the store needs what is not installed.
    """
    if ordering.store == "memory":
        return MemoryVersions(ordering.max_entries, time.monotonic())
    try:
        from ldsync.versions.redis import RedisVersions  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise StoreMisconfigured(
            f'ordering.store is "redis", and the Python package redis cannot be imported ({error}):'
            " install it with pip install 'ldsync[redis]' (the container image has it), or set "
            'ordering.store to "memory" if that keeps the order (docs/ordering.md)'
        ) from error
    return RedisVersions(
        ordering.redis_url.get_secret_value(),
        environment,
        retention=ordering.retention_seconds,
        timeout=ordering.redis_timeout_seconds,
        # Nobody reads history again yet (R5). Until then a cold store is used when nothing that was
        # sent before it became cold can be applied any more.
        warm_after=ordering.settle_seconds,
        metrics=metrics,
    )
