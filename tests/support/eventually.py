"""Waiting for something that another process does, by asking again and again within a limit."""

import asyncio
import inspect
from collections.abc import Callable


async def eventually(
    ask: Callable[[], object], what: str, limit: float = 30.0, pause: float = 0.05
) -> None:
    """Ask every `pause` seconds until the answer is true.

    Args:
        ask: A plain function, or a coroutine function.
        what: What is waited for, for the message of the failure.
        limit: Seconds.
        pause: Seconds between two questions.

    Raises:
        AssertionError: No true answer within the limit; the message has the last one.
    """
    answer: object = None
    try:
        async with asyncio.timeout(limit):
            while True:
                answer = ask()
                if inspect.isawaitable(answer):
                    answer = await answer
                if answer:
                    return
                await asyncio.sleep(pause)
    except TimeoutError:
        raise AssertionError(f"not within {limit} s: {what} (last answer: {answer!r})") from None
