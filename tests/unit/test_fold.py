"""The demo's judge must be right on its own: it is tested against endings worked out by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ldsync.demo.fold import Difference, Fold, Verdict

RECORDED = 1_772_620_000_000  # 2026-03-04T10:26:40Z
KEY = "first_time_shopper"


def event(flag: Any = True, **fields: Any) -> dict[str, Any]:
    """An identify call of the documented shape about `u_1`."""
    return {
        "type": "identify",
        "userId": "u_1",
        "timestamp": "2026-03-04T10:15:30.123Z",
        "receivedAt": "2026-03-04T10:15:41.877Z",
        "context": {"personas": personas()},
        "traits": {KEY: flag},
    } | fields


def personas(**fields: Any) -> dict[str, Any]:
    """The `context.personas` of `event`."""
    known = {"computation_class": "audience", "computation_id": "aud_1", "computation_key": KEY}
    return known | fields


def about(**fields: Any) -> dict[str, Any]:
    """`event` with fields of `context.personas` replaced."""
    return event(context={"personas": personas(**fields)})


def judge(value: Any) -> tuple[Verdict, Fold]:
    """The verdict on one value, and the fold that holds it."""
    fold = Fold()
    raw = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
    return fold.add(raw, partition=0, recorded_ms=RECORDED).verdict, fold


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        pytest.param(event(), Verdict.CHANGE, id="identify"),
        pytest.param(None, Verdict.IGNORED, id="tombstone"),
        pytest.param(event(type="page"), Verdict.IGNORED, id="page"),
        pytest.param(event(type="Identify"), Verdict.IGNORED, id="type_in_another_case"),
        pytest.param(event(context=None), Verdict.IGNORED, id="no_context"),
        pytest.param(event(context={"personas": None}), Verdict.IGNORED, id="no_personas"),
        pytest.param(about(computation_class="trait"), Verdict.IGNORED, id="computed_trait"),
        pytest.param(event(userId=None), Verdict.SKIPPED, id="anonymous"),
        pytest.param(event(userId=" "), Verdict.SKIPPED, id="blank_user"),
        pytest.param(event(userId=True), Verdict.SKIPPED, id="boolean_user"),
        pytest.param(b"", Verdict.INVALID, id="empty"),
        pytest.param(b'{"type":', Verdict.INVALID, id="cut"),
        pytest.param(b"[1]" * 2, Verdict.INVALID, id="two_values"),
        pytest.param(b"42", Verdict.INVALID, id="number"),
        pytest.param(b'{"type":NaN}', Verdict.INVALID, id="not_a_number"),
        pytest.param(b'{"type":"\xff"}', Verdict.INVALID, id="not_utf8"),
        pytest.param(b"[" * 100_000, Verdict.INVALID, id="nested_too_deep"),
        pytest.param(about(computation_id=""), Verdict.INVALID, id="empty_audience_id"),
        pytest.param(about(computation_key=True), Verdict.INVALID, id="boolean_audience_key"),
        pytest.param(event(flag=None), Verdict.INVALID, id="null_flag"),
        pytest.param(event(flag=1), Verdict.INVALID, id="number_for_a_flag"),
        pytest.param(event(flag="yes"), Verdict.INVALID, id="other_text_for_a_flag"),
        pytest.param(event(traits={}), Verdict.INVALID, id="no_flag"),
        pytest.param(event(traits=[KEY]), Verdict.INVALID, id="traits_are_a_list"),
    ],
)
def test_a_record_comes_to_exactly_one_verdict(value: Any, verdict: Verdict) -> None:
    """Each kind of value has its verdict, and only a change reaches the memberships."""
    found, fold = judge(value)
    assert found is verdict
    assert fold.verdicts == {verdict: 1}
    assert fold.touched == (1 if verdict is Verdict.CHANGE else 0)


@pytest.mark.parametrize(
    ("value", "members"),
    [
        pytest.param(event(), {"u_1"}, id="true"),
        pytest.param(event(flag=False), set(), id="false"),
        pytest.param(event(flag="True"), {"u_1"}, id="text_true"),
        pytest.param(event(flag="FALSE"), set(), id="text_false"),
        pytest.param(event(traits={}, properties={KEY: True}), {"u_1"}, id="in_properties"),
        pytest.param(
            event(type="track", properties={KEY: False}), set(), id="track_reads_properties_first"
        ),
        pytest.param(event(userId=2**70), {str(2**70)}, id="huge_integer_user"),
        pytest.param(event(userId=" u "), {" u "}, id="padded_user_is_not_trimmed"),
    ],
)
def test_the_flag_and_the_user_are_read_as_documented(value: Any, members: set[str]) -> None:
    """Booleans and their texts decide, wherever they stand; ids are taken exactly."""
    assert judge(value)[1].members == {KEY: members}


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        pytest.param(
            {"timestamp": "2026-03-04T10:15:30Z"},
            {"timestamp": "2026-03-04T10:15:30.5Z"},
            id="fraction",
        ),
        pytest.param(
            {"timestamp": "2026-03-04T10:15:30.000000001Z"},
            {"timestamp": "2026-03-04T10:15:30.000000002Z"},
            id="nanoseconds",
        ),
        pytest.param(
            {"timestamp": "2026-03-04T11:00:00+05:30"},
            {"timestamp": "2026-03-04T10:15:30Z"},
            id="offset_east",
        ),
        pytest.param(
            {"timestamp": "2026-03-04T10:15:30Z"},
            {"timestamp": "2026-03-04T06:00:00-0500"},
            id="offset_west",
        ),
        pytest.param(
            {"timestamp": "2026-03-04T10:15:30Z", "receivedAt": "2026-03-04T10:15:41Z"},
            {"timestamp": "2026-03-04T10:15:30", "receivedAt": "2026-03-04T10:15:42Z"},
            id="received_later",
        ),
        pytest.param(
            {"timestamp": "yesterday", "receivedAt": "2026-03-04T10:15:41Z"},
            {"timestamp": "2026-03-04T10:15:42Z"},
            id="unreadable_uses_received",
        ),
        pytest.param(
            {"timestamp": "2026-13-45T10:00:00Z", "receivedAt": "2026-03-04T10:15:41Z"},
            {"timestamp": "2026-03-04T10:15:42Z"},
            id="no_such_date",
        ),
        pytest.param(
            {"timestamp": "2099-01-01T00:00:00Z"},
            {"timestamp": "2026-03-04T10:26:41Z"},
            id="future_is_clamped_to_the_record",
        ),
        pytest.param(
            {"timestamp": "2026-03-04T10:26:39Z"},
            {"timestamp": None, "receivedAt": None},
            id="no_time_uses_the_record",
        ),
    ],
)
@pytest.mark.parametrize("arrival", ["in_order", "late"])
def test_the_newest_event_decides(
    older: dict[str, Any], newer: dict[str, Any], arrival: str
) -> None:
    """Arrival between partitions plays no part; times are compared as times."""
    fold = Fold()
    told = [event(flag=True, **older), event(flag=False, **newer)]
    for partition, value in enumerate(told if arrival == "in_order" else told[::-1]):
        fold.add(json.dumps(value).encode(), partition=partition, recorded_ms=RECORDED)
    assert fold.members == {KEY: set()}
    assert fold.differences({KEY: {"user": {"u_1"}}}) == [Difference(KEY, "u_1", expected=False)]


def test_a_full_tie_in_one_partition_is_decided_by_arrival() -> None:
    """The later record of the partition wins, whichever way it says."""
    fold = Fold()
    for flag in (True, False, True):
        fold.add(json.dumps(event(flag)).encode(), partition=3, recorded_ms=RECORDED)
    assert fold.members == {KEY: {"u_1"}}


def test_a_full_tie_between_partitions_is_left_undecided() -> None:
    """Either state is accepted for that member, until something newer decides."""
    fold = Fold()
    for partition, flag in enumerate((True, False)):
        fold.add(json.dumps(event(flag)).encode(), partition=partition, recorded_ms=RECORDED)
    assert fold.differences({KEY: {"user": {"u_1"}}}) == []
    assert fold.differences({}) == []
    newer = event(timestamp="2026-03-04T10:15:31Z")
    fold.add(json.dumps(newer).encode(), partition=0, recorded_ms=RECORDED)
    assert fold.differences({}) == [Difference(KEY, "u_1", expected=True)]


@pytest.mark.parametrize(
    ("actual", "said"),
    [
        pytest.param({KEY: {"user": {"u_1"}}}, [], id="equal"),
        pytest.param({KEY: {"user": set()}}, [f"{KEY}: u_1 is missing"], id="missing"),
        pytest.param({}, [f"{KEY}: u_1 is missing"], id="no_such_segment"),
        pytest.param(
            {KEY: {"user": {"u_1", "u_2"}}}, [f"{KEY}: u_2 should not be there"], id="too_many"
        ),
        pytest.param(
            {KEY: {"user": {"u_1"}}, "other": {"user": {"u_1"}}},
            ["other: u_1 should not be there"],
            id="another_segment",
        ),
        pytest.param(
            {KEY: {"user": {"u_1"}, "device": {"u_1"}}},
            [f"{KEY}: device/u_1 should not be there"],
            id="another_kind",
        ),
    ],
)
def test_differences_name_the_segment_and_the_member(
    actual: dict[str, dict[str, set[str]]], said: list[str]
) -> None:
    """A state is compared member by member, in both directions."""
    assert [str(difference) for difference in judge(event())[1].differences(actual)] == said


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("a", "A"),
        ("_leading", " leading"),
        ("double__underscore", "Double  underscore"),
        ("UPPER_case", "UPPER case"),
        ("with-hyphen_and.dot", "With-hyphen and.dot"),
        ("ßeta_test", "SSeta test"),
    ],
)
def test_segments_are_named_after_the_audience_key(key: str, name: str) -> None:
    """The first letter upper case, underscores to spaces, nothing else."""
    value = event(context={"personas": personas(computation_key=key)}, traits={key: True})
    assert judge(value)[1].names == {key: name}
