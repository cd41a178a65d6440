"""The flow on one page: records in, batches out, offsets committed.

Three tasks share one event loop, one buffer and one ledger, and never wait between reading and
writing them, so there are no locks and no queues between stages. A write that fails gives its
changes back to the buffer, where anything newer wins: nothing here holds a batch and tries again.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from ldsync.engage.decoder import Decoder, Several
from ldsync.kafka.commits import CommitOutcome
from ldsync.launchdarkly.outcome import Delivered, Outcome, Patience, Rejected, Retry, Scope
from ldsync.sync.change import Change
from ldsync.sync.outcomes import RecordOutcome
from ldsync.sync.states import State, move

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from aiokafka import ConsumerRecord

    from ldsync.engage.verdict import Verdict
    from ldsync.kafka.rebalance import Listener
    from ldsync.kafka.source import Source
    from ldsync.launchdarkly.pacing import Pacing
    from ldsync.launchdarkly.writers.standard import StandardWriter
    from ldsync.sync.backoff import Backoff
    from ldsync.sync.buffer import Batch, Buffer
    from ldsync.sync.ledger import Account, Ledger, Partition
    from ldsync.telemetry.journal import Journal
    from ldsync.telemetry.metrics import Metrics
    from ldsync.versions.memory import MemoryVersions

CHUNK_RECORDS: Final = 1000
"""Records taken in before the loop gets a turn: about 5 ms of work."""

_POLL_SECONDS: Final = 0.2
_LONGEST_SLEEP: Final = 1.0


@dataclass(frozen=True, slots=True)
class Policy:
    """How long things may take (seconds) and how much may go on at a time.

    `transient` and `operator` schedule the attempts after failures that pass by themselves and
    after those that a person has to end.
    """

    max_in_flight: int
    settle_seconds: float
    commit_interval_seconds: float
    drain_seconds: float
    commit_seconds: float
    transient: Backoff
    operator: Backoff


@dataclass(frozen=True, slots=True)
class Parts:
    """What the worker works with."""

    decoder: Decoder
    buffer: Buffer
    ledger: Ledger
    versions: MemoryVersions
    writer: StandardWriter
    pacing: Pacing
    journal: Journal
    metrics: Metrics
    rng: random.Random


class Worker:
    """Moves membership from Kafka to LaunchDarkly until it is told to stop.

    `state` is what it is doing; `turns` says when each of its loops last went round (monotonic
    seconds), for liveness; `lags` is how many records each partition was behind at the last commit.
    """

    def __init__(
        self, parts: Parts, policy: Policy, open_source: Callable[[Listener], Source]
    ) -> None:
        """Prepare; `open_source` makes the source that reports assignments to this worker."""
        self._policy = policy
        self._decoder = parts.decoder
        self._buffer = parts.buffer
        self._ledger = parts.ledger
        self._versions = parts.versions
        self._writer = parts.writer
        self._pacing = parts.pacing
        self._journal = parts.journal
        self._metrics = parts.metrics
        self._rng = parts.rng
        self._log = structlog.get_logger()
        self.source = open_source(self)
        self._writes: set[asyncio.Task[None]] = set()
        self._tasks = asyncio.TaskGroup()
        self._stop = asyncio.Event()
        self._wake = asyncio.Event()
        self._landed = asyncio.Event()
        self._wakes_at = 0.0
        self._committed: dict[Partition, int] = {}
        self._revoking = False
        self._outages = 0
        self.state = State.STARTING
        self.turns: dict[str, float] = {}
        self.lags: dict[Partition, int] = {}
        self._enter(State.STARTING)

    async def run(self) -> None:
        """Work until `stop`, then drain and leave the group.

        Raises SourceUnavailable or SourceMisconfigured if Kafka cannot be joined, and an exception
        group with whatever ended a task otherwise.
        """
        self._enter(State.JOINING)
        await self.source.start()
        try:
            async with self._tasks:
                loops = [
                    self._tasks.create_task(loop)
                    for loop in (self._ingest(), self._flush(), self._commit())
                ]
                await self._stop.wait()
                await self._drain()
                for task in (*loops, *self._writes):
                    task.cancel()
        finally:
            await self.source.stop()
            self._enter(State.STOPPED)

    def stop(self) -> None:
        """Ask for a drain and an end; returns at once."""
        self._stop.set()

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
                for start in range(0, len(records), CHUNK_RECORDS):
                    if account.closed:
                        break
                    self._take_in(account, records[start : start + CHUNK_RECORDS])
                    await asyncio.sleep(0)

    def _take_in(self, account: Account, records: Sequence[ConsumerRecord]) -> None:
        """Decode a chunk of records of one partition and buffer what they change."""
        now = time.monotonic()
        first = records[0]
        chunk = account.open_chunk(first.offset, records[-1].offset + 1, first.timestamp)
        read = self._decoder.read
        add = self._buffer.add
        coalesced = more = 0
        verdicts: dict[Verdict, tuple[int, int]] = {}
        for record in records:
            found = read(record.value, record.timestamp)
            if isinstance(found, Change):
                coalesced += add(found, chunk, now)
            elif isinstance(found, Several):
                # Each change of the record is accounted for like a record of its own, and so is
                # what is invalid in it.
                coalesced += sum(add(change, chunk, now) for change in found.changes)
                more += len(found.changes) - 1
                if found.worst is not None:
                    more += 1
                    count, offset = verdicts.get(found.worst, (0, record.offset))
                    verdicts[found.worst] = (count + 1, offset)
            else:
                count, offset = verdicts.get(found, (0, record.offset))
                verdicts[found] = (count + 1, offset)
        chunk.release()
        self._journal.records(account.partition.topic, len(records) + more, coalesced)
        for verdict, (count, offset) in verdicts.items():
            self._journal.verdict(verdict, count, account.partition, offset)
        self._journal.fallbacks(self._decoder.fallbacks)
        deadline = self._buffer.next_deadline()
        if deadline is not None and deadline < self._wakes_at:
            self._wake.set()

    # --- out ----------------------------------------------------------------------------------

    async def _flush(self) -> None:
        """Start a write for every batch that is due, as far as slots and the gate allow."""
        while True:
            now = self.turns["flush"] = time.monotonic()
            self._wake.clear()
            wait = _LONGEST_SLEEP
            while len(self._writes) < self._policy.max_in_flight:
                wait = self._pacing.open_at - now
                batch = self._buffer.take(now) if wait <= 0 else None
                if batch is None:
                    deadline = self._buffer.next_deadline()
                    wait = _LONGEST_SLEEP if deadline is None else max(wait, deadline - now)
                    break
                self._journal.taken(batch)
                task = self._tasks.create_task(self._write(batch))
                self._writes.add(task)
                task.add_done_callback(self._writes.discard)
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
        stale = await self._versions.merge(batch.segment, batch.changes, started)
        try:
            outcome = await self._writer.write(batch.segment, batch.changes)
        except asyncio.CancelledError:
            # Its last request may still be applied (R1).
            now = time.monotonic()
            until = now + self._policy.settle_seconds
            self._buffer.give_back(batch, now, not_before=now, blocked_until=until)
            raise
        self._settle(batch, outcome, stale=stale, seconds=time.monotonic() - started)
        self._landed.set()
        self._wake.set()

    def _settle(self, batch: Batch, outcome: Outcome, *, stale: int, seconds: float) -> None:
        """Let go of a batch that was written; give back one that was not."""
        now = time.monotonic()
        current = self._buffer.is_current(batch)
        match outcome:
            case Retry():
                self._give_back(batch, outcome, seconds)
                return
            case Delivered() if current:
                self._journal.delivered(batch, stale=stale, rejected=0, seconds=seconds)
            case Rejected(reason=reason, members=members) if current:
                self._journal.rejected(batch, reason, members)
                self._journal.delivered(batch, stale=stale, rejected=len(members), seconds=seconds)
        self._outages = 0
        self._buffer.settle(batch, now)

    def _give_back(self, batch: Batch, retry: Retry, seconds: float) -> None:
        """Return changes to the buffer, where newer ones win, and decide when to try again."""
        now = time.monotonic()
        lasting = retry.patience is Patience.OPERATOR
        backoff = self._policy.operator if lasting else self._policy.transient
        attempt = batch.attempt
        if retry.scope is Scope.EVERYTHING and lasting:
            # Several batches may report one outage: only the first of them makes the wait longer.
            if now >= self._pacing.open_at:
                self._outages += 1
            attempt = self._outages
        wait = backoff.delay(attempt, self._rng, retry.after)
        if retry.scope is Scope.EVERYTHING and lasting and now >= self._pacing.open_at:
            self._pacing.close_until(now + wait, retry.detail)
        blocked = retry.ambiguous_since
        until = 0.0 if blocked is None else blocked + self._policy.settle_seconds
        self._journal.retried(
            batch,
            reason=retry.reason.value,
            detail=retry.detail,
            wait=wait,
            lasting=lasting,
            seconds=seconds,
        )
        coalesced = self._buffer.give_back(batch, now, not_before=now + wait, blocked_until=until)
        self._journal.ended(RecordOutcome.COALESCED, coalesced)

    # --- offsets ------------------------------------------------------------------------------

    async def _commit(self) -> None:
        """Commit what is settled, at intervals."""
        while True:
            self.turns["commit"] = time.monotonic()
            await asyncio.sleep(self._policy.commit_interval_seconds)
            await self._commit_now()
            lags = await self.source.lags()
            self.lags = {place: lag for place, lag in lags.items() if place in self.source.assigned}
            for partition, lag in self.lags.items():
                self._metrics.lag[partition].set(lag)

    def _committable(self) -> dict[Partition, int]:
        """Return the offsets that may be committed and are not yet."""
        offsets = self._ledger.committable()
        if not self._revoking:
            for partition, position in self.source.positions().items():
                # Nothing unsettled: go past transaction markers, which would look like lag.
                if self._ledger.idle(partition):
                    offsets[partition] = max(position, offsets.get(partition, 0))
        return {
            partition: offset
            for partition, offset in offsets.items()
            if self._committed.get(partition) != offset
        }

    async def _commit_now(self, timeout: float | None = None) -> CommitOutcome:
        """Commit what is settled; takes at most `timeout` seconds."""
        offsets = self._committable()
        outcome = CommitOutcome.COMMITTED
        if offsets:
            outcome = await self.source.commit(offsets, timeout=timeout)
            self._metrics.commits[outcome].inc()
            if outcome is CommitOutcome.COMMITTED:
                self._committed.update(offsets)
        for partition, position in self.source.positions().items():
            behind = position - self._committed.get(partition, position)
            self._metrics.uncommitted[partition].set(max(0, behind))
        return outcome

    # --- membership and pressure ----------------------------------------------------------------

    def _apply_backpressure(self) -> bool:
        """Say whether consumption is to pause: over budget (P3), or draining."""
        if self.state is State.DRAINING:
            return True
        over = self._buffer.over_budget()
        if over and self.state is State.RUNNING:
            self._enter(State.PAUSED)
            self._metrics.pauses.inc()
            self._log.warning(
                "consumption.paused",
                changes=self._buffer.changes,
                bytes=self._buffer.bytes,
                advice="the buffer is full: LaunchDarkly takes less than Kafka brings",
            )
        elif not over and self.state is State.PAUSED:
            self._enter(State.RUNNING)
            self._log.info("consumption.resumed", changes=self._buffer.changes)
        self._metrics.paused.set(over)
        return over

    def assigned(self, partitions: frozenset[Partition]) -> None:
        """Open an epoch of each partition (Listener)."""
        self._committed = {}
        for partition in partitions:
            self._ledger.assign(partition)
        if self.state is State.JOINING:
            self._enter(State.RUNNING)

    async def revoked(self, partitions: frozenset[Partition]) -> None:
        """Flush, wait, commit, fence and forget, in this order (R3; Listener)."""
        self._revoking = True
        try:
            # A membership that was lost must not write any more: others own the partitions.
            if self.source.is_member:
                await self._flush_everything(self._policy.drain_seconds)
                await self._commit_now(self._policy.commit_seconds)
        finally:
            await self._end_epoch(partitions)
            self._revoking = False

    async def _end_epoch(self, partitions: frozenset[Partition]) -> None:
        for partition in partitions:
            self._ledger.revoke(partition)
        abandoned = self._buffer.changes
        forgotten = self._buffer.discard(time.monotonic())
        self._journal.ended(RecordOutcome.ABANDONED, abandoned)
        for task in self._writes:
            task.cancel()
        for segment, changes in forgotten:
            await self._versions.merge(segment, changes, time.monotonic())
        self._metrics.forget_partitions(partitions)
        if abandoned:
            self._log.info("changes.abandoned", changes=abandoned)
        if self.state in (State.RUNNING, State.PAUSED):
            self._enter(State.JOINING)

    # --- the end ------------------------------------------------------------------------------

    async def _drain(self) -> None:
        """Write and commit what is there, within the deadline; the rest is consumed again."""
        self._enter(State.DRAINING)
        self._log.info("drain.started", changes=self._buffer.changes)
        complete = await self._flush_everything(self._policy.drain_seconds)
        committed = await self._commit_now(self._policy.commit_seconds)
        if complete and committed is CommitOutcome.COMMITTED:
            self._log.info("drain.complete")
        else:
            self._log.warning(
                "drain.incomplete",
                changes=self._buffer.changes,
                commit=committed.value,
                advice="nothing is lost: what is not committed is consumed again after the start",
            )

    async def _flush_everything(self, seconds: float) -> bool:
        """Write all that waits, whatever its age; say whether that was done within `seconds`."""
        started = time.monotonic()
        self._buffer.drain(started, on=True)
        self._wake.set()
        try:
            async with asyncio.timeout(seconds):
                while not self._buffer.empty:
                    self._landed.clear()
                    await self._landed.wait()
        except TimeoutError:
            return False
        finally:
            now = time.monotonic()
            self._buffer.drain(now, on=False)
            self._metrics.drain_duration.set(now - started)
        return True

    def _enter(self, state: State) -> None:
        self.state = move(self.state, state)
        self._metrics.set_state(state)
