"""The requests that a batch becomes, on each write path."""

import json
from collections.abc import Callable, Sequence

import jsonschema
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldsync.engage.decoder import Decoder
from ldsync.engage.mapping import Mapping, MembershipMode
from ldsync.launchdarkly.request import SEMANTIC_PATCH, Request
from ldsync.launchdarkly.writers.big_contexts import contexts_requests
from ldsync.launchdarkly.writers.segment_targets import targets_requests
from ldsync.launchdarkly.writers.semantic_patch import patch_requests
from ldsync.launchdarkly.writers.sides import ExitAction
from ldsync.sync.change import Change, Segment
from tests.support import launchdarkly_openapi as openapi
from tests.support.engage_events import RECORD_MS, cases, encode
from tests.support.launchdarkly_openapi import Operation
from tests.support.segment_targets import SCHEMA as TARGETS
from tests.support.semantic_patch import SCHEMA

VIP = Segment(key="vip", name="Vip", audience_id="aud_2QZ", audience_key="vip")
ADD, REMOVE = "2026-11-24T20:00:00.000Z+", "2026-11-24T20:00:00.000Z-"
ID = "6123456789abcdef01234567"

KINDS = st.text("abcXYZ019._-", min_size=1, max_size=6)
KEYS = st.text(min_size=1, max_size=12)
MEMBERS = st.builds(lambda kind, key: f"{kind}/{key}", KINDS, KEYS)
STAMPS = st.sampled_from([ADD, REMOVE])
BATCHES = st.dictionaries(MEMBERS, STAMPS, min_size=1, max_size=60)
USERS = st.dictionaries(KEYS.map("user/{}".format), STAMPS, min_size=1, max_size=60)
SOME = [("user/u-1", ADD), ("user/u-2", REMOVE), ("organization/org/7", ADD), ("user/u-3", ADD)]

EFFECTS = {
    "removeIncludedTargets": ("included", False),
    "addIncludedTargets": ("included", True),
    "removeExcludedTargets": ("excluded", False),
    "addExcludedTargets": ("excluded", True),
}


def patches(
    batch: Sequence[tuple[str, str]], exit_action: ExitAction = ExitAction.REMOVE
) -> tuple[Request, ...]:
    """The patches of a batch."""
    return patch_requests("web-shop", "production", VIP, batch, exit_action)


def calls(
    batch: Sequence[tuple[str, str]], exit_action: ExitAction = ExitAction.REMOVE
) -> tuple[Request, ...]:
    """The calls on a big segment that a batch becomes."""
    return contexts_requests("web-shop", "production", VIP, batch, exit_action)


def patched(request: Request) -> list[tuple[str, str, bool]]:
    """Member, list, and whether it is in there afterwards, for every operation of a patch."""
    assert request.body is not None
    return [
        (f"{instruction['contextKind']}/{key}", *EFFECTS[instruction["kind"]])
        for instruction in request.body["instructions"]
        for key in instruction["values"]
    ]


def listed(request: Request) -> list[tuple[str, str, bool]]:
    """The same for a call on a big segment of users."""
    assert request.body is not None
    return [
        (f"user/{key}", side, verb == "add")
        for side, verbs in request.body.items()
        for verb, keys in verbs.items()
        for key in keys
    ]


def after(
    requests: Sequence[Request], read: Callable[[Request], list[tuple[str, str, bool]]]
) -> dict[tuple[str, str], bool]:
    """Who is in which list when all requests were applied; what they say nothing of is missing."""
    state: dict[tuple[str, str], bool] = {}
    for request in requests:
        for member, side, there in read(request):
            state[member, side] = there
            other = "excluded" if side == "included" else "included"
            assert not (there and state.get((member, other))), "in both lists, which is refused"
    return state


def test_a_batch_becomes_one_patch_with_leavers_first() -> None:
    """One instruction per direction and context kind; the comment is for the audit log."""
    (request,) = patches(SOME)
    assert (request.method, request.path, request.content_type) == (
        "PATCH",
        "/api/v2/segments/web-shop/production/vip",
        SEMANTIC_PATCH,
    )
    assert request.body == {
        "environmentKey": "production",
        "comment": "ldsync: audience aud_2QZ, 3 added, 1 removed",
        "instructions": [
            {"kind": "removeIncludedTargets", "contextKind": "user", "values": ["u-2"]},
            {"kind": "addIncludedTargets", "contextKind": "user", "values": ["u-1", "u-3"]},
            {"kind": "addIncludedTargets", "contextKind": "organization", "values": ["org/7"]},
        ],
    }


def test_excluding_those_who_left_takes_two_patches() -> None:
    """No key is in two instructions of a request: first out of one list, then in."""
    first, second = patches(SOME, ExitAction.EXCLUDE)
    assert first.body is not None
    assert second.body is not None
    assert first.body["instructions"] == [
        {"kind": "removeIncludedTargets", "contextKind": "user", "values": ["u-2"]},
        {"kind": "removeExcludedTargets", "contextKind": "user", "values": ["u-1", "u-3"]},
        {"kind": "removeExcludedTargets", "contextKind": "organization", "values": ["org/7"]},
    ]
    assert second.body["instructions"] == [
        {"kind": "addExcludedTargets", "contextKind": "user", "values": ["u-2"]},
        {"kind": "addIncludedTargets", "contextKind": "user", "values": ["u-1", "u-3"]},
        {"kind": "addIncludedTargets", "contextKind": "organization", "values": ["org/7"]},
    ]


def test_a_batch_becomes_one_call_on_a_big_segment() -> None:
    """Keys without their kind: the segment has one. What is empty is left out."""
    batch = [("user/u-1", ADD), ("user/a/b", REMOVE), ("user/u-3", ADD)]
    (request,) = calls(batch)
    assert (request.method, request.path, request.content_type) == (
        "POST",
        "/api/v2/segments/web-shop/production/vip/contexts",
        "application/json",
    )
    assert request.body == {"included": {"add": ["u-1", "u-3"], "remove": ["a/b"]}}
    (only_adds,) = calls(batch[:1])
    assert only_adds.body == {"included": {"add": ["u-1"]}}


def test_excluding_those_who_left_takes_two_calls() -> None:
    """Removed first, added second, as with patches."""
    first, second = calls([("user/u-1", ADD), ("user/u-2", REMOVE)], ExitAction.EXCLUDE)
    assert first.body == {"included": {"remove": ["u-2"]}, "excluded": {"remove": ["u-1"]}}
    assert second.body == {"included": {"add": ["u-1"]}, "excluded": {"add": ["u-2"]}}
    first, second = calls([("user/u-2", REMOVE)], ExitAction.EXCLUDE)
    assert first.body == {"included": {"remove": ["u-2"]}}
    assert second.body == {"excluded": {"add": ["u-2"]}}


def test_a_batch_of_a_synced_segment_is_written_as_segment_writes_it() -> None:
    """To the byte: fields, order of fields, and nothing else."""
    (request,) = targets_requests(ID, VIP, [("device/d-1", ADD), ("device/a/b", REMOVE)])
    assert (request.method, request.path, request.content_type) == (
        "POST",
        "/api/v2/segment-targets/segment-audiences",
        "application/json",
    )
    assert request.encoded() == (
        b'{"environmentId":"6123456789abcdef01234567","contextKind":"device","batch":['
        b'{"userId":"d-1","cohortName":"Vip","cohortId":"aud_2QZ","value":true},'
        b'{"userId":"a/b","cohortName":"Vip","cohortId":"aud_2QZ","value":false}]}'
    )


SENT = [
    (case, member)
    for case in cases("reference.jsonl")
    for member in case["members"]
    if member["key"] is not None
]


@pytest.mark.parametrize(("case", "member"), SENT, ids=[case["id"] for case, _ in SENT])
def test_a_synced_body_is_the_one_that_segments_own_destination_sends(
    case: dict[str, str], member: dict[str, object]
) -> None:
    """For every collected event that has a key, from what was recorded of its code."""
    (event,) = [each["event"] for each in cases("events.jsonl") if each["id"] == case["id"]]
    decoder = Decoder(Mapping(), membership_mode=MembershipMode.SEGMENT)
    change = decoder.read(encode(event), RECORD_MS)
    assert isinstance(change, Change)

    (request,) = targets_requests(
        "test-client-id", change.target.segment, [(change.member, change.stamp)]
    )

    expected = {
        "environmentId": member["env"],
        "contextKind": member["kind"],
        "batch": [
            {
                "userId": member["key"],
                "cohortName": member["cohortName"],
                "cohortId": member["cohortId"],
                "value": member["value"],
            }
        ],
    }
    assert request.encoded() == json.dumps(expected, separators=(",", ":")).encode()


@given(BATCHES)
def test_every_member_is_in_exactly_one_instruction(batch: dict[str, str]) -> None:
    """Nothing lost, nothing twice, in the right direction; keys may hold any character."""
    (request,) = patches(list(batch.items()))
    written = patched(request)
    assert len(written) == len(batch)
    assert {(member, there) for member, _, there in written} == {
        (member, stamp == ADD) for member, stamp in batch.items()
    }
    assert {side for _, side, _ in written} == {"included"}


@given(BATCHES)
def test_excluding_by_patches_leaves_every_member_in_the_right_list(batch: dict[str, str]) -> None:
    """Who joined is included and not excluded, who left the other way round."""
    requests = patches(list(batch.items()), ExitAction.EXCLUDE)
    _check_exclusion(batch, requests, patched)


@given(USERS)
def test_excluding_by_calls_leaves_every_member_in_the_right_list(batch: dict[str, str]) -> None:
    """As above."""
    requests = calls(list(batch.items()), ExitAction.EXCLUDE)
    _check_exclusion(batch, requests, listed)


def _check_exclusion(
    batch: dict[str, str],
    requests: Sequence[Request],
    read: Callable[[Request], list[tuple[str, str, bool]]],
) -> None:
    assert after(requests, read) == {
        (member, side): (side == "included") is (stamp == ADD)
        for member, stamp in batch.items()
        for side in ("included", "excluded")
    }
    for request in requests:
        members = [member for member, _, _ in read(request)]
        assert len(set(members)) == len(members) == len(batch), "a key is in two instructions"


@given(USERS)
def test_every_member_is_in_one_list_of_a_call(batch: dict[str, str]) -> None:
    """Nothing lost, nothing twice, in the right direction."""
    (request,) = calls(list(batch.items()))
    assert sorted(listed(request)) == sorted(
        (member, "included", stamp == ADD) for member, stamp in batch.items()
    )


@given(BATCHES, st.sampled_from(ExitAction))
def test_every_patch_is_of_the_documented_form(
    batch: dict[str, str], exit_action: ExitAction
) -> None:
    """Unknown fields would be ignored without a word, so there must be none."""
    for request in patches(list(batch.items()), exit_action):
        jsonschema.validate(orjson.loads(request.encoded() or b""), SCHEMA)


@given(USERS, st.sampled_from(ExitAction))
def test_every_call_is_of_the_documented_form(
    batch: dict[str, str], exit_action: ExitAction
) -> None:
    """That of LaunchDarkly's OpenAPI document."""
    for request in calls(list(batch.items()), exit_action):
        operation = Operation(request.method, request.route)
        openapi.check_request(operation, request.content_type, request.encoded() or b"")


@given(USERS)
def test_every_synced_body_is_of_the_documented_form(batch: dict[str, str]) -> None:
    """That of the integration, which has no OpenAPI document; members in their order."""
    (request,) = targets_requests(ID, VIP, list(batch.items()))
    document = orjson.loads(request.encoded() or b"")
    jsonschema.validate(document, TARGETS)
    assert [f"user/{entry['userId']}" for entry in document["batch"]] == list(batch)


def test_a_key_is_encoded_in_a_path() -> None:
    """It may be anything, and must stay one part of it."""
    odd = Segment(key="a/b?c#d", name="x", audience_id="x", audience_key="x")
    (request,) = contexts_requests("p", "e", odd, [("user/u", ADD)])
    assert request.path == "/api/v2/segments/p/e/a%2Fb%3Fc%23d/contexts"


def test_what_cannot_be_said_in_json_has_no_bytes() -> None:
    """Half of a surrogate pair is no text."""
    (request,) = calls([("user/\ud800", ADD)])
    with pytest.raises(orjson.JSONEncodeError):
        request.encoded()
    assert Request("GET", "/", {}).encoded() is None
