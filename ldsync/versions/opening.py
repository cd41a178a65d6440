"""Which version store the configuration asks for, and what is wrong with it."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ldsync.versions.advice import server_concerns, settings_concerns
from ldsync.versions.base import StoreMisconfigured, StoreUnavailable
from ldsync.versions.memory import MemoryVersions

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    with _package():
        from ldsync.versions.redis import RedisVersions  # noqa: PLC0415 - an extra
    return RedisVersions(
        ordering.redis_url.get_secret_value(),
        environment,
        retention=ordering.retention_seconds,
        timeout=ordering.redis_timeout_seconds,
        # Without a warm-up nobody will ever note what is missing. So a cold store is used when
        # nothing that was sent before can be applied any more.
        warm_after=None if ordering.warm_up else ordering.settle_seconds,
        metrics=metrics,
    )


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found out about a store: what keeps it from working, and what is to be improved."""

    trouble: str
    concerns: tuple[str, ...]


async def examine(ordering: OrderingSettings) -> Examined:
    """Look at the store, as it is configured and as it is found.

    Takes at most `ordering.redis_timeout_seconds`, and changes nothing in Redis.

    Raises:
        StoreMisconfigured: the store needs what is not installed.
    """
    concerns = settings_concerns(ordering)
    trouble = ""
    if ordering.store == "redis":
        with _package():
            from ldsync.versions.connection import RedisConnection  # noqa: PLC0415 - an extra
        redis = RedisConnection(
            ordering.redis_url.get_secret_value(), ordering.redis_timeout_seconds
        )
        try:
            concerns += server_concerns(await redis.info())
        except StoreUnavailable as error:
            trouble = str(error)
        finally:
            await redis.close()
    return Examined(trouble, tuple(concerns))


@contextmanager
def _package() -> Iterator[None]:
    """Say what to install if the package that is imported inside is not there."""
    try:
        yield
    except ImportError as error:
        raise StoreMisconfigured(
            f'ordering.store is "redis", and the Python package redis cannot be imported ({error}):'
            " install it with pip install 'ldsync[redis]' (the container image has it), or set "
            'ordering.store to "memory" if that keeps the order (docs/ordering.md)'
        ) from error
