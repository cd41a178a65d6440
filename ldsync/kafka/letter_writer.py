"""Writing letters: an idempotent producer that is replaced whenever a write goes wrong.

What aiokafka's producer does, and what is done about it here:

* Waiting for it may never end: a batch is sent again for ever, `start` and `stop` wait with it.
  Everything here has a time limit.
* A batch that a broker refuses leaves a hole in the numbers by which it recognises repeats, and
  everything after it is refused too. A producer that failed once is therefore given up.
* A batch of which no answer came may have been written; sent again by the next producer it is there
  twice. Dead letters are delivered at least once; their headers say where each is from.
* A topic's limit is for batches: a batch that is too large is divided, a letter that is too large
  alone becomes a pointer.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)
from aiokafka.partitioner import DefaultPartitioner

from ldsync.kafka.errors import SourceError
from ldsync.kafka.letter import encode
from ldsync.sync.ledger import Partition

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ldsync.config import DeadLettersSettings, KafkaSettings
    from ldsync.kafka.letter import Letter
    from ldsync.kafka.letter_topics import LetterTopics

BATCH_BYTES: Final = 262_144
"""Letters that are sent together, in bytes before compression."""

_TURN_LETTERS: Final = 500
_METADATA_SECONDS: Final = 60.0
_CLOSE_SECONDS: Final = 2.0
_CANCELS: Final = 10
_CANCEL_SECONDS: Final = 0.2
_TOO_LARGE: Final = (MessageSizeTooLargeError, RecordListTooLargeError)
_TROUBLE: Final = (KafkaError, SourceError, TimeoutError, OSError, AssertionError, ValueError)

_partition_of = DefaultPartitioner()


@dataclass(frozen=True, slots=True)
class Written:
    """What became of some letters: those that the broker acknowledged, and why not all were.

    `places` says where each of these stands now, with a negative offset if that is not known.
    `at_once` says that the others can be written without waiting, in another form.
    """

    letters: list[Letter]
    places: list[tuple[Partition, int]]
    error: str = ""
    at_once: bool = False


@dataclass(slots=True)
class _Sent:
    """A batch that was handed to the producer."""

    letters: list[Letter]
    size: int
    place: Partition
    answer: asyncio.Future[Any]

    @property
    def places(self) -> Iterable[tuple[Partition, int]]:
        """Where each of its letters stands, of a batch that was acknowledged."""
        base: int = self.answer.result().offset
        if base < 0:  # the broker had it already, and does not say where
            return ((self.place, -1) for _ in self.letters)
        return ((self.place, base + number) for number in range(len(self.letters)))

    @property
    def acknowledged(self) -> bool:
        """Whether the broker has it."""
        answer = self.answer
        return answer.done() and not answer.cancelled() and answer.exception() is None

    @property
    def error(self) -> BaseException | None:
        """What the broker said against it; None without an answer."""
        answer = self.answer
        return answer.exception() if answer.done() and not answer.cancelled() else None


class LetterWriter:
    """Writes letters to their topics.

    Args:
        settings: Time limit and size of a letter.
        kafka: Where the brokers are.
        options: From `client_options`.
        topics: Makes sure that topics exist.
    """

    def __init__(
        self,
        settings: DeadLettersSettings,
        kafka: KafkaSettings,
        options: dict[str, Any],
        topics: LetterTopics,
    ) -> None:
        self._settings = settings
        self._kafka = kafka
        self._options = options
        self._topics = topics
        self._producer: AIOKafkaProducer | None = None
        self._longest: dict[str, int] = {}
        self._largest: dict[str, int] = {}

    async def open(self) -> None:
        """Have a producer ready.

        Raises:
            KafkaError, TimeoutError: brokers do not answer in `dead_letters.timeout_seconds`, or
                refuse.
        """
        async with asyncio.timeout(self._settings.timeout_seconds):
            await self._ready()

    async def _ready(self) -> AIOKafkaProducer:
        if self._producer is None:
            milliseconds = int(self._settings.timeout_seconds * 1000)
            self._producer = AIOKafkaProducer(
                bootstrap_servers=self._kafka.bootstrap_servers,
                client_id=self._kafka.client_id,
                acks="all",
                enable_idempotence=True,
                compression_type="lz4",
                max_batch_size=BATCH_BYTES,
                request_timeout_ms=milliseconds,
                metadata_max_age_ms=int(_METADATA_SECONDS * 1000),
                **self._options,
            )
            await self._producer.start()
        return self._producer

    async def write(self, letters: Sequence[Letter]) -> Written:
        """Write letters, in about `dead_letters.timeout_seconds`; never raises for the brokers."""
        sent: list[_Sent] = []
        trouble: BaseException | None = None
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                await self._topics.ensure({letter.to for letter in letters})
                producer = await self._ready()
                await self._hand_over(producer, letters, sent)
                if sent:
                    await asyncio.wait([batch.answer for batch in sent])
        except _TROUBLE as error:
            trouble = error
        done = [batch for batch in sent if batch.acknowledged]
        written = [letter for batch in done for letter in batch.letters]
        places = [place for batch in done for place in batch.places]
        if trouble is None and len(written) == len(letters):
            return Written(written, places)
        refused = [batch for batch in sent if isinstance(batch.error, _TOO_LARGE)]
        smaller = [batch for batch in refused if self._make_smaller(batch)]
        trouble = next((batch.error for batch in sent if batch.error is not None), trouble)
        self._topics.forget()
        await self.close()
        return Written(written, places, _words(trouble, letters), at_once=bool(smaller))

    async def _hand_over(
        self, producer: AIOKafkaProducer, letters: Sequence[Letter], sent: list[_Sent]
    ) -> None:
        """Divide letters into batches and hand these to the producer, with a turn in between.

        `sent` has those that were handed over, also when this is cut short.
        """
        numbers: dict[str, list[int]] = {}
        spare: dict[str, int] = {}
        for topic in {letter.to for letter in letters}:
            numbers[topic] = sorted(await producer.partitions_for(topic))
            # Letters without a key stay together, in a partition that differs from time to time.
            spare[topic] = random.choice(numbers[topic])
        places: dict[tuple[str, int], list[Letter]] = {}
        for count, letter in enumerate(letters):
            number = spare[letter.to] if letter.number is None else letter.number
            if letter.key is not None:
                every = numbers[letter.to]
                number = _partition_of(letter.key, every, every)
            places.setdefault((letter.to, number), []).append(letter)
            if count % _TURN_LETTERS == 0:
                await asyncio.sleep(0)
        for (topic, number), found in places.items():
            done = 0
            while done < len(found):
                builder, taken = self._fill(producer, topic, islice(found, done, None))
                size = builder.size()
                letters_of_batch = found[done : done + taken]
                answer = await producer.send_batch(builder, topic, partition=number)
                answer.add_done_callback(_seen)
                sent.append(_Sent(letters_of_batch, size, Partition(topic, number), answer))
                done += taken
                await asyncio.sleep(0)

    def _fill(
        self, producer: AIOKafkaProducer, topic: str, letters: Iterable[Letter]
    ) -> tuple[Any, int]:
        """Make a batch of as many letters as fit: one at least, however large it is."""
        builder = producer.create_batch()
        largest, longest = self._limit(topic), self._longest_in(topic)
        taken = 0
        for letter in letters:
            if taken and builder.size() + letter.size > largest:
                break
            key, value, headers = encode(letter, longest, self._kafka.group_id)
            if builder.append(timestamp=None, key=key, value=value, headers=headers) is None:
                break
            taken += 1
        return builder, taken

    def _make_smaller(self, batch: _Sent) -> bool:
        """Remember what a topic does not take; say whether less than that can be sent."""
        first, *others = batch.letters
        if others:
            self._largest[first.to] = min(batch.size, self._limit(first.to)) // 2
            return True
        was_whole = first.origin is not None and first.size <= self._longest_in(first.to)
        self._longest[first.to] = min(first.size - 1, self._longest_in(first.to))
        return was_whole

    def _limit(self, topic: str) -> int:
        return self._largest.get(topic, BATCH_BYTES)

    def _longest_in(self, topic: str) -> int:
        return self._longest.get(topic, self._settings.max_letter_bytes)

    async def close(self) -> None:
        """Give the producer up; what it has not sent is not sent."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _abandon(producer)


async def _abandon(producer: AIOKafkaProducer) -> None:
    """Close a producer at once: its own `stop` waits until everything is sent, for ever."""
    producer._closed = True  # noqa: SLF001 - nothing public ends it in time
    client, sender = producer.client, producer._sender.sender_task  # noqa: SLF001
    if sender is not None:
        # It is there for transactions, and fails without one.
        sender.remove_done_callback(producer._sender._fail_all)  # noqa: SLF001
        # The first one has it wait for its requests, the next one end them.
        for _ in range(_CANCELS):
            sender.cancel()
            if (await asyncio.wait({sender}, timeout=_CANCEL_SECONDS))[0]:
                break
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await client.close()
    except (TimeoutError, KafkaError, OSError):
        pass
    # What is left of its requests waits for news of the cluster that do not come any more.
    if client._md_update_fut is not None and not client._md_update_fut.done():  # noqa: SLF001
        client._md_update_fut.set_result(False)  # noqa: SLF001
    if sender is not None and sender.done() and not sender.cancelled():
        sender.exception()


def _seen(answer: asyncio.Future[Any]) -> None:
    """Look at what came of a batch that nobody waits for any more, or asyncio would complain."""
    if not answer.cancelled():
        answer.exception()


def _words(error: BaseException | None, letters: Iterable[Letter]) -> str:
    """Say what went wrong, to an operator."""
    topics = ", ".join(sorted({letter.to for letter in letters}))
    match error:
        case TopicAuthorizationFailedError():
            return (
                f"Kafka does not let this user write to {topics}: grant Write and Describe on the "
                "topic"
            )
        case ClusterAuthorizationFailedError():
            return denied(topics)
        case None | TimeoutError():
            return f"{topics}: no acknowledgement in dead_letters.timeout_seconds"
        case SourceError():
            return str(error)
        case _:
            return f"{topics}: {error!r}"


def denied(topics: str) -> str:
    """Say what a user needs that may not write idempotently."""
    return (
        f"Kafka does not let this user write dead letters idempotently: grant Write on {topics} "
        "(and IdempotentWrite on the cluster, where brokers are older than Kafka 3.0)"
    )
