"""Triggers that compare with constants: what is known of them, and how little is asked then."""

from typing import Any

import pytest

from ldsync.engage import plan
from ldsync.engage.decoder import Decoder
from ldsync.engage.mapping import Fields, Mapping, MembershipMode
from ldsync.engage.paths import parse
from ldsync.engage.plan import Candidate, Chooser
from ldsync.engage.rules import Rules
from ldsync.engage.segments import OnCollision
from ldsync.engage.trigger import parse as trigger
from tests.support.engage_events import about, identify, read, track

KEY = "context.personas.computation_key"


@pytest.mark.parametrize(
    ("text", "needed", "decisive"),
    [
        pytest.param('event = "a"', {"event": {"a"}}, True, id="one"),
        pytest.param("userId = 5", {"userId": {"5"}}, True, id="a number as text"),
        pytest.param('type = "t" and event = "a"', {"type": {"t"}, "event": {"a"}}, True, id="and"),
        pytest.param('event = "a" or event = "b"', {"event": {"a", "b"}}, True, id="or"),
        pytest.param('event = "a" and event = "b"', {"event": set()}, True, id="never"),
        pytest.param('event = "a" or name = "b"', {}, False, id="either field"),
        pytest.param("traits.n = 5", {}, False, id="a number"),
        pytest.param('event != "a"', {}, False, id="not equal"),
        pytest.param('event = "a" and name != "b"', {"event": {"a"}}, False, id="and more"),
        pytest.param('event = "a" or contains(event, "b")', {}, False, id="or more"),
        pytest.param(
            '(event = "a" or event = "b") and (event = "b" or event = "c")',
            {"event": {"b"}}, True, id="in common",
        ),
        pytest.param(
            '(event = "a" and name = "x") or (event = "b" and name = "x")',
            {"event": {"a", "b"}, "name": {"x"}}, True, id="two pairs that differ in one",
        ),
        pytest.param(
            '(event = "a" and name = "x") or (event = "b" and name = "y")',
            {"event": {"a", "b"}, "name": {"x", "y"}}, False, id="two pairs that differ in both",
        ),
        pytest.param(
            '(event = "a" and name = "x") or event = "a"',
            {"event": {"a"}}, False, id="more of one",
        ),
        pytest.param(
            'event = "a" or (event = "b" and name != "x")', {"event": {"a", "b"}}, False,
            id="one is not only that",
        ),
    ],
)  # fmt: skip
def test_what_a_trigger_needs_is_known(
    text: str, needed: dict[str, set[str]], decisive: bool
) -> None:
    """Texts by field; and whether they are all that it asks for."""
    texts, found = trigger(text).constants

    assert {str(field): set(possible) for field, possible in texts.items()} == needed
    assert found is decisive


class Counting(dict[str, Any]):
    """An object that counts how often it is asked for a key."""

    asked = 0

    def get(self, key: str, default: Any = None) -> Any:
        """As a dictionary does."""
        self.asked += 1
        return super().get(key, default)


def one_for_each(count: int) -> list[Mapping]:
    """Mappings of which each wants one audience, and writes to a segment of its own."""
    return [
        Mapping(
            trigger=trigger(f'type = "track" and {KEY} = "audience_{number}"'),
            segment_key=f"s{number}-{{audience_key}}",
        )
        for number in range(count)
    ]


def test_fifty_mappings_look_at_a_field_once() -> None:
    """Each by an audience of its own: one look, and the one that wants the event is found."""
    chooser = Rules(one_for_each(50), MembershipMode.STRICT, OnCollision.SHARE, 1000).plans["track"]
    event = Counting(context={"personas": {"computation_key": "audience_17"}})

    choice = chooser.choose(event)

    assert event.asked == 1
    assert choice.targets is not None
    assert choice.tests == ()
    wanted = [each for group in choice.plan for keyed in group.keyed for each in keyed.wanted]
    assert [each.rule.mapping.segment_key for each in wanted if not each.tests] == [
        "s17-{audience_key}"
    ]
    assert len(wanted) == 2, "and one that stands for all that do not want it"


@pytest.mark.parametrize("mode", MembershipMode)
def test_each_of_fifty_mappings_gets_its_audience(mode: MembershipMode) -> None:
    """And nobody else's, read twice."""
    decoder = Decoder(*one_for_each(50), membership_mode=mode)

    for number in (0, 17, 49, 50, 17):
        key = f"audience_{number}"
        event = about(computation_key=key) | {"type": "track", "properties": {key: True}}
        wanted = number < 50
        assert read(event, decoder) == ("+user/u_1" if wanted else "ignored: not_wanted")
        assert read(event | {"type": "identify"}, decoder) == "ignored: type_not_audience"


@pytest.mark.parametrize(
    ("personas", "expected"),
    [
        pytest.param({"computation_class": "trait"}, "ignored: class_not_audience", id="a trait"),
        pytest.param({"computation_class": ["audience"]}, "ignored: class_not_audience", id="list"),
        pytest.param({"computation_id": None}, "ignored: not_wanted", id="broken"),
        pytest.param({"computation_key": ["audience_1"]}, "ignored: not_wanted", id="a list"),
        pytest.param({"computation_key": None}, "ignored: not_wanted", id="no key"),
    ],
)
def test_an_event_that_nobody_wants_is_told_for_what_it_is(
    personas: dict[str, Any], expected: str
) -> None:
    """The same as if every trigger had been asked."""
    event = about(**personas) | {"type": "track"}

    assert read(event, Decoder(*one_for_each(3))) == expected
    assert read(event, Decoder(*one_for_each(1))) == expected


@pytest.mark.parametrize("name", ["Audience Entered", "x"])
def test_what_is_left_of_a_trigger_is_still_asked(name: str) -> None:
    """Of an audience that is known, too; the trigger of one mapping alone as well."""
    text = f'{KEY} = "first_time_shopper" and match(event, "Audience*")'
    expected = "+user/u_1" if name == "Audience Entered" else "ignored: not_wanted"
    for decoder in (
        Decoder(Mapping(trigger=trigger(text))),
        Decoder(Mapping(trigger=trigger(f'type = "track" and {text}')), *one_for_each(2)),
        Decoder(Mapping(trigger=trigger('type = "track" and match(event, "Audience*")'))),
    ):
        assert read(track(), decoder) == "+user/u_1"
        assert read(track(event=name), decoder) == expected
        assert read(track(userId="é", event=name), decoder) == expected.replace("u_1", "é")


def test_of_several_triggers_of_a_rule_one_that_decides_is_enough() -> None:
    """The others need not be asked; and where nobody wants an event, nobody reads it."""
    texts = ('event = "a" and userId != null', 'event = "a"', 'event = "b" and userId != null')
    chooser = Rules(
        [Mapping(trigger=trigger(text)) for text in texts],
        MembershipMode.STRICT,
        OnCollision.SHARE,
        10,
    ).others

    found = {name: chooser.choose({"event": name}) for name in ("a", "b", "c")}

    assert {name: len(choice.tests) for name, choice in found.items()} == {"a": 0, "b": 1, "c": 0}
    assert found["a"].targets is found["b"].targets is not None
    assert found["c"].targets is None


@pytest.mark.parametrize("event", [{}, {"event": None}, {"event": 5}, {"event": "x"}], ids=str)
def test_a_mapping_that_does_not_ask_for_a_field_takes_whatever_is_there(
    event: dict[str, Any],
) -> None:
    """What one mapping looks for is no condition of another."""
    decoder = Decoder(Mapping(trigger=trigger('event = "a"'), context_kind="a"), Mapping())

    assert read(identify(**event), decoder) == "+user/u_1"


def test_the_class_may_stand_elsewhere() -> None:
    """Then what nobody wants is judged by the class there."""
    fields = Fields(computation_class=parse("class"))
    decoder = Decoder(Mapping(trigger=trigger('type = "track" and event = "a"'), fields=fields))

    assert read(track(event="b"), decoder) == "ignored: class_not_audience"
    assert read(track(event="b", **{"class": "audience"}), decoder) == "ignored: not_wanted"


def test_the_order_is_that_of_the_whole_plan() -> None:
    """Mappings that read the same fields stand together, whichever of them want an event."""
    elsewhere = Fields(user_id=parse("anonymousId"))
    another = Fields(email=parse("email"))
    decoder = Decoder(
        Mapping(trigger=trigger('event = "c"'), context_kind="none", fields=another),
        Mapping(trigger=trigger('event = "a"'), context_kind="first"),
        Mapping(context_kind="second", fields=elsewhere),
        Mapping(context_kind="third"),
    )
    both = "+third/u_1, +second/an_1, ignored: not_wanted"

    assert read(track(event="a", anonymousId="an_1"), decoder) == f"+first/u_1, {both}"
    assert read(track(event="b", anonymousId="an_1"), decoder) == both


def test_triggers_that_are_not_about_types_are_found_as_fast() -> None:
    """A mapping without a type looks at all calls; those of odd types too."""
    decoder = Decoder(Mapping(trigger=trigger(f'{KEY} = "first_time_shopper"')))

    types: list[Any] = ["identify", "group", "identify", "something", None, ["track"], {}]
    for type_ in types:
        assert read(identify(type=type_), decoder) == "+user/u_1"


def test_choices_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be as many as there are sets of triggers: they are made anew."""
    monkeypatch.setattr(plan, "_MOST_CHOICES", 3)
    fields = ("event", "name", "userId")
    decoder = Decoder(
        *(
            Mapping(trigger=trigger(f'{field} = "1"'), segment_key=f"{field}-{{audience_key}}")
            for field in fields
        )
    )

    for number in [*range(8), *range(8)]:
        bits = {field: str(number >> n & 1) for n, field in enumerate(fields)}
        found = read(identify(**bits), decoder).split(", ")
        changes = [f"+user/{bits['userId']}"] * number.bit_count()
        assert [each for each in found if each != "ignored: not_wanted"] == changes


def test_the_kept_choices_are_as_many_as_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the bound each is made once."""
    monkeypatch.setattr(plan, "_MOST_CHOICES", 2)
    rules = Rules(one_for_each(5), MembershipMode.STRICT, OnCollision.SHARE, 10)
    chooser = rules.plans["track"]

    def choose(number: int) -> object:
        return chooser.choose({"context": {"personas": {"computation_key": f"audience_{number}"}}})

    first, second = choose(1), choose(2)
    assert (choose(1), choose(2)) == (first, second)
    assert choose(1) is first
    choose(3)
    assert choose(1) is not first


def test_nothing_to_choose_from_is_an_empty_plan() -> None:
    """No mapping wants such events."""
    nothing: list[Candidate] = []

    assert Chooser(nothing, lambda rule: True).choose({}).plan == ()
