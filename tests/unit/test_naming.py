"""How segments are named: the name of Segment's destination, and a key LaunchDarkly accepts."""

import re

import pytest

from ldsync.engage.naming import rendered_name, segment_key, segment_name
from tests.support.engage_events import name_of

VALID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*").fullmatch
DIGESTED = re.compile(r".*-[0-9a-f]{12}").fullmatch


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("first_time_shopper", "First time shopper"),
        ("a", "A"),
        ("_leading", " leading"),
        ("double__underscore", "Double  underscore"),
        ("trailing_", "Trailing "),
        ("UPPER_case", "UPPER case"),
        ("with-hyphen_and.dot", "With-hyphen and.dot"),
        ("1st_order", "1st order"),
        ("élan_club", "Élan club"),
        ("ßeta_test", "SSeta test"),
        ("ǆ_x", "Ǆ x"),
        ("😀_fans", "😀 fans"),
        ("𐐨_astral", "𐐨 astral"),
        ("_", " "),
        (" _ ", "   "),
        ("j_o_first_purchase__opened_email_dje83h", "J o first purchase  opened email dje83h"),
    ],
)
def test_a_segment_has_the_name_that_segments_destination_gives(key: str, name: str) -> None:
    """So that people find what they know; nothing is trimmed, lowered or collapsed."""
    assert segment_name(key) == name


@pytest.mark.parametrize(
    "key",
    [
        "first_time_shopper",
        "UPPER.case-1",
        "1st",
        "a",
        "a--b__c..d",
        "trailing-",
        "x" * 128,
        "sale-20240101",
        "a-0123456789AB",
        "a-0123456789ab_",
        "a_0123456789ab",
        "0123456789ab",
    ],
)
def test_a_valid_key_is_left_alone(key: str) -> None:
    """The key of a segment is the audience key wherever it can be."""
    assert segment_key("{audience_key}", audience_key=key, audience_id="aud_1") == key


@pytest.mark.parametrize(
    ("key", "stem"),
    [
        pytest.param("two words", "two-words", id="space"),
        pytest.param("a / b", "a-b", id="a run becomes one hyphen"),
        pytest.param("_leading", "leading", id="bad start"),
        pytest.param("-._x", "x", id="several at the start"),
        pytest.param("élan_club", "lan_club", id="letters beyond ASCII"),
        pytest.param("café", "caf", id="no hyphen at the end of the stem"),
        pytest.param("日本", "audience", id="nothing left"),
        pytest.param("_", "audience", id="only an underscore"),
        pytest.param("line\n", "line", id="line end"),
        pytest.param("x" * 129, "x" * 115, id="too long"),
        pytest.param("x" * 114 + "-" + "y" * 20, "x" * 114, id="cut at a hyphen"),
        pytest.param("a-0123456789ab", "a-0123456789ab", id="ends like a digest"),
        pytest.param("٣_x", "x", id="digits beyond ASCII"),
    ],
)
def test_another_key_is_made_valid_and_told_apart(key: str, stem: str) -> None:
    """What it was is kept as far as possible; the digest tells it from what looks alike."""
    made = segment_key("{audience_key}", audience_key=key, audience_id="aud_1")

    assert re.fullmatch(re.escape(stem) + "-[0-9a-f]{12}", made)
    assert VALID(made)
    assert len(made) <= 128


def test_a_digest_is_the_same_in_every_process() -> None:
    """It names a segment for good: printf 'two words' | sha256sum."""
    made = segment_key("{audience_key}", audience_key="two words", audience_id="aud_1")

    assert made == "two-words-a03f1d611645"


@pytest.mark.parametrize(
    "lookalikes",
    [
        ("a b", "a-b", "a/b", "a  b", "a\tb"),
        ("日本", "東京", "_", "audience"),
        ("x" * 128, "x" * 129, "x" * 130),
        ("_a", "a", "-a"),
    ],
    ids=lambda keys: keys[0][:10],
)
def test_keys_that_would_become_alike_stay_apart(lookalikes: tuple[str, ...]) -> None:
    """Two audiences never share a segment by accident."""
    made = {_key(key) for key in lookalikes}

    assert len(made) == len(lookalikes)


@pytest.mark.parametrize("key", ["a b", "日本", "x" * 200])
def test_nobody_can_take_the_key_of_another(key: str) -> None:
    """An audience whose key is what another's is made into gets a digest of its own."""
    assert DIGESTED(_key(key))
    assert _key(_key(key)) != _key(key)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{audience_key}", "vip"),
        ("{audience_id}", "aud_1"),
        ("engage-{audience_key}", "engage-vip"),
        ("{audience_key}.{audience_id}", "vip.aud_1"),
        ("{audience_key}{audience_key}", "vipvip"),
    ],
)
def test_a_template_names_key_and_id(template: str, expected: str) -> None:
    """As `naming.segment_key` is configured."""
    assert segment_key(template, audience_key="vip", audience_id="aud_1") == expected


@pytest.mark.parametrize(
    ("length", "expected"),
    [(256, f"X{'x' * 255}"), (257, f"X{'x' * 254}…"), (30_000, f"X{'x' * 254}…")],
    ids=name_of,
)
def test_a_name_nobody_can_read_is_cut(length: int, expected: str) -> None:
    """LaunchDarkly states no limit; up to 256 characters it is the one Segment gives."""
    name = rendered_name("{audience_name}", audience_key="x" * length, audience_id="aud_1")

    assert name == expected
    assert len(name) == 256


def test_braces_in_an_audience_key_are_only_text() -> None:
    """What is filled in is not filled in again, which would give one audience another's key."""
    made = segment_key("{audience_key}", audience_key="{audience_id}", audience_id="vip")

    assert made != segment_key("{audience_key}", audience_key="vip", audience_id="aud_1")
    assert made.startswith("audience_id-")


def test_doubled_braces_in_a_template_are_one() -> None:
    """As in every format string; they then count among what a key cannot hold."""
    made = segment_key("a{{b}}.{audience_id}", audience_key="vip", audience_id="aud_1")

    assert re.fullmatch("a-b-.aud_1-[0-9a-f]{12}", made)


def _key(audience_key: str) -> str:
    return segment_key("{audience_key}", audience_key=audience_key, audience_id="aud_1")
