"""The ledger against a model that looks at every record: what is committable, and that it stays so.

The model keeps, for every record of every epoch, how many hold it, and walks over all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ldsync.sync.ledger import Account, Chunk, Ledger, Partition
from tests.support.core import partition
from tests.support.effort import effort

PARTITIONS = (partition(0), partition(1))

places = st.sampled_from(PARTITIONS)
picks = st.integers(0, 20)


@dataclass
class Run:
    """A chunk, and how often it is held."""

    chunk: Chunk
    first: int
    end: int
    holds: int = 1


@dataclass
class Epoch:
    """An assignment of a partition, and all that was consumed in it."""

    account: Account
    runs: list[Run] = field(default_factory=list)

    @property
    def open_runs(self) -> list[Run]:
        """What is not settled."""
        return [run for run in self.runs if run.holds]

    @property
    def committable(self) -> int | None:
        """The end of the last run before the first that is held."""
        done = None
        for run in self.runs:
            if run.holds:
                break
            done = run.end
        return done


class LedgerMachine(RuleBasedStateMachine):
    """Assignments come and go; chunks are opened, held and released in any order."""

    def __init__(self) -> None:
        """Start with nothing assigned."""
        super().__init__()
        self.ledger = Ledger()
        self.epochs: dict[Partition, Epoch] = {}
        self.over: list[Epoch] = []
        self.next_offset = dict.fromkeys(PARTITIONS, 0)
        self.highest: dict[Partition, int] = {}

    def _end(self, place: Partition) -> None:
        epoch = self.epochs.pop(place, None)
        if epoch is not None:
            self.over.append(epoch)
        self.highest.pop(place, None)

    @rule(place=places, back=st.integers(0, 5))
    def assign(self, place: Partition, back: int) -> None:
        """A new epoch, which begins at what was committed, perhaps without a revoke before."""
        self._end(place)
        self.epochs[place] = Epoch(self.ledger.assign(place))
        self.next_offset[place] = max(0, self.next_offset[place] - back)

    @rule(place=places)
    def revoke(self, place: Partition) -> None:
        """The end of an epoch, or of none."""
        self._end(place)
        self.ledger.revoke(place)

    @rule(place=places, size=st.integers(1, 5), gap=st.integers(0, 3))
    def consume(self, place: Partition, size: int, gap: int) -> None:
        """A chunk after a gap (compaction, transaction markers); it may open the epoch."""
        account = self.ledger.account(place)
        epoch = self.epochs.setdefault(place, Epoch(account))
        assert epoch.account is account
        first = self.next_offset[place] + gap
        end = self.next_offset[place] = first + size
        epoch.runs.append(Run(account.open_chunk(first, end, 0), first, end))

    def _pick(self, pick: int) -> Run:
        runs = [run for epoch in [*self.epochs.values(), *self.over] for run in epoch.open_runs]
        return runs[pick % len(runs)]

    def _any_open(self) -> bool:
        return any(epoch.open_runs for epoch in [*self.epochs.values(), *self.over])

    @precondition(_any_open)
    @rule(pick=picks)
    def hold(self, pick: int) -> None:
        """One more needs a chunk."""
        run = self._pick(pick)
        run.chunk.hold()
        run.holds += 1

    @precondition(_any_open)
    @rule(pick=picks)
    def release(self, pick: int) -> None:
        """One fewer needs a chunk."""
        run = self._pick(pick)
        run.chunk.release()
        run.holds -= 1

    @precondition(lambda self: any(not run.holds for e in self.epochs.values() for run in e.runs))
    @rule(pick=picks)
    def release_too_often(self, pick: int) -> None:
        """A settled chunk cannot be released again."""
        runs = [run for epoch in self.epochs.values() for run in epoch.runs if not run.holds]
        with pytest.raises(AssertionError, match="released twice"):
            runs[pick % len(runs)].chunk.release()

    @invariant()
    def committable_never_passes_an_unsettled_record(self) -> None:
        """It is the end of the settled run at the start of the epoch (P1)."""
        expected = {place: epoch.committable for place, epoch in self.epochs.items()}
        assert self.ledger.committable() == {
            place: offset for place, offset in expected.items() if offset is not None
        }

    @invariant()
    def committable_is_monotone_per_epoch(self) -> None:
        """It never falls, and stays once it is there."""
        now = self.ledger.committable()
        for place, offset in self.highest.items():
            assert now[place] >= offset
        self.highest = now

    @invariant()
    def nothing_is_committable_after_revoke(self) -> None:
        """An account that was closed stays closed (P6)."""
        for epoch in self.over:
            assert epoch.account.closed
            assert epoch.account.committable is None
            assert epoch.account.oldest is None

    @invariant()
    def the_chain_is_that_of_the_unsettled(self) -> None:
        """Settled chunks are not kept, however long something before them is held (P3)."""
        for epoch in self.epochs.values():
            assert not epoch.account.closed
            found = []
            chunk, before = epoch.account.oldest, None
            while chunk is not None:
                assert chunk.before is before
                found.append(chunk)
                chunk, before = chunk.after, chunk
            assert found == [run.chunk for run in epoch.open_runs]


def test_the_ledger_agrees_with_its_model() -> None:
    """Any order of assign, revoke, consume, hold and release."""
    run_state_machine_as_test(LedgerMachine, settings=effort(150, stateful_step_count=40))
