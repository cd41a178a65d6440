"""The judge of chaos runs: it passes what is right, and keeps evidence."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.archive import load, save
from tests.chaos.evidence import (
    Action,
    Deletion,
    End,
    Evidence,
    Placed,
    StoreLoss,
)
from tests.chaos.judge import judge, main
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
    HEALED,
    KILLED,
    LATE_NEWS,
    REDIS,
    SETTING,
    STOPPED,
    T0,
    TIE,
    TIED_OUT,
    UNKEYED,
    WRITES,
    but,
    change,
    commit,
    freeze,
    marker,
    parked,
    record,
    refused,
    refused_twice,
    refused_without_record,
    silent,
    write,
)

RIGHT = {
    "nothing is wrong": EVIDENCE,
    "P2: an older event came last and was replaced": but(
        records=(*EVIDENCE.records, LATE_NEWS),
        exchanges=(*WRITES, *HEALED),
        commits=(*EVIDENCE.commits, commit(0, 4, 13.5)),
    ),
    "P2: a tie in one partition goes to the later arrival": but(
        records=(ANN_IN, BROKEN, TIED_OUT, BEN_IN)
    ),
    "P2: what has one version in two partitions is undecided": but(
        setting=REDIS,
        records=(*EVIDENCE.records, TIE),
        exchanges=(*WRITES, write(4, 1, 9.2, ("ann", Action.INCLUDE))),
        commits=(*EVIDENCE.commits, commit(1, 2, 9.5)),
        membership=(BEN, ANN),
    ),
    "P2: nothing is promised of several replicas, memory and no keys": but(
        setting=UNKEYED, membership=(BEN, ANN)
    ),
    "P2: a future time is that of the record": but(
        records=(change(0, 0, 1.0, "ann", True, moment=90_000), BROKEN, ANN_OUT, BEN_IN)
    ),
    "P2: with exclude who leaves is excluded": but(
        setting=EXCLUDES, exchanges=EXCLUDED, membership=(BEN, ANN_EXCLUDED)
    ),
    "P2: who entered before the deletion may be missing": but(
        deletions=(Deletion("vip", T0 + 1.6),), membership=()
    ),
    "P2: marks that were lost": but(
        setting=REDIS,
        records=(*EVIDENCE.records, change(1, 1, 12.0, "ann", True, moment=0.5)),
        exchanges=(*WRITES, write(4, 1, 13.0, ("ann", Action.INCLUDE))),
        commits=(*EVIDENCE.commits, commit(1, 2, 13.5)),
        store_losses=(StoreLoss("flush", T0 + 11),),
        membership=(BEN, ANN),
    ),
    "P2: a change that was refused is not there": refused(),
    "P1: a letter may hold the refused change instead of its record": refused_without_record(),
    "P1: of an event that came twice either record may be the letter": refused_twice(),
    "P7: a marker is no letter": but(letters=(*EVIDENCE.letters, marker(9.0))),
    "R9: what was parked is replayed": parked(marker(13.1)),
    "R9: two markers share it": parked(
        marker(13.1, letters=[[0, 2]]), marker(13.2, offset=21, letters=[[2, 9]])
    ),
    "P1: superseded by a newer change that is not passed": but(
        commits=(commit(1, 1, 1.7), commit(0, 2, 2.5), commit(0, 3, 9.5)),
        exchanges=(WRITES[0], *WRITES[2:]),
    ),
    "P1: no dead letters are wanted": but(
        setting=replace(SETTING, dead_letter_topic=None), letters=()
    ),
    "P4: one after the other": but(exchanges=(*WRITES, write(4, 1, 9.02, ("ben", Action.INCLUDE)))),
    "P4: two processes may patch a segment at once": but(
        exchanges=(*WRITES, write(4, 0, 9.0, ("ben", Action.INCLUDE)))
    ),
    "P4: what was given up may be open still": but(
        exchanges=(
            *WRITES,
            silent(write(4, 1, 14.0, ("ben", Action.INCLUDE)), ended=15.0),
            write(5, 1, 14.5, ("cat", Action.INCLUDE)),
        ),
        records=(*EVIDENCE.records, change(1, 1, 3.0, "cat", True)),
        commits=(*EVIDENCE.commits, commit(1, 2, 15.0)),
        membership=(BEN, Placed("vip", "user", "cat", "included")),
    ),
    "R1: the settle time is over": but(
        exchanges=(
            *WRITES,
            silent(write(4, 1, 14.0, ("ben", Action.INCLUDE)), ended=15.0),
            write(5, 1, 17.1, ("ben", Action.INCLUDE)),
        )
    ),
    "R2: two replicas may write a member of an unkeyed topic": but(
        setting=REDIS, exchanges=(*WRITES[:2], write(3, 1, 2.5, ("ann", Action.REMOVE)))
    ),
    "R4: it has rejoined": but(
        lives=(replace(KILLED, freezes=(freeze(0.5, 1.0),)), STOPPED),
    ),
    "R4: it was given the partition while it stood still": but(
        exchanges=(*WRITES, write(4, 0, 15.05, ("ann", Action.REMOVE))),
        commits=(*EVIDENCE.commits, commit(0, 3, 15.02)),
        lives=(replace(KILLED, freezes=(freeze(1.65, 15.0),)), STOPPED),
    ),
    "life: a signal before it knows what to do": but(
        lives=(KILLED, STOPPED, replace(STOPPED, number=2, exit_code=143, scrape=()))
    ),
    "life: hurried": but(lives=(KILLED, replace(STOPPED, end=End.HURRIED, exit_code=143))),
    "life: what the plan provokes": but(
        lives=(KILLED, replace(STOPPED, end=End.BY_ITSELF, exit_code=69, tolerated=(69,)))
    ),
    "life: it runs still": but(
        lives=(KILLED, replace(STOPPED, ended=None, end=None, asked=None, exit_code=None))
    ),
    "life: it stood still while it ended": but(
        lives=(KILLED, replace(STOPPED, ended=T0 + 60, freezes=(freeze(19, 58),)))
    ),
}


@pytest.mark.parametrize("evidence", RIGHT.values(), ids=RIGHT.keys())
def test_what_is_right_passes(evidence: Evidence) -> None:
    """A judge that fails what is right is of no use either."""
    assert [str(each) for each in judge(evidence).violations] == []


def test_every_check_has_looked_at_something() -> None:
    """In a run in which all is well; a check that compares nothing would pass everything."""
    looked_at = judge(EVIDENCE).looked_at
    assert looked_at["P1 commits"] == 2
    assert looked_at["P1 members passed"] == 2
    assert looked_at["P1 invalid records passed"] == 1
    assert looked_at["P2 members"] == 2
    assert looked_at["P3 lives"] == 1
    assert looked_at["P4 patches"] == 3
    assert looked_at["P7 scrapes"] == 2
    assert looked_at["P7 invalid records"] == 1
    assert looked_at["R1 unanswered member writes"] == 1


def test_members_that_nothing_is_promised_of_are_counted() -> None:
    """So that a run that judges nobody is seen."""
    verdict = judge(but(setting=UNKEYED))
    assert verdict.exempt == {"not promised": 2}
    assert verdict.looked_at["P2 members"] == 0


def test_the_judge_refuses_to_guess() -> None:
    """A record of a sort that no history writes is not passed over."""
    with pytest.raises(ValueError, match="cannot read"):
        judge(but(records=(record(0, 0, 1.0, b"[]"),)))


def test_evidence_is_kept_and_judged_again(tmp_path: Path) -> None:
    """What is loaded is what was saved, and so is the verdict."""
    wrong = but(membership=(), lives=(replace(KILLED, freezes=(freeze(0.1, 0.2),)), STOPPED))
    save(EVIDENCE, tmp_path / "right")
    save(wrong, tmp_path / "wrong")
    assert load(tmp_path / "right") == EVIDENCE
    assert load(tmp_path / "wrong") == wrong
    assert main([str(tmp_path / "right")]) == 0
    assert main([str(tmp_path / "right"), str(tmp_path / "wrong")]) == 1
