"""Committing offsets, and the fence that ends it.

A commit is accepted from us only between an assignment and the end of its revocation. aiokafka
retries a commit for ever, always as the member that it is at the moment of sending: a commit begun
under one assignment could arrive under the next and move the offset of a partition that is somebody
else's by then. So `fence` ends those under way, and each has a time limit.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING

from aiokafka import OffsetAndMetadata
from aiokafka.errors import CommitFailedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from structlog.typing import FilteringBoundLogger

    from ldsync.kafka.consumer import Consumer
    from ldsync.kafka.trouble import Trouble
    from ldsync.sync.ledger import Partition


class CommitOutcome(StrEnum):
    """What became of a commit.

    Attributes:
        COMMITTED: The broker has it.
        FENCED: These partitions are no longer ours to commit: discard, do not flush.
        FAILED: No answer in time, or an error that may pass; it may be tried again. It is unknown
            whether the broker has it.
    """

    COMMITTED = "committed"
    FENCED = "fenced"
    FAILED = "failed"


class Commits:
    """Commits of one consumer.

    Args:
        consumer: Whose offsets are committed.
        limit: Seconds one commit may take, unless told otherwise.
        trouble: Where failures are reported.
        log: Where refusals are reported.
        dry_run: Whether commits are taken for done without being sent.
    """

    def __init__(
        self,
        consumer: Consumer,
        limit: float,
        trouble: Trouble,
        log: FilteringBoundLogger,
        *,
        dry_run: bool = False,
    ) -> None:
        self._consumer = consumer
        self._limit = limit
        self._trouble = trouble
        self._log = log
        self._dry_run = dry_run
        self._under_way: set[asyncio.Timeout] = set()
        self.owned: frozenset[Partition] = frozenset()

    def open(self, partitions: frozenset[Partition]) -> None:
        """From now on these partitions may be committed, and no others."""
        self.owned = partitions

    def fence(self) -> None:
        """From now on nothing may be committed; what is under way ends as `FENCED`."""
        self.owned = frozenset()
        now = asyncio.get_running_loop().time()
        for limit in self._under_way:
            if not limit.expired():
                limit.reschedule(now)
        self._under_way.clear()

    async def commit(
        self,
        offsets: Mapping[Partition, int],
        *,
        timeout: float | None = None,
        metadata: str = "",
    ) -> CommitOutcome:
        """Commit the offset of the next record to read, for each partition that is ours.

        Partitions that are not ours are left out. Never raises, never takes longer than `timeout`
        seconds.

        Returns:
            `COMMITTED` also when there was nothing to commit; `FENCED` when nothing was ours.
        """
        if not offsets or self._dry_run:
            return CommitOutcome.COMMITTED
        ours = {
            partition: OffsetAndMetadata(offset, metadata)
            for partition, offset in offsets.items()
            if partition in self.owned
        }
        # Without a generation aiokafka would commit as an outsider, which an empty group allows.
        if not ours or self._consumer.generation < 0:
            return self._fenced(offsets, "not a member that owns them")
        seconds = self._limit if timeout is None else timeout
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                self._under_way.add(limit)
                await self._consumer.commit_offsets(ours)
        except CommitFailedError as error:
            return self._fenced(offsets, str(error.__cause__ or error))
        except TimeoutError:
            if limit not in self._under_way:
                return self._fenced(offsets, "revoked before the broker answered")
            self._trouble.report("commit", f"no answer in {seconds:g} s")
            return CommitOutcome.FAILED
        except Exception as error:  # noqa: BLE001 - a failed commit is an outcome, whatever it was
            self._trouble.report("commit", error)
            return CommitOutcome.FAILED
        finally:
            self._under_way.discard(limit)
        return CommitOutcome.COMMITTED

    def _fenced(self, offsets: Mapping[Partition, int], reason: str) -> CommitOutcome:
        self._log.warning("commit.fenced", partitions=len(offsets), reason=reason)
        return CommitOutcome.FENCED
