"""P1: what a committed offset has passed was settled by then.

A commit of offset N of a partition at a time t says: everything below N is dealt with. What it
passes:

* An *invalid* record: a dead letter with it was in its topic by t.
* A *change*. Only the newest change n of each member below N counts, for those before are
  superseded by it. By t one of these must be true:

  1. It was delivered, or something newer was: a write that gives the member the value of a change m
     took effect between m's writing and t, and m is n, or newer. (The time excludes writes for
     earlier changes; changes of a member nearly always alternate, so a write of another one seldom
     passes for one of m.) Where one process at a time decides about the member and nobody shares
     the store, also the last write until t must leave the value of n or of something newer.
  2. It was superseded in its partition: a newer change at N or above was written before t. It will
     be judged when a commit passes it (R8: a survivor elsewhere settles nothing before it is
     written).
  3. It is a dead letter, or a newer one is, and was by t. Of an event that came twice either record
     may stand for both.

* Everything else needs nothing.

Members need judging at a commit only if they have changes between the previous one and this one:
for all others n is what it was. That holds while commits never go back, which is judged as well.

"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from tests.chaos.evidence import Action, Evidence, Store
from tests.chaos.final_state import promises_order
from tests.chaos.letters import Letters
from tests.chaos.reading import Change, Member, Sort, Topic
from tests.chaos.verdict import Verdict
from tests.support.offsets_topic import Commit


@dataclass(frozen=True, slots=True)
class Written:
    """A member in a request that took effect, and what it was in the segment after it."""

    entered: bool
    applied: float
    order: int


def judge_commits(evidence: Evidence, topic: Topic, letters: Letters, verdict: Verdict) -> None:
    """Judge every commit by every record that it passes."""
    judge = _Judge(evidence, topic, letters, verdict)
    passed: dict[int, int] = defaultdict(int)
    for commit in evidence.commits:
        before = passed[commit.partition]
        verdict.looked_at["P1 commits"] += 1
        if commit.offset < before:
            verdict.blame(
                "P1",
                f"a commit goes back from {before} to {commit.offset} in partition "
                f"{commit.partition}",
                commit.time,
            )
        passed[commit.partition] = max(before, commit.offset)
        judge.passes(commit, before)
    _judge_end(topic, passed, verdict)


def written(evidence: Evidence) -> dict[Member, list[Written]]:
    """What took effect, by member, in that order."""
    # Leaving is two requests with `exclude`: the second one, which excludes, decides.
    out = Action.EXCLUDE if evidence.setting.exit_action == "exclude" else Action.REMOVE
    values = {Action.INCLUDE: True, out: False}
    found: dict[Member, list[Written]] = defaultdict(list)
    for exchange in evidence.exchanges:
        if exchange.applied is None:
            continue
        for write in exchange.writes:
            if write.action in values:
                member = write.segment, write.kind, write.key
                entered = values[write.action]
                found[member].append(Written(entered, exchange.applied, exchange.order or 0))
    for writes in found.values():
        writes.sort(key=attrgetter("order"))
    return found


class _Judge:
    """Knows everything about a run that a commit is judged by."""

    def __init__(
        self, evidence: Evidence, topic: Topic, letters: Letters, verdict: Verdict
    ) -> None:
        self._evidence = evidence
        self._topic = topic
        self._letters = letters
        self._verdict = verdict
        self._written = written(evidence)
        self._slack = evidence.setting.slack_seconds

    def passes(self, commit: Commit, before: int) -> None:
        """Judge what a commit passes that the one before did not."""
        members: set[Member] = set()
        until = commit.time + self._slack
        for offset in range(before, commit.offset):
            place = commit.partition, offset
            sort = self._topic.sorts.get(place)  # None: there is no such record
            if sort is Sort.INVALID and self._evidence.setting.dead_letter_topic is not None:
                self._verdict.looked_at["P1 invalid records passed"] += 1
                if not self._letters.written(place, until):
                    self._blame(commit, f"the invalid record at {offset}: no dead letter has it")
        for change in self._topic.changes:
            if change.partition == commit.partition and before <= change.offset < commit.offset:
                members.add(change.member)
        for member in sorted(members):
            self._verdict.looked_at["P1 members passed"] += 1
            self._pass(commit, self._topic.by_member[member], until)

    def _pass(self, commit: Commit, changes: Sequence[Change], until: float) -> None:
        own = [change for change in changes if change.partition == commit.partition]
        below = [change for change in own if change.offset < commit.offset]
        newest = max(below, key=lambda change: (change.version, change.offset))
        known = [change for change in changes if change.at <= until and change.beats(newest)]
        if any(change.offset >= commit.offset for change in known if change in own):
            return
        alike = [change for change in own if change.says_the_same_as(newest)]
        if any(self._letters.holds(change, until) for change in (*known, *alike)):
            return
        writes = [each for each in self._written[newest.member] if each.applied <= until]
        delivered = any(
            each.entered == change.entered and each.applied >= change.at - self._slack
            for change in known
            for each in writes
        )
        if not delivered:
            self._blame(commit, f"{newest}: nothing as new was written")
        elif self._one_decides(changes) and not _leaves(writes, known):
            self._blame(commit, f"{newest}: the last write before was an older one")

    def _one_decides(self, changes: Sequence[Change]) -> bool:
        memory = self._evidence.setting.store is Store.MEMORY
        return memory and promises_order(self._evidence, list(changes))

    def _blame(self, commit: Commit, what: str) -> None:
        where = f"the commit of {commit.offset} in partition {commit.partition}"
        self._verdict.blame("P1", f"{where} passes {what}", commit.time)


def _leaves(writes: Sequence[Written], known: Iterable[Change]) -> bool:
    return any(change.entered == writes[-1].entered for change in known)


def _judge_end(topic: Topic, passed: dict[int, int], verdict: Verdict) -> None:
    """In the end every record is passed: each has its outcome, and none was forgotten (P7)."""
    last: dict[int, int] = {}
    for partition, offset in topic.records:
        last[partition] = max(last.get(partition, 0), offset)
    for partition, offset in sorted(last.items()):
        verdict.looked_at["P7 partitions"] += 1
        if passed[partition] <= offset:
            verdict.blame(
                "P7",
                f"partition {partition} ends with record {offset}, but only what is below "
                f"{passed[partition]} was committed",
            )
