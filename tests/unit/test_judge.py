"""The judge of the end-to-end suite can be wrong too: here it sees every way to lose an event."""

import pytest

from tests.support.judge import Change, Write, audit, fold
from tests.support.offsets_topic import Commit

ANN, BEN = ("segment", "ann"), ("segment", "ben")


def change(offset: int, entered: bool, *, appended: float, member: tuple[str, str] = ANN) -> Change:
    """A change in partition 0 whose version is its offset."""
    return Change(0, offset, appended, member, (f"{offset:04}", ""), entered)


IN_THEN_OUT = [change(0, True, appended=1.0), change(1, False, appended=2.0)]


@pytest.mark.parametrize(
    ("changes", "writes", "commits"),
    [
        pytest.param(
            IN_THEN_OUT,
            [Write(ANN, True, 1.5), Write(ANN, False, 2.5)],
            [Commit(0, 1, 1.6), Commit(0, 2, 2.6)],
            id="each delivered before its commit",
        ),
        pytest.param(
            IN_THEN_OUT,
            [Write(ANN, False, 2.5)],
            [Commit(0, 2, 2.6)],
            id="coalesced, then delivered",
        ),
        pytest.param(
            IN_THEN_OUT,
            [Write(ANN, False, 2.5)],
            [Commit(0, 1, 2.1), Commit(0, 2, 2.6)],
            id="superseded by a change that is not yet passed",
        ),
        pytest.param(
            IN_THEN_OUT,
            [
                Write(ANN, True, 1.5),
                Write(ANN, False, 2.5),
                Write(ANN, True, 3.0),
                Write(ANN, False, 3.1),
            ],
            [Commit(0, 1, 1.6), Commit(0, 2, 3.2)],
            id="written again by the next owner",
        ),
        pytest.param([], [], [Commit(0, 5, 1.0)], id="nothing below the commit is a change"),
    ],
)
def test_what_is_settled_may_be_passed(
    changes: list[Change], writes: list[Write], commits: list[Commit]
) -> None:
    """Delivered and superseded changes are no violations."""
    assert audit(changes, writes, commits, slack=0.0).violations == []


@pytest.mark.parametrize(
    ("changes", "writes", "commits"),
    [
        pytest.param(IN_THEN_OUT[:1], [], [Commit(0, 1, 1.5)], id="never written"),
        pytest.param(
            IN_THEN_OUT[:1], [Write(ANN, True, 1.7)], [Commit(0, 1, 1.6)], id="written too late"
        ),
        pytest.param(
            IN_THEN_OUT[:1], [Write(BEN, True, 1.5)], [Commit(0, 1, 1.6)], id="another member"
        ),
        pytest.param(
            IN_THEN_OUT[:1], [Write(ANN, False, 1.5)], [Commit(0, 1, 1.6)], id="the wrong value"
        ),
        pytest.param(
            [*IN_THEN_OUT, change(2, True, appended=3.0)],
            [Write(ANN, True, 1.5), Write(ANN, False, 2.5)],
            [Commit(0, 3, 3.5)],
            id="only written for an earlier change of the same value",
        ),
        pytest.param(
            [change(0, False, appended=1.0), change(1, True, appended=2.0)],
            [Write(ANN, False, 0.5), Write(ANN, True, 1.9)],
            [Commit(0, 2, 2.5)],
            id="written before it was there",
        ),
        pytest.param(
            IN_THEN_OUT,
            [Write(ANN, True, 1.5), Write(ANN, False, 2.5), Write(ANN, True, 2.6)],
            [Commit(0, 2, 2.7)],
            id="overwritten by an older one",
        ),
        pytest.param(
            IN_THEN_OUT,
            [Write(ANN, False, 2.5)],
            [Commit(0, 1, 1.5), Commit(0, 2, 2.6)],
            id="superseded by a change that was not there yet",
        ),
        pytest.param(
            IN_THEN_OUT[:1],
            [Write(ANN, True, 1.5)],
            [Commit(0, 1, 1.6), Commit(0, 0, 1.7)],
            id="committed backwards",
        ),
    ],
)
def test_what_is_lost_is_seen(
    changes: list[Change], writes: list[Write], commits: list[Commit]
) -> None:
    """Every way of passing an unsettled change is exactly one violation."""
    assert len(audit(changes, writes, commits, slack=0.0).violations) == 1


def test_the_fold_takes_the_newest_version_whatever_the_order() -> None:
    """A late old change does not undo a newer one; of a full tie the last to arrive wins."""
    old, new = IN_THEN_OUT
    assert fold([new, old]) == set()
    assert fold([old, new._replace(version=old.version)]) == set()
    assert fold([new._replace(version=old.version), old]) == {ANN}
