"""What a look at Kafka shows, without joining the group: nobody's partitions move for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
)

from ldsync.kafka.errors import SourceMisconfigured, SourceUnavailable
from ldsync.kafka.letter_topics import LetterTopics
from ldsync.kafka.opening import open_consumer
from ldsync.kafka.security import client_options
from ldsync.kafka.topics import whole_names
from ldsync.sync.ledger import Partition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ldsync.config import DeadLettersSettings, KafkaSettings
    from ldsync.kafka.consumer import Consumer

ANSWER_SECONDS: Final = 10.0
"""For all questions after the first."""


@dataclass(frozen=True, slots=True)
class View:
    """What was seen.

    Attributes:
        topics: Number of partitions by topic.
        committed: The group's offsets; partitions without are missing.
        begins: The offset of the oldest record of each partition.
        ends: The offset behind the newest one.
    """

    topics: Mapping[str, int]
    committed: Mapping[Partition, int]
    begins: Mapping[Partition, int]
    ends: Mapping[Partition, int]

    @property
    def behind(self) -> int:
        """Records that the group has not read, where it has read any."""
        places = self.committed.items()
        return sum(max(0, self.ends.get(place, at) - at) for place, at in places)

    @property
    def lost(self) -> list[Partition]:
        """Partitions whose committed offset retention has overtaken."""
        places = self.committed.items()
        return sorted(place for place, at in places if at < self.begins.get(place, at))


async def look(settings: KafkaSettings) -> View:
    """Look at the topics, and at what the group has committed.

    Raises:
        SourceUnavailable: brokers or topics did not answer in time.
        SourceMisconfigured: credentials, permissions or settings cannot work.
    """
    consumer = await open_consumer(settings)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await _look(consumer, settings)
    except TimeoutError:
        raise SourceUnavailable(
            f"Kafka answers, but not where group {settings.group_id} stands, within "
            f"{ANSWER_SECONDS:g} s"
        ) from None
    except GroupAuthorizationFailedError:
        raise SourceMisconfigured(
            f"Kafka does not allow this user to use group {settings.group_id} (kafka.group_id): "
            "grant Read on it"
        ) from None
    except TopicAuthorizationFailedError:
        raise SourceMisconfigured(
            "Kafka does not allow this user to read the topics: grant Describe and Read on them"
        ) from None
    except KafkaError as error:
        raise SourceUnavailable(f"Kafka answered with an error: {error}") from None
    finally:
        await consumer.close()


@dataclass(frozen=True, slots=True)
class LettersView:
    """Which dead-letter topics do not exist, may not be written, and may not be read."""

    missing: set[str]
    denied: set[str]
    unreadable: set[str]


async def look_at_letter_topics(letters: DeadLettersSettings, kafka: KafkaSettings) -> LettersView:
    """Look at the dead-letter topics.

    None is made, and nothing is written.

    Raises:
        SourceUnavailable: brokers did not answer.
        SourceMisconfigured: credentials, permissions or settings cannot work.
    """
    options = await asyncio.to_thread(client_options, kafka)
    topics = LetterTopics(letters, kafka, options, structlog.get_logger())
    return LettersView(await topics.missing(), await topics.denied(), await topics.unreadable())


async def _look(consumer: Consumer, settings: KafkaSettings) -> View:
    sizes = await consumer.topic_sizes()
    if settings.topic_pattern:
        pattern = whole_names(settings.topic_pattern)
        topics = {name: size for name, size in sizes.items() if pattern.match(name)}
    else:
        topics = {name: sizes.get(name, 0) for name in settings.topics}
    places = [Partition(name, number) for name, size in topics.items() for number in range(size)]
    committed = await consumer.committed_offsets(places)
    return View(
        topics,
        {place: found.offset for place, found in committed.items() if found.offset >= 0},
        await consumer.first_offsets(places),
        await consumer.next_offsets(places),
    )
