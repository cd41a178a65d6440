"""What is believed of the reply to a semantic patch."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldsync.launchdarkly.outcome import classify
from ldsync.launchdarkly.reply import MAX_BODY, Reply
from ldsync.launchdarkly.request import Request
from ldsync.launchdarkly.writers.semantic_patch import doubt, patch_requests
from ldsync.launchdarkly.writers.sides import ExitAction
from ldsync.sync.change import Segment

VIP = Segment(key="vip", name="Vip", audience_id="aud_2QZ", audience_key="vip")
ADD, REMOVE = "2026-11-24T20:00:00.000Z+", "2026-11-24T20:00:00.000Z-"


def patch(*changes: tuple[str, str]) -> Request:
    """The patch that was sent."""
    (request,) = patch_requests("p", "e", VIP, changes)
    return request


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
    assert (doubt(reply(raw), patch(*[("user/u-1", ADD), ("user/u-2", REMOVE)])) == "") is believed


def test_the_search_copes_with_what_it_cannot_find() -> None:
    """Removals show nothing; a key may be escaped in several ways; a reply may be cut short."""
    shown = reply(b'{"version":3,"included":[]}')
    assert doubt(shown, patch(*[("user/u-2", REMOVE)])) == ""
    assert doubt(shown, patch(*[("user/<&>", ADD)])) == ""
    assert doubt(reply(b"x" * (MAX_BODY + 1)), patch(*[("user/u-1", ADD)])) == ""


@given(st.text("abcAZ09_.:@-", min_size=1), st.booleans())
def test_plain_keys_are_found_however_the_reply_is_written(key: str, compact: bool) -> None:
    """No JSON encoder escapes them."""
    document = {"version": 1, "included": ["other", key]}
    raw = orjson.dumps(document, option=None if compact else orjson.OPT_INDENT_2)
    assert doubt(reply(raw), patch(*[(f"user/{key}", ADD)])) == ""


def test_a_patch_that_only_removes_shows_nobody() -> None:
    """Those who join are not in the segment yet when they are taken from the excluded ones."""
    first, second = patch_requests("p", "e", VIP, [("user/u-1", ADD)], ExitAction.EXCLUDE)
    shown = reply(b'{"version":3,"included":[]}')
    assert doubt(shown, first) == ""
    assert doubt(shown, second) != ""


def test_who_was_excluded_is_looked_for_too() -> None:
    """A member that is added to either list."""
    _, second = patch_requests("p", "e", VIP, [("user/u-1", REMOVE)], ExitAction.EXCLUDE)
    assert doubt(reply(b'{"version":3,"excluded":["u-1"]}'), second) == ""
    assert doubt(reply(b'{"version":3,"excluded":[]}'), second) != ""
