"""Choosing among mappings: the answer is the one that testing every trigger gives."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ldsync.engage.decoder import Decoder, Found, Several
from ldsync.engage.mapping import (
    EmailNormalization,
    Fields,
    Mapping,
    MembershipMode,
    Priority,
    WithoutFlag,
)
from ldsync.engage.paths import Path
from ldsync.engage.trigger import AllOf, AnyOf, Condition, Expression, Field, Operator, Trigger
from ldsync.sync.change import Change
from tests.support.engage_events import ABSENT, RECORD_MS, encode, identify
from tests.support.trigger_trees import expressions, group

TYPES = ["identify", "track", "group"]
KEYS = ["vip", "lead", "staff"]
TYPE = Field("type")
COMPUTATION_KEY = Field("context", ("personas", "computation_key"))
USER = Field("userId")
FALSE = AllOf((Condition(USER, Operator.EXISTS), Condition(USER, Operator.NOT_EXISTS)))
OTHER_PERSONAS = Path(("context", "others", "computation_class"))

texts = {
    TYPE: st.sampled_from(TYPES),
    COMPUTATION_KEY: st.sampled_from(KEYS),
    Field("event"): st.sampled_from(["Audience Entered", "a", "b"]),
    Field("properties", ("plan",)): st.sampled_from(["a", "b"]),
}
equalities = st.sampled_from(list(texts)).flatmap(
    lambda field: st.builds(Condition, st.just(field), st.just(Operator.EQUALS), texts[field])
)
others = st.sampled_from(
    [
        Condition(USER, Operator.EXISTS),
        Condition(COMPUTATION_KEY, Operator.NOT_EQUALS, "vip"),
        Condition(Field("event"), Operator.STARTS_WITH, "A"),
        Condition(TYPE, Operator.NOT_EQUALS, "track"),
    ]
)
of_types = st.builds(
    lambda found: (
        group([Condition(TYPE, Operator.EQUALS, each) for each in found], every=False)
        if len(found) > 1
        else Condition(TYPE, Operator.EQUALS, found[0])
    ),
    st.lists(st.sampled_from(TYPES), min_size=1, max_size=2, unique=True),
)
triggers = st.one_of(
    of_types,
    st.builds(lambda a, b: group([a, b], every=True), of_types, equalities),
    expressions(equalities),
    expressions(equalities | equalities | others),
)
mappings = st.builds(
    Mapping,
    enabled=st.sampled_from([True, True, True, False]),
    trigger=triggers.map(Trigger),
    context_kind=st.sampled_from(["user", "user", "device", Path(("context", "kind"))]),
    context_key=st.sampled_from(Priority) | st.just(Path(("context", "device"))),
    email_normalization=st.sampled_from(EmailNormalization),
    journey_step_without_flag=st.sampled_from(WithoutFlag),
    batch_events=st.booleans(),
    segment_key=st.sampled_from(["{audience_key}", "a-{audience_key}", "{audience_id}"]),
    fields=st.sampled_from([Fields(), Fields(), Fields(computation_class=OTHER_PERSONAS)]),
)
few = st.lists(mappings, min_size=1, max_size=5)
# One mapping for each audience, as many people have.
one_each = st.sampled_from(["{audience_key}", "x-{audience_key}"]).flatmap(
    lambda template: st.lists(
        st.builds(
            lambda key, kind: Mapping(
                trigger=Trigger(Condition(COMPUTATION_KEY, Operator.EQUALS, key)),
                context_kind=kind,
                segment_key=template,
            ),
            st.sampled_from(KEYS),
            st.sampled_from(["user", "device"]),
        ),
        min_size=1,
        max_size=6,
    )
)

odd = st.sampled_from([ABSENT, None, "", 5, [], {}, ["vip"], True])


def mostly(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Something of the kind that is usual, now and then something else."""
    return st.integers(0, 19).flatmap(lambda number: odd if number == 19 else usual)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """An event that some triggers know."""
    key = draw(mostly(st.sampled_from(KEYS)))
    flags = {name: draw(mostly(st.booleans())) for name in KEYS}
    personas = {
        "computation_class": draw(mostly(st.sampled_from(["audience", "journey_step", "trait"]))),
        "computation_id": draw(mostly(st.sampled_from(["aud_1", "aud_2"]))),
        "computation_key": key,
    }
    context = {
        "personas": draw(mostly(st.just(_present(personas)))),
        "others": draw(mostly(st.just({"computation_class": "audience"}))),
        "kind": draw(mostly(st.just("account"))),
        "device": draw(mostly(st.just("d_1"))),
        "traits": {"email": draw(mostly(st.just("Ann@example.com")))},
    }
    context["traits"] = _present(context["traits"])
    return identify(
        type=draw(mostly(st.sampled_from(TYPES))),
        event=draw(mostly(st.sampled_from(["Audience Entered", "a", "b"]))),
        userId=draw(mostly(st.sampled_from(["u_1", "Zoë", " "]))),
        context=draw(mostly(st.just(_present(context)))),
        traits=draw(mostly(st.just(_present(flags)))),
        properties=_present({"plan": draw(mostly(st.sampled_from(["a", "b"])))}),
    )


@settings(max_examples=300)
@given(few | one_each, st.lists(events(), min_size=1, max_size=4), st.sampled_from(MembershipMode))
def test_what_is_chosen_is_what_testing_every_trigger_finds(
    found_mappings: list[Mapping], found_events: list[dict[str, Any]], mode: MembershipMode
) -> None:
    """Same changes in the same order, same verdict; of new audiences and of known ones."""
    chosen = Decoder(*found_mappings, membership_mode=mode)
    tested = Decoder(*map(_opaque, found_mappings), membership_mode=mode)

    for event in found_events * 2:
        # In an array, no event is read as one that looks as usual.
        expected = tested.read(encode([event]), RECORD_MS)
        assert _facts(chosen.read(encode(event), RECORD_MS)) == _facts(expected)


@given(triggers, events())
def test_what_a_trigger_needs_is_there_whenever_it_matches(
    expression: Expression, event: dict[str, Any]
) -> None:
    """And if that is all it needs, it matches whenever it is there."""
    trigger = Trigger(expression)
    needed = trigger.constants.texts
    is_there = all(
        any(_matches(Condition(field, Operator.EQUALS, text), event) for text in possible)
        for field, possible in needed.items()
    )

    assert is_there or not _matches(expression, event)
    assert _matches(expression, event) or not (is_there and trigger.constants.decisive)


def _matches(expression: Expression, event: dict[str, Any]) -> bool:
    return Trigger(expression).matches(event)


def _opaque(mapping: Mapping) -> Mapping:
    """The same mapping, of whose trigger nothing can be told but the types it can match."""
    trigger = mapping.trigger
    hidden: Expression = AnyOf((trigger.expression, FALSE))  # type: ignore[arg-type]
    if trigger.types is not None:
        types = [Condition(TYPE, Operator.EQUALS, each) for each in sorted(trigger.types)]
        of_type: Expression = AnyOf(tuple(types))
        if not types:
            of_type = AllOf(tuple(Condition(TYPE, Operator.EQUALS, each) for each in TYPES))
        hidden = AllOf((of_type, hidden))  # type: ignore[arg-type]
    opaque = Trigger(hidden)
    assert set(opaque.constants.texts) <= {TYPE}
    assert opaque.types == trigger.types
    fields = {name: getattr(mapping, name) for name in Mapping.__slots__}
    return Mapping(**fields | {"trigger": opaque})


def _facts(found: Found) -> Any:
    if isinstance(found, Several):
        return [*map(_facts, found.changes), found.worst]
    if not isinstance(found, Change):
        return found
    target = found.target
    facts = (target.segment.key, target.segment.name, target.audience_key, target.batch_events)
    return (*facts, target.context_kind, found.member, found.stamp)


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not ABSENT}
