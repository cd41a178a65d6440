"""Tasks that are told to end, and do."""

import asyncio
import contextlib

import pytest

from ldsync.cancelling import AGAIN_SECONDS, cancel

NEVER = 600.0


async def deaf(times: int) -> None:
    """Lose so many cancellations."""
    for _ in range(times):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(NEVER)
    await asyncio.sleep(NEVER)


async def careful(closed: list[str]) -> None:
    """Take some turns to close what was opened."""
    try:
        await asyncio.sleep(NEVER)
    finally:
        for _ in range(10):
            await asyncio.sleep(0)
        closed.append("closed")


async def failing() -> None:
    """Fail instead of ending."""
    try:
        await asyncio.sleep(NEVER)
    except asyncio.CancelledError:
        raise ValueError("no") from None


@pytest.mark.parametrize("times", [0, 1, 3])
async def test_a_task_that_loses_cancellations_ends_nevertheless(times: int) -> None:
    """It is told again."""
    tasks = [asyncio.create_task(deaf(times)), asyncio.create_task(deaf(0))]
    await asyncio.sleep(0)
    await cancel(tasks, again_after=0.001)
    assert [task.cancelled() for task in tasks] == [True, True]


async def test_a_task_may_close_what_it_has_opened() -> None:
    """It is not told twice before it has had the time for that."""
    closed: list[str] = []
    task = asyncio.create_task(careful(closed))
    await asyncio.sleep(0)
    await cancel([task])
    assert closed == ["closed"]
    assert task.cancelling() == 1
    assert AGAIN_SECONDS > 9.0  # opening, leaving and closing a client of Kafka


async def test_what_a_task_raises_is_left_to_those_who_wait_for_it() -> None:
    """Others end all the same."""
    tasks = [asyncio.create_task(failing()), asyncio.create_task(deaf(0))]
    await asyncio.sleep(0)
    await cancel(tasks)
    assert isinstance(tasks[0].exception(), ValueError)
    assert tasks[1].cancelled()


async def test_nothing_to_cancel_is_over_at_once() -> None:
    """As when the last write has just landed."""
    await cancel([])
