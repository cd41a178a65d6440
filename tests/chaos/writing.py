"""Of the requests to LaunchDarkly: one writer per member (P4), settle time (R1, R2), lease (R4).

The simulator sees when a request arrives and when it is over for the client. A client that gave up
did so before the simulator noticed, so of requests without an answer only their beginning is
certain.

* **P4.** Of one process, no patch of a segment arrives while another one of the same segment is
  open, and no write of a member while another one of it is. What counts as open is only what was
  answered or broken by the simulator itself: those are over for the client later than for the
  simulator.
* **R1.** No write of a member arrives within the settle time after a write of it that was not
  answered arrived, whether or not that one took effect: no client can know. Answered also means
  answered by LaunchDarkly: 502, 504 and 52x speak for a server that did not answer. Within one
  process that always holds. Between processes it is R2: it holds where one process at a time
  decides about the member (one process, or all its events in one partition of a keyed topic),
  because each waits as long after it has taken over from one that did not leave in order. On other
  topics two replicas may write a member at any time: those have a shared store, or no promise.
  `TOLERANCE` is for the way from the client's clock to the simulator's.
* **R4.** A process that stood still begins no write, at once after, of a member that another one
  wrote meanwhile, on a keyed topic: it has lost the partition. `AT_ONCE` is more than a write that
  was due takes to arrive. If the partition was given to it while it stood still, it may write at
  once what was left in order: then it has said so by committing once more what was committed.
* **P2.** Nothing is written that no event says.

"""

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from tests.chaos.evidence import Action, Evidence, Exchange, Life
from tests.chaos.reading import Change, Member, Topic
from tests.chaos.verdict import Verdict

TOLERANCE = 0.4  # seconds, beyond the slack of the evidence
AT_ONCE = 0.25  # seconds
NOBODY = "ldsync-control-nobody"  # the key of writes that change nothing (docs/launchdarkly.md)
_GATEWAY = {502, 504, *range(520, 528)}


class Write(NamedTuple):
    """A member in a request."""

    member: Member
    action: Action
    exchange: Exchange


def judge_writes(evidence: Evidence, topic: Topic, verdict: Verdict) -> None:
    """Judge all requests that write members, in the order in which they arrived."""
    by_member: dict[Member, list[Write]] = defaultdict(list)
    for write in _writes(evidence):
        by_member[write.member].append(write)
    _judge_patches(evidence, verdict)
    for member, writes in by_member.items():
        changes = topic.by_member.get(member, [])
        _judge_overlaps(writes, verdict)
        _judge_settling(evidence, writes, verdict, alone=_decided_by_one(evidence, changes))
        _judge_source(evidence, writes, changes, verdict)
    _judge_thawed(evidence, topic, by_member, verdict)


def _writes(evidence: Evidence) -> Iterator[Write]:
    for exchange in sorted(evidence.exchanges, key=lambda each: each.sequence):
        for write in exchange.writes:
            if write.key != NOBODY:
                member = write.segment, write.kind, write.key
                yield Write(member, write.action, exchange)


def _judge_patches(evidence: Evidence, verdict: Verdict) -> None:
    last: dict[tuple[int, str], Exchange] = {}
    for exchange in sorted(evidence.exchanges, key=lambda each: each.sequence):
        if exchange.route != "patch_segment":
            continue
        verdict.looked_at["P4 patches"] += 1
        before = last.get((exchange.life, exchange.path))
        if before is not None and _open_until(before) > exchange.arrived:
            verdict.blame(
                "P4",
                f"process {exchange.life} has two patches in flight: {_name(before)} and "
                f"{_name(exchange)} to {exchange.path}",
                exchange.arrived,
            )
        if before is None or _open_until(exchange) >= _open_until(before):
            last[exchange.life, exchange.path] = exchange


def _judge_overlaps(writes: list[Write], verdict: Verdict) -> None:
    last: dict[int, Write] = {}
    for write in writes:
        verdict.looked_at["P4 member writes"] += 1
        before = last.get(write.exchange.life)
        if before is not None and before.exchange is not write.exchange:
            if _open_until(before.exchange) > write.exchange.arrived:
                verdict.blame(
                    "P4",
                    f"process {write.exchange.life} has {_who(write)} in two writes at once: "
                    f"{_name(before.exchange)} and {_name(write.exchange)}",
                    write.exchange.arrived,
                )
            if _open_until(before.exchange) > _open_until(write.exchange):
                continue
        last[write.exchange.life] = write


def _judge_settling(
    evidence: Evidence, writes: list[Write], verdict: Verdict, *, alone: bool
) -> None:
    setting = evidence.setting
    settle = setting.settle_seconds - setting.slack_seconds - TOLERANCE
    for number, first in enumerate(writes):
        if _answered(first.exchange):
            continue
        verdict.looked_at["R1 unanswered member writes"] += 1
        for later in writes[number + 1 :]:
            elapsed = later.exchange.arrived - first.exchange.arrived
            if later.exchange is first.exchange:
                continue
            if elapsed >= settle:
                break
            same = later.exchange.life == first.exchange.life
            if same or alone:
                verdict.blame(
                    "R1" if same else "R2",
                    f"process {later.exchange.life} writes {_who(later)} {elapsed:.2f} s after "
                    f"{_name(first.exchange)} of process {first.exchange.life} got no answer",
                    later.exchange.arrived,
                )


def _judge_source(
    evidence: Evidence, writes: list[Write], changes: list[Change], verdict: Verdict
) -> None:
    slack = evidence.setting.slack_seconds
    for write in writes:
        entered = {Action.INCLUDE: True, Action.REMOVE: False, Action.EXCLUDE: False}
        value = entered.get(write.action)
        # What excludes also removes, and what includes is let out of the excluded: both ways.
        if write.action is Action.UNEXCLUDE or (
            write.action is Action.REMOVE and evidence.setting.exit_action == "exclude"
        ):
            continue
        if not any(c.entered == value and c.at <= write.exchange.arrived + slack for c in changes):
            verdict.blame(
                "P2",
                f"{_name(write.exchange)} would {write.action.value} {_who(write)}, and no event "
                "said so",
                write.exchange.arrived,
            )


def _judge_thawed(
    evidence: Evidence, topic: Topic, by_member: dict[Member, list[Write]], verdict: Verdict
) -> None:
    if not evidence.setting.keyed:
        return
    for life, since, until in _freezes(evidence.lives):
        verdict.looked_at["R4 freezes"] += 1
        for member, writes in by_member.items():
            partitions = {change.partition for change in topic.by_member.get(member, ())}
            if len(partitions) != 1 or _given_again(evidence, partitions.pop(), until):
                continue
            others = any(
                write.exchange.life != life and since < write.exchange.arrived < until
                for write in writes
            )
            for write in writes:
                after = write.exchange.arrived - until
                if others and write.exchange.life == life and 0.0 <= after < AT_ONCE:
                    verdict.blame(
                        "R4",
                        f"process {life} writes {_who(write)} {after:.2f} s after it stood still, "
                        "and another one wrote it meanwhile",
                        write.exchange.arrived,
                    )


def _given_again(evidence: Evidence, partition: int, since: float) -> bool:
    """Whether somebody took a partition over in order, soon after a time: the mark was removed."""
    own = [each for each in evidence.commits if each.partition == partition]
    slack = evidence.setting.slack_seconds
    return any(
        before.offset == again.offset and -slack <= again.time - since < AT_ONCE
        for before, again in pairwise(own)
    )


def _freezes(lives: tuple[Life, ...]) -> Iterator[tuple[int, float, float]]:
    for life in lives:
        for freeze in life.freezes:
            if freeze.until is not None:
                yield life.number, freeze.since, freeze.until


def _decided_by_one(evidence: Evidence, changes: list[Change]) -> bool:
    if evidence.setting.replicas == 1:
        return True
    return evidence.setting.keyed and len({change.partition for change in changes}) == 1


def _open_until(exchange: Exchange) -> float:
    """Until when it certainly was open for the client."""
    if exchange.ending in ("answered", "reset") and exchange.ended is not None:
        return exchange.ended
    return exchange.arrived


def _answered(exchange: Exchange) -> bool:
    return exchange.ending == "answered" and exchange.status not in _GATEWAY


def _name(exchange: Exchange) -> str:
    return f"request {exchange.sequence}"


def _who(write: Write) -> str:
    return f"{write.member[2]} of {write.member[0]}"
