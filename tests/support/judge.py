"""An independent judge of what ldsync did with a topic: own reading, own fold, own audit.

It shares no code with what it judges and believes only what others recorded: the topic (append
times by the broker's clock), the committed offsets (`offsets_topic.py`, the same clock) and the
simulator's journal (when each write took effect). All run on one machine, so their times compare.

**The audit of P1.** A commit of offset N of partition p at time t says: everything below N is dealt
with. For every member with changes below N in p, let *n* be the newest of them. By time t one of
these must be true:

1. n was *delivered*: a write that gives the member n's value took effect between n's append and t,
   and the last write of the member that took effect until t left that value. (The append time
   excludes writes made for earlier changes of the same value; changes of a member nearly always
   alternate, so a write of another change seldom passes for one of n.)
2. n was *superseded* by a change that is itself not yet passed: a newer change of the member, at N
   or above in the same partition, appended before t. It will be judged when a commit passes it.

Older changes below N are superseded by n. Per commit only the members need judging that have
changes between the previous commit and this one: for all others n is what it was, and was judged
then. That is complete only while commits never go back, which the audit checks too.
"""

import json
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, NamedTuple

from tests.support.offsets_topic import Commit

Member = tuple[str, str]  # (segment key, context key)


class Change(NamedTuple):
    """A membership change as it stands in the topic."""

    partition: int
    offset: int
    appended: float  # seconds since the epoch, by the broker
    member: Member
    version: tuple[str, str]  # (timestamp, receivedAt), both of one fixed format
    entered: bool


class Write(NamedTuple):
    """A member in a request that took effect."""

    member: Member
    entered: bool
    applied: float  # seconds since the epoch


@dataclass(slots=True)
class Audit:
    """The verdict about the commits of one topic.

    Attributes:
        delivered: Pairs of commit and member of which rule 1 holds.
        superseded: Pairs of which only rule 2 holds.
        violations: What is wrong, in words; empty if nothing was lost.
    """

    delivered: int = 0
    superseded: int = 0
    violations: list[str] = field(default_factory=list)


def read_changes(records: Iterable[Any]) -> list[Change]:
    """The membership changes among records of the topic (consumer messages), in their order."""
    changes = []
    for record in records:
        try:
            event = json.loads(record.value())
            engage = event["context"]["personas"]
        except (ValueError, KeyError):
            continue
        if engage["computation_class"] != "audience":
            continue
        audience = engage["computation_key"]
        values = event["traits"] if event["type"] == "identify" else event["properties"]
        changes.append(
            Change(
                record.partition(),
                record.offset(),
                record.timestamp()[1] / 1000,
                (audience, event["userId"]),
                (event["timestamp"], event["receivedAt"]),
                values[audience],
            )
        )
    return changes


def fold(changes: Iterable[Change]) -> set[Member]:
    """Who must be in which segment in the end: by the newest change of each member."""
    newest: dict[Member, Change] = {}
    for change in changes:
        before = newest.get(change.member)
        if before is None or change.version >= before.version:
            newest[change.member] = change
    return {member for member, change in newest.items() if change.entered}


def audit(
    changes: Iterable[Change], writes: Iterable[Write], commits: Iterable[Commit], slack: float
) -> Audit:
    """Judge every commit against every change it passed (the module's documentation has the rules).

    Args:
        changes: All changes of the topic.
        writes: All writes that took effect.
        commits: All commits of the group for the topic, in the broker's order.
        slack: Seconds by which the clocks may disagree.
    """
    by_partition: dict[int, list[Change]] = defaultdict(list)
    by_member: dict[Member, list[Change]] = defaultdict(list)
    for change in sorted(changes, key=attrgetter("partition", "offset")):
        by_partition[change.partition].append(change)
        by_member[change.member].append(change)
    written: dict[Member, list[Write]] = defaultdict(list)
    for write in sorted(writes, key=attrgetter("applied")):
        written[write.member].append(write)

    verdict = Audit()
    passed: dict[int, int] = defaultdict(int)
    for commit in commits:
        if commit.offset < passed[commit.partition]:
            verdict.violations.append(f"{commit} goes back from {passed[commit.partition]}")
        in_order = by_partition[commit.partition]
        first = bisect_left(in_order, passed[commit.partition], key=attrgetter("offset"))
        last = bisect_left(in_order, commit.offset, key=attrgetter("offset"))
        passed[commit.partition] = max(passed[commit.partition], commit.offset)
        for member in {change.member for change in in_order[first:last]}:
            _judge(verdict, commit, by_member[member], written[member], slack)
    return verdict


def _judge(
    verdict: Audit, commit: Commit, changes: list[Change], writes: list[Write], slack: float
) -> None:
    below = [change for change in changes if change.offset < commit.offset]
    newest = max(below, key=attrgetter("version", "offset"))
    if _delivered(newest, writes, commit.time + slack, slack):
        verdict.delivered += 1
    elif any(
        change.offset >= commit.offset
        and change.version >= newest.version
        and change.appended <= commit.time + slack
        for change in changes
    ):
        verdict.superseded += 1
    else:
        verdict.violations.append(f"{commit} passes {newest}, of which the writes are {writes}")


def _delivered(newest: Change, writes: Sequence[Write], until: float, slack: float) -> bool:
    in_time = writes[: bisect_right(writes, until, key=attrgetter("applied"))]
    return (
        bool(in_time)
        and in_time[-1].entered == newest.entered
        and any(
            write.entered == newest.entered and write.applied >= newest.appended - slack
            for write in in_time
        )
    )
