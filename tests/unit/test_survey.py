"""A survey of events: what is counted, and that it stays small."""

from typing import Any

import pytest

from ldsync.engage.decoder import Decoder
from ldsync.engage.mapping import Mapping
from ldsync.engage.times import Fallback
from ldsync.explain.inputs import Item
from ldsync.explain.survey import Report, Survey
from tests.support.engage_events import ABSENT, RECORD_MS, about, encode, identify


def report(*events: Any, **limits: int) -> Report:
    """The report on these events (bytes are taken as they are)."""
    survey = Survey(Decoder(Mapping()), **limits)
    values = [event if isinstance(event, bytes) else encode(event) for event in events]
    survey.take(Item(value, RECORD_MS, {}) for value in values)
    return survey.report()


def at(second: int, user: str = "u_1", *, flag: bool = True) -> dict[str, Any]:
    """A change of one member at some time."""
    return identify(flag, userId=user, timestamp=f"2026-03-04T10:15:{second:02}.000Z")


def of(key: str) -> dict[str, Any]:
    """A change of one member of some audience."""
    event = about(computation_id=f"aud_{key}", computation_key=key)
    return event | {"traits": {key: True}}


def test_records_are_counted_by_outcome_and_reason() -> None:
    """In words, the most frequent first, and changes before them."""
    found = report(identify(), b"{", b"{", identify(userId=ABSENT))

    assert found.records == 4
    assert [(row["outcome"], row["reason"], row["records"]) for row in found.outcomes] == [
        ("change", None, 1),
        ("invalid", "bad_json", 2),
        ("skipped", "no_context_key", 1),
    ]
    assert found.outcomes[1]["words"] == "not JSON in UTF-8"
    assert found.invalid_ratio == 0.5


def test_nothing_is_a_report_as_well() -> None:
    """Zero of everything, and no times."""
    found = report()

    assert (found.records, found.invalid_ratio, found.outcomes, found.segments) == (0, 0, [], [])
    assert (found.first, found.last, found.exact) == (None, None, True)


def test_several_changes_of_a_record_are_all_counted() -> None:
    """And what is invalid beside them."""
    found = report([at(1), at(2, "u_2"), 5], [at(3), at(4), {"type": "page"}])

    assert [(row["outcome"], row["records"]) for row in found.outcomes] == [("change", 2)]
    assert [(row["reason"], row["records"]) for row in found.beside] == [("not_an_object", 1)]
    assert (found.adds, found.removes) == (4, 0)
    assert found.segments[0].members == 2


def test_the_newest_change_of_a_member_counts() -> None:
    """Whatever the order of arrival; the later of two that are as old."""
    (segment,) = report(
        *(at(5), at(3, flag=False)),
        *(at(1, "u_2"), at(2, "u_2", flag=False)),
        *(at(1, "u_3", flag=False), at(1, "u_3")),
    ).segments

    assert (segment.adds, segment.removes) == (3, 3)
    assert (segment.members, segment.removed) == (2, 1)
    assert (segment.key, segment.audience_key) == ("first_time_shopper", "first_time_shopper")


def test_times_reach_from_the_oldest_to_the_newest_change() -> None:
    """Of the events, not of their records; fallbacks are counted."""
    found = report(at(5), at(2), identify(timestamp=ABSENT))

    assert (found.first, found.last) == ("2026-03-04T10:15:02.000Z", "2026-03-04T10:15:41.877Z")
    assert found.fallbacks[Fallback.MISSING_TIMESTAMP] == 1


def test_audiences_with_one_segment_key_are_named() -> None:
    """Once each."""
    found = report(identify(), about(computation_id="aud_2"), about(computation_id="aud_2"))

    (collision,) = found.collisions
    assert (collision.segment_key, collision.audience_id) == ("first_time_shopper", "aud_2")


def test_segments_beyond_the_limit_are_not_told_apart() -> None:
    """Their changes are counted together; the largest segments come first."""
    found = report(of("a"), of("b"), at(1), of("c"), at(2, "u_2"), most_segments=3)

    assert [segment.key for segment in found.segments] == ["first_time_shopper", "a", "b"]
    assert found.unlisted == 1
    assert found.adds == 4


@pytest.mark.parametrize("members", [100, 5_000])
def test_members_beyond_the_limit_are_estimated(members: int) -> None:
    """Memory stays as it is, and the estimate is near."""
    events = [at(1, f"u_{number}", flag=number % 2 == 0) for number in range(members)]

    found = report(*events, *events, most_members=2_000)

    (segment,) = found.segments
    assert found.exact is (members <= 2_000)
    assert segment.members == pytest.approx(members / 2, rel=0.15 if members > 2_000 else 0)
    assert segment.removed == pytest.approx(members / 2, rel=0.15 if members > 2_000 else 0)
    assert segment.adds + segment.removes == 2 * members
