"""The buffer against an exact model of batches, while LaunchDarkly accepts everything at once.

Without failures and blocks it can be said beforehand which batch comes next, of which members in
which order, why and when: the model keeps one list of pages per segment and says so. Failures are
the matter of the flow machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import hypothesis.strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ldsync.sync.batch import Batch, Trigger
from ldsync.sync.buffer import Buffer
from ldsync.sync.change import Change, Segment, Target
from ldsync.sync.ledger import Ledger
from ldsync.sync.limits import Budget, Limits
from ldsync.sync.outcomes import COALESCED, DELIVERED
from tests.support.core import partition, segment, stamp
from tests.support.effort import effort

LIMITS = Limits(max_size=4, max_bytes=20, max_age=2.0)


@dataclass
class Sheet:
    """What the model expects to be one page."""

    opened_at: float
    single: bool
    full: bool = False
    members: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of its members."""
        return sum(map(len, self.members))


@dataclass
class Row:
    """What the model expects of one segment."""

    sheets: list[Sheet] = field(default_factory=list)
    flying: Batch | None = None

    def due_at(self, *, draining: bool) -> float | None:
        """When the front is to be taken."""
        if self.flying is not None or not self.sheets:
            return None
        front = self.sheets[0]
        return front.opened_at + (0.0 if front.full or draining else LIMITS.max_age)

    def add(self, member: str, text: str, now: float, *, single: bool) -> bool:
        """Take in a change; whether a waiting one was superseded."""
        for sheet in self.sheets:
            if member in sheet.members:
                if text[:-1] >= sheet.members[member][:-1]:
                    sheet.members[member] = text
                return True
        last = self.sheets[-1] if self.sheets else None
        if last is not None and (single or last.size + len(member) > LIMITS.max_bytes):
            last.full = True
        if last is None or last.full:
            last = Sheet(now, single)
            self.sheets.append(last)
        last.members[member] = text
        last.full = single or len(last.members) == LIMITS.max_size
        return False

    def take(self) -> dict[str, str]:
        """As many sheets from the front as one request has room for."""
        taken = self.sheets.pop(0)
        members = dict(taken.members)
        size = taken.size
        while self.sheets and not taken.single:
            following = self.sheets[0]
            size += following.size
            if (
                following.single
                or len(members) + len(following.members) > LIMITS.max_size
                or size > LIMITS.max_bytes
            ):
                break
            members |= self.sheets.pop(0).members
        return members


class BufferMachine(RuleBasedStateMachine):
    """Add, take, settle; sizes, ages and drains."""

    def __init__(self) -> None:
        """Start empty."""
        super().__init__()
        self.buffer = Buffer(LIMITS, Budget())
        self.account = Ledger().assign(partition())
        self.now = 0.0
        self.offset = 0
        self.draining = False
        self.rows: dict[Segment, Row] = {}

    @initialize()
    def make_targets(self) -> None:
        """One segment with batches, one without, one of both kinds."""
        one, two, three = segment("one"), segment("two"), segment("three")
        self.targets = [
            Target(one, context_kind="user"),
            Target(two, context_kind="user", batch_events=False),
            Target(three, context_kind="user"),
            Target(three, context_kind="user", batch_events=False),
        ]
        self.rows = {one: Row(), two: Row(), three: Row()}

    @rule(
        number=st.integers(0, 3),
        member=st.sampled_from(["a", "b", "cc", "dd", "eeee", "ffffff", "g" * 15, "h" * 30]),
        version=st.integers(0, 9),
        sign=st.sampled_from("+-"),
    )
    def add(self, number: int, member: str, version: int, sign: str) -> None:
        """One change in a chunk of its own."""
        target = self.targets[number]
        chunk = self.account.open_chunk(self.offset, self.offset + 1, 0)
        self.offset += 1
        text = stamp(version, sign)
        self.buffer.add([Change(target, member, text)], chunk, self.now)
        row = self.rows[target.segment]
        superseded = row.add(member, text, self.now, single=not target.batch_events)
        assert self.buffer.take_ended() == ({COALESCED: 1} if superseded else {})
        chunk.release()

    @rule()
    def take(self) -> None:
        """The batch that is taken is the one that has been due for longest, and all of it."""
        due = {s: row.due_at(draining=self.draining) for s, row in self.rows.items()}
        ready = {s: at for s, at in due.items() if at is not None and at <= self.now}
        batch = self.buffer.take(self.now)
        if batch is None:
            assert not ready
            return
        assert ready[batch.segment] == min(ready.values())
        row = self.rows[batch.segment]
        full = row.sheets[0].full
        expected = list(row.take().items())
        assert list(batch.changes.items()) == expected
        closed = Trigger.DRAIN if self.draining else Trigger.AGE
        assert batch.trigger is (Trigger.SIZE if full else closed)
        assert batch.attempt == 1
        row.flying = batch

    @precondition(lambda self: any(row.flying for row in self.rows.values()))
    @rule(pick=st.integers(0, 2))
    def settle(self, pick: int) -> None:
        """A batch is delivered."""
        rows = [row for row in self.rows.values() if row.flying]
        row = rows[pick % len(rows)]
        assert row.flying is not None
        self.buffer.settle(row.flying, self.now)
        assert self.buffer.take_ended() == {DELIVERED: len(row.flying.changes)}
        row.flying = None

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.0]))
    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @rule(on=st.booleans())
    def drain(self, *, on: bool) -> None:
        """Make everything due, or not any longer."""
        self.draining = on
        self.buffer.drain(self.now, on=on)

    @invariant()
    def the_next_deadline_is_known(self) -> None:
        """It is that of the segment that is due first, to the moment."""
        due = [row.due_at(draining=self.draining) for row in self.rows.values()]
        expected = min((at for at in due if at is not None), default=None)
        assert self.buffer.next_deadline() == expected

    @invariant()
    def lanes_are_those_with_changes(self) -> None:
        """A segment with nothing to write takes no memory."""
        busy = {segment for segment, row in self.rows.items() if row.sheets or row.flying}
        assert {lane.segment for lane in self.buffer.lanes()} == busy

    @invariant()
    def committable_is_what_was_settled_from_the_front_on(self) -> None:
        """Everything is settled at the end, and only then everything is committable."""
        if self.buffer.empty:
            assert self.account.committable == (self.offset or None)
        else:
            assert self.account.oldest is not None


def test_the_buffer_agrees_with_its_model() -> None:
    """Any order of add, take, settle, advance and drain."""
    run_state_machine_as_test(BufferMachine, settings=effort(150, stateful_step_count=50))
