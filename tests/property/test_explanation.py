"""Explanations: whatever is in a record, they say what the decoder says of it."""

import json
from collections import Counter
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldsync.engage.decoder import Decoder, Several
from ldsync.engage.explanation import Explainer, Explanation
from ldsync.engage.mapping import Fields, Mapping, MembershipMode, Priority, WithoutFlag
from ldsync.engage.paths import parse as path
from ldsync.engage.trigger import parse as trigger
from ldsync.engage.verdict import Verdict
from ldsync.sync.change import Change
from tests.support.engage_events import RECORD_MS, cases, encode
from tests.support.engage_records import (
    AUDIENCE_EVENTS,
    contexts,
    documents,
    mutated_events,
    records_ms,
)

PRESET = (Mapping(),)
MANY = (
    Mapping(name="users", context_key=Priority.USER_ID_THEN_EMAIL_THEN_ANONYMOUS_ID),
    Mapping(name="users again", context_key=Priority.USER_ID_THEN_EMAIL_THEN_ANONYMOUS_ID),
    Mapping(name="not in use", enabled=False),
    Mapping(name="tracks", trigger=trigger('type = "track" and event contains "Audience"')),
    Mapping(name="steps", journey_step_without_flag=WithoutFlag.ADD, segment_key="s-{audience_id}"),
    Mapping(
        name="elsewhere",
        trigger=trigger('type != "track" or traits.email not_exists'),
        context_kind=path("context.personas.computation_class"),
        context_key=path("messageId"),
        segment_name="Of {audience_id}",
        batch_events=False,
        fields=Fields(traits_or_properties=path("traits")),
    ),
)
MAPPINGS = {"the preset": PRESET, "many": MANY}
EXAMPLES = {case["id"]: case["event"] for case in cases("events.jsonl")}

by_mode = pytest.mark.parametrize("mode", MembershipMode)
by_mappings = pytest.mark.parametrize("mappings", MAPPINGS.values(), ids=MAPPINGS)


def explained(
    mappings: tuple[Mapping, ...], mode: MembershipMode, value: bytes | None, record_ms: int
) -> Explanation:
    """The explanation of a record, which must agree with a decoder that is asked beside it."""
    decoder = partial(Decoder, membership_mode=mode)
    found = decoder(*mappings).read(value, record_ms)
    explanation = Explainer(mappings, mode, decoder).explain(value, record_ms)

    if isinstance(found, Verdict):
        assert explanation.verdict is found
        assert (explanation.outcome, explanation.reason) == (found.outcome, found.reason)
        assert explanation.effects == ()
    else:
        several = found if isinstance(found, Several) else Several((found,), None)
        assert (explanation.outcome, explanation.reason) == ("change", None)
        assert [_gist(each.change) for each in explanation.effects] == [
            _gist(change) for change in several.changes
        ]
        lost = several.worst is not None and several.worst.outcome == "invalid"
        assert explanation.beside is (several.worst if lost else None)
    _assert_stories_agree(explanation)
    return explanation


def _gist(change: Change) -> tuple[object, ...]:
    target, member, stamp = change
    segment = target.segment
    return segment.key, segment.name, segment.audience_id, target.batch_events, member, stamp


def _assert_stories_agree(explanation: Explanation) -> None:
    """What the events and their mappings say adds up to what the record comes to."""
    assert explanation.effects == tuple(
        effect for story in explanation.events for effect in story.effects
    )
    for story in explanation.events:
        assert (story.verdict is None) == bool(story.effects)
        changing = [
            each.mapping.name
            for each in story.mappings
            if each.wanted and each.verdict is None and not each.same_as
        ]
        assert Counter(changing) == Counter(effect.mapping for effect in story.effects)
        for each in story.mappings:
            passed = all(step.passed for step in each.steps)
            changes = each.wanted and each.verdict is None
            assert passed == changes, each
            membership = [step.text for step in each.steps if step.name == "membership"]
            for effect in story.effects:
                if effect.mapping == each.mapping.name:
                    side = "in" if effect.change.stamp.endswith("+") else "out"
                    assert membership == [f"the member is {side}"]
                    key = next(step.text for step in each.steps if step.name == "context key")
                    assert effect.change.member.partition("/")[2] == key


@by_mode
@by_mappings
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_known_shape_of_event_is_explained_as_it_is_read(
    name: str, mappings: tuple[Mapping, ...], mode: MembershipMode
) -> None:
    """All that are documented or were recorded."""
    explanation = explained(mappings, mode, encode(EXAMPLES[name]), RECORD_MS)

    assert len(explanation.events) == 1


@by_mode
@by_mappings
@given(value=mutated_events(), record_ms=records_ms)
def test_a_changed_event_is_explained_as_it_is_read(
    mappings: tuple[Mapping, ...], mode: MembershipMode, value: bytes, record_ms: int
) -> None:
    """Fields that are missing, of another type, or of odd values."""
    explained(mappings, mode, value, record_ms)


@by_mode
@given(value=st.none() | st.binary(max_size=60) | documents.map(lambda it: json.dumps(it).encode()))
def test_any_record_is_explained(mode: MembershipMode, value: bytes | None) -> None:
    """Nothing that a topic can hold makes it fail."""
    explained(PRESET, mode, value, RECORD_MS)


@by_mode
@by_mappings
@given(data=st.data())
def test_nested_events_are_explained_one_by_one(
    mappings: tuple[Mapping, ...], mode: MembershipMode, data: st.DataObject
) -> None:
    """Arrays, batches with a context, and arrays of batches."""
    parts: Any = st.sampled_from(AUDIENCE_EVENTS) | documents
    arrays = st.lists(parts, max_size=3)
    batches = st.fixed_dictionaries({"batch": arrays}, optional={"context": parts | contexts})
    value = data.draw(arrays | batches | st.lists(parts | batches, max_size=3))

    explanation = explained(mappings, mode, json.dumps(value).encode(), RECORD_MS)

    assert explanation.nested or explanation.reason == "bad_json"  # NaN and the like
