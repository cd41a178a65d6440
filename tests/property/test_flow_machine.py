"""The core from the record to the commit, under every order of events that Hypothesis can think of.

The model is a history: all records of all partitions, what LaunchDarkly was told and when, and
plain dictionaries of what must be waiting. It knows nothing of lanes, pages and chunks. Partitions
are revoked and assigned again, to the same process or to another one, and then read again from what
was committed, and before that as history; requests without an answer are applied later, or never.
Whatever happens, nothing is lost and the newest wins.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import hypothesis.strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ldsync.sync.buffer import (
    CHANGE_OVERHEAD_BYTES,
    LANE_OVERHEAD_BYTES,
    PAGE_OVERHEAD_BYTES,
    TALLY_OVERHEAD_BYTES,
    Buffer,
)
from ldsync.sync.change import Change, Segment, Target, includes
from ldsync.sync.coverage import Coverage
from ldsync.sync.ledger import Ledger
from ldsync.sync.limits import Budget, Limits
from ldsync.sync.outcomes import STALE, Ending, RecordOutcome
from ldsync.versions.memory import MemoryVersions
from tests.support.core import finished, partition, segment
from tests.support.effort import effort

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ldsync.sync.batch import Batch
    from ldsync.sync.ledger import Account, Partition

SETTLE_SECONDS = 10.0
INVALID = Ending(RecordOutcome.INVALID, "not_an_object")
REJECTED = Ending(RecordOutcome.REJECTED, "bad_request")
PARTITIONS = (partition(0), partition(1), partition(2))
BUDGET = Budget(max_changes=6, max_bytes=100_000, resume_ratio=0.5)

places = st.sampled_from(PARTITIONS)
events = st.tuples(
    st.sampled_from([0, 0, 0, 0, 1, 2, 3, -1]),  # which target; mostly one, so that changes meet
    st.sampled_from(["user/a", "user/b", "user/cc", "user/é", "user/long_name"]),
    st.integers(0, 20),
    st.sampled_from("+-"),
)
contents = st.tuples(
    st.lists(events, min_size=1, max_size=1) | st.lists(events, max_size=3),
    st.sampled_from([False, False, False, True]),
)
Contents = tuple[list[tuple[int, str, int, str]], bool]
waits = st.sampled_from([0.0, 0.5, 2.0, 2.0, 2.0, 5.0, 12.0])
picks = st.integers(0, 10)
"""Any of a few things: the number is taken modulo how many there are."""


class Key(NamedTuple):
    """A member of a segment: what has one state in LaunchDarkly."""

    segment: Segment
    member: str


class Part(NamedTuple):
    """What a record says of a member."""

    target: Target
    member: str
    stamp: str

    @property
    def key(self) -> Key:
        """Whose state it is."""
        return Key(self.target.segment, self.member)

    @property
    def version(self) -> str:
        """What orders it."""
        return self.stamp[:-1]


@dataclass(eq=False)
class Record:
    """A record of a partition, with a part or several, or with nothing that matters here.

    `invalid` is something beside its parts that cannot be read. `fates` are what became of its
    parts since it was last consumed.
    """

    parts: list[Part]
    invalid: bool = False
    fates: list[str] = field(default_factory=list)

    @property
    def pending(self) -> bool:
        """Whether anything of it is still to end."""
        return len(self.fates) < len(self.parts)

    def outcome(self) -> str:
        """The worst of what became of it (P7), by the table of docs/design.md."""
        fates = ["invalid"] if self.invalid and len(self.parts) > 0 else []
        return max([*fates, *self.fates], key=WORST_LAST.index)


WORST_LAST = ["skipped", "invalid", "coalesced", "delivered", "rejected"]


@dataclass
class Flight:
    """A batch in flight, what is sent of it, and the records that it is of."""

    batch: Batch
    current: bool = True
    sent: dict[Key, str] = field(default_factory=dict)
    records: dict[Key, Record] = field(default_factory=dict)
    stale: set[Key] = field(default_factory=set)
    refused: dict[Key, str] = field(default_factory=dict)


@dataclass
class Process:
    """What a process remembers when it owns nothing: its store, and how much of it is history."""

    versions: MemoryVersions
    coverage: Coverage = field(default_factory=Coverage)
    known: dict[Key, str] = field(default_factory=dict)


@dataclass
class Ghost:
    """A request without an answer: it may be applied until it is too late."""

    until: float
    sent: dict[Key, str]


def parts_of(records: list[Record]) -> Iterator[Part]:
    """All parts of some records, in order."""
    for record in records:
        yield from record.parts


class Flow(RuleBasedStateMachine):
    """The whole core, with the rest of the world as a model."""

    writes = 1

    def __init__(self) -> None:
        """Start with empty partitions."""
        super().__init__()
        self.limits = Limits(max_size=3, max_bytes=24, max_age=2.0, writes_per_segment=self.writes)
        self.now = 100.0
        self.buffer = Buffer(self.limits, BUDGET)
        self.ledger = Ledger()
        self.process = Process(MemoryVersions(10_000, self.now))
        self.others: list[Process] = []
        self.opens_at = 0.0
        self.logs: dict[Partition, list[Record]] = {place: [] for place in PARTITIONS}
        self.position = dict.fromkeys(PARTITIONS, 0)
        self.committed = dict.fromkeys(PARTITIONS, 0)
        self.highest: dict[Partition, int] = {}
        self.launchdarkly: dict[Key, str] = {}
        self.done: dict[Key, str] = {}  # the newest version delivered or rejected
        self.rejected: set[Key] = set()
        self.waiting: dict[Key, str] = {}
        self.record_of: dict[Key, Record] = {}
        self.ended: Counter[str] = Counter()
        self.expected: Counter[str] = Counter()
        self.since: dict[Key, float] = {}
        self.replaced: dict[Key, set[str]] = defaultdict(set)  # what is known from before (R6)
        self.blocked: dict[Key, float] = {}
        self.not_before: dict[Segment, float] = defaultdict(float)
        self.flights: list[Flight] = []
        self.landed: list[Flight] = []  # with refused changes that are not safe yet
        self.ghosts: list[Ghost] = []
        self.counts: Counter[str] = Counter()
        self.draining = False
        self.over = False

    @initialize()
    def make_targets(self) -> None:
        """Two segments with batches, one without, and one that is written to in both ways."""
        one, two, three = segment("one"), segment("two"), segment("three")
        for place in PARTITIONS:
            self.process.coverage.note(place, 0, 0)
        self.targets = [
            Target(one, context_kind="user"),
            Target(two, context_kind="user"),
            Target(three, context_kind="user", batch_events=False),
            Target(two, context_kind="user", batch_events=False),
        ]

    # --- records ------------------------------------------------------------------------------

    @rule(place=places, records=st.lists(contents, min_size=1, max_size=4), wait=waits)
    def consume_new(self, place: Partition, records: list[Contents], wait: float) -> None:
        """New records come, behind those that are still to be consumed again; then time passes.

        Their versions are in disorder, and tie within a partition only.
        """
        for events, invalid in records:
            parts = [
                Part(self.targets[number], member, f"{version:02d}.{place.number}{sign}")
                for number, member, version, sign in events
                if number >= 0
            ]
            self.logs[place].append(Record(parts, invalid))
        self.consume(place, len(records))
        self.flush(wait, applied=True)

    @precondition(lambda self: any(self.position[p] < len(self.logs[p]) for p in PARTITIONS))
    @rule(place=places, size=st.integers(1, 4))
    def consume(self, place: Partition, size: int) -> None:
        """Take in a chunk, as the worker does."""
        start = self.position[place]
        records = self.logs[place][start : start + size]
        if not records:
            return
        account: Account = self.ledger.account(place)
        chunk = account.open_chunk(start, start + len(records), 1_000 * start)
        for record in records:
            record.fates = []
            changes = [Change(*part) for part in record.parts]
            if len(changes) == 1 and not record.invalid:
                self.buffer.add(changes, chunk, self.now)
            elif changes:
                worst = INVALID if record.invalid else None
                self.buffer.add_together(changes, chunk, self.now, worst)
            self.counts["added"] += len(changes)
            self.counts["records"] += bool(changes)
            for part in record.parts:
                self._note_waiting(part, record)
        chunk.release()
        self.position[place] = start + len(records)

    def _note_waiting(self, part: Part, record: Record) -> None:
        key, loser = part.key, record
        waiting = self.waiting.get(key)
        if waiting is None or part.version >= waiting[:-1]:
            loser = self.record_of.get(key, record)
            self.waiting[key] = part.stamp
            self.record_of[key] = record
        if waiting is not None:
            self.counts["coalesced"] += 1
            self._end_part(loser, "coalesced")
        self.since.setdefault(key, self.now)

    def _end_part(self, record: Record, fate: str) -> None:
        record.fates.append(fate)
        if not record.pending:
            self.expected[record.outcome()] += 1

    # --- batches ------------------------------------------------------------------------------

    @rule(wait=waits, applied=st.booleans())
    def flush(self, wait: float, *, applied: bool) -> None:
        """Time passes, and one batch is taken if one is due.

        Requests without an answer are applied at the last moment, or never.
        """
        self.now += wait
        for ghost in [ghost for ghost in self.ghosts if ghost.until <= self.now]:
            if applied:
                self._apply(ghost.sent)
            self.ghosts.remove(ghost)
        self._take()

    @rule()
    def take_all(self) -> None:
        """Take until nothing is due: that ends, and what is left has a reason to wait."""
        if self.now < self.opens_at:
            return
        for _ in range(1 + len(self.waiting)):
            if self._take() is None:
                break
        else:
            raise AssertionError("more batches than changes")
        deadline = self.buffer.next_deadline()
        assert deadline is None or deadline > self.now
        flying = {key for flight in self.flights for key in flight.sent}
        for key in self.waiting:
            assert (
                self.now < self.since[key] + self.limits.max_age and not self.draining
            ) or self._held_back(key, flying), key

    def _held_back(self, key: Key, flying: set[Key]) -> bool:
        return (
            key in flying
            or self.blocked.get(key, 0.0) > self.now
            or self.not_before[key.segment] > self.now
            or self._writes_of(key.segment) >= self._most_writes_of(key.segment)
        )

    def _most_writes_of(self, segment: Segment) -> int:
        """After a failure one write at a time finds out whether it goes again."""
        failed = any(lane.failures for lane in self.buffer.lanes() if lane.segment is segment)
        return 1 if failed else self.limits.writes_per_segment

    def _writes_of(self, segment: Segment) -> int:
        return sum(flight.batch.segment is segment for flight in self.flights)

    def _take(self) -> Batch | None:
        if self.now < self.opens_at:  # R2
            return None
        deadline = self.buffer.next_deadline()
        batch = self.buffer.take(self.now)
        if batch is None:
            return None
        assert deadline is not None
        assert deadline <= self.now
        assert self.buffer.is_current(batch)
        assert 1 <= len(batch.changes) <= self.limits.max_size
        size = sum(len(member.encode()) for member in batch.changes)
        assert size <= self.limits.max_bytes or len(batch.changes) == 1
        assert len(batch.changes) == 1 or batch.segment is not self.targets[2].segment
        assert sum(count for _, count in batch.waits()) == len(batch.changes)
        keys = {Key(batch.segment, member): text for member, text in batch.changes.items()}
        flying = {key for flight in self.flights for key in flight.sent}
        for key, text in keys.items():
            assert not self._held_back(key, flying)
            assert self.waiting.pop(key) == text
            del self.since[key]
        self._send(batch, keys)
        return batch

    def _send(self, batch: Batch, keys: dict[Key, str]) -> None:
        found = finished(self.process.versions.merge(batch.segment, batch.changes, self.now))
        expected = {key: self._newest_known(key, text) for key, text in keys.items()}
        assert {Key(batch.segment, m): s for m, s in batch.changes.items()} == expected
        stale = {key for key, text in expected.items() if keys[key] != text}
        assert {Key(batch.segment, member) for member in found} == stale
        for key in stale:
            self.replaced[key].add(expected[key])
        self.process.known |= expected
        records = {key: self.record_of.pop(key) for key in keys}
        self.flights.append(Flight(batch, sent=expected, records=records, stale=stale))

    def _newest_known(self, key: Key, text: str) -> str:
        known = self.process.known.get(key)
        return text if known is None or text[:-1] >= known[:-1] else known

    def _land(self, pick: int) -> Flight:
        return self.flights.pop(pick % len(self.flights))

    def _apply(self, sent: dict[Key, str]) -> None:
        self.launchdarkly |= sent

    @precondition(lambda self: self.flights)
    @rule(pick=picks, rejects=st.integers(0, 2))
    def deliver(self, pick: int, rejects: int) -> None:
        """LaunchDarkly accepts a batch, but for the first few members of it.

        These are safe only when they were written elsewhere, see `release`.
        """
        flight = self._land(pick)
        flight.refused = dict(list(flight.sent.items())[:rejects])
        accepted = {key: s for key, s in flight.sent.items() if key not in flight.refused}
        self._apply(accepted)
        self.rejected |= flight.refused.keys()
        before = self.ledger.committable()
        otherwise = {key.member: STALE for key in flight.stale}
        otherwise |= {key.member: REJECTED for key in flight.refused}
        if flight.refused:
            self._look_for_records(flight)
            self.buffer.land(flight.batch, self.now, otherwise)
            self.landed.append(flight)
            assert self.ledger.committable() == before
        else:
            self.buffer.settle(flight.batch, self.now, otherwise)
        self.not_before[flight.batch.segment] = 0.0
        if flight.current:
            self.counts["settled"] += len(flight.sent)
            for key, text in flight.sent.items():
                if key not in flight.refused:
                    self.done[key] = max(self.done.get(key, ""), text[:-1])
                fate = otherwise[key.member].outcome if key.member in otherwise else "delivered"
                self._end_part(flight.records[key], str(fate))
        else:
            self.counts["late"] += len(flight.sent)
            assert self.ledger.committable() == before

    def _look_for_records(self, flight: Flight) -> None:
        """The record of a refused change is where its lane says, unless it came in earlier life."""
        needed = flight.batch.lane.needed()
        if not flight.current:
            return
        for key, text in flight.refused.items():
            assert text in self.replaced[key] or any(
                (part.key, part.stamp) == (key, text)
                for place, (first, end) in needed.items()
                for record in self.logs[place][first:end]
                for part in record.parts
            ), key

    @precondition(lambda self: self.waiting)
    @rule(pick=picks, age=st.sampled_from([0.0, 0.0, 2.0, 5.0]), soon=st.booleans())
    def park(self, pick: int, age: float, *, soon: bool) -> None:
        """The oldest changes of a segment are moved elsewhere, and are safe soon or later.

        Those of members in flight (P4) or in their settle time (R1) stay.
        """
        segments = list(dict.fromkeys(key.segment for key in self.waiting))
        one = segments[pick % len(segments)]
        flying = {key for flight in self.flights for key in flight.sent}
        free = [
            key
            for key in self.waiting
            if key.segment is one and key not in flying and self.blocked.get(key, 0.0) <= self.now
        ]
        before = self.ledger.committable()
        load = self.buffer.load_of(one)
        batch = self.buffer.park(one, self.now, self.now - age)
        assert self.ledger.committable() == before
        if batch is None:
            assert age > 0 or not free
            return
        assert 1 <= len(batch.changes) <= self.limits.max_size or len(batch.pages) == 1
        assert self.buffer.load_of(one) < load
        keys = {Key(one, member): text for member, text in batch.changes.items()}
        assert keys.keys() <= set(free)
        flight = Flight(batch, sent=keys, refused=keys)
        flight.records = {key: self.record_of.pop(key) for key in keys}
        self._look_for_records(flight)
        for key, text in keys.items():
            assert self.waiting.pop(key) == text
            del self.since[key]
            self._end_part(flight.records[key], "rejected")
        self.rejected |= keys.keys()
        self.counts["settled"] += len(keys)
        self.landed.append(flight)
        if soon:
            self.release(len(self.landed) - 1)

    @precondition(lambda self: self.landed)
    @rule(pick=picks)
    def release(self, pick: int) -> None:
        """The refused changes of a batch were written elsewhere."""
        flight = self.landed.pop(pick % len(self.landed))
        before = self.ledger.committable()
        self.buffer.release(flight.batch, self.now)
        if flight.current:
            for key, text in flight.refused.items():
                self.done[key] = max(self.done.get(key, ""), text[:-1])
        else:
            assert self.ledger.committable() == before

    @precondition(lambda self: self.flights)
    @rule(
        pick=picks,
        wait=st.sampled_from([0.0, 1.0, 4.0]),
        ambiguous=st.booleans(),
        applied=st.booleans(),
    )
    def fail(self, pick: int, wait: float, *, ambiguous: bool, applied: bool) -> None:
        """An attempt fails, or ends without an answer."""
        flight = self._land(pick)
        segment, sent = flight.batch.segment, flight.sent
        until = self.now + SETTLE_SECONDS if ambiguous else 0.0
        if ambiguous:
            self.ghosts.append(Ghost(until, sent))
            self.blocked |= dict.fromkeys(sent, until)
            if applied:
                self._apply(sent)
        before = self.ledger.committable()
        self.buffer.give_back(
            flight.batch, self.now, not_before=self.now + wait, blocked_until=until
        )
        self.not_before[segment] = max(self.not_before[segment], self.now + wait)
        assert self.ledger.committable() == before
        if not flight.current:
            return
        for key, text in sent.items():
            waiting, loser = self.waiting.get(key), flight.records[key]
            if waiting is None or waiting[:-1] < text[:-1]:
                loser = self.record_of.get(key, loser)
                self.waiting[key] = text
                self.record_of[key] = flight.records[key]
            if waiting is not None:
                self.counts["coalesced"] += 1
                self._end_part(loser, "coalesced")
            # What comes back is old enough; a newer change has its own time.
            self.since.setdefault(key, 0.0)

    @rule(
        place=places,
        records=st.lists(contents, min_size=1, max_size=4),
        pick=picks,
        wait=waits,
        outcome=st.sampled_from(["delivered", "failed", "no_answer"]),
    )
    def attempt(
        self,
        place: Partition,
        records: list[Contents],
        pick: int,
        wait: float,
        outcome: str,
    ) -> None:
        """What happens all the time: a batch is taken, records come, a write ends."""
        self.flush(wait, applied=True)
        self.consume_new(place, records, 0.0)
        if self.flights and outcome == "delivered":
            self.deliver(pick, 0)
        elif self.flights:
            self.fail(pick, 0.0, ambiguous=outcome == "no_answer", applied=False)

    def _lives(self, segment: Segment) -> bool:
        return any(lane.segment is segment for lane in self.buffer.lanes())

    @precondition(lambda self: self.ghosts)
    @rule(pick=picks)
    def apply_late(self, pick: int) -> None:
        """A request without an answer is applied after all; perhaps more than once."""
        self._apply(self.ghosts[pick % len(self.ghosts)].sent)

    # --- the world ----------------------------------------------------------------------------

    @rule(on=st.booleans())
    def drain(self, *, on: bool) -> None:
        """Make everything due, or not any longer."""
        self.draining = on
        self.buffer.drain(self.now, on=on)

    @rule()
    def commit(self) -> None:
        """Commit what may be committed."""
        self.committed |= self.ledger.committable()

    @rule(politely=st.booleans())
    def revoke(self, *, politely: bool) -> None:
        """Lose all partitions, and get them again from where they were committed."""
        if politely:
            self.commit()
        self._end_epoch()
        for flight in [*self.flights, *self.landed]:
            flight.current = False
        for one in list(self.not_before):
            if not self._lives(one):
                del self.not_before[one]

    @rule(pick=picks, politely=st.booleans())
    def move(self, pick: int, *, politely: bool) -> None:
        """Another process takes over: a fresh one, or one that owned the partitions before.

        All that this one knew of members on their way is gone with it; requests in flight may still
        be applied.
        """
        clean = False
        if politely:
            self.commit()
            clean = self.now >= self.opens_at and self.buffer.quiet(self.now)
        assert not clean or all(ghost.until <= self.now for ghost in self.ghosts)
        self._end_epoch()
        for flight in self.flights:
            self.ghosts.append(Ghost(self.now + SETTLE_SECONDS, flight.sent))
        self.flights, self.landed, self.blocked = [], [], {}
        self.draining = self.over = False
        self.every_record_has_one_outcome()
        self.not_before.clear()
        self.buffer, self.ledger = Buffer(self.limits, BUDGET), Ledger()
        candidates = [*self.others, Process(MemoryVersions(10_000, self.now))]
        taker = candidates[pick % len(candidates)]
        self.others = [each for each in (*self.others, self.process) if each is not taker]
        self.process = taker
        self._read_history()
        self.opens_at = self.now if clean else self.now + SETTLE_SECONDS

    @rule(pick=picks, place=places, records=st.lists(contents, min_size=1, max_size=4))
    def finish_and_move(self, pick: int, place: Partition, records: list[Contents]) -> None:
        """What a rolling restart is: all is delivered and committed, and new records come."""
        self.flush(12.0, applied=True)
        while self.flights:
            self.deliver(pick, 0)
            self.take_all()
        self.move(pick, politely=True)
        self.consume_new(place, records, 12.0)

    def _read_history(self) -> None:
        """Note what is below the committed offsets and not known without a gap (R5)."""
        coverage, known = self.process.coverage, self.process.known
        for place, end in self.committed.items():
            start = coverage.unknown_from(place, 0, end)
            for part in parts_of(self.logs[place][start:end]):
                changes = {part.member: part.stamp}
                note = self.process.versions.note(part.target.segment, changes, self.now)
                finished(note)
                known[part.key] = self._newest_known(part.key, part.stamp)
            coverage.note(place, 0, end)

    def _end_epoch(self) -> None:
        for place in PARTITIONS:
            self.ledger.revoke(place)
            self.process.coverage.advance(place, self.position[place])
        self.counts["abandoned"] += self.buffer.changes
        self.expected["abandoned"] += self._pending()
        forgotten = self.buffer.discard(self.now)
        assert {
            Key(segment, member): text
            for segment, changes in forgotten
            for member, text in changes.items()
        } == self.waiting
        for one, changes in forgotten:
            finished(self.process.versions.merge(one, changes, self.now))
        for key, text in self.waiting.items():
            self.process.known[key] = self._newest_known(key, text)
        self.waiting.clear()
        self.record_of.clear()
        self.since.clear()
        assert self.ledger.committable() == {}
        self.position = dict(self.committed)
        self.highest = {}

    # --- what always holds --------------------------------------------------------------------

    @invariant()
    def no_change_lost(self) -> None:
        """Committable never passes a record that still has to be written (P1).

        One that was superseded by a change of another partition is settled with that (R8).
        """
        passed = self.committed | self.ledger.committable()
        for place, log in self.logs.items():
            still_there: dict[Key, str] = {}
            for part in parts_of(log[passed[place] :]):
                still_there[part.key] = max(still_there.get(part.key, ""), part.version)
            for part in parts_of(log[: passed[place]]):
                written = self.done.get(part.key, "")
                assert max(written, still_there.get(part.key, "")) >= part.version, part

    @invariant()
    def committable_is_monotone_per_epoch(self) -> None:
        """It never falls within an epoch, and never passes what was consumed."""
        committable = self.ledger.committable()
        for place, offset in self.highest.items():
            assert committable[place] >= offset
        for place, offset in committable.items():
            assert self.committed[place] <= offset <= self.position[place]
        self.highest = committable

    @invariant()
    def every_change_is_accounted_for(self) -> None:
        """Added = coalesced + in the buffer + settled + abandoned (P7)."""
        counts = self.counts
        assert self.buffer.changes >= 0
        assert counts["added"] == (
            counts["coalesced"] + self.buffer.changes + counts["settled"] + counts["abandoned"]
        )
        current = [key for flight in self.flights if flight.current for key in flight.sent]
        assert self.buffer.changes == len(self.waiting) + len(current)
        assert self.buffer.empty == (self.buffer.changes == 0)
        assert self.buffer.in_flight == len(self.flights)
        shared = [record for record in self._open_records() if self._is_shared(record)]
        open_parts = sum(len(record.parts) - len(record.fates) for record in shared)
        text = sum(len(key.member.encode()) for key in [*self.waiting, *current])
        lanes = list(self.buffer.lanes())
        assert len(lanes) == self.buffer.open_batches
        assert self.buffer.bytes == (
            text
            + self.buffer.changes * CHANGE_OVERHEAD_BYTES
            + open_parts * TALLY_OVERHEAD_BYTES
            + sum(len(lane.pages) for lane in lanes) * PAGE_OVERHEAD_BYTES
            + len(lanes) * LANE_OVERHEAD_BYTES
        )
        assert sum(lane.in_flight for lane in lanes) == sum(len(f.sent) for f in self.flights)

    @invariant()
    def every_record_has_one_outcome(self) -> None:
        """The worst of what became of its parts, once all have ended (P7)."""
        for ending, count in self.buffer.take_ended().items():
            self.ended[ending.outcome.value] += count
        assert self.ended == self.expected
        assert self.buffer.records == self._pending()
        assert self.counts["records"] == self._pending() + self.ended.total()

    def _open_records(self) -> set[Record]:
        current = [flight for flight in self.flights if flight.current]
        flying = {record for flight in current for record in flight.records.values()}
        return flying | set(self.record_of.values())

    def _pending(self) -> int:
        return len(self._open_records())

    def _is_shared(self, record: Record) -> bool:
        return len(record.parts) > 1 or record.invalid

    @invariant()
    def the_buffer_is_over_budget_with_hysteresis(self) -> None:
        """Over from the budget on, and until both measures are below the share of it (P3)."""
        share = BUDGET.resume_ratio if self.over else 1.0
        self.over = (
            self.buffer.changes >= BUDGET.max_changes * share
            or self.buffer.bytes >= BUDGET.max_bytes * share
        )
        assert self.buffer.over_budget() == self.over

    @invariant()
    def one_writer_per_member(self) -> None:
        """No member is in two batches in flight, whatever their epochs (P4)."""
        flying = Counter(key for flight in self.flights for key in flight.sent)
        assert all(count == 1 for count in flying.values())

    def teardown(self) -> None:
        """In the end everything is written and the newest has won (P2)."""
        if not hasattr(self, "targets"):
            return
        for place in PARTITIONS:
            self.consume(place, len(self.logs[place]))
        self.drain(on=True)
        for _ in range(1_000):
            while self.flights:
                self.deliver(0, 0)
            if self.buffer.empty and not self.ghosts:
                break
            self.take_all()
            if not self.flights:
                deadline = self.buffer.next_deadline()
                assert deadline is not None or self.ghosts
                ends = max((ghost.until for ghost in self.ghosts), default=0.0)
                until = max(ends if deadline is None else deadline, self.opens_at)
                self.flush(max(until - self.now, 0.0), applied=True)
        assert self.buffer.empty
        while self.landed:
            self.release(0)
        self.no_change_lost()
        self.every_change_is_accounted_for()
        for place, offset in self.ledger.committable().items():
            assert offset == len(self.logs[place])
        self._the_newest_won()
        self._nothing_is_remembered()

    def _the_newest_won(self) -> None:
        newest: dict[Key, Part] = {}
        for log in self.logs.values():
            for part in parts_of(log):
                if part.key not in newest or part.version >= newest[part.key].version:
                    newest[part.key] = part
        for key, part in newest.items():
            if key not in self.rejected:
                assert includes(self.launchdarkly[key]) == includes(part.stamp), key

    def _nothing_is_remembered(self) -> None:
        self.now += SETTLE_SECONDS
        assert self.buffer.take(self.now) is None
        assert self.buffer.next_deadline() is None
        assert self.buffer.open_batches == 0
        assert self.buffer.bytes == 0


class WideFlow(Flow):
    """The same, with up to four writes to a segment at a time."""

    writes = 4


EFFORT = effort(200, stateful_step_count=60)


def test_the_flow_with_one_write_per_segment() -> None:
    """What standard segments need."""
    run_state_machine_as_test(Flow, settings=EFFORT)


def test_the_flow_with_several_writes_per_segment() -> None:
    """Batches of a segment in flight at a time have no member in common."""
    run_state_machine_as_test(WideFlow, settings=EFFORT)
