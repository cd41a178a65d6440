"""What is believed of the reply to a semantic patch."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldsync.launchdarkly.outcome import classify
from ldsync.launchdarkly.reply import MAX_BODY, Reply
from ldsync.launchdarkly.writers.semantic_patch import doubt

ADD, REMOVE = "2026-11-24T20:00:00.000Z+", "2026-11-24T20:00:00.000Z-"


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
