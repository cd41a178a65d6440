"""From an assignment to its first live record: its history (R5), and a clean hand-over (R2).

A clean hand-over is a mark in the metadata of the committed offset. Who leaves a partition sets it
with the last commit of the epoch, if all that was sent for any partition has been answered and
nothing more will be. Who takes the partition over removes the mark by a commit before the first
write; were it left until the next ordinary commit, a process that wrote and died before that would
leave a mark that is no longer true.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiokafka.errors import KafkaError

from ldsync.kafka.commits import CommitOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from aiokafka import OffsetAndMetadata
    from structlog.typing import FilteringBoundLogger

    from ldsync.kafka.commits import Commits
    from ldsync.kafka.consumer import Consumer
    from ldsync.kafka.rebalance import Listener
    from ldsync.kafka.trouble import Trouble
    from ldsync.kafka.warm_up import WarmUp
    from ldsync.sync.ledger import Partition

CLEAN: Final = "clean"
"""Metadata of an offset whose owner has nothing on its way to LaunchDarkly any more."""

LOOKUP_SECONDS: Final = 5.0
"""For questions to the brokers that an assignment, a poll or a gauge waits for."""

_TROUBLE_SECONDS: Final = 0.5


class TakeOver:
    """What comes before the live records of each assignment.

    Args:
        consumer: The member.
        commits: Its commits.
        warm_up: Reads the history; None if it is not wanted.
        listener: Told when live records come.
        reconcile: Called when that changes whether they may come, so that they do or do not.
        trouble: Where failures are reported that are tried again.
        log: `partitions.taken_over`.

    Attributes:
        done: Whether live records may be handed out.
        failure: What ended it by mistake, if anything did.
    """

    def __init__(
        self,
        consumer: Consumer,
        commits: Commits,
        warm_up: WarmUp | None,
        listener: Listener,
        reconcile: Callable[[], None],
        *,
        trouble: Trouble,
        log: FilteringBoundLogger,
    ) -> None:
        self._consumer = consumer
        self._commits = commits
        self._warm_up = warm_up
        self._listener = listener
        self._reconcile = reconcile
        self._trouble = trouble
        self._log = log
        self._task: asyncio.Task[None] | None = None
        self._stopped = False
        self._partitions: frozenset[Partition] = frozenset()
        self._lost = False
        self._rereading = False
        self.done = False
        self.failure: BaseException | None = None

    def begin(self, partitions: frozenset[Partition]) -> None:
        """An assignment begins; returns at once.

        One that comes while the client is being closed is nobody's any more.
        """
        self.end()
        if self._stopped:
            return
        self._reconcile()
        self._partitions = partitions
        self._task = asyncio.create_task(self._run(partitions, self._task))

    def end(self) -> None:
        """The assignment ends; nothing more comes of it."""
        self.done = self._rereading = False
        # Only once: it still closes what it had opened.
        if self._task is not None and not self._task.cancelling():
            self._task.cancel()

    async def stop(self) -> None:
        """End for good, and wait until connections are closed."""
        self._stopped = True
        self.end()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    def consumed(self, positions: Mapping[Partition, int]) -> None:
        """All below these positions was taken note of: it need not be read again (R5)."""
        # While history is read again, what lies between it and the positions is not known yet.
        if self.done and not self._rereading and self._warm_up is not None:
            for partition, position in positions.items():
                self._warm_up.coverage.advance(partition, position)

    def moved(self, partitions: Iterable[Partition]) -> None:
        """The offsets of these partitions mean something else from now on."""
        if self._warm_up is not None:
            for partition in partitions:
                self._warm_up.coverage.forget(partition)

    def reread(self) -> None:
        """What was taken note of is lost: all of it has to be read again (R5, R7); returns at once.

        Records go on coming meanwhile. Before the take-over is done it is part of that.
        """
        if self._warm_up is None:
            return
        self._warm_up.coverage.clear()
        self._lost = True
        if self.done and not self._rereading:
            self._rereading = True
            self._task = asyncio.create_task(self._reread(self._task))

    @property
    def history(self) -> tuple[int, int, float]:
        """Of the last warm-up: offsets still to be read, records that were, and seconds it took."""
        one = self._warm_up
        return (one.left, one.records, one.seconds) if one is not None else (0, 0, 0.0)

    async def _run(
        self, partitions: frozenset[Partition], before: asyncio.Task[None] | None
    ) -> None:
        try:
            if before is not None:
                await asyncio.wait({before})
            committed = await self._ask(partitions)
            if self._warm_up is not None and partitions:
                await self._read(self._warm_up)
            clean = await self._claim(partitions, committed)
            self.done = True
            self._reconcile()
            self._log.info("partitions.taken_over", partitions=len(partitions), clean=clean)
            offsets = {partition: found.offset for partition, found in committed.items()}
            self._listener.ready(offsets, clean=clean)
            if self._lost:  # since the history was read
                self.reread()
        except Exception as error:  # noqa: BLE001 - the next poll raises it
            self.failure = error

    async def _reread(self, before: asyncio.Task[None] | None) -> None:
        """Read all history of the assignment once more, up to what was consumed of it by now."""
        try:
            if before is not None:
                await asyncio.wait({before})
            if self._warm_up is not None and self._partitions:
                await self._read(self._warm_up)
        except Exception as error:  # noqa: BLE001 - the next poll raises it
            self.failure = error
        finally:
            self._rereading = False

    async def _read(self, warm_up: WarmUp) -> None:
        """Read history, and begin again whenever what was read of it is lost meanwhile."""
        while True:
            self._lost = False
            await warm_up.run(self._partitions, self._consumer.positions() if self.done else {})
            if not self._lost:
                since = warm_up.known_since(self._partitions)
                await self._listener.warmed(self._partitions, since)
            if not self._lost:
                return
            warm_up.coverage.clear()

    async def _ask(self, partitions: frozenset[Partition]) -> Mapping[Partition, OffsetAndMetadata]:
        """What is committed of the partitions; asks until there is an answer."""
        while True:
            try:
                async with asyncio.timeout(LOOKUP_SECONDS):
                    return await self._consumer.committed_offsets(partitions)
            except (TimeoutError, KafkaError) as error:
                self._trouble.report("take-over", error)
            await asyncio.sleep(_TROUBLE_SECONDS)

    async def _claim(
        self, partitions: frozenset[Partition], committed: Mapping[Partition, OffsetAndMetadata]
    ) -> bool:
        """Remove the marks; say whether every partition had one.

        A partition without a commit has none: somebody may have written and died before the first.
        Nothing else is committed meanwhile, so the offsets are those that are there.
        """
        marked = {place: found.offset for place, found in committed.items() if _is_clean(found)}
        while marked:
            outcome = await self._commits.commit(marked)
            if outcome is CommitOutcome.COMMITTED:
                break
            # Fenced: the end of the assignment is on its way, and cancels this.
            await asyncio.sleep(_TROUBLE_SECONDS)
        return marked.keys() == partitions


def _is_clean(found: OffsetAndMetadata) -> bool:
    return bool(found.metadata == CLEAN)
