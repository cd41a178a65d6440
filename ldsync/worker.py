"""The flow on one page: records in, batches out, offsets committed.

Three tasks share one event loop, one buffer and one ledger, and never wait between reading and
writing them, so there are no locks and no queues between stages. A write that fails gives its
changes back to the buffer, where anything newer wins: nothing here holds a batch and tries again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from ldsync.attempt import attempt
from ldsync.cancelling import cancel
from ldsync.engage.history import newest
from ldsync.kafka.chunks import chunks
from ldsync.kafka.commits import CommitOutcome
from ldsync.kafka.offsets import Offsets
from ldsync.launchdarkly.outcome import Outcome, Patience, Rejected, Retry, Scope
from ldsync.sync.gate import Gate
from ldsync.sync.outcomes import STALE, Ending, RecordOutcome
from ldsync.sync.states import State, move
from ldsync.versions.advice import replicas_concern
from ldsync.versions.base import StoreState, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from aiokafka import ConsumerRecord

    from ldsync.kafka.rebalance import Listener
    from ldsync.kafka.source import Source
    from ldsync.parts import Parts
    from ldsync.sync.batch import Batch
    from ldsync.sync.change import Segment
    from ldsync.sync.ledger import Account, Partition
    from ldsync.sync.policy import Policy

_POLL_SECONDS: Final = 0.2
_UNTOLD: Final = -1
"""Of losses: no such number was ever met, so that they differ."""
_LONGEST_SLEEP: Final = 1.0


class Worker:
    """Moves membership from Kafka to LaunchDarkly until it is told to stop.

    `state` is what it is doing; `turns` says when each of its loops last went round (monotonic
    seconds), for liveness; `ordering_concern` what is known to keep the newest change from winning.
    """

    def __init__(
        self, parts: Parts, policy: Policy, open_source: Callable[[Listener], Source]
    ) -> None:
        """Prepare; `open_source` makes the source that reports assignments to this worker."""
        self.policy = policy
        self._decoder = parts.decoder
        self._buffer = parts.buffer
        self._ledger = parts.ledger
        self._dead_letters = parts.dead_letters
        self._parking = parts.parking
        self._versions = parts.versions
        self._writer = parts.writer
        self._environment = parts.environment
        self._pacing = parts.pacing
        self._schedule = parts.schedule
        self._journal = parts.journal
        self._metrics = parts.metrics
        self.gate = Gate(parts.lease, policy.take_over_seconds)
        self.source = open_source(self)
        self.offsets = Offsets(self.source, parts.ledger, parts.metrics)
        self._writes: set[asyncio.Task[None]] = set()
        self._tasks = asyncio.TaskGroup()
        self._stop = asyncio.Event()
        self._wake = asyncio.Event()
        self._landed = asyncio.Event()
        self._wakes_at = 0.0
        self.state = State.STARTING
        self.turns: dict[str, float] = {}
        self.ordering_concern = ""
        self._losses = parts.versions.losses
        self._unkeyed = False
        self._enter(State.STARTING)

    async def run(self) -> None:
        """Work until `stop`, then drain and leave the group.

        Raises SourceUnavailable or SourceMisconfigured if Kafka cannot be joined, and an exception
        group with whatever ended a task otherwise.
        """
        self._enter(State.JOINING)
        try:
            if await self._join():
                async with self._tasks:
                    loops = [
                        self._tasks.create_task(loop)
                        for loop in (
                            self._ingest(),
                            self._flush(),
                            self._commit(),
                            self._dead_letters.run(),
                            self._dead_letters.reread(),
                            self._versions.watch(),
                            self._parking.run(self._may_park),
                            self._parking.replay(
                                self._may_park,
                                lambda: self.source.assigned,
                                lambda: self.source.all_partitions,
                            ),
                            self._parking.recalling.run(lambda: self.source.assigned),
                        )
                    ]
                    await self._stop.wait()
                    await self._drain()
                    await cancel((*loops, *self._writes))
        finally:
            await self.source.stop()
            await self._dead_letters.stop()
            self._enter(State.STOPPED)

    async def _join(self) -> bool:
        """Start the source, and say whether it did before `stop`: brokers may be long away."""
        start = asyncio.create_task(self._start())
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            start.cancel()
            stop.cancel()
            await asyncio.gather(start, stop, return_exceptions=True)
        return not start.cancelled() and start.result() is None

    async def _start(self) -> None:
        """First what could keep us from working at all, so that the group is not disturbed."""
        await self._dead_letters.start()
        await self.source.start()

    def stop(self) -> None:
        """Ask for a drain and an end; returns at once."""
        self._stop.set()

    def hurry(self) -> None:
        """Have all that waits for a person tried at once; returns at once."""
        now = time.monotonic()
        self._journal.hurried(self._journal.fortunes.waiting)
        self._schedule.hurry()
        self._buffer.hurry(now)
        self._wake.set()

    # --- in -----------------------------------------------------------------------------------

    async def _ingest(self) -> None:
        """Poll without end, also while nothing may be taken in: polling keeps the membership."""
        while True:
            self.turns["ingest"] = time.monotonic()
            paused = self._apply_backpressure()
            found = await self.source.poll(paused=paused, timeout=_POLL_SECONDS)
            # All accounts before the first pause: what was polled belongs to this epoch alone (P6).
            polled = [(self._ledger.account(place), records) for place, records in found.items()]
            for account, records in polled:
                for chunk in chunks(records):
                    if account.closed:
                        break
                    self._take_in(account, chunk)
                    await asyncio.sleep(0)

    def _take_in(self, account: Account, records: Sequence[ConsumerRecord]) -> None:
        """Decode a chunk of records of one partition and buffer what they change."""
        now = time.monotonic()
        first = records[0]
        self._unkeyed = self._unkeyed or first.key is None
        chunk = account.open_chunk(first.offset, records[-1].offset + 1, first.timestamp)
        changes, refused, several = self._decoder.read_all(records)
        added = 0
        for found, _, before in several:
            self._buffer.add(changes[added:before], chunk, now)
            worst = None if found.worst is None else found.worst.ending
            self._buffer.add_together(found.changes, chunk, now, worst)
            added = before
        self._buffer.add(changes[added:] if added else changes, chunk, now)
        self._journal.records(account.partition.topic, len(records))
        self._journal.refused(refused, several, account.partition)
        self._journal.ended(self._buffer.take_ended())
        self._journal.fallbacks(self._decoder.fallbacks)
        self._journal.collisions.take(self._decoder.collisions)
        self._dead_letters.take(refused, several, chunk, len(records))
        chunk.release()
        deadline = self._buffer.next_deadline()
        if deadline is not None and deadline < self._wakes_at:
            self._wake.set()

    async def history(self, partition: Partition, records: Sequence[ConsumerRecord]) -> None:
        """Note what records say that were consumed before, and nothing else (R5; Listener)."""
        came = time.monotonic() - _age(records[-1].timestamp)
        for segment, changes in newest(self._decoder, records).items():
            await self._note(segment, changes, came)
        self._journal.history(partition.topic, len(records))

    async def warmed(self, partitions: frozenset[Partition], since: int | None) -> None:
        """Say how far back what is known reaches (R5; Listener).

        Not if what was noted got lost meanwhile: it is about to be read again.
        """
        if self._versions.losses != self._losses:
            return
        reach = None if since is None else _age(since)
        noted, wanted = _names(partitions), _names(self.source.all_partitions)
        try:
            await self._versions.mark_warm(reach, time.monotonic(), noted=noted, wanted=wanted)
        except StoreUnavailable:
            # It stays cold until somebody says so (R7).
            self._losses = _UNTOLD

    def _look_at_losses(self) -> None:
        """Have history read again if the store has lost what it was told of it, or was not (R7)."""
        if self._versions.losses != self._losses and self._versions.state is not StoreState.DOWN:
            self._losses = self._versions.losses
            self.source.reread_history()

    async def _note(self, segment: Segment, changes: Mapping[str, str], came: float) -> None:
        """Note changes that are history, as soon as the store can be reached."""
        while True:
            try:
                return await self._versions.note(segment, changes, came)
            except StoreUnavailable:
                await asyncio.sleep(_LONGEST_SLEEP)

    # --- out ----------------------------------------------------------------------------------

    async def _flush(self) -> None:
        """Start a write for every batch that is due, as far as slots and the gate allow."""
        while True:
            now = self.turns["flush"] = time.monotonic()
            self._wake.clear()
            self._look_at_losses()
            wait = _LONGEST_SLEEP
            slots = min(self.policy.max_in_flight, self._pacing.concurrency.limit)
            while len(self._writes) < slots and self._versions.state is StoreState.UP:
                # Where to write is not known before the environment is found.
                wait = self._pacing.open_at - now if self._environment.resolved else _LONGEST_SLEEP
                wait = max(wait, self.gate.wait(now))
                # What fails again may take its time: half of the slots are kept from it (P5).
                repeats = max(1, slots // 2)
                batch = self._buffer.take(now, repeats=repeats) if wait <= 0 else None
                if batch is None:
                    deadline = self._buffer.next_deadline()
                    wait = _LONGEST_SLEEP if deadline is None else max(wait, deadline - now)
                    break
                self._journal.taken(batch)
                self._parking.began(batch)
                task = self._tasks.create_task(self._write(batch))
                self._writes.add(task)
                task.add_done_callback(partial(self._land, batch))
            wait = min(wait, _LONGEST_SLEEP)
            self._wakes_at = now + wait
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _write(self, batch: Batch) -> None:
        """Make one attempt at a batch."""
        started = time.monotonic()
        made = await attempt(batch, self._versions, self._writer)
        self._settle(batch, made.outcome, stale=made.stale, seconds=time.monotonic() - started)

    def _land(self, batch: Batch, task: asyncio.Task[None]) -> None:
        """Free the slot of a write; take its batch back if it was cancelled.

        Not in the task itself: one that is cancelled before it begins runs no handler.
        """
        self._writes.discard(task)
        if task.cancelled():
            now = time.monotonic()
            # Its last request may still be applied (R1).
            self._take_back(batch, now, blocked_until=now + self.policy.settle_seconds)
        self._landed.set()
        self._wake.set()

    def _settle(
        self, batch: Batch, outcome: Outcome, *, stale: Collection[str], seconds: float
    ) -> None:
        """Let go of a batch that was written; give back one that was not."""
        if isinstance(outcome, Retry):
            self._put_off(batch, outcome, seconds)
            return
        otherwise = dict.fromkeys(stale, STALE)
        rejected: Mapping[str, str] = {}
        if isinstance(outcome, Rejected):
            rejected = outcome.members
            otherwise |= dict.fromkeys(rejected, Ending(RecordOutcome.REJECTED, outcome.reason))
        if self._buffer.is_current(batch):
            if isinstance(outcome, Rejected):
                self._journal.rejected(batch, outcome.reason, rejected)
            self._journal.delivered(batch, rejected=rejected, seconds=seconds)
        self._schedule.succeeded(batch.segment)
        self._parking.accepted(batch, seconds)
        self._buffer.land(batch, time.monotonic(), otherwise)
        self._journal.ended(self._buffer.take_ended())
        if isinstance(outcome, Rejected) and rejected and self._buffer.is_current(batch):
            self._dead_letters.reject(
                batch, outcome.reason, rejected, partial(self._release, batch)
            )
        else:
            self._release(batch)

    def _release(self, batch: Batch) -> None:
        """Let go of the records of a batch: its changes are delivered, or safe as dead letters."""
        self._buffer.release(batch, time.monotonic())

    def _put_off(self, batch: Batch, retry: Retry, seconds: float) -> None:
        """Return a batch to the buffer, to be written when LaunchDarkly may accept it."""
        now = time.monotonic()
        wait = self._schedule.failed(batch.segment, batch.attempt, retry, now)
        self._parking.failed(batch, retry, seconds)
        lasting = retry.patience is Patience.OPERATOR
        if self._buffer.is_current(batch):
            self._journal.retried(
                batch, retry.reason.value, retry.detail, wait, seconds, lasting=lasting
            )
        since = retry.ambiguous_since
        until = 0.0 if since is None else since + self.policy.settle_seconds
        # What holds up everything is waited for at the gate: it may end earlier than expected.
        at_the_gate = lasting and retry.scope is Scope.EVERYTHING
        self._take_back(batch, now if at_the_gate else now + wait, blocked_until=until)

    def _take_back(self, batch: Batch, not_before: float, *, blocked_until: float) -> None:
        self._buffer.give_back(
            batch, time.monotonic(), not_before=not_before, blocked_until=blocked_until
        )
        self._journal.ended(self._buffer.take_ended())

    # --- offsets ------------------------------------------------------------------------------

    async def _commit(self) -> None:
        """Commit what is settled, at intervals."""
        while True:
            self.turns["commit"] = time.monotonic()
            await asyncio.sleep(self.policy.commit_interval_seconds)
            await self.offsets.commit()
            await self.offsets.measure()
            self._look_at_order()

    def _look_at_order(self) -> None:
        """Say once if what this process meets is more than its version store can put in order."""
        if not self.ordering_concern:
            self.ordering_concern = replicas_concern(
                shared_store=self._versions.shared,
                others=self.source.has_peers,
                unkeyed=self._unkeyed,
            )
            self._journal.unsafe_order(self.ordering_concern)

    # --- membership and pressure ----------------------------------------------------------------

    def _apply_backpressure(self) -> bool:
        """Say whether consumption is to pause: over budget (P3), or draining."""
        if self.state is State.DRAINING:
            return True
        letters = self._dead_letters.over_budget()
        over = self._buffer.over_budget() or letters
        if over and self.state is State.RUNNING:
            self._enter(State.PAUSED)
            self._journal.paused(self._buffer.changes, self._buffer.bytes, letters=letters)
        elif not over and self.state is State.PAUSED:
            self._enter(State.RUNNING)
            self._journal.resumed(self._buffer.changes)
        return over

    def _may_park(self) -> bool:
        """Say whether changes may go to the dead letters: what is being drained may not.

        Nor while nothing can be written for want of the version store: no segment is to blame.
        """
        works = self.state in (State.RUNNING, State.PAUSED) and not self._buffer.draining
        return works and self._versions.state is StoreState.UP

    def assigned(self, partitions: frozenset[Partition]) -> None:
        """Open an epoch of each partition (Listener)."""
        self.gate.assigned(time.monotonic())
        self._look_at_losses()
        for partition in partitions:
            self._ledger.assign(partition)
        if self.state is State.JOINING:
            self._enter(State.WARMING)

    def ready(self, committed: Mapping[Partition, int], *, clean: bool) -> None:
        """Begin to work: records come; writes may have to wait still (R2; Listener)."""
        self.offsets.begin(committed)
        self.gate.open(time.monotonic(), clean=clean)
        self._parking.recalling.begin()
        self._wake.set()
        if self.state is State.WARMING:
            self._enter(State.RUNNING)

    async def revoked(self, partitions: frozenset[Partition]) -> None:
        """Flush, wait, commit, fence and forget, in this order (R3; Listener)."""
        self.offsets.revoke()
        try:
            # A membership that was lost must not write any more: others own the partitions (R4).
            if self.source.is_member:
                await self._flush_everything(self.policy.drain_seconds, revoking=True)
                await self._hand_over()
        finally:
            await self._end_epoch(partitions)

    async def _hand_over(self) -> CommitOutcome:
        """Begin no write any more, and commit; say if nothing is on its way either (R2, R3)."""
        now = time.monotonic()
        clean = self.gate.taken_over(now) and self._buffer.quiet(now)
        self.gate.close()
        return await self.offsets.commit(self.policy.commit_seconds, clean=clean)

    async def _end_epoch(self, partitions: frozenset[Partition]) -> None:
        for partition in partitions:
            self._ledger.revoke(partition)
        abandoned = self._buffer.changes
        forgotten = self._buffer.discard(time.monotonic())
        self._journal.ended(self._buffer.take_ended())
        self._dead_letters.discard()
        self._journal.epoch_ended(abandoned)
        self._schedule.reset()
        self._parking.reset()
        self.offsets.end(partitions)
        for task in self._writes:
            task.cancel()
        self._landed.set()
        # What replicas share need not be told of what is consumed again, nor waited for here.
        for segment, changes in forgotten if not self._versions.shared else ():
            await self._versions.note(segment, changes, time.monotonic())
        if self.state in (State.WARMING, State.RUNNING, State.PAUSED):
            self._enter(State.JOINING)

    # --- the end ------------------------------------------------------------------------------

    async def _drain(self) -> None:
        """Write and commit what is there, within the deadline; the rest is consumed again."""
        self._enter(State.DRAINING)
        self._journal.drain_started(self._buffer.changes)
        complete = await self._flush_everything(self.policy.drain_seconds)
        committed = await self._hand_over()
        complete = complete and committed is CommitOutcome.COMMITTED
        self._journal.drained(self._buffer.changes, committed.value, complete=complete)

    async def _flush_everything(self, seconds: float, *, revoking: bool = False) -> bool:
        """Write all that waits, whatever its age; say whether that was done within `seconds`.

        While partitions are revoked there is nothing to wait for when the membership is lost (R4);
        and there never is when all that is left has been put off for longer.
        """
        started = time.monotonic()
        self._buffer.drain(started, on=True)
        self._wake.set()
        try:
            async with asyncio.timeout(seconds):
                while not (self._buffer.empty and self._dead_letters.empty):
                    if revoking and not self.source.is_member:
                        return False
                    put_off = self._is_put_off(started + seconds)
                    if self._buffer.empty or put_off:
                        await self._dead_letters.flush()
                        if put_off:
                            return False
                        continue
                    self._landed.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_LONGEST_SLEEP):
                            await self._landed.wait()
        except TimeoutError:
            return False
        finally:
            now = time.monotonic()
            self._buffer.drain(now, on=False)
            self._metrics.drain_duration.set(now - started)
        return True

    def _is_put_off(self, until: float) -> bool:
        """Say whether there are changes, and none of them may be written before a time."""
        if self._buffer.empty or self._buffer.in_flight:
            return False
        deadline = self._buffer.next_deadline()
        return deadline is not None and deadline >= until

    def _enter(self, state: State) -> None:
        self.state = move(self.state, state)
        self._metrics.set_state(state)
        self._metrics.paused.set(state is State.PAUSED)


def _names(partitions: frozenset[Partition]) -> list[str]:
    """How replicas call partitions among themselves."""
    return [f"{topic}/{number}" for topic, number in partitions]


def _age(epoch_ms: int) -> float:
    """How many seconds ago that was."""
    return max(0.0, time.time() - epoch_ms / 1000)
