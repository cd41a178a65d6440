"""What is shown of requests: those of the builders, for the batches that the buffer would make."""

from typing import Any

import pytest

from ldsync.config.sections import LaunchDarklySettings
from ldsync.explain.requests import Destination, Shown
from ldsync.sync.change import Change, Segment, Target

VIP = Segment(key="vip", name="Vip", audience_id="aud_1", audience_key="vip")
USERS = Target(VIP, context_kind="user")
DEVICES = Target(VIP, context_kind="device")
ALONE = Target(VIP, context_kind="user", batch_events=False)
FIRST, SECOND = "2026-01-01T00:00:00.000Z", "2026-01-01T00:00:01.000Z"
ID = "0123456789abcdef01234567"
KEYS = {"project_key": "web-shop", "environment_key": "production", "client_side_id": ID}


def shown(*changes: Change, write_path: str = "", **settings: Any) -> list[Shown]:
    """The requests for these changes, of one way of writing or of all."""
    found = Destination(LaunchDarklySettings(**settings)).requests(changes)
    return [one for one in found if write_path in {"", one.write_path}]


def members(request: Shown) -> list[tuple[str, str]]:
    """Kind of instruction and keys, of a patch."""
    return [
        (f"{each['kind']} {each['contextKind']}", ",".join(each["values"]))
        for each in request.body["instructions"]
    ]


def test_each_way_of_writing_has_its_request() -> None:
    """Method, address, headers and body, with the configured one marked; the token is hidden."""
    standard, big, synced = shown(Change(USERS, "user/u/1", FIRST + "+"), **KEYS, write_path="")

    assert [one.is_configured for one in (standard, big, synced)] == [True, False, False]
    base = "https://app.launchdarkly.com/api/v2"
    assert (standard.method, standard.url) == ("PATCH", f"{base}/segments/web-shop/production/vip")
    assert standard.headers["Authorization"] == "<token>"
    assert "semanticpatch" in standard.headers["Content-Type"]
    assert standard.body["environmentKey"] == "production"
    assert members(standard) == [("addIncludedTargets user", "u/1")]
    assert (big.method, big.url) == ("POST", f"{base}/segments/web-shop/production/vip/contexts")
    assert big.body == {"included": {"add": ["u/1"]}}
    assert synced.url == f"{base}/segment-targets/segment-audiences"
    assert synced.body == {
        "environmentId": ID,
        "contextKind": "user",
        "batch": [{"userId": "u/1", "cohortName": "Vip", "cohortId": "aud_1", "value": True}],
    }
    assert synced.headers["Content-Type"] == "application/json"


def test_what_is_not_configured_is_a_placeholder() -> None:
    """Readable, not percent-encoded."""
    standard, big, synced = shown(Change(USERS, "user/u", FIRST + "-"))

    assert standard.url.endswith("/segments/<project key>/<environment key>/vip")
    assert big.url.endswith("/segments/<project key>/<environment key>/vip/contexts")
    assert standard.body["environmentKey"] == "<environment key>"
    assert synced.body["environmentId"] == "<client-side ID>"


def test_leaving_is_shown_as_configured() -> None:
    """In two requests, if who leaves is to be excluded."""
    change = Change(USERS, "user/u", FIRST + "-")

    found = shown(change, exit_action="exclude", base_url="https://eu.example.com/")

    assert [one.write_path for one in found] == ["standard", "standard", "big", "big", "synced"]
    assert all(one.url.startswith("https://eu.example.com/api/") for one in found)


def test_changes_of_one_segment_are_one_batch() -> None:
    """The newest of each member; a later one wins a tie, and an older one changes nothing."""
    changes = [
        Change(USERS, "user/a", SECOND + "+"),
        Change(USERS, "user/a", FIRST + "-"),
        Change(USERS, "user/b", FIRST + "+"),
        Change(USERS, "user/b", FIRST + "-"),
    ]

    (request,) = shown(*changes, write_path="standard")

    assert members(request) == [
        ("removeIncludedTargets user", "b"),
        ("addIncludedTargets user", "a"),
    ]


def test_changes_that_are_not_batched_are_requests_of_their_own() -> None:
    """As batch_events = false asks for."""
    changes = [Change(ALONE, "user/a", FIRST + "+"), Change(ALONE, "user/b", FIRST + "+")]

    assert len(shown(*changes, write_path="standard")) == 2


def test_a_request_has_one_context_kind_where_it_must() -> None:
    """Standard segments hold several."""
    changes = [Change(USERS, "user/a", FIRST + "+"), Change(DEVICES, "device/b", FIRST + "+")]

    assert len(shown(*changes, write_path="standard")) == 1
    assert len(shown(*changes, write_path="big")) == 2


@pytest.mark.parametrize(
    ("write_path", "sizes"), [("standard", [1500, 2]), ("synced", [1000, 502])]
)
def test_what_is_too_much_for_one_request_is_several(write_path: str, sizes: list[int]) -> None:
    """As much as each way of writing takes."""
    changes = [Change(USERS, f"user/{number}", FIRST + "+") for number in range(1502)]

    found = shown(*changes, write_path=write_path)

    key = "batch" if write_path == "synced" else "instructions"
    counted = [len(one.body[key]) for one in found]
    if key == "instructions":
        counted = [len(one.body[key][0]["values"]) for one in found]
    assert counted == sizes
