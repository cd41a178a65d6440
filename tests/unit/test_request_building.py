"""The semantic patch that a batch becomes, and what is believed of the reply to it."""

import jsonschema
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldsync.launchdarkly.outcome import classify
from ldsync.launchdarkly.reply import MAX_BODY, Reply
from ldsync.launchdarkly.writers.semantic_patch import doubt, patch_body
from ldsync.sync.change import Segment
from tests.support.semantic_patch import SCHEMA

VIP = Segment(key="vip", name="Vip", audience_id="aud_2QZ", audience_key="vip")
ADD, REMOVE = "2026-11-24T20:00:00.000Z+", "2026-11-24T20:00:00.000Z-"

KINDS = st.text("abcXYZ019._-", min_size=1, max_size=6)
KEYS = st.text(min_size=1, max_size=12)
MEMBERS = st.builds(lambda kind, key: f"{kind}/{key}", KINDS, KEYS)
BATCHES = st.dictionaries(MEMBERS, st.sampled_from([ADD, REMOVE]), min_size=1, max_size=60)


def test_a_batch_becomes_one_patch_with_leavers_first() -> None:
    """One instruction per direction and context kind; the comment is for the audit log."""
    changes = [
        ("user/u-1", ADD),
        ("user/u-2", REMOVE),
        ("organization/org/7", ADD),
        ("user/u-3", ADD),
    ]
    assert patch_body("production", VIP, changes) == {
        "environmentKey": "production",
        "comment": "ldsync: audience aud_2QZ, 3 added, 1 removed",
        "instructions": [
            {"kind": "removeIncludedTargets", "contextKind": "user", "values": ["u-2"]},
            {"kind": "addIncludedTargets", "contextKind": "user", "values": ["u-1", "u-3"]},
            {"kind": "addIncludedTargets", "contextKind": "organization", "values": ["org/7"]},
        ],
    }


@given(BATCHES)
def test_every_member_is_in_exactly_one_instruction(batch: dict[str, str]) -> None:
    """Nothing lost, nothing twice, in the right direction; keys may hold any character."""
    body = patch_body("production", VIP, list(batch.items()))
    written = [
        (f"{instruction['contextKind']}/{key}", instruction["kind"])
        for instruction in body["instructions"]
        for key in instruction["values"]
    ]
    assert len(written) == len(batch)
    assert dict(written) == {
        member: "addIncludedTargets" if stamp == ADD else "removeIncludedTargets"
        for member, stamp in batch.items()
    }


@given(BATCHES)
def test_every_patch_is_of_the_documented_form(batch: dict[str, str]) -> None:
    """Unknown fields would be ignored without a word, so there must be none."""
    body = orjson.loads(orjson.dumps(patch_body("production", VIP, list(batch.items()))))
    jsonschema.validate(body, SCHEMA)
    assert body.keys() <= SCHEMA["properties"].keys()


def reply(raw: bytes) -> Reply:
    """A successful reply."""
    return Reply(200, classify(200), raw, started=0.0)


@pytest.mark.parametrize(
    ("raw", "believed"),
    [
        pytest.param(b'{"version":3,"included":["u-1"]}', True, id="included"),
        pytest.param(b'{"version": 3, "included": ["u-1"]}', True, id="with blanks"),
        pytest.param(
            b'{"includedContexts":[{"contextKind":"user","values":["u-1"]}],"version":3}',
            True,
            id="among the contexts",
        ),
        pytest.param(b'{"version":3,"included":["u-11","xu-1"]}', False, id="only similar keys"),
        pytest.param(b'{"version":3,"included":[]}', False, id="ignored"),
        pytest.param(b'{"included":["u-1"]}', False, id="no version"),
        pytest.param(b"", False, id="empty"),
        pytest.param(b"<html>u-1</html>", False, id="login page"),
    ],
)
def test_a_reply_must_show_the_segment_with_an_added_member(raw: bytes, believed: bool) -> None:
    """The API reports success also for fields it ignored."""
    assert (doubt(reply(raw), [("user/u-1", ADD), ("user/u-2", REMOVE)]) == "") is believed


def test_the_search_copes_with_what_it_cannot_find() -> None:
    """Removals show nothing; a key may be escaped in several ways; a reply may be cut short."""
    shown = reply(b'{"version":3,"included":[]}')
    assert doubt(shown, [("user/u-2", REMOVE)]) == ""
    assert doubt(shown, [("user/<&>", ADD)]) == ""
    assert doubt(reply(b"x" * (MAX_BODY + 1)), [("user/u-1", ADD)]) == ""


@given(st.text("abcAZ09_.:@-", min_size=1), st.booleans())
def test_plain_keys_are_found_however_the_reply_is_written(key: str, compact: bool) -> None:
    """No JSON encoder escapes them."""
    document = {"version": 1, "included": ["other", key]}
    raw = orjson.dumps(document, option=None if compact else orjson.OPT_INDENT_2)
    assert doubt(reply(raw), [(f"user/{key}", ADD)]) == ""
