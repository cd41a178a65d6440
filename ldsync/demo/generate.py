"""Writes generated Engage events to a topic without end: a source to try ldsync with."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import TYPE_CHECKING

from ldsync.demo.feed import Feed
from ldsync.demo.generator import MIN_EVENTS, Message, script

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["generate"]

_SPREAD_SECONDS = 60.0
_ROUND = 5000


async def generate(
    bootstrap_servers: str,
    topic: str,
    rate: float,
    seed: int = 1,
    events: int | None = None,
    on_progress: Callable[[int], object] | None = None,
) -> None:
    """Write events of every documented shape to an existing topic, until cancelled.

    Events come in rounds, each a script of its own (see `ldsync.demo.generator`) whose events
    happened in the minute before it began.

    Args:
        bootstrap_servers: `host:port`, several with commas between.
        topic: must exist; a minute is allowed for it to appear.
        rate: events a second.
        seed: the same seed gives the same events, apart from their times.
        events: stop after so many; None goes on for ever.
        on_progress: called with the number written so far, some ten times a second.

    Raises:
        KafkaNotReady: no broker or no such topic within a minute.
        KafkaError: the broker refused a record.
    """
    feed = Feed(bootstrap_servers, topic)
    partitions = await feed.start()
    written = 0
    try:
        for number in itertools.count():
            left = _ROUND if events is None else events - written
            if left <= 0:
                return
            messages = _round(seed + number, partitions)[:left]
            async for sent in feed.send(messages, rate):
                written += len(sent)
                if on_progress is not None:
                    on_progress(written)
    finally:
        await feed.stop()


def _round(seed: int, partitions: int) -> tuple[Message, ...]:
    plan = script(
        max(MIN_EVENTS, _ROUND),
        seed,
        partitions=partitions,
        start=dt.datetime.now(dt.UTC),
        spread_seconds=_SPREAD_SECONDS,
    )
    return plan.opening + plan.tail
