"""The tables of the input contract (engage-events 2.2 to 2.4), row by row, in both columns.

Each case is named by its row and, where the contract names it, by the case of Segment's own code
that was run for it: `2.3 D06` is `"false"`. Strict mode is the careful column, segment mode that of
the reference; where that differs for mappings that do not batch, a row says so.
"""

from typing import Any, NamedTuple

import pytest

from ldsync.engage.decoder import Decoder
from ldsync.engage.mapping import Mapping, MembershipMode, Priority, WithoutFlag
from ldsync.engage.paths import parse
from tests.support.engage_events import ABSENT, AUDIENCE_KEY, about, change, identify, read, track

IN, OUT = "+user/u_1", "-user/u_1"
TYPE = "ignored: type_not_audience"
NOT_ENGAGE = "ignored: not_engage"
CLASS = "ignored: class_not_audience"
BAD_ID = "invalid: bad_audience_id"
BAD_KEY = "invalid: bad_audience_key"
BAD_KIND = "invalid: bad_context_kind"
BAD_IDENTIFIER = "invalid: bad_identifier"
MISSING = "invalid: membership_missing"
NOT_BOOLEAN = "invalid: membership_not_boolean"
NO_KEY = "skipped: no_context_key"

NOT_CLASSES: list[Any] = ["trait", "computed_trait", "Audience", "audience ", "", None, 1, {}]
NOT_KINDS: list[Any] = ["", None, {}, "a/b", "multi", "kind"]

EMAIL_ONLY = Mapping(context_key=Priority.EMAIL_ONLY)
BY_PATH = Mapping(context_kind=parse("kind"))


class Row(NamedTuple):
    """A row: an event, and what is made of it in strict mode, segment mode, and unbatched there."""

    id: str
    event: Any
    strict: str
    segment: str
    single: str = ""
    mapping: Mapping = Mapping()


def mail(own: Any = ABSENT, other: Any = ABSENT, **fields: Any) -> dict[str, Any]:
    """An event with e-mail addresses in the two places, and none where nothing is given."""
    event = identify(**fields)
    event["traits"] = {AUDIENCE_KEY: True} | ({} if own is ABSENT else {"email": own})
    event["context"]["traits"] = {} if other is ABSENT else {"email": other}
    return event


def named(key: Any, flags: dict[str, Any]) -> dict[str, Any]:
    """An identify call of an audience with this key and these traits."""
    return about(computation_key=key) | {"traits": flags}


def row(id_: str, event: Any, both: str) -> Row:
    """A row of which both columns say the same."""
    return Row(id_, event, both, both)


FIELDS = [
    # 1: the type is exactly identify or track.
    row("2.2/1 identify", identify(), IN),
    row("2.2/1 track", track(), IN),
    *(row(f"2.2/1 C06-C11 {name}", identify(type=name), TYPE)
      for name in ("page", "screen", "alias", "delete")),
    row("2.2/1 C09 group", identify(type="group"), TYPE),
    *(row(f"2.2/1 C15-C17 {name!r}", identify(type=name), TYPE)
      for name in ("Identify", "TRACK", "", " track")),
    row("2.2/1 absent", identify(type=ABSENT), TYPE),
    row("2.2/1 null", identify(type=None), TYPE),
    # 2: the class is exactly audience or journey_step.
    row("2.2/2 audience", about(computation_class="audience"), IN),
    row("2.2/2 journey_step", about(computation_class="journey_step"), IN),
    *(row(f"2.2/2 C01-C05 C12-C14 {name!r}", about(computation_class=name), CLASS)
      for name in NOT_CLASSES),
    row("2.2/2 absent", about(computation_class=ABSENT), CLASS),
    Row("2.2/2 in an array", about(computation_class=["audience"]), CLASS, IN),
    row("2.2/2 J16 context null", identify(context=None), NOT_ENGAGE),
    row("2.2/2 J17 personas null", identify(context={"personas": None}), NOT_ENGAGE),
    row("2.2/2 no context", identify(context=ABSENT), NOT_ENGAGE),
    # 3: the audience id.
    row("2.2/3 absent", about(computation_id=ABSENT), BAD_ID),
    row("2.2/3 null", about(computation_id=None), BAD_ID),
    Row("2.2/3 E03 empty", about(computation_id=""), BAD_ID, IN, BAD_ID),
    row("2.2/3 E04 number", about(computation_id=12), IN),
    row("2.2/3 E13 object", about(computation_id={"a": 1}), BAD_ID),
    row("2.2/3 E14 blanks", about(computation_id="  "), IN),
    # 4: the audience key.
    row("2.2/4 E05-E08 absent", about(computation_key=ABSENT), BAD_KEY),
    row("2.2/4 E05-E08 null", about(computation_key=None), BAD_KEY),
    Row("2.2/4 E07 empty", about(computation_key=""), BAD_KEY, OUT, BAD_KEY),
    row("2.2/4 E05-E08 number", named(12, {"12": True}), IN),
    row("2.2/4 E05-E08 object", about(computation_key={}), BAD_KEY),
    # 6: the context kind, from a path.
    Row("2.2/6 text", identify(kind="device"), "+device/u_1", "+device/u_1", mapping=BY_PATH),
    Row("2.2/6 H03-H08 number", identify(kind=5), BAD_KIND, "+5/u_1", mapping=BY_PATH),
    *(Row(f"2.2/6 H03-H08 {kind!r}", identify(kind=kind), BAD_KIND, BAD_KIND, mapping=BY_PATH)
      for kind in NOT_KINDS),
    # 9: the e-mail address.
    Row("2.2/9 own", mail("a@b.c", "x@y.z"), "+user/a@b.c", "+user/a@b.c", mapping=EMAIL_ONLY),
    Row("2.2/9 other", mail(None, "x@y.z"), "+user/x@y.z", "+user/x@y.z", mapping=EMAIL_ONLY),
    Row("2.2/9 G24 empty", mail("", "x@y.z"), "+user/x@y.z", NO_KEY, mapping=EMAIL_ONLY),
    Row("2.2/9 G22 properties", mail(properties={"email": "a@b.c"}), NO_KEY, NO_KEY,
        mapping=EMAIL_ONLY),
    Row("2.2/9 G20 G27 as written", mail(" Ann@X.Com"), "+user/ Ann@X.Com", "+user/ Ann@X.Com",
        mapping=EMAIL_ONLY),
    Row("2.2/9 no address", mail("not one"), "+user/not one", "+user/not one", mapping=EMAIL_ONLY),
    Row("2.2/9 G28 object, not used", mail({"a": 1}), IN, BAD_IDENTIFIER),
    Row("2.2/9 G29 list, not used", mail(["a", "b"]), IN, BAD_IDENTIFIER),
    # 10: the object of the flag.
    Row("2.2/10 D23 empty properties", identify(properties={}), IN, OUT),
    row("2.2/10 D22 null properties", identify(properties=None), IN),
    row("2.2/10 D24 track with traits", track(properties=ABSENT, traits={AUDIENCE_KEY: True}), IN),
    row("2.2/10 D26 both absent", identify(traits=ABSENT), MISSING),
    row("2.2/10 D27 both null", identify(traits=None, properties=None), MISSING),
    *(row(f"2.2/10 D28-D30 {value!r}", identify(traits=value), MISSING)
      for value in ([], [{AUDIENCE_KEY: True}], "text", 5, True)),
    Row("2.2/10 an array hides", identify(properties=[]), IN, MISSING),
    # 11: exactly that name.
    row("2.2/11 D33 dots", named("a.b", {"a.b": True, "a": {"b": False}}), IN),
    Row("2.2/11 D33 no path", named("a.b", {"a": {"b": True}}), MISSING, OUT),
    Row("2.2/11 D34 case", named("vip", {"VIP": True}), MISSING, OUT),
    Row("2.2/11 D35 blanks", named("vip", {" vip": True, "vip ": True}), MISSING, OUT),
]  # fmt: skip

FLAGS = [
    row("2.3 true", identify(True), IN),
    row("2.3 false", identify(False), OUT),
    row("2.3 D05 B01 'true'", identify("true"), IN),
    row("2.3 'TRUE'", identify("TRUE"), IN),
    Row("2.3 D06 B02 'false'", identify("false"), OUT, IN),
    Row("2.3 D11 'False'", identify("False"), OUT, IN),
    Row("2.3 D20 absent", identify(ABSENT), MISSING, OUT),
    Row("2.3 D21 absent, track", track(ABSENT), MISSING, OUT),
    Row("2.3 D01 null", identify(None), MISSING, OUT),
    Row("2.3 D02 0", identify(0), NOT_BOOLEAN, OUT),
    Row("2.3 D04 ''", identify(""), NOT_BOOLEAN, OUT),
    *(Row(f"2.3 D03 D07 D10 D12 {value!r}", identify(value), NOT_BOOLEAN, IN)
      for value in (1, -1, "0", "no", "yes", 0.5, " ")),
    Row("2.3 D08 D09 []", identify([]), NOT_BOOLEAN, IN),
    Row("2.3 D08 D09 {}", identify({}), NOT_BOOLEAN, IN),
    *(Row(f"2.3 D31 {name}", named(name, {}), MISSING, IN)
      for name in ("constructor", "toString", "valueOf", "hasOwnProperty")),
    Row("2.3 D31 but there", named("constructor", {"constructor": False}), OUT, OUT),
    row("2.3 A06 the name contradicts", track(True, event="Audience Exited"), IN),
    row("2.3 A06 the other way", track(False, event="Audience Entered"), OUT),
    row("2.3 A10 audience_key differs",
        track(properties={"audience_key": "another", AUDIENCE_KEY: True}), IN),
]  # fmt: skip

STEP = about(computation_class="journey_step") | {"traits": {"email": "a@b.c"}}
STEPS = [
    Row(f"2.3 B06 {choice}", STEP, strict, OUT, mapping=Mapping(journey_step_without_flag=choice))
    for choice, strict in (
        (WithoutFlag.DEAD_LETTER, MISSING),
        (WithoutFlag.ADD, IN),
        (WithoutFlag.IGNORE, "ignored: step_without_flag"),
    )
]

# "Identity types": of the user id, with the e-mail address next in line.
NEXT = "+user/ann@example.com"
THEN_EMAIL = Mapping(context_key=Priority.USER_ID_THEN_EMAIL)
IDENTITIES = [
    Row(f"2.4 {name}", identify(userId=user), strict, segment, mapping=THEN_EMAIL)
    for name, user, strict, segment in (
        ("text", "u_1", IN, IN),
        ("G03 0", 0, "+user/0", "+user/0"),
        ("G04 beyond a double", 12345678901234567890, "+user/12345678901234567890",
         "+user/12345678901234567000"),
        ("G11 an exponent", 10**21, f"+user/1{'0' * 21}", "+user/1e+21"),
        ("G05 true", True, NEXT, "+user/true"),
        ("G06 false", False, NEXT, "+user/false"),
        ("G07 a list of one", ["u_1"], NEXT, IN),
        ("G08 an object", {"id": "u_1"}, NEXT, BAD_IDENTIFIER),
        ("G09 a longer list", ["u_1", "u_2"], NEXT, BAD_IDENTIFIER),
        ("an empty list", [], NEXT, BAD_IDENTIFIER),
        ("G10 blanks around", " u_1 ", "+user/ u_1 ", "+user/ u_1 "),
        ("G12 unicode", "Zoë-日本", "+user/Zoë-日本", "+user/Zoë-日本"),
        ("G14 only blanks", "  ", NEXT, "+user/  "),
        ("null", None, NEXT, NEXT),
        ("empty", "", NEXT, NEXT),
    )
] + [
    Row("2.4 G29 an anonymousId that is not used", identify(anonymousId={"a": 1}), IN,
        BAD_IDENTIFIER),
    row("2.4 A08 only an anonymousId", identify(userId=ABSENT, anonymousId="an_1"), NO_KEY),
]  # fmt: skip

ROWS = FIELDS + FLAGS + STEPS + IDENTITIES


@pytest.mark.parametrize("case", ROWS, ids=[case.id for case in ROWS])
@pytest.mark.parametrize("known", [False, True], ids=["a new audience", "a known one"])
def test_a_row_of_the_contract_is_read_as_its_columns_say(case: Row, known: bool) -> None:
    """Careful in strict mode; as Segment's own code in segment mode, batched and not."""
    mapping, segment = case.mapping, MembershipMode.SEGMENT
    fields = {name: getattr(mapping, name) for name in Mapping.__slots__}
    unbatched = Mapping(**fields | {"batch_events": False})
    for expected, decoder in (
        (case.strict, Decoder(mapping)),
        (case.strict, Decoder(unbatched)),
        (case.segment, Decoder(mapping, membership_mode=segment)),
        (case.single or case.segment, Decoder(unbatched, membership_mode=segment)),
    ):
        if known:
            read(mail("ann@example.com", kind="device"), decoder)
        assert read(case.event, decoder) == expected


def test_every_row_has_a_name_of_its_own() -> None:
    """So that it can be found."""
    assert len({case.id for case in ROWS}) == len(ROWS)


@pytest.mark.parametrize("mode", MembershipMode)
@pytest.mark.parametrize(
    ("id_", "expected"),
    [
        pytest.param(12, "12", id="E04 number"),
        pytest.param("  ", "  ", id="E14 blanks"),
        pytest.param("aud_1", "aud_1", id="text"),
    ],
)
def test_the_audience_id_is_kept(id_: Any, expected: str, mode: MembershipMode) -> None:
    """2.2/3: a number becomes its digits, nothing is trimmed."""
    found = change(about(computation_id=id_), Decoder(Mapping(), membership_mode=mode))

    assert found.target.segment.audience_id == expected


@pytest.mark.parametrize("mode", MembershipMode)
def test_the_name_comes_from_the_key(mode: MembershipMode) -> None:
    """2.2/5: as section 4 says (test_naming has its vectors)."""
    found = change(identify(), Decoder(Mapping(), membership_mode=mode))

    assert found.target.segment.name == "First time shopper"
