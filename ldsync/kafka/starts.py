"""Where reading begins when no committed offset says so, or the one there is cannot be used.

aiokafka's own answer (`auto_offset_reset`) would be to jump in silence; it is switched off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldsync.kafka.commits import CommitOutcome
from ldsync.kafka.errors import SourceFailed
from ldsync.sync.ledger import Partition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from structlog.typing import FilteringBoundLogger

    from ldsync.config import KafkaSettings
    from ldsync.kafka.commits import Commits
    from ldsync.kafka.consumer import Consumer


class Starts:
    """Places assigned partitions that have no position.

    Its coroutines ask brokers: call them under a time limit; when one ends early it can be called
    again.

    Args:
        consumer: Whose partitions are placed.
        settings: `first_start` and `on_out_of_range`.
        commits: Of the same consumer.
        log: Where each decision is reported.
    """

    def __init__(
        self,
        consumer: Consumer,
        settings: KafkaSettings,
        commits: Commits,
        log: FilteringBoundLogger,
    ) -> None:
        self._consumer = consumer
        self._settings = settings
        self._commits = commits
        self._log = log

    async def without_commit(self, topic: str) -> None:
        """Place the partitions of a topic that the group has never committed.

        A group that has not worked on the topic begins at `kafka.first_start`. In one that has,
        they are partitions that were added, or whose first records were never settled: all that is
        in them is still to be read, so they begin at the earliest record whatever the setting.
        """
        every = [Partition(topic, n) for n in self._consumer.partitions_for_topic(topic) or ()]
        committed = await self._consumer.committed_offsets(every)
        placed = self._consumer.positions()
        ours = [
            partition
            for partition in self._consumer.owned()
            if partition.topic == topic and partition not in committed and partition not in placed
        ]
        mark = f"first-start {self._consumer.generation}"
        if any(found.metadata != mark for found in committed.values()):
            self._place(await self._consumer.first_offsets(ours), "earliest", "added")
        elif self._settings.first_start == "earliest":
            self._place(await self._consumer.first_offsets(ours), "earliest", "first_start")
        else:
            await self._begin_at_the_end(ours, mark)

    async def _begin_at_the_end(self, partitions: list[Partition], mark: str) -> None:
        """Begin at the end, and commit that before anything is read.

        Otherwise a restart before the first ordinary commit would begin at the end again, behind
        records that were read and not settled. The commit carries a mark with the generation: other
        members of the same generation, which come to the same decision a moment later, must not
        take it for earlier work of the group.
        """
        ends = await self._consumer.next_offsets(partitions)
        if await self._commits.commit(ends, metadata=mark) is CommitOutcome.COMMITTED:
            self._place(ends, "latest", "first_start")

    async def out_of_range(self, wanted: Mapping[Partition, int]) -> None:
        """Go on after Kafka said that it does not have these offsets.

        Raises:
            SourceFailed: `kafka.on_out_of_range` is `stop`.
        """
        first = await self._consumer.first_offsets(wanted)
        behind = await self._consumer.next_offsets(wanted)
        if self._settings.on_out_of_range == "stop":
            partition, offset = next(iter(wanted.items()))
            raise SourceFailed(
                f"Kafka does not have offset {offset} of {partition.topic}-{partition.number}, "
                f"where group {self._settings.group_id} has to go on; the log holds "
                f"{first[partition]} up to {behind[partition]}. Retention took unread records, or "
                "the topic was made anew. ldsync stops so that this does not go unseen. To go on "
                'with the oldest record there is, set kafka.on_out_of_range = "earliest", or move '
                "the group with kafka-consumer-groups --reset-offsets while no replica runs"
            )
        positions = self._consumer.positions()
        still = {p: at for p, at in first.items() if positions.get(p) == wanted[p]}
        self._place(still, "earliest", "out_of_range", wanted)

    def _place(
        self,
        offsets: Mapping[Partition, int],
        policy: str,
        reason: str,
        instead_of: Mapping[Partition, int] | None = None,
    ) -> None:
        """Move the partitions that are still ours; those that are not begin elsewhere."""
        owned = self._consumer.owned()
        for partition, offset in offsets.items():
            if partition not in owned:
                continue
            self._consumer.move(partition, offset)
            was = {"wanted": instead_of[partition]} if instead_of else {}
            say = self._log.warning if instead_of else self._log.info
            say(
                "partition.started_at",
                topic=partition.topic,
                partition=partition.number,
                offset=offset,
                policy=policy,
                reason=reason,
                **was,
            )
