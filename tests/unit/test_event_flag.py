"""The flag of an Engage event: where it stands, and what its values mean (docs/events.md)."""

from typing import Any

import pytest

from tests.support.engage_events import (
    ABSENT,
    AUDIENCE_KEY,
    LONE_SURROGATE,
    about,
    identify,
    name_of,
    read,
    track,
)

IN = "+user/u_1"
OUT = "-user/u_1"
MISSING = "invalid: membership_missing"
NOT_BOOLEAN = "invalid: membership_not_boolean"


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        (True, IN),
        (False, OUT),
        ("true", IN),
        ("True", IN),
        ("TRUE", IN),
        ("false", OUT),
        ("False", OUT),
        ("fALSE", OUT),
        (ABSENT, MISSING),
        (None, MISSING),
        (0, NOT_BOOLEAN),
        (1, NOT_BOOLEAN),
        (-1, NOT_BOOLEAN),
        (1.0, NOT_BOOLEAN),
        (0.0, NOT_BOOLEAN),
        (2**80, NOT_BOOLEAN),
        ("", NOT_BOOLEAN),
        ("0", NOT_BOOLEAN),
        ("1", NOT_BOOLEAN),
        ("no", NOT_BOOLEAN),
        ("yes", NOT_BOOLEAN),
        ("null", NOT_BOOLEAN),
        (" true", NOT_BOOLEAN),
        ("false\n", NOT_BOOLEAN),
        (LONE_SURROGATE, NOT_BOOLEAN),
        ([], NOT_BOOLEAN),
        ([True], NOT_BOOLEAN),
        ({}, NOT_BOOLEAN),
        ({"value": True}, NOT_BOOLEAN),
    ],
    ids=name_of,
)
@pytest.mark.parametrize("call", [identify, track])
def test_the_flag_decides(call: Any, flag: Any, expected: str) -> None:
    """A boolean or its name; nothing is guessed, and nothing else is made a boolean."""
    assert read(call(flag)) == expected


@pytest.mark.parametrize("name", ["audience", "journey_step"])
@pytest.mark.parametrize("flag", [ABSENT, None], ids=name_of)
def test_silence_is_no_exit(name: str, flag: Any) -> None:
    """Also for journey steps, whose documented events have no flag at all."""
    event = about(computation_class=name) | {"traits": {AUDIENCE_KEY: flag}}
    if flag is ABSENT:
        event["traits"] = {}

    assert read(event) == MISSING


FLAG_IN = {AUDIENCE_KEY: True}
FLAG_OUT = {AUDIENCE_KEY: False}


@pytest.mark.parametrize(
    ("own", "other", "expected"),
    [
        pytest.param(FLAG_IN, FLAG_OUT, IN, id="the own object wins"),
        pytest.param(FLAG_OUT, FLAG_IN, OUT, id="the own object wins, out"),
        pytest.param({}, FLAG_IN, IN, id="empty"),
        pytest.param({"another": True}, FLAG_OUT, OUT, id="without the key"),
        pytest.param({AUDIENCE_KEY: None}, FLAG_OUT, OUT, id="null flag"),
        pytest.param(None, FLAG_IN, IN, id="null"),
        pytest.param(ABSENT, FLAG_OUT, OUT, id="absent"),
        pytest.param([FLAG_IN], FLAG_OUT, OUT, id="array"),
        pytest.param(AUDIENCE_KEY, FLAG_IN, IN, id="string"),
        pytest.param(True, FLAG_OUT, OUT, id="boolean"),
        pytest.param({AUDIENCE_KEY: "maybe"}, FLAG_IN, NOT_BOOLEAN, id="no boolean"),
        pytest.param({AUDIENCE_KEY: 0}, FLAG_IN, NOT_BOOLEAN, id="zero"),
        pytest.param(ABSENT, ABSENT, MISSING, id="neither"),
        pytest.param([], "", MISSING, id="neither is an object"),
        pytest.param({}, {}, MISSING, id="both empty"),
        pytest.param({}, {AUDIENCE_KEY: "TRUE"}, IN, id="text in the other"),
        pytest.param({}, {AUDIENCE_KEY: 1}, NOT_BOOLEAN, id="number in the other"),
    ],
)
def test_the_flag_is_sought_in_the_object_of_the_type_first(
    own: Any, other: Any, expected: str
) -> None:
    """`traits` of an identify, `properties` of a track; then the other one."""
    assert read(identify(traits=own, properties=other)) == expected
    assert read(track(properties=own, traits=other)) == expected


@pytest.mark.parametrize(
    ("key", "flags", "expected"),
    [
        pytest.param("a.b", {"a.b": True, "a": {"b": False}}, IN, id="dots are no path"),
        pytest.param("a.b", {"a": {"b": True}}, MISSING, id="no path is walked"),
        pytest.param("vip", {"VIP": True}, MISSING, id="case matters"),
        pytest.param("vip", {" vip": True, "vip ": True}, MISSING, id="nothing is trimmed"),
        pytest.param("constructor", {}, MISSING, id="names JavaScript objects inherit"),
        pytest.param("audience_key", {"audience_key": True}, IN, id="audience_key itself"),
        pytest.param("key", {"key": False, "other": True}, OUT, id="traits beside the flag"),
        pytest.param("日本", {"日本": True}, IN, id="unicode"),
    ],
)
def test_the_flag_has_exactly_the_name_of_the_audience_key(
    key: str, flags: dict[str, Any], expected: str
) -> None:
    """Other traits may have any name, that of another audience included."""
    assert read(about(computation_key=key) | {"traits": flags}) == expected


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        pytest.param(track(True, event="Audience Exited"), IN, id="exited, but true"),
        pytest.param(track(False, event="Audience Entered"), OUT, id="entered, but false"),
        pytest.param(track(True, event="VIP Joined"), IN, id="a name of one's own"),
        pytest.param(track(True, event=None), IN, id="no name"),
        pytest.param(track(True, event={"a": 1}), IN, id="no text"),
    ],
)
def test_the_name_of_the_event_is_never_read(event: Any, expected: str) -> None:
    """It is configurable in Engage."""
    assert read(event) == expected
