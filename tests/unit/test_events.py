"""What an Engage event says: the field rules of docs/events.md, row by row."""

from typing import Any

import pytest

from tests.support.engage_events import (
    ABSENT,
    AUDIENCE_KEY,
    LONE_SURROGATE,
    about,
    change,
    encode,
    identify,
    name_of,
    read,
    track,
)

IN = "+user/u_1"
OUT = "-user/u_1"
TYPE_NOT_AUDIENCE = "ignored: type_not_audience"
NOT_ENGAGE = "ignored: not_engage"
CLASS_NOT_AUDIENCE = "ignored: class_not_audience"
BAD_ID = "invalid: bad_audience_id"
BAD_KEY = "invalid: bad_audience_key"
MISSING = "invalid: membership_missing"
NOT_BOOLEAN = "invalid: membership_not_boolean"
NO_KEY = "skipped: no_context_key"

HUGE = 2**64 + 1
"""Beyond what orjson keeps exact."""
ABSURD = int("9" * 4001)
"""Longer than anyone's identifier, and shorter than what Python refuses to read."""
NOT_TEXT: tuple[Any, ...] = (
    None,
    True,
    False,
    1.5,
    -0.0,
    1e21,
    float(HUGE),
    [],
    ["u_1"],
    {},
    {"id": 1},
)
"""What is neither text nor an integer."""


@pytest.mark.parametrize("kind", ["identify", "track"])
def test_identify_and_track_are_read(kind: str) -> None:
    """The two calls by which Engage tells memberships."""
    assert read({"identify": identify, "track": track}[kind]()) == IN


@pytest.mark.parametrize(
    "kind",
    [
        *("page", "screen", "group", "alias", "delete", "Identify", "TRACK", " track", ""),
        *(ABSENT, None, 1, True, {}, [], ["identify"], {"identify": "track"}),
    ],
    ids=name_of,
)
def test_other_types_are_ordinary_traffic(kind: Any) -> None:
    """The comparison is exact; a shared topic carries everything."""
    assert read(identify(type=kind)) == TYPE_NOT_AUDIENCE


@pytest.mark.parametrize(
    "context", [ABSENT, None, "", "personas", 0, True, [], [{"personas": {}}], {}], ids=name_of
)
def test_without_a_context_it_is_not_from_engage(context: Any) -> None:
    """Calls of the customer's own sources, whatever traits they carry."""
    assert read(identify(context=context)) == NOT_ENGAGE


@pytest.mark.parametrize("personas", [None, "", "audience", 0, True, [], ["audience"]], ids=name_of)
def test_without_personas_it_is_not_from_engage(personas: Any) -> None:
    """Null above all, which makes Segment's destination fail the whole batch."""
    assert read(identify(context={"personas": personas})) == NOT_ENGAGE


@pytest.mark.parametrize(
    "name",
    [
        *("trait", "computed_trait", "Audience", "audience ", "journeystep", ""),
        *(ABSENT, None, 1, True, ["audience"], {"audience": True}),
    ],
    ids=name_of,
)
def test_other_computations_are_ordinary_traffic(name: Any) -> None:
    """A boolean computed trait looks like a flag: only the class tells it from an audience."""
    assert read(about(computation_class=name)) == CLASS_NOT_AUDIENCE


def test_an_empty_personas_object_names_no_class() -> None:
    """From Engage, but no audience."""
    assert read(identify(context={"personas": {}})) == CLASS_NOT_AUDIENCE


@pytest.mark.parametrize("name", ["audience", "journey_step"])
def test_audiences_and_journey_steps_are_read(name: str) -> None:
    """The two classes that mean membership."""
    assert read(about(computation_class=name)) == IN


@pytest.mark.parametrize("bad", [ABSENT, "", LONE_SURROGATE, ABSURD, *NOT_TEXT], ids=name_of)
def test_an_audience_without_a_usable_id_is_invalid(bad: Any) -> None:
    """Its class says that it is one, so something is broken."""
    assert read(about(computation_id=bad)) == BAD_ID


@pytest.mark.parametrize("bad", [ABSENT, "", LONE_SURROGATE, ABSURD, *NOT_TEXT], ids=name_of)
def test_an_audience_without_a_usable_key_is_invalid(bad: Any) -> None:
    """The flag cannot be found without it."""
    assert read(about(computation_key=bad)) == BAD_KEY


@pytest.mark.parametrize(
    ("audience_id", "expected"),
    [
        ("aud_1", "aud_1"),
        (" ", " "),
        (" aud_1 ", " aud_1 "),
        ("日本", "日本"),
        (0, "0"),
        (-1, "-1"),
        (12345678901234567890, "12345678901234567890"),
        (HUGE, "18446744073709551617"),
    ],
    ids=name_of,
)
def test_an_audience_id_is_kept_as_it_is(audience_id: Any, expected: str) -> None:
    """Never trimmed, and integers exact in decimal."""
    assert change(about(computation_id=audience_id)).target.segment.audience_id == expected


@pytest.mark.parametrize("number", [0, -7, 12345678901234567890, HUGE, -HUGE], ids=name_of)
def test_an_audience_key_may_be_an_integer(number: int) -> None:
    """Its decimal form then names the flag."""
    event = about(computation_key=number)
    event["traits"] = {str(number): False}

    assert read(event) == OUT
    assert change(event).target.audience_key == str(number)


@pytest.mark.parametrize(
    ("user_id", "expected"),
    [
        ("u_1", "u_1"),
        (" u 1\n", " u 1\n"),
        ("0", "0"),
        ("ann@example.com", "ann@example.com"),
        ("Zoë-日本", "Zoë-日本"),
        ("😀", "😀"),
        ("é\u2003", "é\u2003"),
        ("acct/1/7", "acct/1/7"),
        ("true", "true"),
        ("\0", "\0"),
        (0, "0"),
        (1, "1"),
        (-5, "-5"),
        (2**53 + 1, "9007199254740993"),
        (2**63 - 1, "9223372036854775807"),
        (2**63, "9223372036854775808"),
        (2**63 + 1, "9223372036854775809"),
        (12345678901234567890, "12345678901234567890"),
        (2**64 - 1, "18446744073709551615"),
        (2**64, "18446744073709551616"),
        (HUGE, "18446744073709551617"),
        (-HUGE, "-18446744073709551617"),
        (10**21, "1000000000000000000000"),
        (10**400 + 7, f"1{'0' * 399}7"),
    ],
    ids=name_of,
)
def test_a_user_id_is_the_context_key(user_id: Any, expected: str) -> None:
    """Text untouched, integers in decimal to the last digit."""
    assert change(identify(userId=user_id)).member == f"user/{expected}"


@pytest.mark.parametrize("user_id", [ABSENT, ABSURD, *NOT_TEXT], ids=name_of)
def test_what_is_neither_text_nor_integer_is_no_user_id(user_id: Any) -> None:
    """Never coerced: a list of one id is not that id, `true` is not "true"."""
    assert read(identify(userId=user_id)) == NO_KEY


@pytest.mark.parametrize(
    "user_id",
    ["", " ", "\t\r\n", "\u00a0", "\u2003\u3000", LONE_SURROGATE, "\udc00u_1"],
    ids=name_of,
)
def test_blank_or_broken_text_is_no_user_id(user_id: str) -> None:
    """Nobody looks a flag up under such a key, and half a character cannot be sent."""
    assert read(identify(userId=user_id)) == NO_KEY


@pytest.mark.parametrize(
    ("literal", "expected"),
    [
        (b"-0", "+user/0"),
        (b"1e21", NO_KEY),
        (b"1E2", NO_KEY),
        (b"1.0", NO_KEY),
        (b"1e999", NO_KEY),
        (b"123456789012345678901234567890.0", NO_KEY),
        (b"-9223372036854775809", "+user/-9223372036854775809"),
        (b"9" * 4000, f"+user/{'9' * 4000}"),
        (b"9" * 4001, NO_KEY),
        (b"9" * 100_000, NO_KEY),
    ],
    ids=name_of,
)
def test_numbers_are_taken_as_they_are_written(literal: bytes, expected: str) -> None:
    """With a fraction or an exponent it was a float, whose digits are not to be trusted."""
    assert read(encode(identify()).replace(b'"u_1"', literal)) == expected


def test_other_identifiers_do_not_stand_in() -> None:
    """Priority `user_id_only`: neither the e-mail nor the anonymous id becomes the key."""
    event = identify(userId=ABSENT, anonymousId="an_1", previousId="p_1", groupId="g_1")

    assert read(event) == NO_KEY


@pytest.mark.parametrize("broken", [LONE_SURROGATE, {}, [1, 2], 1e21, None, HUGE], ids=name_of)
@pytest.mark.parametrize("field", ["anonymousId", "messageId", "originalTimestamp", "integrations"])
def test_fields_that_are_not_needed_may_be_anything(field: str, broken: Any) -> None:
    """Their types are nobody's business, whatever Segment's own destination makes of them."""
    assert read(identify(**{field: broken})) == IN


@pytest.mark.parametrize("email", [LONE_SURROGATE, {"a": 1}, [], 5, ""], ids=name_of)
def test_a_broken_email_does_not_matter(email: Any) -> None:
    """It is not read under the default priority."""
    assert read(identify(traits={"email": email, AUDIENCE_KEY: True})) == IN
    assert read(track(traits={"email": email})) == IN


def test_personas_may_carry_more_than_is_known() -> None:
    """Segment adds fields at will."""
    event = about(external_audience_id="379909525712777677", audience_settings={"a": 1}, x=None)

    assert read(event) == IN


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        pytest.param(identify(type="page", context=None), TYPE_NOT_AUDIENCE, id="type, context"),
        pytest.param(
            about(computation_class="trait", computation_id=None),
            CLASS_NOT_AUDIENCE,
            id="class, id",
        ),
        pytest.param(about(computation_id=1.5, computation_key=1.5), BAD_ID, id="id, key"),
        pytest.param(about(computation_key="") | {"userId": None}, BAD_KEY, id="key, user"),
        pytest.param(identify(ABSENT, userId=None), MISSING, id="flag, user"),
        pytest.param(identify(3, userId=None), NOT_BOOLEAN, id="no boolean, user"),
    ],
)
def test_of_several_faults_the_first_is_told(event: Any, expected: str) -> None:
    """In the order type, personas, class, id, key, flag, user: one reason for each record."""
    assert read(event) == expected
