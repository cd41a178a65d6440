"""Choosing among mappings: the answer is the one that testing every trigger gives."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ldsync.engage.decoder import Decoder
from ldsync.engage.mapping import Mapping, MembershipMode
from ldsync.engage.trigger import AllOf, AnyOf, Condition, Expression, Operator, Trigger
from tests.support.effort import effort
from tests.support.engage_events import RECORD_MS, encode, facts
from tests.support.engage_strategies import (
    TYPE,
    TYPES,
    USER,
    events,
    one_for_each_audience,
    several_mappings,
    triggers,
)

FALSE = AllOf((Condition(USER, Operator.EXISTS), Condition(USER, Operator.NOT_EXISTS)))


@effort(300)
@given(
    several_mappings | one_for_each_audience,
    st.lists(events(), min_size=1, max_size=4),
    st.sampled_from(MembershipMode),
)
def test_what_is_chosen_is_what_testing_every_trigger_finds(
    found_mappings: list[Mapping], found_events: list[dict[str, Any]], mode: MembershipMode
) -> None:
    """Same changes in the same order, same verdict; of new audiences and of known ones."""
    chosen = Decoder(*found_mappings, membership_mode=mode)
    tested = Decoder(*map(_opaque, found_mappings), membership_mode=mode)

    for event in found_events * 2:
        # In an array, no event is read as one that looks as usual.
        expected = tested.read(encode([event]), RECORD_MS)
        assert facts(chosen.read(encode(event), RECORD_MS)) == facts(expected)


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
