"""aiokafka's consumer, and the little that ldsync must know of it beyond its public interface.

aiokafka is pinned below the next minor version because of this file; the integration and broker
suites would show what moved.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRecord, OffsetAndMetadata, TopicPartition
from aiokafka.errors import (
    IllegalGenerationError,
    RebalanceInProgressError,
    UnknownMemberIdError,
    for_code,
)
from aiokafka.protocol.admin import DescribeGroupsRequest
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest, SyncGroupRequest

from ldsync.kafka.portions import Portions
from ldsync.kafka.static import only_of, partitions_of
from ldsync.sync.ledger import Partition

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Mapping

    from aiokafka.structs import OffsetAndTimestamp

    from ldsync.sync.lease import Lease

STOP_SECONDS = 5.0
"""For leaving the group; then connections are dropped, and the session times out."""

T = TypeVar("T")

_ENDING_SECONDS: Final = 1.0
_OK: Final = 0
_FENCED_INSTANCE_ID: Final = 82  # aiokafka does not know it
_NO_MEMBER = {IllegalGenerationError.errno, UnknownMemberIdError.errno, _FENCED_INSTANCE_ID}


class Consumer(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka has no types
    """A group member that can be asked where it stands, at once and without a request.

    The coroutines ask brokers, and go on asking: call them under a time limit.

    Attributes:
        replaced: Whether the group has let another process take the place of this one, and will not
            let it in again: both have one `group_instance_id`.
    """

    replaced = False

    def __init__(self, **options: Any) -> None:
        """Start with nothing asked; `options` are aiokafka's."""
        super().__init__(**options)
        self._portions = Portions(self._max_poll_records, self._fetch_max_bytes)
        self._late: Exception | None = None

    @property
    def generation(self) -> int:
        """The group's generation that this member takes part in; negative when it is no member."""
        return int(self._coordinator.generation)

    def owned(self) -> frozenset[Partition]:
        """The partitions of the current assignment."""
        return frozenset(Partition(*place) for place in self.assignment())

    def partition_counts(self, topics: Iterable[str]) -> dict[str, int]:
        """How many partitions topics have, as far as the client knows."""
        return {topic: len(self.partitions_for_topic(topic) or ()) for topic in topics}

    def positions(self) -> dict[Partition, int]:
        """For each assigned partition that has one, the offset that `getmany` returns next.

        `position()` would wait for partitions that have none yet.
        """
        subscription = self._subscription.subscription
        if subscription is None or subscription.assignment is None:
            return {}
        consumed = subscription.assignment.all_consumed_offsets()
        return {Partition(*place): taken.offset for place, taken in consumed.items()}

    async def take(self, seconds: float) -> dict[TopicPartition, list[ConsumerRecord]]:
        """`getmany` in portions, until the values are `fetch_max_bytes` or nothing is there (P3).

        What follows the first portion is there already, and nothing else runs in between: all is of
        one assignment. An error that comes behind records is raised by the next call, unless it
        took records with it.
        """
        late, self._late = self._late, None
        if late is not None:
            raise late
        portions = self._portions
        portions.begin()
        portions.add(await self._get(seconds, portions.next))
        start = self.positions()
        # During a reassignment it would wait, and what came then would be of the next one.
        while portions.records and portions.next and not self._is_reassigned:
            try:
                portion = await self._get(0, portions.next)
            except Exception as error:
                if not portions.reach(self.positions(), start):
                    raise
                self._late = error
                break
            if not portion:
                break
            portions.add(portion)
        return portions.records

    @property
    def _is_reassigned(self) -> bool:
        return bool(self._subscription.reassignment_in_progress)

    async def _get(self, seconds: float, limit: int) -> dict[TopicPartition, list[ConsumerRecord]]:
        """`getmany`, at most one at a time.

        aiokafka counts the calls under way and forgets those that raise: it would take them for
        activity for ever, and its watchdog (`max_poll_interval_ms`) would be off for good.
        """
        subscription = self._subscription
        try:
            return await self.getmany(  # type: ignore[no-any-return]
                timeout_ms=int(seconds * 1000), max_records=limit
            )
        except BaseException:
            subscription._fetch_count = 0  # noqa: SLF001 - see the top
            subscription._last_fetch_ended = time.monotonic()  # noqa: SLF001
            raise

    async def topic_sizes(self) -> dict[str, int]:
        """The number of partitions of each topic that may be seen."""
        cluster = await self._client.fetch_all_metadata()
        return {name: len(cluster.partitions_for_topic(name) or ()) for name in cluster.topics()}

    def move(self, partition: Partition, offset: int) -> None:
        """Let the next records of an assigned partition be those from this offset on."""
        self.seek(TopicPartition(*partition), offset)

    async def partitions_of(self, topic: str) -> list[Partition]:
        """The partitions of a topic, subscribed to or not."""
        numbers = await self._client._wait_on_metadata(topic)  # noqa: SLF001 - see the top
        return [Partition(topic, number) for number in sorted(numbers)]

    async def places_of(self, topics: Iterable[str]) -> list[Partition]:
        """All partitions of those of the topics that may be seen, in their order."""
        sizes = await to_its_end(self.topic_sizes())
        return [
            Partition(topic, number)
            for topic in sorted(topics)
            for number in range(sizes.get(topic, 0))
        ]

    def read_from(self, starts: Mapping[Partition, int]) -> None:
        """Read these partitions, each from an offset on, without being assigned them by a group."""
        self.assign([TopicPartition(*partition) for partition in starts])
        for partition, offset in starts.items():
            self.move(partition, offset)

    def leave_out(self, partition: Partition) -> None:
        """Read no more of a partition."""
        self.pause(TopicPartition(*partition))

    async def first_offsets(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The offset of the oldest record of each partition."""
        places = [TopicPartition(*partition) for partition in partitions]
        found = await to_its_end(self.beginning_offsets(places))
        return {Partition(*place): at for place, at in found.items()}

    async def next_offsets(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The offset behind the newest record of each partition that may be read.

        That is the last stable offset: behind transaction markers, before open transactions.
        """
        places = [TopicPartition(*partition) for partition in partitions]
        found = await to_its_end(self.end_offsets(places))
        return {Partition(*place): at for place, at in found.items()}

    async def offsets_at(
        self, partitions: Iterable[Partition], record_ms: int
    ) -> dict[Partition, OffsetAndTimestamp]:
        """For each partition the first record that is not older than this (epoch milliseconds).

        Partitions without one are left out, and all of a broker that does not look up times.
        """
        places = {TopicPartition(*partition): max(0, record_ms) for partition in partitions}
        found = await to_its_end(self.offsets_for_times(places)) if places else {}
        return {Partition(*place): at for place, at in found.items() if at is not None}

    def topic_partitions(self) -> frozenset[Partition]:
        """All partitions of the topics that are subscribed to, whoever owns them."""
        return frozenset(
            Partition(topic, number)
            for topic in self.subscription()
            for number in self.partitions_for_topic(topic) or ()
        )

    async def committed_offsets(
        self, partitions: Iterable[Partition]
    ) -> dict[Partition, OffsetAndMetadata]:
        """What the group has committed, in one request; partitions without are left out."""
        places = [TopicPartition(*partition) for partition in partitions]
        committed = await self._coordinator.fetch_committed_offsets(places)
        return {Partition(*place): found for place, found in committed.items()}

    async def commit_offsets(self, offsets: Mapping[Partition, OffsetAndMetadata]) -> None:
        """Commit as the member that we are, whatever aiokafka thinks of the assignment.

        When a topic pattern begins to match another topic, aiokafka drops the assignment before it
        calls `on_partitions_revoked`, and its own `commit` refuses what a broker would still take.
        """
        places = {TopicPartition(*partition): taken for partition, taken in offsets.items()}
        await self._coordinator.commit_offsets(None, places)

    def watch_membership(self, lease: Lease) -> None:
        """Have the lease follow what the group's coordinator answers (R4).

        aiokafka keeps the time of the last heartbeat in a local variable. Call it between `start`
        and `subscribe`. What counts is when a request was sent: the coordinator begins to count
        anew after that.
        """
        coordinator = self._coordinator
        send = coordinator._send_req  # noqa: SLF001 - see the top

        async def watched(request: object) -> object:
            sent = time.monotonic()
            response = await send(request)
            codes = _answers_to_member(request, response)
            self.replaced = self.replaced or _FENCED_INSTANCE_ID in codes
            if codes & _NO_MEMBER:
                lease.end()
            elif codes == {_OK} and not isinstance(request, OffsetCommitRequest):
                lease.confirm(sent, stable=True)
            elif codes in ({_OK}, {RebalanceInProgressError.errno}):
                # The session is kept up by it; commits are also taken while a rebalance begins.
                lease.confirm(sent, stable=False)
            if isinstance(request, SyncGroupRequest) and codes == {_OK} and self._group_instance_id:
                rest = only_of(self.subscription(), response.member_assignment)
                if rest is not None:
                    response.member_assignment = rest
                    self.ask_for_rebalance()
            return response

        coordinator._send_req = watched  # noqa: SLF001

    async def group_assignment(self) -> frozenset[Partition] | None:
        """All partitions that the group's members have; None while a rebalance is under way.

        Raises:
            KafkaError: the coordinator did not say.
        """
        coordinator = self._coordinator
        if coordinator.coordinator_id is None or self.generation < 0:
            return None
        answer = await coordinator._send_req(DescribeGroupsRequest([self._group_id]))  # noqa: SLF001
        ((code, _, state, _, _, members),) = answer.groups
        if code:
            raise for_code(code)(self._group_id)
        assignments = [assignment for *_, assignment in members]
        return partitions_of(assignments) if state == "Stable" else None

    def ask_for_rebalance(self) -> None:
        """Have the group share out all partitions anew; only of a member with an instance id."""
        for assignor in self._coordinator._assignors:  # noqa: SLF001 - see the top
            assignor.insist()
        self._coordinator.request_rejoin()

    def broken(self) -> BaseException | None:
        """Why the task that fetches has ended; None while it runs. `getmany` would only wait."""
        task = self._fetcher.error_future
        if not task.done() or task.cancelled():
            return None
        return task.exception() or RuntimeError("the fetching task has ended")

    async def close(self) -> bool:
        """Leave the group and close, in `STOP_SECONDS` and a little.

        Returns:
            Whether it went in good order; if not, the group may wait for the session timeout.
        """
        if await _within(STOP_SECONDS, self.stop()):
            return True
        await _within(1.0, self._abandon())
        return False

    async def _abandon(self) -> None:
        """Let go of what a `stop` that did not end well has left."""
        tasks: list[asyncio.Task[object] | None] = []
        if self._coordinator is not None:
            # Which of them there are depends on whether there is a group.
            names = ("_heartbeat_task", "_commit_refresh_task", "_reset_committed_task")
            tasks += [getattr(self._coordinator, name, None) for name in names]
        if self._fetcher is not None:
            tasks += [self._fetcher.error_future, *self._fetcher._pending_tasks]  # noqa: SLF001
        running = [task for task in tasks if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._client.close()


def _answers_to_member(request: object, response: Any) -> set[int]:
    """The error codes of an answer that depends on our membership; none of other answers."""
    if isinstance(request, JoinGroupRequest):
        return {response.error_code} & _NO_MEMBER  # a "yes" comes with the answer after it
    if isinstance(request, HeartbeatRequest | SyncGroupRequest):
        return {response.error_code}
    if isinstance(request, OffsetCommitRequest):
        return {code for _, partitions in response.topics for _, code in partitions}
    return set()


async def to_its_end(asking: Coroutine[object, object, T]) -> T:
    """Ask something; when that is cancelled, let it come to an end first, if that is soon.

    Where aiokafka needs a connection for it, it loses sight of one whose opening is cut short, and
    never closes it.
    """
    task = asyncio.create_task(asking)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=_ENDING_SECONDS)
        task.cancel()
        raise


async def _within(seconds: float, ending: Coroutine[object, object, None]) -> bool:
    """Whether this ended well in time; it is cancelled if not.

    It runs in a task of its own: when aiokafka cancels its tasks it lets the `CancelledError` of
    some out (of those that wait after a failed fetch), and that would look like our own.
    """
    task = asyncio.create_task(ending)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        task.cancel()
    await asyncio.wait({task}, timeout=1.0)
    return task.done() and not task.cancelled() and task.exception() is None
