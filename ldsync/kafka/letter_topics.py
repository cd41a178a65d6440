"""Dead-letter topics: which there are, whether they exist, and how those are made that do not."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Any, Final

from aiokafka.conn import collect_hosts
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidReplicationFactorError,
    KafkaError,
    NoError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.admin import CreateTopicsRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.produce import ProduceRequest

from ldsync.kafka.errors import SourceMisconfigured, SourceUnavailable
from ldsync.kafka.reach import TROUBLE, connection, diagnosis, patiently, together
from ldsync.kafka.topics import DEAD_LETTERS, whole_names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from structlog.typing import FilteringBoundLogger

    from ldsync.config import DeadLettersSettings, KafkaSettings
    from ldsync.kafka.errors import SourceError

_CREATE_MS: Final = 5000
_LEADER_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 0.1
_BROKERS_DEFAULT: Final = -1
_ALL_REPLICAS: Final = -1
_NOTHING: Final = struct.pack(">qiibIhiqqqhii", 0, 49, -1, 2, 0, 0, -1, -1, -1, -1, -1, -1, 0)
"""The head of a batch (format 2) that nothing follows, with 0 for its checksum."""

_NOWHERE: Final = 2**62
"""An offset that no partition has."""

_DENIED: Final = (TopicAuthorizationFailedError, ClusterAuthorizationFailedError)


class LetterTopics:
    """The topics that dead letters go to.

    Args:
        settings: Their name, and whether and how they may be made.
        kafka: Where they are, and the topics that are read.
        options: From `client_options`.
        log: `dead_letters.topic_created`.
    """

    def __init__(
        self,
        settings: DeadLettersSettings,
        kafka: KafkaSettings,
        options: dict[str, Any],
        log: FilteringBoundLogger,
    ) -> None:
        self._settings = settings
        self._kafka = kafka
        self._options = options
        self._log = log
        self._known: set[str] = set()

    async def start(self) -> None:
        """Make sure of the topics of all that is read now; those of a pattern may become more.

        Raises:
            SourceUnavailable: one is not there within `kafka.start_timeout_seconds`.
            SourceMisconfigured: an operator must correct something.
        """
        await patiently(self._kafka, self._attempt)

    async def missing(self) -> set[str]:
        """Those that `start` would have to make; nothing is made.

        Raises:
            SourceUnavailable: brokers do not answer.
            SourceMisconfigured: Kafka refuses to tell.
        """
        return await self._missing(await self._wanted())

    async def denied(self) -> set[str]:
        """Those that exist and may not be written, found out without writing anything.

        A broker looks at the right to write before it looks at what is to be written. So it refuses
        the right, or else a batch without records whose checksum is wrong as well.

        Raises:
            SourceUnavailable: brokers do not answer.
            SourceMisconfigured: Kafka refuses to tell.
        """
        wanted = await self._wanted()
        nothing = [(name, [(0, _NOTHING)]) for name in sorted(wanted - await self._missing(wanted))]
        if not nothing:
            return set()
        answer = await self._ask(ProduceRequest(None, _ALL_REPLICAS, _CREATE_MS, nothing))
        return {
            name
            for name, partitions in answer.topics
            if for_code(partitions[0][1]) is TopicAuthorizationFailedError
        }

    async def unreadable(self) -> set[str]:
        """Those that exist and may not be read, which replays need.

        Asked for what no topic holds, so that nothing is read: a broker looks at the right first.

        Raises:
            SourceUnavailable: brokers do not answer.
            SourceMisconfigured: Kafka refuses to tell.
        """
        wanted = await self._wanted()
        there = sorted(wanted - await self._missing(wanted))
        nowhere = [(name, [(0, _NOWHERE, 1)]) for name in there]
        if not nowhere:
            return set()
        answer = await self._ask(FetchRequest(1, 0, 1, 0, nowhere))
        return {
            name
            for name, partitions in answer.topics
            if for_code(partitions[0][1]) is TopicAuthorizationFailedError
        }

    async def _attempt(self) -> None:
        await self.ensure(await self._wanted())

    async def _wanted(self) -> set[str]:
        sources: Iterable[str] = self._kafka.topics
        if self._kafka.topic_pattern and not self._settings.topic:
            pattern = whole_names(self._kafka.topic_pattern)
            sources = filter(pattern.match, await self._all_topics())
        wanted = {topic_for(self._settings, source) for source in sources}
        return wanted | ({self._settings.topic} - {""})

    async def _all_topics(self) -> list[str]:
        answer = await self._ask(MetadataRequest(None, allow_auto_topic_creation=False))
        return [name for _code, name, *_ in answer.topics]

    def forget(self) -> None:
        """Ask again before the next letter: writing failed, and perhaps a topic was deleted."""
        self._known.clear()

    async def ensure(self, topics: set[str]) -> None:
        """Make sure that topics exist; make those that do not, if that is allowed.

        Raises:
            SourceUnavailable: brokers do not answer, or a topic is missing and must not be made.
            SourceMisconfigured: Kafka refuses; waiting does not help.
        """
        unsure = topics - self._known
        if not unsure:
            return
        missing = await self._missing(unsure)
        if missing:
            await self._create(missing)
            await self._until_led(missing)
        self._known |= unsure

    async def _missing(self, topics: set[str]) -> set[str]:
        answer = await self._ask(MetadataRequest(sorted(topics), allow_auto_topic_creation=False))
        found = {name: for_code(code) for code, name, *_ in answer.topics}
        missing = set()
        for name in topics:
            error = found.get(name, UnknownTopicOrPartitionError)
            if error is UnknownTopicOrPartitionError:
                missing.add(name)
            elif error is TopicAuthorizationFailedError:
                raise SourceMisconfigured(
                    f"Kafka does not allow this user to describe the dead-letter topic {name}: "
                    "grant Describe, Write and Read on it, and Create if ldsync is to make it, or "
                    "set dead_letters.enabled = false"
                )
            elif error is not NoError:
                raise SourceUnavailable(
                    f"The dead-letter topic {name} is not ready ({error.__name__})"
                )
        return missing

    async def _create(self, topics: set[str]) -> None:
        names = ", ".join(sorted(topics))
        if not self._settings.create_topic:
            raise SourceUnavailable(
                f"There is no dead-letter topic {names}, and ldsync is not to make it "
                "(dead_letters.create_topic): create it, or set dead_letters.enabled = false"
            )
        wanted: tuple[object, ...] = (
            self._settings.partitions or _BROKERS_DEFAULT,
            self._settings.replication_factor or _BROKERS_DEFAULT,
            [],
            [("cleanup.policy", "delete")],
        )
        request = CreateTopicsRequest(
            [(name, *wanted) for name in sorted(topics)], _CREATE_MS, validate_only=False
        )
        answer = await self._ask(request, controller=True)
        for name, code, *more in answer.topic_errors:
            error = for_code(code)
            if error is NoError:
                self._log.info("dead_letters.topic_created", topic=name)
            elif error is not TopicAlreadyExistsError:
                raise _refused(name, error, more[0] if more else None)

    async def _until_led(self, topics: set[str]) -> None:
        """A topic that was just made is not known to all brokers yet."""
        try:
            async with asyncio.timeout(_LEADER_SECONDS):
                while True:
                    try:
                        if not await self._missing(topics):
                            return
                    except SourceUnavailable:
                        pass
                    await asyncio.sleep(_PAUSE_SECONDS)
        except TimeoutError:
            raise SourceUnavailable(
                f"The dead-letter topic {', '.join(sorted(topics))} was made but is not ready"
            ) from None

    async def _ask(self, request: Any, *, controller: bool = False) -> Any:
        """Ask the first broker that answers, or the controller that it names."""
        troubles: list[SourceError] = []
        for host, port, _family in collect_hosts(self._kafka.bootstrap_servers):
            try:
                async with connection(host, port, self._kafka, self._options) as first:
                    if not controller:
                        return await first.send(request)
                    brokers = await first.send(MetadataRequest([]))
                    places = {node: (host, port) for node, host, port, *_ in brokers.brokers}
                    place = places.get(brokers.controller_id, (host, port))
                async with connection(*place, self._kafka, self._options) as second:
                    return await second.send(request)
            except TROUBLE as error:
                troubles.append(diagnosis(f"{host}:{port}", error, self._kafka))
        raise together(troubles)


def topic_for(settings: DeadLettersSettings, source: str) -> str:
    """Name the topic that dead letters of a topic go to."""
    return settings.topic or f"{source}{DEAD_LETTERS}"


def _refused(name: str, error: type[KafkaError], said: str | None) -> SourceError:
    if error in _DENIED:
        return SourceMisconfigured(
            f"There is no dead-letter topic {name}, and Kafka does not allow this user to make it: "
            "create it, or grant Create on it, or set dead_letters.enabled = false"
        )
    words = f"The dead-letter topic {name} cannot be made: {said or error.__name__}"
    if error.retriable:
        return SourceUnavailable(words)
    words += ". See dead_letters.partitions and dead_letters.replication_factor, or create it"
    # Brokers say that as well while one of them is away, and then it passes.
    if error is InvalidReplicationFactorError:
        return SourceUnavailable(words)
    return SourceMisconfigured(words)
