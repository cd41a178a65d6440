"""The judge of chaos runs: every one of its rules can fail."""

from dataclasses import replace

import pytest

from tests.chaos.evidence import (
    Action,
    Deletion,
    End,
    Evidence,
    Placed,
    Quiet,
    StoreLoss,
)
from tests.chaos.judge import judge
from tests.support.chaos_evidence import (
    ANN,
    ANN_EXCLUDED,
    ANN_IN,
    ANN_OUT,
    BEN,
    BEN_IN,
    BROKEN,
    EVIDENCE,
    EXCLUDED,
    EXCLUDES,
    KILLED,
    REDIS,
    STOPPED,
    T0,
    TIED_OUT,
    WRITES,
    but,
    change,
    commit,
    freeze,
    letter,
    marker,
    parked,
    record,
    refused,
    refused_without_record,
    samples,
    silent,
    write,
)

WRONG: dict[str, tuple[str, Evidence]] = {
    "the newest leaves and is in": ("P2", but(membership=(BEN, ANN))),
    "the newest enters and is not in": ("P2", but(membership=())),
    "somebody whom no event names is in": (
        "P2",
        but(membership=(BEN, Placed("vip", "user", "cat", "included"))),
    ),
    "somebody is in under another kind": (
        "P2",
        but(membership=(BEN, Placed("vip", "device", "ben", "included"))),
    ),
    "the later of a tie loses": (
        "P2",
        but(
            records=(ANN_IN, BROKEN, TIED_OUT, BEN_IN),
            membership=(BEN, ANN),
        ),
    ),
    "with exclude who leaves is not excluded": (
        "P2",
        but(setting=EXCLUDES, exchanges=EXCLUDED, membership=(BEN,)),
    ),
    "who leaves is excluded though nobody asked": ("P2", but(membership=(BEN, ANN_EXCLUDED))),
    "who left before the deletion is in": (
        "P2",
        but(deletions=(Deletion("vip", T0 + 11),), membership=(ANN,)),
    ),
    "who entered after the deletion is missing": (
        "P2",
        but(deletions=(Deletion("vip", T0 + 0.5),), membership=()),
    ),
    "the marks were lost when all was passed": (
        "P2",
        but(
            setting=REDIS,
            store_losses=(StoreLoss("flush", T0 + 11),),
            membership=(BEN, ANN),
        ),
    ),
    "a write that no event asked for": (
        "P2",
        but(exchanges=(*WRITES, write(4, 1, 14.0, ("ben", Action.REMOVE)))),
    ),
    "a future time has won": (
        "P2",
        but(
            records=(change(0, 0, 1.0, "ann", True, moment=90_000), BROKEN, ANN_OUT, BEN_IN),
            membership=(BEN, ANN),
        ),
    ),
    "a letter of another member excuses nothing": ("P2", refused(of="ben")),
    "a commit passes what was never written": (
        "P1",
        but(exchanges=WRITES[:2]),
    ),
    "a commit passes what is written later": (
        "P1",
        but(commits=(commit(1, 1, 1.7), commit(0, 3, 8.5))),
    ),
    "a commit passes a change whose successor did not exist yet": (
        "P1",
        but(
            commits=(commit(1, 1, 1.7), commit(0, 1, 1.5), commit(0, 3, 9.5)),
            exchanges=(WRITES[0], *WRITES[2:]),
        ),
    ),
    "a commit relies on a change in another partition that is not written": (
        "P1",
        but(
            setting=REDIS,
            records=(*EVIDENCE.records, change(1, 1, 4.0, "ann", True)),
            commits=(commit(1, 1, 1.7), commit(0, 3, 8.5), commit(1, 2, 14.5)),
            exchanges=(*WRITES[:2], write(4, 1, 14.0, ("ann", Action.INCLUDE))),
            membership=(BEN, ANN),
        ),
    ),
    "the last write before the commit was an older one": (
        "P1",
        but(exchanges=(*WRITES, write(4, 1, 9.2, ("ann", Action.INCLUDE)))),
    ),
    "a commit passes an invalid record without a letter": (
        "P1",
        but(letters=(letter(BROKEN, 9.8),)),
    ),
    "a commit passes a refused change before its letter": ("P1", refused(at=9.8)),
    "a letter that holds the other change excuses nothing": ("P2", refused_without_record("add")),
    "what was parked is never replayed": ("R9", parked()),
    "a marker is of another segment": ("R9", parked(marker(13.1, segment="other"))),
    "a marker stands before the letter": ("R9", parked(marker(9.1, offset=1))),
    "a marker is about other letters": ("R9", parked(marker(13.1, letters=[[0, 2], [3, 9]]))),
    "a marker is by the owner of another partition": (
        "R9",
        parked(marker(13.1, partitions={"events": [1]})),
    ),
    "a marker stands in another partition": ("R9", parked(replace(marker(13.1), partition=1))),
    "what was parked is replayed, and not written": (
        "P2",
        replace(parked(marker(13.1)), membership=(BEN, ANN)),
    ),
    "a commit passes a change before it was parked": ("P1", parked(marker(13.1), at=9.8)),
    "a commit passes it before a letter that holds it": ("P1", refused_without_record(at=9.8)),
    "a commit goes back": ("P1", but(commits=(*EVIDENCE.commits, commit(0, 2, 12.0)))),
    "memory": (
        "P3",
        but(lives=(replace(KILLED, peak_rss_bytes=201 * 2**20), STOPPED)),
    ),
    "two patches of a segment": (
        "P4",
        but(
            exchanges=(
                *WRITES,
                write(4, 1, 14.0, ("ben", Action.INCLUDE), ended=15.0),
                write(5, 1, 14.5, ("ann", Action.REMOVE)),
            )
        ),
    ),
    "a patch while a much older one is open": (
        "P4",
        but(
            exchanges=(
                *WRITES,
                write(4, 1, 14.0, ("ben", Action.INCLUDE), ended=18.0),
                write(5, 1, 14.5),
                write(6, 1, 17.0),
            )
        ),
    ),
    "a member in two writes of a big segment": (
        "P4",
        but(
            exchanges=(
                *WRITES,
                write(4, 1, 14.0, ("ben", Action.INCLUDE), ended=15.0, route="update_users"),
                write(5, 1, 14.5, ("ben", Action.INCLUDE), route="update_users"),
            )
        ),
    ),
    "consumed is more than told": (
        "P7",
        but(lives=(replace(KILLED, scrape=samples(3, pending=1, delivered=1)), STOPPED)),
    ),
    "consumed is less than told": (
        "P7",
        but(lives=(replace(KILLED, scrape=samples(1, pending=1, delivered=1)), STOPPED)),
    ),
    "a count is negative": (
        "P7",
        but(lives=(replace(KILLED, scrape=samples(1, pending=-1, delivered=2)), STOPPED)),
    ),
    "an invalid record is no letter": (
        "P7",
        but(letters=()),
    ),
    "a letter is not what the record is": (
        "P7",
        but(letters=(replace(letter(BROKEN, 1.7), value=b"{}"),)),
    ),
    "a letter has another key": (
        "P7",
        but(letters=(replace(letter(BROKEN, 1.7), key=b"x"),)),
    ),
    "a letter of a record that is a change": (
        "P7",
        but(letters=(*EVIDENCE.letters, letter(ANN_IN, 1.7))),
    ),
    "a letter of no record": (
        "P7",
        but(letters=(*EVIDENCE.letters, letter(record(1, 9, 1.0, None), 1.7))),
    ),
    "something is not committed in the end": ("P7", but(commits=EVIDENCE.commits[:1])),
    "a member is written again before the settle time": (
        "R1",
        but(
            exchanges=(
                *WRITES,
                silent(write(4, 1, 14.0, ("ben", Action.INCLUDE)), ended=15.0),
                write(5, 1, 15.5, ("ben", Action.INCLUDE)),
            )
        ),
    ),
    "a gateway's answer is none": (
        "R1",
        but(
            exchanges=(
                *WRITES,
                write(4, 1, 14.0, ("ben", Action.INCLUDE), status=504),
                write(5, 1, 15.5, ("ben", Action.INCLUDE)),
            )
        ),
    ),
    "a new owner writes before the settle time": (
        "R2",
        but(exchanges=(*WRITES[:2], write(3, 1, 2.5, ("ann", Action.REMOVE)))),
    ),
    "a process writes at once after it stood still": (
        "R4",
        but(
            exchanges=(*WRITES, write(4, 0, 15.05, ("ann", Action.INCLUDE))),
            lives=(replace(KILLED, freezes=(freeze(1.65, 15.0),)), STOPPED),
        ),
    ),
    "it does so, and the partition was given to somebody before": (
        "R4",
        but(
            exchanges=(*WRITES, write(4, 0, 15.05, ("ann", Action.REMOVE))),
            commits=(*EVIDENCE.commits, commit(0, 3, 14.0)),
            lives=(replace(KILLED, freezes=(freeze(1.65, 15.0),)), STOPPED),
        ),
    ),
    "it does not come to rest": ("life", but(quiet=Quiet(None, "partition 0 has lag"))),
    "it ends by itself": (
        "life",
        but(lives=(KILLED, replace(STOPPED, end=End.BY_ITSELF, exit_code=1))),
    ),
    "it ends by itself with 0": (
        "life",
        but(lives=(KILLED, replace(STOPPED, end=End.BY_ITSELF, exit_code=0))),
    ),
    "a signal is not obeyed in order": (
        "life",
        but(lives=(KILLED, replace(STOPPED, exit_code=143))),
    ),
    "a signal is not obeyed by one that had begun to write": (
        "life",
        but(lives=(KILLED, replace(STOPPED, exit_code=143, scrape=()))),
    ),
    "it crashes while it is hurried": (
        "life",
        but(lives=(KILLED, replace(STOPPED, end=End.HURRIED, exit_code=1))),
    ),
    "it does not end when asked": (
        "life",
        but(lives=(KILLED, replace(STOPPED, ended=None, end=None, exit_code=None))),
    ),
    "it takes too long to end": ("life", but(lives=(KILLED, replace(STOPPED, ended=T0 + 60)))),
}


@pytest.mark.parametrize(("rule", "evidence"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_fails_by_its_rule(rule: str, evidence: Evidence) -> None:
    """One thing is wrong in each: the rule that forbids it says so, in a sentence."""
    violations = judge(evidence).violations
    assert rule in {violation.rule for violation in violations}, violations
    assert all(len(str(violation).split()) >= 4 for violation in violations)
