"""How many targets a standard segment holds, as its replies say."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldsync.launchdarkly.outcome import classify
from ldsync.launchdarkly.reply import MAX_BODY, Reply
from ldsync.launchdarkly.writers.room import MAX_TARGETS, Room, held_by
from ldsync.sync.change import Segment

KEYS = st.lists(st.text(max_size=6), unique=True, max_size=20)


def segment() -> Segment:
    """A segment that nothing is known of."""
    return Segment(key="vip", name="Vip", audience_id="aud", audience_key="vip")


def reply(raw: bytes) -> Reply:
    """A reply to a patch."""
    return Reply(200, classify(200), raw, started=0.0)


def document(count: int) -> dict[str, object]:
    """A segment of users."""
    return {"key": "vip", "version": 3, "included": [f"u-{number}" for number in range(count)]}


def test_nothing_is_known_of_a_segment_that_was_not_shown() -> None:
    """It is tried: LaunchDarkly knows."""
    assert not Room().may_lack(segment(), MAX_TARGETS)


@pytest.mark.parametrize(
    ("held", "adds", "lacks"),
    [
        pytest.param(0, 15_000, False, id="as much as fits at all"),
        pytest.param(14_999, 1, False, id="the last one"),
        pytest.param(14_999, 2, True, id="one too many"),
        pytest.param(15_000, 0, False, id="full, and nothing to add"),
        pytest.param(15_000, 1, True, id="full"),
    ],
)
@pytest.mark.parametrize("shown", ["in a reply", "as a document"])
def test_room_is_what_is_left_of_15000(held: int, adds: int, lacks: bool, shown: str) -> None:
    """Near the limit the count is exact, however it came."""
    room, vip = Room(), segment()
    if shown == "in a reply":
        room.note(vip, reply(orjson.dumps(document(held))))
    else:
        room.note_document(vip, document(held))
    assert room.may_lack(vip, adds) is lacks or held == 0
    assert room.may_lack(vip, MAX_TARGETS - held + 1)


@given(KEYS, KEYS, KEYS)
def test_the_bound_is_never_below_the_count(
    included: list[str], excluded: list[str], others: list[str]
) -> None:
    """Whatever the keys look like, quotation marks in them included."""
    found = {
        "version": 1,
        "included": included,
        "excluded": excluded,
        "includedContexts": [{"contextKind": "org", "values": others}],
    }
    held = held_by(found)
    assert held == len(included) + len(excluded) + len(others)
    for raw in (orjson.dumps(found), orjson.dumps(found, option=orjson.OPT_INDENT_2)):
        room, vip = Room(), segment()
        room.note(vip, reply(raw))
        assert room.may_lack(vip, MAX_TARGETS - held + 1)


def test_a_reply_that_was_cut_short_says_nothing() -> None:
    """Not even what was known before it."""
    room, vip = Room(), segment()
    room.note_document(vip, document(MAX_TARGETS))
    room.note(vip, reply(b"x" * (MAX_BODY + 1)))
    assert not room.may_lack(vip, 1)


def test_the_same_user_in_both_places_counts_once() -> None:
    """Where `user` targets are shown is not documented, so both are looked at."""
    twice = {"included": ["u-1"], "includedContexts": [{"contextKind": "user", "values": ["u-1"]}]}
    assert held_by(twice) == 1
