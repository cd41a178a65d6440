"""The collected Engage events: against results written by hand, and against Segment's own."""

from typing import Any

import pytest

from ldsync.engage.decoder import Decoder, Several
from ldsync.engage.mapping import Mapping, MembershipMode
from ldsync.sync.change import Change, includes
from tests.support.engage_events import RECORD_MS, cases, encode, gist

EVENTS = {case["id"]: case["event"] for case in cases("events.jsonl")}
REFERENCE = {case["id"]: case for case in cases("reference.jsonl")}
EXPECTED = {case["id"]: case for case in cases("expected.jsonl")}


def test_every_case_has_one_expected_result() -> None:
    """33 of each, under the same names."""
    assert list(EVENTS) == list(EXPECTED)
    assert len(EVENTS) == 33


@pytest.mark.parametrize("name", EVENTS)
def test_a_case_leads_to_what_the_rules_say(name: str) -> None:
    """Segment, name, member and direction; or the outcome and its reason."""
    result = _result(name, Decoder(Mapping()))

    assert result == EXPECTED[name]


def test_cases_do_not_influence_each_other() -> None:
    """One decoder reads them all twice, as it would on a topic, with the same results."""
    decoder = Decoder(Mapping())

    for name in (*EVENTS, *reversed(EVENTS)):
        assert _result(name, decoder) == EXPECTED[name]


def test_every_case_was_recorded() -> None:
    """Under the same names, each with one member at most."""
    assert list(EVENTS) == list(REFERENCE)
    assert {len(case["members"]) for case in REFERENCE.values()} == {0, 1}


@pytest.mark.parametrize("batched", [True, False], ids=["batch", "single"])
@pytest.mark.parametrize("name", EVENTS)
def test_segments_way_sends_what_segment_sends(name: str, batched: bool) -> None:
    """Recorded from its own code: the same members, but for those without a key."""
    case = REFERENCE[name]
    mapping = Mapping(batch_events=batched)

    found = Decoder(mapping, membership_mode=MembershipMode.SEGMENT).read(
        encode(EVENTS[name]), RECORD_MS
    )

    members = [member for member in case["members"] if member["key"] is not None]
    if not members:
        assert not isinstance(found, Change)
        assert (
            gist(found)
            in {
                "sent": {"skipped: no_context_key"},
                "rejected": {"ignored: class_not_audience", "ignored: not_engage"},
                "not_subscribed": {"ignored: type_not_audience"},
            }[case["outcome"]]
        )
        return
    assert isinstance(found, Change)
    (member,) = members
    segment = found.target.segment
    assert found.member == f"{member['kind']}/{member['key']}"
    assert includes(found.stamp) is member["value"]
    assert (segment.audience_id, segment.name) == (member["cohortId"], member["cohortName"])


def _result(name: str, decoder: Decoder) -> dict[str, Any]:
    found = decoder.read(encode(EVENTS[name]), RECORD_MS)
    assert not isinstance(found, Several)
    if not isinstance(found, Change):
        return {"id": name, "outcome": found.outcome.value, "reason": found.reason}
    segment = found.target.segment
    return {
        "id": name,
        "segment": segment.key,
        "name": segment.name,
        "member": found.member,
        "in": includes(found.stamp),
    }
