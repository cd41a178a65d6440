"""P2: LaunchDarkly ends as the newest event of each member says, where that is promised.

**Where it is promised** (docs/ordering.md): with versions in memory and one process, for all
members; with several, for members whose events are all in one partition, if the topic is keyed;
with versions in Redis, for all. Nothing is said of a member

* whose newest change is *undecided*: two that disagree have the same version in two partitions;
* whose newest change is a dead letter, as LaunchDarkly would not have it;
* that *lost its marks*: Redis was emptied or started again after the newest change was written, and
  an older change, in another partition or later in the same, had not been passed by a commit then.
  It may have been consumed after the loss, and nobody is promised to know the newer one any more.

**A segment deleted behind ldsync's back** is judged from the deletion on: ldsync creates it again,
and what was written before is missing (it is *diverged*). So of a member whose newest change was
written before the deletion only that is demanded that cannot be excused by it: who left must not be
in.

"""

from collections.abc import Iterator

from tests.chaos.evidence import Evidence, Store
from tests.chaos.letters import Letters
from tests.chaos.reading import Change, Member, Topic
from tests.chaos.verdict import Verdict


def judge_final_state(evidence: Evidence, topic: Topic, letters: Letters, verdict: Verdict) -> None:
    """Compare the final membership with the fold of the topic."""
    included = _members(evidence, "included")
    excluded = _members(evidence, "excluded")
    excludes = evidence.setting.exit_action == "exclude"
    deleted = {deletion.segment: deletion.at for deletion in evidence.deletions}
    for member in sorted(topic.by_member):
        newest = topic.newest(member)
        reason = _exemption(evidence, topic, letters, member, newest)
        if newest is None or reason:
            verdict.exempt[reason] += 1
            continue
        verdict.looked_at["P2 members"] += 1
        gone = newest.at <= deleted.get(member[0], 0.0) + evidence.setting.slack_seconds
        if (member in included) != newest.entered and not (gone and newest.entered):
            place = "is not in it" if newest.entered else "is in it still"
            verdict.blame("P2", f"{newest} is the newest change, but {member[2]} {place}")
        if (member in excluded) != (excludes and not newest.entered) and not gone:
            place = "is excluded" if member in excluded else "is not excluded"
            verdict.blame("P2", f"{newest} is the newest change, but {member[2]} {place}")
    for member in sorted((included | excluded) - topic.by_member.keys()):
        verdict.blame("P2", f"{member[2]} is in a list of {member[0]}, and no event says so")


def promises_order(evidence: Evidence, changes: list[Change]) -> bool:
    """Whether P2 is promised of a member with these changes, as far as the configuration goes."""
    setting = evidence.setting
    if setting.store is Store.REDIS or setting.replicas == 1:
        return True
    return setting.keyed and len({change.partition for change in changes}) == 1


def _exemption(
    evidence: Evidence, topic: Topic, letters: Letters, member: Member, newest: Change | None
) -> str:
    """Why nothing is promised of a member; empty if something is."""
    changes = topic.by_member[member]
    if not promises_order(evidence, changes):
        return "not promised"
    if newest is None:
        return "undecided"
    alike = (change for change in changes if change.says_the_same_as(newest))
    if any(letters.refused(change) for change in alike):
        return "refused"
    if evidence.setting.store is Store.REDIS and _lost_marks(evidence, changes, newest):
        return "lost marks"
    return ""


def _lost_marks(evidence: Evidence, changes: list[Change], newest: Change) -> bool:
    slack = evidence.setting.slack_seconds
    losses = [loss.at for loss in evidence.store_losses if newest.at <= loss.at + slack]
    if not losses:
        return False
    return any(
        older.offset >= _passed(evidence, older.partition, losses[0])
        for older in changes
        if older.version < newest.version
        and (older.partition != newest.partition or older.offset > newest.offset)
    )


def _passed(evidence: Evidence, partition: int, at: float) -> int:
    """Up to which offset a partition had been committed at a time."""
    commits = (c for c in evidence.commits if c.partition == partition and c.time <= at)
    return max((commit.offset for commit in commits), default=0)


def _members(evidence: Evidence, side: str) -> set[Member]:
    return set(_placed(evidence, side))


def _placed(evidence: Evidence, side: str) -> Iterator[Member]:
    for placed in evidence.membership:
        if placed.side == side:
            yield placed.segment, placed.kind, placed.key
