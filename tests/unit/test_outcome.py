"""What a reply means: every row of the table, and replies nobody documented."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldsync.launchdarkly.outcome import Patience, Ruling, Verdict, classify


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_success_is_accepted_whatever_its_number(status: int) -> None:
    """2xx is delivered."""
    assert classify(status).verdict is Verdict.ACCEPTED


@pytest.mark.parametrize(
    ("status", "code", "message", "expected"),
    [
        (400, "invalid_request", "no", "refused bad_request segment operator"),
        (400, "", "only a message", "refused bad_request segment operator"),
        (413, "", "", "refused bad_request segment operator"),
        (422, "", "", "refused bad_request segment operator"),
        (401, "unauthorized", "", "wait unauthorized everything operator"),
        (403, "forbidden", "denied", "wait forbidden segment operator"),
        (403, "", "", "wait forbidden segment operator"),
        (403, "forbidden", "approval is required", "wait approval_required segment operator"),
        (403, "", "An Approval is required here", "wait approval_required segment operator"),
        (404, "not_found", "", "missing not_found everything operator"),
        (409, "optimistic_locking_error", "", "conflict conflict segment transient"),
        (409, "key_exists", "", "conflict conflict segment operator"),
        (409, "", "", "conflict conflict segment operator"),
        (429, "rate_limited", "", "wait rate_limited everything transient"),
        (408, "", "", "wait server_error segment transient"),
        (500, "", "", "wait server_error segment transient"),
        (503, "", "", "wait server_error segment transient"),
        (599, "", "", "wait server_error segment transient"),
        (302, "", "", "wait unexpected segment operator"),
        (405, "method_not_allowed", "", "wait unexpected segment operator"),
        (418, "", "", "wait unexpected segment operator"),
    ],
)
def test_each_reply_has_one_meaning(status: int, code: str, message: str, expected: str) -> None:
    """The table of launchdarkly-api contract 1.4 and 4.4: verdict, reason, scope and patience."""
    ruling = classify(status, code, message)
    meaning = (ruling.verdict, ruling.reason, ruling.scope, ruling.patience)
    assert " ".join(meaning) == expected


@pytest.mark.parametrize("status", [502, 504, 520, 524])
def test_a_gateway_does_not_answer_for_launchdarkly(status: int) -> None:
    """What it passed on may still be applied (R1); a server that failed by itself has answered."""
    assert not classify(status).answered
    assert classify(500).answered
    assert classify(503).answered


@given(st.integers(100, 999), st.text(max_size=30), st.text(max_size=30))
def test_only_success_is_ever_accepted(status: int, code: str, message: str) -> None:
    """Whatever comes, there is a ruling, and only 2xx settles anything."""
    ruling = classify(status, code, message)
    assert isinstance(ruling, Ruling)
    assert (ruling.verdict is Verdict.ACCEPTED) == (200 <= status < 300)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
def test_where_someone_must_act_there_is_advice(status: int) -> None:
    """Patience with the operator is only fair if they are told what to do."""
    assert classify(status).patience is Patience.OPERATOR
    assert classify(status).advice
