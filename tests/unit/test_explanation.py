"""What an explanation says of a record and of its events; the steps are in another file."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path as File
from typing import Any

import pytest

from ldsync.engage.decoder import Decoder
from ldsync.engage.explanation import Explainer
from ldsync.engage.mapping import Mapping, MembershipMode
from ldsync.engage.paths import parse as path
from ldsync.engage.segments import OnCollision
from ldsync.engage.trigger import parse as trigger
from ldsync.engage.verdict import VERDICTS
from ldsync.engage.words import REASONS, words_of
from tests.support.engage_events import AUDIENCE_KEY, RECORD_MS, about, encode, identify, track
from tests.support.explaining import explain, step

STRICT = MembershipMode.STRICT
DOCS = File(__file__).parents[2] / "docs" / "events.md"


def test_every_reason_has_the_words_of_the_documentation() -> None:
    """Column "what it is" of docs/events.md, for all verdicts that there are."""
    table = DOCS.read_text(encoding="utf-8").split("\n## Reasons\n", 1)[1]
    rows = dict(re.findall(r"\n\| `(\w+)` \| \w+ \| (.+?) \| ", table))

    assert {one.reason: rows[one.reason] for one in VERDICTS} == REASONS
    assert all("`" not in words_of(one) for one in VERDICTS)


@pytest.mark.parametrize(
    ("value", "reason", "nested", "events"),
    [
        pytest.param(None, "tombstone", False, 0, id="no value"),
        pytest.param(b"{", "bad_json", False, 0, id="broken"),
        pytest.param(b"\xff{}", "bad_json", False, 0, id="not UTF-8"),
        pytest.param(b"5", "not_an_object", False, 0, id="a number"),
        pytest.param(b"[]", "empty_batch", True, 0, id="an empty array"),
        pytest.param(b'{"batch": []}', "empty_batch", True, 0, id="an empty batch"),
        pytest.param(b"[5, {}]", "not_an_object", True, 2, id="no events in an array"),
    ],
)
def test_a_record_without_changes_has_a_reason_in_words(
    value: bytes | None, reason: str, nested: bool, events: int
) -> None:
    """And says how far it could be read."""
    explanation = explain(value)

    assert (explanation.reason, explanation.nested) == (reason, nested)
    assert explanation.words == REASONS[reason]
    assert (explanation.effects, len(explanation.events)) == ((), events)


def test_a_change_says_all_that_is_done() -> None:
    """Which mapping, which audience, and the steps to it; a change has no reason."""
    explanation = explain(identify())

    assert (explanation.outcome, explanation.reason, explanation.words) == ("change", None, "")
    (effect,) = explanation.effects
    assert effect.mapping == Mapping().name
    assert effect.audience.key == AUDIENCE_KEY
    assert effect.change.member == "user/u_1"
    (event,) = explanation.events
    assert event.call.startswith('identify call, messageId "personas_')
    (told,) = event.mappings
    assert [each.name for each in told.steps] == [
        *("trigger", "audience", "context kind", "membership", "context key", "segment"),
    ]
    assert all(each.passed for each in told.steps)
    assert step(told, "segment") == ('first_time_shopper, named "First time shopper"', True, "")


def test_parts_beside_a_change_are_not_lost() -> None:
    """An invalid part shows, and what is no object has neither a time nor mappings."""
    explanation = explain([identify(), 5])

    assert explanation.outcome == "change"
    assert explanation.beside is not None
    assert explanation.beside.reason == "not_an_object"
    assert (explanation.events[1].call, explanation.events[1].order) == ("5", None)


@pytest.mark.parametrize(
    ("document", "call"),
    [
        pytest.param({"type": "page"}, "page call", id="a page"),
        pytest.param(
            {"type": "track", "event": "Order"}, 'track call, event "Order"', id="named track call"
        ),
        pytest.param({"type": 5}, "call without a type", id="a type that is none"),
        pytest.param({}, "call without a type", id="nothing"),
        pytest.param(
            {"type": "\x1b[31m"}, 'call of type "\\u001b[31m"', id="a type that is no word"
        ),
    ],
)
def test_an_event_is_named_by_what_it_can_be_found_by(document: Any, call: str) -> None:
    """Type, name and message id."""
    assert explain(document).events[0].call == call


def test_a_value_that_is_too_large_is_not_parsed() -> None:
    """Not for an explanation either."""
    explainer = Explainer([Mapping()], STRICT, partial(Decoder, most_bytes=100))

    explanation = explainer.explain(encode(identify()), RECORD_MS)

    assert (explanation.reason, explanation.events) == ("too_large", ())


@pytest.mark.parametrize(
    ("decoder", "reason"),
    [
        pytest.param(
            partial(Decoder, on_collision=OnCollision.REFUSE), "segment_key_collision", id="its key"
        ),
        pytest.param(
            partial(Decoder, one_kind_per_segment=True), "context_kind_conflict", id="its kind"
        ),
    ],
)
def test_a_segment_that_another_has_is_the_step_that_fails(
    decoder: Callable[..., Decoder], reason: str
) -> None:
    """Among the events of one input, in their order, as they would be on a topic."""
    by_kind = Mapping(name="first", context_kind=path("kind"), segment_key="s-{audience_key}")
    explainer = Explainer([by_kind], STRICT, decoder)
    first, second = identify(kind="user"), about(computation_id="another") | {"kind": "device"}

    assert explainer.explain(encode(first), RECORD_MS).outcome == "change"
    explanation = explainer.explain(encode(second), RECORD_MS)

    assert explanation.reason == reason
    (told,) = explanation.events[0].mappings
    assert step(told, "segment") == (explanation.words, False, "")
    assert explainer.explain(encode(first), RECORD_MS).outcome == "change"


def test_mappings_share_their_segments() -> None:
    """What a mapping says alone is what it may do beside the others."""
    explainer = Explainer(
        [
            Mapping(name="users", trigger=trigger('type = "identify"')),
            Mapping(name="devices", context_kind="device", trigger=trigger('type = "track"')),
        ],
        STRICT,
        partial(Decoder, one_kind_per_segment=True),
    )

    assert explainer.explain(encode(identify()), RECORD_MS).outcome == "change"
    explanation = explainer.explain(encode(track()), RECORD_MS)

    assert explanation.reason == "context_kind_conflict"
    assert [one.verdict and one.verdict.reason for one in explanation.events[0].mappings] == [
        "type_not_audience",
        "context_kind_conflict",
    ]


def test_a_mapping_that_does_not_want_an_event_says_why() -> None:
    """With the reasons of its trigger, and without further steps."""
    pages = Mapping(name="pages", trigger=trigger('type = "page"'))
    off = Mapping(name="off", enabled=False)

    explanation = explain(identify(), pages, off, Mapping())

    first, second, third = explanation.events[0].mappings
    assert [one.wanted for one in (first, second, third)] == [False, False, True]
    assert step(first, "trigger") == (
        "does not match",
        False,
        'type = "page" is false: type is "identify"',
    )
    assert first.verdict is not None
    assert step(second, "trigger") == ("the mapping is not enabled", False, "")
    assert (second.verdict, third.verdict) == (None, None)
    assert [len(one.steps) for one in (first, second)] == [1, 1]


def test_a_mapping_that_only_repeats_another_says_so() -> None:
    """Those that differ in name and trigger alone make one change."""
    explanation = explain(
        identify(), Mapping(name="a"), Mapping(name="b"), Mapping(name="c", context_kind="device")
    )

    assert [effect.mapping for effect in explanation.effects] == ["a", "c"]
    assert [one.same_as for one in explanation.events[0].mappings] == ["", "a", ""]
