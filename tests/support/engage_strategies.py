"""Mappings and events for Hypothesis that know each other: few words, so that they often meet."""

from typing import Any

from hypothesis import strategies as st

from ldsync.engage.mapping import (
    EmailNormalization,
    Fields,
    Mapping,
    Priority,
    WithoutFlag,
)
from ldsync.engage.paths import Path
from ldsync.engage.trigger import Condition, Field, Operator, Trigger
from tests.support.engage_events import ABSENT, identify, present
from tests.support.trigger_trees import expressions, group

TYPES = ["identify", "track", "group"]
KEYS = ["vip", "lead", "staff"]
TYPE = Field("type")
COMPUTATION_KEY = Field("context", ("personas", "computation_key"))
USER = Field("userId")
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
several_mappings = st.lists(mappings, min_size=1, max_size=5)
"""Of any kind."""

one_for_each_audience = st.sampled_from(["{audience_key}", "x-{audience_key}"]).flatmap(
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
"""As many people have: one mapping for each audience."""

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
        "personas": draw(mostly(st.just(present(personas)))),
        "others": draw(mostly(st.just({"computation_class": "audience"}))),
        "kind": draw(mostly(st.just("account"))),
        "device": draw(mostly(st.just("d_1"))),
        "traits": {"email": draw(mostly(st.just("Ann@example.com")))},
    }
    context["traits"] = present(context["traits"])
    return identify(
        type=draw(mostly(st.sampled_from(TYPES))),
        event=draw(mostly(st.sampled_from(["Audience Entered", "a", "b"]))),
        userId=draw(mostly(st.sampled_from(["u_1", "Zoë", " "]))),
        context=draw(mostly(st.just(present(context)))),
        traits=draw(mostly(st.just(present(flags)))),
        properties=present({"plan": draw(mostly(st.sampled_from(["a", "b"])))}),
    )
