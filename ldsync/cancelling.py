"""Cancelling: tasks are told to end until they have."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

AGAIN_SECONDS: Final = 10.0
"""More than any task needs to close what it has opened."""


async def cancel(tasks: Iterable[asyncio.Task[Any]], again_after: float = AGAIN_SECONDS) -> None:
    """Cancel tasks, and wait until all have ended; what they raise is for others to look at.

    A library can lose a cancellation that comes while it waits for tasks of its own, and the task
    goes on as if nobody had said anything. Such a one is told again, every `again_after` seconds.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=again_after)
