"""The records of Kafka, and what it means to own their partitions.

`Source` is a group member that behaves. What this takes, and what aiokafka does otherwise:

* Offsets are committed only when told to, each with its partition (`commits`); aiokafka would
  commit whatever it has handed out.
* Polling never stops while the process lives: it keeps the membership, and aiokafka tells the
  troubles of its background tasks nowhere else. Backpressure pauses partitions instead.
* What is paused is derived at every poll, and at every assignment, which clears it.
* Nothing live is handed out before an assignment was taken over (`take_over`).
* `getmany` is never cancelled and never waited for: during a rebalance it takes as long as that
  takes, and a cancelled one switches aiokafka's own watchdog off for good. It runs in a task that
  outlives the poll, and its records count only if no rebalance began since.
* Every rebalance revokes all partitions, those that we get back included; they go on at their
  committed offsets. The listener drains and commits before that; afterwards nothing can be
  committed until the next assignment (`rebalance`).
* A lost session is a revocation that comes too late: the partitions may be somebody else's by
  then. `is_member` is false, and commits are fenced. What says in time that nothing may be written
  any more is the lease, which is renewed by what the coordinator answers (R4, `consumer`).
* Where to begin without a usable committed offset is decided, not jumped to (`starts`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from ldsync.kafka.commits import CommitOutcome, Commits
from ldsync.kafka.fetching import Member, fetch, put_back, raise_failure
from ldsync.kafka.opening import open_consumer
from ldsync.kafka.rebalance import Rebalance
from ldsync.kafka.starts import Starts
from ldsync.kafka.static import StaticMember
from ldsync.kafka.take_over import CLEAN, LOOKUP_SECONDS, TakeOver
from ldsync.kafka.topics import whole_names
from ldsync.kafka.trouble import Trouble
from ldsync.kafka.warm_up import WarmUp
from ldsync.sync.ledger import Partition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiokafka import ConsumerRecord
    from structlog.typing import FilteringBoundLogger

    from ldsync.config import KafkaSettings, OrderingSettings
    from ldsync.kafka.consumer import Consumer
    from ldsync.kafka.rebalance import Listener
    from ldsync.sync.lease import Lease
    from ldsync.telemetry.metrics import Metrics

_GRACE_SECONDS = 0.1
_TROUBLE_SECONDS = 0.5


class Source:
    """A member of the consumer group.

    One task polls; it must have taken note of all records of one `poll` before it calls the next:
    `positions` counts on that.

    Args:
        settings: The section `[kafka]`.
        listener: Told about assignments and revocations.
        metrics: `rebalances`.
        log: A structlog logger.
        dry_run: Whether nothing is ever committed, though everything goes on as if it were.
        lease: Follows what the group says of our membership (R4).
        ordering: The section `[ordering]`: whether and how far history is read (R5).
    """

    def __init__(
        self,
        settings: KafkaSettings,
        listener: Listener,
        metrics: Metrics,
        log: FilteringBoundLogger,
        *,
        dry_run: bool = False,
        lease: Lease,
        ordering: OrderingSettings,
    ) -> None:
        self.dry_run = dry_run
        self._settings = settings
        self._ordering = ordering
        self._lease = lease
        self._listener = listener
        self._metrics = metrics
        self._log = log
        self._trouble = Trouble(settings, log)
        self._member: Member | None = None
        self._getmany: asyncio.Task[tuple[int, Any]] | None = None
        self._paused = False
        self._positions: tuple[int, dict[Partition, int]] = (0, {})

    async def start(self) -> None:
        """Reach the brokers and begin to join the group; the assignment comes with the polls.

        Raises:
            SourceUnavailable: brokers or topics were not there in `kafka.start_timeout_seconds`.
            SourceMisconfigured: credentials, certificates or settings cannot work.
        """
        settings = self._settings
        pattern = whole_names(settings.topic_pattern) if settings.topic_pattern else None
        consumer = await open_consumer(settings)
        consumer.watch_membership(self._lease)
        # A third of a session, as for heartbeats: after longer our membership is in doubt anyway.
        limit = settings.session_timeout_seconds / 3
        commits = Commits(consumer, limit, self._trouble, self._log, dry_run=self.dry_run)
        warm_up = self._warm_up(consumer) if self._ordering.warm_up else None
        take_over = TakeOver(
            consumer,
            commits,
            warm_up,
            self._listener,
            self._reconcile,
            trouble=self._trouble,
            log=self._log,
        )
        static = StaticMember(consumer, settings, self._trouble, self._log)
        rebalance = Rebalance(
            consumer, commits, take_over, self._listener, self._metrics, self._log, static=static
        )
        starts = Starts(consumer, settings, commits, self._log)
        self._member = Member(consumer, commits, take_over, rebalance, starts, static)
        if pattern is None:
            consumer.subscribe(topics=settings.topics, listener=rebalance)
        else:
            consumer.subscribe(pattern=pattern, listener=rebalance)
        self._log.info(
            "consumer.started",
            group=settings.group_id,
            topics=settings.topic_pattern or list(settings.topics),
        )
        static.start()

    def _warm_up(self, consumer: Consumer) -> WarmUp:
        return WarmUp(
            consumer, self._settings, self._ordering, self._listener, self._trouble, self._log
        )

    async def stop(self) -> None:
        """Leave the group and close; takes seconds even when no broker answers.

        With an instance id the group is not left: it keeps the partitions for a session.
        Nothing is drained, and `Listener.revoked` is not called. After it commits are fenced and
        polls return nothing.
        """
        member, self._member = self._member, None
        if member is None:
            return
        member.commits.fence()
        self._lease.end()
        await member.static.stop()
        await member.take_over.stop()
        getmany, self._getmany = self._getmany, None
        if getmany is not None:
            getmany.cancel()
            await asyncio.gather(getmany, return_exceptions=True)
        in_order = await member.consumer.close()
        self._log.info("consumer.stopped", in_order=in_order)

    async def poll(
        self, *, paused: bool, timeout: float
    ) -> Mapping[Partition, Sequence[ConsumerRecord]]:
        """The next records, at most `kafka.max_poll_records`; nothing if none came in time.

        Call it again at once, for ever, also while `paused` (nothing is read then). While brokers
        are away or the group rebalances it returns nothing, in about `timeout` seconds.

        Raises:
            SourceFailed: reading cannot go on; the process should end.
        """
        member = self._member
        if member is None:
            await asyncio.sleep(timeout)
            return {}
        raise_failure(member)
        self._paused = paused
        self._reconcile()
        if self._getmany is None:
            self._positions = (member.rebalance.epoch, member.consumer.positions())
            member.take_over.consumed(self._positions[1])
            self._getmany = asyncio.create_task(fetch(member, timeout))
        getmany = self._getmany
        await asyncio.wait({getmany}, timeout=timeout + _GRACE_SECONDS)
        if not getmany.done():
            return {}  # a rebalance is under way; the same task goes on in the next poll
        self._getmany = None
        if getmany.cancelled():
            return {}  # stopped meanwhile
        error = getmany.exception()
        if error is not None:
            await self._handle(member, error)
            return {}
        self._trouble.over()
        epoch, records = getmany.result()
        if epoch != member.rebalance.epoch:
            return {}  # revoked meanwhile; whoever owns them then will read them again
        if not member.take_over.done:
            put_back(member.consumer, records)
            return {}
        return {Partition(*place): batch for place, batch in records.items()}

    async def _handle(self, member: Member, error: BaseException) -> None:
        """Answer what `getmany` raised, so that the next one can go on.

        Raises:
            SourceFailed: it cannot.
        """
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                if isinstance(error, NoOffsetForPartitionError):
                    await member.starts.without_commit(error.args[0].topic)
                    return
                if isinstance(error, OffsetOutOfRangeError):
                    wanted = {Partition(*place): at for place, at in error.args[0].items()}
                    await member.starts.out_of_range(wanted)
                    member.take_over.moved(wanted)
                    return
        except (TimeoutError, KafkaError) as lookup:
            error = lookup  # the partition has no place yet, and getmany will say so again
        self._trouble.weigh(error)
        self._trouble.report("poll", error)
        await asyncio.sleep(_TROUBLE_SECONDS)

    def _reconcile(self) -> None:
        """Pause what is to be paused, and nothing else: an assignment knows of no pause."""
        member = self._member
        if member is None:
            return
        consumer = member.consumer
        if self._paused or not member.take_over.done:
            consumer.pause(*(consumer.assignment() - consumer.paused()))
        else:
            consumer.resume(*consumer.paused())

    @property
    def assigned(self) -> frozenset[Partition]:
        """The partitions that are ours, until their revocation has ended."""
        return self._member.commits.owned if self._member else frozenset()

    @property
    def history(self) -> tuple[int, int, float]:
        """Of the last warm-up: offsets still to be read, records that were, and seconds it took."""
        return self._member.take_over.history if self._member else (0, 0, 0.0)

    @property
    def is_member(self) -> bool:
        """Whether the group still counts on us, as far as we know.

        False inside `Listener.revoked` means that the session was lost: do not write any more.
        """
        return self._member is not None and self._member.consumer.generation >= 0

    def reread_history(self) -> None:
        """Tell all history again, from now on and beside new records: what was noted is lost (R7).

        Returns at once. `Listener.warmed` says when it is told.
        """
        if self._member is not None:
            self._member.take_over.reread()

    @property
    def all_partitions(self) -> frozenset[Partition]:
        """The partitions of our topics, whoever owns them, as far as the client knows."""
        if self._member is None:
            return frozenset()
        return self._member.consumer.topic_partitions() | self.assigned

    @property
    def has_peers(self) -> bool:
        """Whether other members of the group own partitions of topics that we own some of."""
        if self._member is None:
            return False
        owned = self.assigned
        counts = self._member.consumer.partition_counts({place.topic for place in owned})
        return sum(counts.values()) > len(owned)

    async def commit(
        self,
        offsets: Mapping[Partition, int],
        *,
        timeout: float | None = None,
        clean: bool = False,
    ) -> CommitOutcome:
        """Commit, for each partition, the offset of the record to go on with.

        `clean` leaves the mark of a clean hand-over (R2): nothing is on its way to LaunchDarkly,
        and nothing will be. Never raises, and takes at most `timeout` seconds (default: a third of
        `kafka.session_timeout_seconds`). Partitions that are not ours are left out.
        """
        if self._member is None:
            return CommitOutcome.FENCED
        mark = CLEAN if clean else ""
        return await self._member.commits.commit(offsets, timeout=timeout, metadata=mark)

    def positions(self) -> Mapping[Partition, int]:
        """For each assigned partition, how far it had been handed out when the last poll began.

        Past transaction markers and compacted records, so that, where nothing of a partition is
        unsettled, a commit of this leaves no lag. Everything below it was returned by an earlier
        `poll`. Partitions of which nothing is known yet are missing.
        """
        epoch, positions = self._positions
        if self._member is None or epoch != self._member.rebalance.epoch:
            return {}  # nothing of this assignment was handed out yet
        owned = self.assigned
        return {place: at for place, at in positions.items() if place in owned}

    async def lags(self) -> Mapping[Partition, int]:
        """For each assigned partition, how many offsets lie before the end of what can be read.

        Counts from what was handed out last, not from what is committed; includes transaction
        markers that were not passed yet. Empty if the brokers do not answer in `LOOKUP_SECONDS`.
        """
        if self._member is None:
            return {}
        consumer = self._member.consumer
        positions = consumer.positions()
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                ends = await consumer.next_offsets(positions)
        except (TimeoutError, KafkaError) as error:
            self._trouble.report("lag", error)
            return {}
        return {place: max(0, end - positions[place]) for place, end in ends.items()}
