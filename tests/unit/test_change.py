"""Changes and their stamps: what is in, what is out, and what is newer."""

from __future__ import annotations

import pytest

from ldsync.sync.change import Change, Segment, Target, includes, supersedes
from tests.support.core import segment


@pytest.mark.parametrize(
    ("stamp", "other", "newer"),
    [
        pytest.param("2+", "1+", True, id="higher_version"),
        pytest.param("2-", "1+", True, id="higher_version_out"),
        pytest.param("1+", "2+", False, id="lower_version"),
        pytest.param("1+", "2-", False, id="lower_version_in"),
        pytest.param("1+", "1+", True, id="the_same"),
        pytest.param("1-", "1+", True, id="tie_in_then_out"),
        pytest.param("1+", "1-", True, id="tie_out_then_in"),
        pytest.param("10+", "1+", True, id="longer_version"),
        pytest.param("1+", "10-", False, id="shorter_version"),
    ],
)
def test_the_higher_version_wins_and_the_later_arrival_among_equals(
    stamp: str, other: str, newer: bool
) -> None:
    """P2; the sign takes no part in the comparison."""
    assert supersedes(stamp, other) is newer


def test_the_sign_says_whether_a_member_is_in() -> None:
    """Only the last character counts."""
    assert includes("1-+")
    assert not includes("1+-")


def test_segments_and_targets_compare_by_identity() -> None:
    """Two of the same name are two; as keys of a dictionary they cost no hashing of strings."""
    one, two = segment("vip"), segment("vip")
    assert one != two
    assert len({one, two}) == 2
    assert Target(one, context_kind="user") != Target(one, context_kind="user")


def test_a_segment_knows_its_names() -> None:
    """Every name is in its place."""
    made = Segment(key="k", name="n", audience_id="i", audience_key="a")
    assert (made.key, made.name, made.audience_id, made.audience_key) == ("k", "n", "i", "a")


def test_a_target_takes_the_audience_of_its_segment_unless_told_otherwise() -> None:
    """Two audiences may render to one segment."""
    vip = segment("vip")
    assert Target(vip, context_kind="user").audience_key == "vip"
    assert Target(vip, context_kind="user", audience_key="other").audience_key == "other"
    assert Target(vip, context_kind="user", audience_key="").audience_key == ""


def test_a_target_batches_unless_told_otherwise_and_prefixes_members_with_their_kind() -> None:
    """The first slash of a member ends its kind."""
    made = Target(segment(), context_kind="device")
    assert made.batch_events
    assert made.context_kind == "device"
    assert made.prefix == "device/"


def test_their_repr_names_the_segment() -> None:
    """What an operator knows it by, and nothing of its members."""
    vip = segment("vip")
    assert repr(vip) == "Segment('vip')"
    assert repr(Target(vip, context_kind="user")) == "Target('vip', 'user')"


def test_a_change_is_a_tuple() -> None:
    """It is taken apart by position, once per event."""
    made = Target(segment(), context_kind="user")
    target, member, stamp = Change(made, "user/a", "1+")
    assert (target, member, stamp) == (made, "user/a", "1+")
