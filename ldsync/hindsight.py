"""Hindsight: what came after changes that are older than what is remembered (R9).

Such a change may be applied only if it is known what was newer. The topics say it, as long as they
hold everything since the change's own time.
"""

from __future__ import annotations

import time
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ldsync.engage.history import newest
from ldsync.sync.change import supersedes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiokafka import ConsumerRecord

    from ldsync.engage.decoder import Decoder
    from ldsync.kafka.dead_letters import DeadLetters
    from ldsync.telemetry.journal import Journal

CLOCK_SECONDS: Final = 60.0
"""How far the time of an event may lie after its record: see docs/design.md."""


@dataclass(frozen=True, slots=True)
class Hindsight:
    """The newest stamps by segment key and member, of all that came up to `at`.

    `at` is in monotonic seconds.
    """

    at: float
    stamps: Mapping[str, Mapping[str, str]]


async def look_back(
    wanted: Mapping[str, set[str]],
    since: float,
    topics: Iterable[str],
    dead_letters: DeadLetters,
    decoder: Decoder,
    journal: Journal,
) -> Hindsight | None:
    """Read topics again for the newest changes of some members, by segment key.

    From the time of an event on, `since` (epoch seconds). None if the topics do not hold all that
    came after that, or if it is too much.

    Raises:
        KafkaError, TimeoutError, OSError, SourceError: as `ldsync.kafka.later`.
    """
    at = time.monotonic()
    bounds = await dead_letters.later.bounds(set(topics), int((since - CLOCK_SECONDS) * 1000))
    if bounds is None:
        journal.looked_back(0, since, whole=False)
        return None
    stamps: dict[str, dict[str, str]] = {key: {} for key in wanted}
    count = 0
    async with aclosing(dead_letters.later.read(bounds, dead_letters.options)) as chunks:
        async for chunk in chunks:
            count += len(chunk)
            _take(decoder, chunk, wanted, stamps)
    journal.looked_back(count, since, whole=True)
    return Hindsight(at, stamps)


def _take(
    decoder: Decoder,
    records: list[ConsumerRecord],
    wanted: Mapping[str, set[str]],
    stamps: dict[str, dict[str, str]],
) -> None:
    for segment, changes in newest(decoder, records).items():
        known = stamps.get(segment.key, {})
        for member in changes.keys() & wanted.get(segment.key, set()):
            if member not in known or supersedes(changes[member], known[member]):
                known[member] = changes[member]
