"""Static membership: what a member with an instance id has to do itself.

A group keeps the place of such a member (KIP-345): one that ends and comes back within its session
gets its partitions again, and the others notice nothing. aiokafka sends the id when it joins and
leaves the rest open. Two things follow.

* Who replaces a member evicts whatever process has the id still, and that one comes to know of it
  with its next heartbeat, and evicts the other in turn. A session cannot have timed out before it
  has lasted as long as one: that tells such a loss from others.
* A member that came back is not told that it leads the group (KIP-814 would), so nobody looks out
  for new partitions any more; nor does a broker compare the topics of who comes back with those of
  before. So every member looks now and then whether the group left anything to nobody.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)
from aiokafka.errors import KafkaError

from ldsync.sync.ledger import Partition
from ldsync.telemetry.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from structlog.typing import FilteringBoundLogger

    from ldsync.config import KafkaSettings
    from ldsync.kafka.consumer import Consumer
    from ldsync.kafka.trouble import Trouble

LOOK_SECONDS = 60.0
"""How often a member looks whether all partitions have an owner."""

LONGEST_LOOK_SECONDS = 3600.0
"""The same while sharing them out anew does not help: each time is a rebalance for everybody."""

_ANSWER_SECONDS = 5.0


class InsistentRoundRobin(RoundRobinPartitionAssignor):  # type: ignore[misc]  # no types
    """Round robin of a member that can have the group share out partitions anew.

    A broker answers a member that joins again with what it has, unless it leads the group or what
    it says of itself is new. So what it says is made new, in a field that nobody reads.
    """

    def __init__(self) -> None:
        """Say nothing yet."""
        self._times = 0

    def insist(self) -> None:
        """Say something new from now on."""
        self._times += 1

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """For aiokafka: what this member says of itself."""
        said = str(self._times).encode() if self._times else b""
        return ConsumerProtocolMemberMetadata(self.version, list(topics), said)


def only_of(topics: Collection[str], assignment: bytes) -> bytes | None:
    """What is left of an encoded assignment without other topics; None if it has no others.

    Who comes back with other topics gets those of before, and aiokafka would die of that.
    """
    given = ConsumerProtocolMemberAssignment.decode(assignment)
    kept = [(topic, numbers) for topic, numbers in given.assignment if topic in topics]
    if len(kept) == len(given.assignment):
        return None
    encoded: bytes = ConsumerProtocolMemberAssignment(given.version, kept, b"").encode()
    return encoded


def partitions_of(assignments: Iterable[bytes]) -> frozenset[Partition]:
    """All partitions of some encoded assignments; a member that has none may have an empty one."""
    decode = ConsumerProtocolMemberAssignment.decode
    given = [decode(assignment).partitions() for assignment in assignments if assignment]
    return frozenset(Partition(*place) for places in given for place in places)


class StaticMember:
    """Looks after a member with an instance id; does nothing for one without.

    Args:
        consumer: The member.
        settings: The id and the length of a session.
        trouble: Where questions without an answer are reported.
        log: `group.static_member`, `group.instance_id_contested`, `partitions.unowned`.
    """

    def __init__(
        self,
        consumer: Consumer,
        settings: KafkaSettings,
        trouble: Trouble,
        log: FilteringBoundLogger,
    ) -> None:
        self._consumer = consumer
        self._id = settings.group_instance_id
        self._session = settings.session_timeout_seconds
        self._trouble = trouble
        self._log = log
        self._throttle = Throttle()
        self._assigned_at = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Say what the id means, and begin to look."""
        if not self._id:
            return
        self._log.info(
            "group.static_member",
            instance_id=self._id,
            session_timeout_seconds=self._session,
            advice="no other process may have this id; a stop does not leave the group: partitions "
            "wait a session for this id to come back before others get them",
        )
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def failure(self) -> BaseException | None:
        """Why it looks no more, though it should."""
        if self._task is None or not self._task.done() or self._task.cancelled():
            return None
        return self._task.exception()

    def assigned(self) -> None:
        """An assignment has begun."""
        self._assigned_at = time.monotonic()

    def lost(self) -> None:
        """The session was lost: say so if it cannot have timed out."""
        now = time.monotonic()
        if not self._id or now - self._assigned_at >= self._session:
            return
        suppressed = self._throttle.allow("lost", now)
        if suppressed is not None:
            self._log.error(
                "group.instance_id_contested",
                instance_id=self._id,
                seconds_owned=round(now - self._assigned_at, 3),
                suppressed=suppressed,
                advice="another process probably has the same kafka.group_instance_id: they evict "
                "each other and neither delivers anything. Nothing is lost; stop one of them, or "
                "give each an id of its own",
            )

    async def _run(self) -> None:
        wait = LOOK_SECONDS
        while True:
            await asyncio.sleep(wait)
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    asked = await self._look()
                wait = min(2 * wait, LONGEST_LOOK_SECONDS) if asked else LOOK_SECONDS
            except (TimeoutError, KafkaError) as error:
                self._trouble.report("unowned", error)

    async def _look(self) -> bool:
        """Have the partitions shared out anew if some are nobody's; say whether that was so."""
        taken = await self._consumer.group_assignment()
        if taken is None:
            return False  # a rebalance is under way, or we are no member
        unowned = self._consumer.topic_partitions() - taken
        if unowned:
            self._log.warning(
                "partitions.unowned",
                partitions=len(unowned),
                topics=sorted({place.topic for place in unowned}),
                advice="topics or partitions changed while a member with an instance id was away; "
                "the group shares them out anew",
            )
            self._consumer.ask_for_rebalance()
        return bool(unowned)
