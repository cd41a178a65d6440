"""The context key and kind: priorities, e-mail addresses, paths (docs/events.md, both modes)."""

from typing import Any

import pytest

from ldsync.engage.decoder import Decoder
from ldsync.engage.mapping import EmailNormalization, Fields, Mapping, MembershipMode, Priority
from ldsync.engage.paths import parse
from tests.support.engage_events import ABSENT, AUDIENCE_KEY, LONE_SURROGATE, identify, name_of
from tests.support.engage_events import read as gist_of

U, E, A = "u_1", "ann@example.com", "6f0c2d7e"
NONE = ""
PRIORITIES = list(Priority)


def event(user: Any = U, email: Any = E, anonymous: Any = A, other: Any = ABSENT) -> dict[str, Any]:
    """An identify call; `other` is the e-mail address in `context.traits`."""
    made = identify(userId=user, anonymousId=anonymous)
    made["traits"] = {AUDIENCE_KEY: True} | ({} if email is ABSENT else {"email": email})
    made["context"]["traits"] = {} if other is ABSENT else {"email": other}
    return made


def key_of(made: Any, mapping: Mapping, mode: MembershipMode = MembershipMode.STRICT) -> str:
    """The key that is taken, empty if there is none."""
    decoder = Decoder(mapping, membership_mode=mode)
    first, again = gist_of(made, decoder), gist_of(made, decoder)
    assert first == again
    return first.removeprefix("+user/").replace("skipped: no_context_key", NONE)


# Contract 2.4, the cases F_*: all, no user id, an empty one, only one of the three, none.
IDENTITIES = [
    pytest.param((U, E, A), (U, E, U, U, U), id="F all"),
    pytest.param((ABSENT, E, A), (NONE, E, E, A, E), id="F no userId"),
    pytest.param((None, E, A), (NONE, E, E, A, E), id="F null userId"),
    pytest.param(("", E, A), (NONE, E, E, A, E), id="F empty userId"),
    pytest.param((U, ABSENT, ABSENT), (U, NONE, U, U, U), id="F only userId"),
    pytest.param((ABSENT, E, ABSENT), (NONE, E, E, NONE, E), id="F only e-mail"),
    pytest.param((ABSENT, ABSENT, A), (NONE, NONE, NONE, A, A), id="F only anonymousId"),
    pytest.param((ABSENT, ABSENT, ABSENT), (NONE,) * 5, id="F none"),
    pytest.param(("", "", A), (NONE, NONE, NONE, A, A), id="F empty but anonymousId"),
    pytest.param(("", "", ""), (NONE,) * 5, id="F all empty"),
]
ORDER = [
    Priority.USER_ID_ONLY,
    Priority.EMAIL_ONLY,
    Priority.USER_ID_THEN_EMAIL,
    Priority.USER_ID_THEN_ANONYMOUS_ID,
    Priority.USER_ID_THEN_EMAIL_THEN_ANONYMOUS_ID,
]


@pytest.mark.parametrize("mode", MembershipMode)
@pytest.mark.parametrize("batched", [True, False], ids=["batch", "single"])
@pytest.mark.parametrize(("identities", "keys"), IDENTITIES)
def test_the_first_identifier_that_is_there_is_taken(
    identities: tuple[Any, Any, Any], keys: tuple[str, ...], batched: bool, mode: MembershipMode
) -> None:
    """Ten identity sets under five priorities; entries without a key are never sent."""
    found = [
        key_of(event(*identities), Mapping(context_key=priority, batch_events=batched), mode)
        for priority in ORDER
    ]

    assert tuple(found) == keys


REFUSED = "invalid: bad_identifier"


@pytest.mark.parametrize(
    ("value", "strict", "segment"),
    [
        ("u 1 ", "u 1 ", "u 1 "),
        (0, "0", "0"),
        (12345678901234567890, "12345678901234567890", "12345678901234567000"),
        (10**30, "1" + "0" * 30, "1e+30"),
        (1.5, E, "1.5"),
        (True, E, "true"),
        (False, E, "false"),
        (" ", E, " "),
        (["u_2"], E, "u_2"),
        ([None], E, E),
        ([], E, REFUSED),
        (["a", "b"], E, REFUSED),
        ({}, E, REFUSED),
        (LONE_SURROGATE, E, NONE),
        ("日本", "日本", "日本"),
    ],
    ids=name_of,
)
def test_identifiers_of_odd_types(value: Any, strict: str, segment: str) -> None:
    """Strict passes over what is no identifier; Segment coerces it, or refuses the event."""
    mapping = Mapping(context_key=Priority.USER_ID_THEN_EMAIL)

    assert key_of(event(user=value), mapping) == strict
    assert key_of(event(user=value), mapping, MembershipMode.SEGMENT) == segment


@pytest.mark.parametrize("where", ["user", "email", "anonymous"])
@pytest.mark.parametrize("priority", PRIORITIES)
def test_segment_refuses_an_event_for_an_identifier_it_does_not_want(
    where: str, priority: Priority
) -> None:
    """Strict does not look at what it does not want."""
    made = event(**{where: {"a": 1}})
    mapping = Mapping(context_key=priority)

    assert key_of(made, mapping, MembershipMode.SEGMENT) == REFUSED
    assert key_of(made, mapping) in {U, E, A, NONE}


@pytest.mark.parametrize(
    ("own", "other", "strict", "segment"),
    [
        pytest.param(E, "x@y.z", E, E, id="own first"),
        pytest.param(ABSENT, "x@y.z", "x@y.z", "x@y.z", id="no own"),
        pytest.param(None, "x@y.z", "x@y.z", "x@y.z", id="null"),
        pytest.param("", "x@y.z", "x@y.z", NONE, id="empty"),
        pytest.param(" ", "x@y.z", "x@y.z", " ", id="blank"),
        pytest.param({}, "x@y.z", "x@y.z", REFUSED, id="an object"),
        pytest.param(True, "x@y.z", "x@y.z", "true", id="a boolean"),
        pytest.param("Ann@Example.COM", ABSENT, "Ann@Example.COM", "Ann@Example.COM", id="case"),
    ],
)
def test_the_email_stands_in_one_of_two_places(
    own: Any, other: Any, strict: str, segment: str
) -> None:
    """`traits.email`, else `context.traits.email`."""
    made = event(email=own, other=other)
    mapping = Mapping(context_key=Priority.EMAIL_ONLY)

    assert key_of(made, mapping) == strict
    assert key_of(made, mapping, MembershipMode.SEGMENT) == segment


@pytest.mark.parametrize("mode", MembershipMode)
@pytest.mark.parametrize(
    ("normalization", "expected"),
    [("none", " Ann@X.com"), ("lower", " ann@x.com"), ("trim_lower", "ann@x.com")],
)
def test_emails_are_normalised_on_request(
    normalization: str, expected: str, mode: MembershipMode
) -> None:
    """And nothing but e-mail addresses is."""
    how = EmailNormalization(normalization)
    made = event(user="U_1", email=" Ann@X.com")

    by_email = Mapping(context_key=Priority.EMAIL_ONLY, email_normalization=how)
    by_user = Mapping(context_key=Priority.USER_ID_THEN_EMAIL, email_normalization=how)
    by_path = Mapping(context_key=parse("traits.email"), email_normalization=how)

    assert key_of(made, by_email, mode) == expected
    assert key_of(made, by_user, mode) == "U_1"
    assert key_of(made, by_path, mode) == " Ann@X.com"


@pytest.mark.parametrize("mode", MembershipMode)
def test_the_key_may_be_read_from_a_path(mode: MembershipMode) -> None:
    """Wherever it stands."""
    made = event() | {"device": {"ids": ["d_1"]}}

    assert key_of(made, Mapping(context_key=parse("device.ids.0")), mode) == "d_1"
    assert key_of(made, Mapping(context_key=parse("device.ids.1")), mode) == NONE


def test_a_key_at_a_path_is_as_exact_as_any() -> None:
    """Digits beyond 64 bits are read again."""
    made = event() | {"device": 2**64 + 1}

    assert key_of(made, Mapping(context_key=parse("device"))) == str(2**64 + 1)


def test_segment_refuses_what_is_no_text_at_a_path() -> None:
    """As it would for a field of its own."""
    found = key_of(event() | {"d": {}}, Mapping(context_key=parse("d")), MembershipMode.SEGMENT)

    assert found == REFUSED


@pytest.mark.parametrize("mode", MembershipMode)
def test_identifiers_may_stand_elsewhere(mode: MembershipMode) -> None:
    """Fields of their own; the priorities stay."""
    fields = Fields(user_id=parse("a.user"), anonymous_id=parse("a.anon"), email=parse("a.mail"))
    mapping = Mapping(context_key=Priority.USER_ID_THEN_EMAIL_THEN_ANONYMOUS_ID, fields=fields)

    assert key_of(event() | {"a": {"user": "1", "mail": "2", "anon": "3"}}, mapping, mode) == "1"
    assert key_of(event() | {"a": {"mail": "2", "anon": "3"}}, mapping, mode) == "2"
    assert key_of(event() | {"a": {"anon": "3"}}, mapping, mode) == "3"
    assert key_of(event(), mapping, mode) == NONE


@pytest.mark.parametrize(
    ("kind", "strict", "segment"),
    [
        ("device", "+device/u_1", "+device/u_1"),
        ("a.B_c-1", "+a.B_c-1/u_1", "+a.B_c-1/u_1"),
        (["device"], None, "+device/u_1"),
        (5, None, "+5/u_1"),
        ("", None, None),
        ("a/b", None, None),
        ("kind", None, None),
        ("multi", None, None),
        ("é", None, None),
        ("a\n", None, None),
        (None, None, None),
        ({}, None, None),
        (ABSENT, None, None),
    ],
    ids=name_of,
)
def test_the_kind_may_be_read_from_a_path(
    kind: Any, strict: str | None, segment: str | None
) -> None:
    """One that LaunchDarkly cannot have makes the record invalid."""
    made = identify(**({} if kind is ABSENT else {"kind": kind}))
    mapping = Mapping(context_kind=parse("kind"))
    bad = "invalid: bad_context_kind"

    assert gist_of(made, Decoder(mapping)) == (strict or bad)
    by_segment = Decoder(mapping, membership_mode=MembershipMode.SEGMENT)
    assert gist_of(made, by_segment) == (segment or bad)
