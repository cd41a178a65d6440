"""Dead letters: records that cannot be applied are kept in a topic of their own.

A record that is posted here holds its chunk until the broker has acknowledged its letter, so the
committed offset never passes one that is not safe (P1). While the topic cannot be written, letters
wait and are tried again; nothing is dropped, and when more than `dead_letters.max_pending_bytes`
wait, consumption pauses (P3). A revocation lets go of what waits: its new owner reads it (P6).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiokafka.errors import ClusterAuthorizationFailedError, KafkaError

from ldsync.engage.verdict import BAD_JSON
from ldsync.kafka.errors import SourceMisconfigured, SourceUnavailable
from ldsync.kafka.guard import HELD_SECONDS, Guard
from ldsync.kafka.later import Later
from ldsync.kafka.letter import letter_of
from ldsync.kafka.letter_topics import LetterTopics, topic_for
from ldsync.kafka.letter_writer import LetterWriter, denied
from ldsync.kafka.outbox import Outbox
from ldsync.kafka.parked import ParkedLetters
from ldsync.kafka.reach import reach
from ldsync.kafka.recall import Recall
from ldsync.kafka.rereading import Rejections
from ldsync.kafka.security import client_options
from ldsync.sync.backoff import Backoff
from ldsync.sync.outcomes import RecordOutcome
from ldsync.telemetry.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from aiokafka import ConsumerRecord
    from structlog.typing import FilteringBoundLogger

    from ldsync.config import DeadLettersSettings, KafkaSettings
    from ldsync.engage.decoder import Several
    from ldsync.engage.verdict import Verdict
    from ldsync.kafka.letter import Letter
    from ldsync.kafka.rereading import Reads
    from ldsync.sync.batch import Batch
    from ldsync.sync.ledger import Chunk
    from ldsync.telemetry.metrics import Metrics

_RESUME_RATIO: Final = 0.5
_QUIET_SECONDS: Final = 60.0
_BACKOFF: Final = Backoff(0.5, 30.0, 0.5)


class DeadLetters:
    """Takes in what is to be kept, writes it, and settles it.

    All methods but the coroutines return at once. With `dead_letters.enabled = false` nothing is
    taken in.

    Args:
        settings: The section `[dead_letters]`.
        kafka: The section `[kafka]`: brokers, security, and the topics that are read.
        new_decoder: Makes what reads records again: with nothing counted and nothing kept.
        metrics: `dead_letters`, `dead_letter_failures`; `pending` is for a gauge.
        log: A structlog logger.

    Attributes:
        parked: Where those are that were parked.
        recall: Finds those that were parked before.
        later: Reads again what came after them.
        options: For clients of the same brokers; empty before the start.
        written: Letters that it has acknowledged, in this process's life.
        problem: Why they cannot be written, in words; empty while they can.
    """

    def __init__(
        self,
        settings: DeadLettersSettings,
        kafka: KafkaSettings,
        new_decoder: Callable[[], Reads],
        metrics: Metrics,
        log: FilteringBoundLogger,
    ) -> None:
        self._settings = settings
        self._kafka = kafka
        self._metrics = metrics
        self._log = log
        self._guard = Guard(settings.max_invalid_ratio, settings.min_records)
        self._throttle = Throttle(_QUIET_SECONDS)
        self._writer: LetterWriter | None = None
        self._outbox = Outbox(self._may_go, HELD_SECONDS)
        self._rejections = Rejections(
            settings, kafka, new_decoder, post=self.post, room=self._room, log=log
        )
        self.parked = ParkedLetters(kafka, settings.timeout_seconds)
        self.recall = Recall(settings, kafka)
        self.later = Later(kafka, settings.timeout_seconds)
        self.options: dict[str, Any] = {}
        self._over = False
        self.written = 0
        self.problem = ""

    # --- in -----------------------------------------------------------------------------------

    def take(
        self,
        refused: Iterable[tuple[Verdict, ConsumerRecord]],
        several: Iterable[tuple[Several, ConsumerRecord, int]],
        chunk: Chunk,
        consumed: int,
    ) -> None:
        """Take in those of the records of a chunk that are invalid, also in part, and hold it.

        `refused` and `several` are from `Decoder.read_all`.

        Raises:
            SourceFailed: too many of the `consumed` records of the topic are.
        """
        if not self._settings.enabled:
            return
        found = [*refused, *((parts.worst, record) for parts, record, _ in several)]
        invalid = [
            (verdict, record)
            for verdict, record in found
            if verdict is not None and verdict.outcome is RecordOutcome.INVALID
        ]
        source = chunk.account.partition.topic
        self._guard.note(source, consumed, len(invalid))
        to = topic_for(self._settings, source)
        for verdict, record in invalid:
            detail = _parse_error(record.value) if verdict is BAD_JSON else ""
            chunk.hold()
            self.post(letter_of(record, to, verdict.reason, chunk, detail=detail))
        if self._guard.trusts(source):
            self._outbox.look_again()

    def post(self, letter: Letter) -> None:
        """Take in a letter; its receipt is released once the broker has acknowledged it."""
        self._outbox.add(letter)

    def reject(
        self, batch: Batch, reason: str, members: Mapping[str, str], settled: Callable[[], None]
    ) -> None:
        """Take in members of a batch that were refused, or are parked, each with words.

        Their records are read again. `settled` is called when all their letters were acknowledged.
        """
        if self._settings.enabled:
            self._rejections.add(batch, reason, members, settled)
        else:
            settled()

    @property
    def replays(self) -> bool:
        """Whether what was parked is to be applied again when its segment can be written."""
        return self._settings.replay_on_recovery

    @property
    def recalls(self) -> bool:
        """Whether what was parked before an assignment is to be found again."""
        return self._settings.enabled and self._settings.recall_max_letters > 0

    @property
    def enabled(self) -> bool:
        """Whether anything is taken in."""
        return self._settings.enabled

    @property
    def pending(self) -> int:
        """Records and changes whose letters the broker has not acknowledged yet."""
        return self._outbox.letters + self._rejections.waiting

    @property
    def pending_bytes(self) -> int:
        """About how much memory they take."""
        return self._outbox.bytes + self._rejections.waiting_bytes

    def over_budget(self) -> bool:
        """Say whether consumption should pause (P3), with hysteresis."""
        share = _RESUME_RATIO if self._over else 1.0
        self._over = self.pending_bytes >= self._settings.max_pending_bytes * share
        return self._over

    @property
    def crowded(self) -> bool:
        """Whether what can wait should: half of what may wait to be written does."""
        return self.pending_bytes >= self._settings.max_pending_bytes * _RESUME_RATIO

    @property
    def empty(self) -> bool:
        """Whether every letter was acknowledged."""
        return self.pending == 0

    async def flush(self) -> None:
        """Wait until every letter was acknowledged; for ever, if the topic cannot be written."""
        await self._outbox.until(lambda: self.empty, hurry=True)

    async def _room(self) -> None:
        """Wait until not too many letters wait to be written."""
        await self._outbox.until(lambda: self._outbox.bytes < self._settings.max_pending_bytes)

    def discard(self) -> None:
        """End the epoch: forget what waits, without settling it (P6).

        What is being written may still arrive; it settles nothing that counts any longer.
        """
        self._rejections.discard()
        self.parked.discard()
        self._outbox.discard()

    # --- out ----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Make sure that letters can be written: reach the brokers, check or make the topics.

        Raises:
            SourceUnavailable: not within `kafka.start_timeout_seconds`.
            SourceMisconfigured: an operator must correct something.
        """
        if not self._settings.enabled:
            return
        options = self.options = await asyncio.to_thread(client_options, self._kafka)
        await reach(self._kafka, options)
        topics = LetterTopics(self._settings, self._kafka, options, self._log)
        await topics.start()
        if refused := await topics.denied():  # a producer starts if it may write anywhere
            raise SourceMisconfigured(denied(", ".join(sorted(refused))))
        self._writer = LetterWriter(self._settings, self._kafka, options, topics)
        try:
            await self._writer.open()
        except (KafkaError, TimeoutError) as error:
            await self._writer.close()
            words = f"The producer of dead letters does not start: {error!r}"
            if isinstance(error, TimeoutError) or error.retriable:
                raise SourceUnavailable(words) from None
            if isinstance(error, ClusterAuthorizationFailedError):
                words = denied(self._settings.topic or "the dead-letter topics")
            raise SourceMisconfigured(words) from None

    async def stop(self) -> None:
        """Close; takes seconds even when no broker answers. What waits is not written."""
        if self._writer is not None:
            await self._writer.close()

    async def reread(self) -> None:
        """Find the records of refused changes, for ever."""
        await self._rejections.run(self.options)

    async def run(self) -> None:
        """Write what is taken in, for ever."""
        rng = random.Random()
        failures = 0
        while True:
            letters = await self._outbox.next_round()
            epoch = self._outbox.epoch
            assert self._writer is not None  # noqa: S101 - letters are taken in after the start
            result = await self._writer.write(letters)
            if epoch == self._outbox.epoch:
                for letter, (place, offset) in zip(result.letters, result.places, strict=True):
                    self.parked.note(letter, place, offset)
            self._settle(result.letters)
            if not result.error:
                failures = 0
                self._recovered()
                continue
            done = set(result.letters)
            left = [letter for letter in letters if letter not in done]
            self._outbox.give_back(left, epoch)
            if not result.at_once:
                failures += 1
                self._failed(result.error)
                await asyncio.sleep(_BACKOFF.delay(failures, rng))

    def _may_go(self, letter: Letter) -> bool:
        """Whether a letter need not wait for the guard: its topic was judged, or it is no part."""
        return (
            letter.refusal is not None
            or letter.origin is None
            or self._guard.trusts(letter.origin.topic)
        )

    def _settle(self, letters: Iterable[Letter]) -> None:
        counts: Counter[str] = Counter()
        for letter in letters:
            if letter.number is None:  # a marker is no dead letter
                counts[letter.reason] += 1
            letter.receipt.release()
            self._outbox.done(letter)
        for reason, count in counts.items():
            self.written += count
            self._metrics.dead_letters[reason].inc(count)

    def _failed(self, error: str) -> None:
        self.problem = error
        self._metrics.dead_letter_failures.inc()
        suppressed = self._throttle.allow("unwritable", time.monotonic())
        if suppressed is not None:
            self._log.error(
                "dead_letters.unwritable",
                detail=error,
                pending=self.pending,
                suppressed=suppressed,
                advice="nothing is lost: offsets are not committed past these records, and "
                "consumption pauses when dead_letters.max_pending_bytes of them wait",
            )

    def _recovered(self) -> None:
        if self.problem:
            self.problem = ""
            self._log.info("dead_letters.writable", pending=self.pending)

    def status(self) -> dict[str, Any]:
        """Describe it for /status."""
        return {
            "enabled": self._settings.enabled,
            "topic": topic_for(self._settings, "<topic>"),
            "written": self.written,
            "pending": self.pending,
            "pending_bytes": self.pending_bytes,
            "problem": self.problem,
        }


def _parse_error(value: bytes | None) -> str:
    """What is wrong with something that is no JSON, and where."""
    try:
        orjson.loads(value or b"")
    except orjson.JSONDecodeError as error:
        return str(error)
    return ""
