"""The callbacks of a rebalance: who is told, in which order, and what if one of them raises.

aiokafka only logs what a callback raises. Here it is kept, and `Source.poll` raises it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aiokafka import ConsumerRebalanceListener

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from aiokafka import ConsumerRecord, TopicPartition
    from structlog.typing import FilteringBoundLogger

    from ldsync.kafka.commits import Commits
    from ldsync.kafka.consumer import Consumer
    from ldsync.kafka.static import StaticMember
    from ldsync.kafka.take_over import TakeOver
    from ldsync.sync.ledger import Partition
    from ldsync.telemetry.metrics import Metrics


class Listener(Protocol):
    """Who wants to know which partitions are ours."""

    def assigned(self, partitions: frozenset[Partition]) -> None:
        """These are ours from now on, and no others. Their first record comes after this.

        Must not wait for anything. The set is empty when there are more members than partitions.
        """

    async def history(self, partition: Partition, records: Sequence[ConsumerRecord]) -> None:
        """These records were consumed before: to be known, not to be written (R5).

        Those of a partition come in order, between `assigned` and `ready`, and again later after
        `Source.reread_history`. Cancelled if the assignment ends.
        """

    async def warmed(self, partitions: frozenset[Partition], since: int | None) -> None:
        """All history of these was told: nothing is missing since then (epoch milliseconds).

        None if they have no history. Comes before `ready`, and again whenever history was told
        again. Cancelled if the assignment ends.
        """

    def ready(self, committed: Mapping[Partition, int], *, clean: bool) -> None:
        """Records of the assigned partitions come from now on.

        `committed` are the offsets that the group has committed of them; `clean` says that whoever
        owned them before has nothing on its way to LaunchDarkly any more (R2). Must not wait. Not
        called if the assignment ends before.
        """

    async def revoked(self, partitions: frozenset[Partition]) -> None:
        """All the partitions that were ours are taken: drain, and commit, before returning.

        The group waits for this, at most `kafka.rebalance_timeout_seconds`. Must not wait for a
        poll: there is none until the next assignment. Not called before `Source.stop`.
        """


class Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Passes assignments on, and keeps count of them.

    Args:
        consumer: The member.
        commits: What may be committed between an assignment and its end.
        take_over: What comes between an assignment and its first live record.
        listener: Who is told.
        metrics: `rebalances`.
        log: `partitions.assigned`, `partitions.revoked`.
        static: Told when an assignment begins and when a session was lost.

    Attributes:
        epoch: Grows when an assignment begins and when its revocation begins. Records that were
            fetched under one number must not be handed out under the next.
        failure: What a callback raised, if one did.
    """

    def __init__(
        self,
        consumer: Consumer,
        commits: Commits,
        take_over: TakeOver,
        listener: Listener,
        metrics: Metrics,
        log: FilteringBoundLogger,
        *,
        static: StaticMember,
    ) -> None:
        self._consumer = consumer
        self._commits = commits
        self._take_over = take_over
        self._listener = listener
        self._metrics = metrics
        self._log = log
        self._static = static
        self._announced = False
        self.epoch = 0
        self.failure: BaseException | None = None

    def on_partitions_assigned(self, _assigned: Collection[TopicPartition]) -> None:
        """For aiokafka: an assignment has begun. Plain, so that nothing runs before it is known."""
        self.announce()

    def announce(self) -> None:
        """Make the current assignment known, unless it is.

        aiokafka wakes those who wait in `getmany` before it calls `on_partitions_assigned`: whoever
        gets records first calls this first.
        """
        if self._announced:
            return
        self._announced = True
        self.epoch += 1
        partitions = self._consumer.owned()
        self._commits.open(partitions)
        self._take_over.begin(partitions)
        self._static.assigned()
        self._metrics.rebalances["assigned"].inc()
        self._log.info(
            "partitions.assigned",
            partitions=_by_topic(partitions),
            generation=self._consumer.generation,
        )
        try:
            self._listener.assigned(partitions)
        except Exception as error:  # noqa: BLE001 - the next poll raises it
            self.failure = error

    async def on_partitions_revoked(self, _revoked: Collection[TopicPartition]) -> None:
        """For aiokafka: the assignment ends when this returns."""
        if not self._announced:  # before the first assignment
            return
        self.epoch += 1
        self._take_over.end()
        partitions = self._commits.owned
        lost = self._consumer.generation < 0
        self._metrics.rebalances["lost" if lost else "revoked"].inc()
        self._log.info("partitions.revoked", partitions=_by_topic(partitions), lost=lost)
        if lost:
            self._static.lost()
        try:
            if partitions:
                await self._listener.revoked(partitions)
        except Exception as error:  # noqa: BLE001 - the next poll raises it
            self.failure = error
        finally:
            self._commits.fence()
            self._announced = False


def _by_topic(partitions: Collection[Partition]) -> dict[str, list[int]]:
    numbers: dict[str, list[int]] = {}
    for partition in sorted(partitions):
        numbers.setdefault(partition.topic, []).append(partition.number)
    return numbers
