"""Several mappings, several events: what becomes of a record that has several parts."""

from typing import Any, NamedTuple

import pytest

from ldsync.engage.decoder import Decoder, Several
from ldsync.engage.mapping import Fields, Mapping, MembershipMode, Priority, WithoutFlag
from ldsync.engage.paths import parse
from ldsync.engage.times import Fallback
from ldsync.engage.trigger import parse as trigger
from ldsync.sync.change import Change
from tests.support.engage_events import (
    ABSENT,
    AUDIENCE_KEY,
    RECORD_MS,
    about,
    encode,
    identify,
    read,
    track,
)

DEVICES = Mapping(name="devices", context_kind="device")
EMAILS = Mapping(name="emails", context_kind="email", context_key=Priority.EMAIL_ONLY)


def test_every_mapping_that_matches_makes_a_change() -> None:
    """In the order of the mappings, all of one version."""
    decoder = Decoder(Mapping(), DEVICES, EMAILS)

    found = decoder.read(encode(identify()), RECORD_MS)

    assert isinstance(found, Several)
    assert sorted(change.member for change in found.changes) == [
        "device/u_1",
        "email/ann@example.com",
        "user/u_1",
    ]
    assert len({change.stamp for change in found.changes}) == 1
    assert len({change.target.segment for change in found.changes}) == 1, "one object for a key"
    assert found.worst is None


def test_mappings_may_write_to_segments_of_their_own() -> None:
    """Key and name by template."""
    own = Mapping(segment_key="x-{audience_key}", segment_name="{audience_name} ({audience_id})")

    found = Decoder(Mapping(), own).read(encode(about(computation_id="aud_1")), RECORD_MS)

    assert isinstance(found, Several)
    named = [(each.target.segment.key, each.target.segment.name) for each in found.changes]
    assert named == [
        (AUDIENCE_KEY, "First time shopper"),
        (f"x-{AUDIENCE_KEY}", "First time shopper (aud_1)"),
    ]


@pytest.mark.parametrize(
    ("mappings", "event", "expected"),
    [
        pytest.param((), identify(), "ignored: type_not_audience", id="no mapping"),
        pytest.param(
            (Mapping(enabled=False),), identify(), "ignored: type_not_audience", id="none enabled"
        ),
        pytest.param((Mapping(enabled=False), DEVICES), identify(), "+device/u_1", id="one is"),
        pytest.param((Mapping(), EMAILS), identify(traits={AUDIENCE_KEY: True}), "+user/u_1",
                     id="what is skipped beside a change says nothing"),
        pytest.param((EMAILS, Mapping(context_kind=parse("kind"))), identify(),
                     "+email/ann@example.com, invalid: bad_context_kind", id="invalid is kept"),
        pytest.param((EMAILS, Mapping(context_kind=parse("kind"))),
                     identify(traits={AUDIENCE_KEY: True}), "invalid: bad_context_kind",
                     id="invalid before skipped"),
        pytest.param((Mapping(trigger=trigger('userId = "u_2"')), EMAILS),
                     identify(traits={AUDIENCE_KEY: True}), "skipped: no_context_key",
                     id="skipped before ignored"),
    ],
)  # fmt: skip
def test_the_worst_of_what_changes_nothing_counts(
    mappings: tuple[Mapping, ...], event: Any, expected: str
) -> None:
    """Invalid, then skipped, then ignored (P7)."""
    assert read(event, Decoder(*mappings)) == expected


@pytest.mark.parametrize(
    ("text", "event", "expected"),
    [
        pytest.param('type = "track"', identify(), "ignored: type_not_audience", id="a type"),
        pytest.param('type = "track"', track(), "+user/u_1", id="that type"),
        pytest.param('type = "track" and userId = "u_2"', track(), "ignored: not_wanted", id="no"),
        pytest.param('type = "track" and userId = "u_1"', track(), "+user/u_1", id="yes"),
        pytest.param("userId exists", identify(type="screen"), "+user/u_1", id="any type"),
        pytest.param("userId exists", identify(type=None), "+user/u_1", id="no type"),
        pytest.param("userId exists", identify(type=["a"]), "+user/u_1", id="a list for a type"),
        pytest.param("userId not_exists", identify(), "ignored: not_wanted", id="missing"),
        pytest.param('type = "a"', identify(type=["a"]), "ignored: type_not_audience", id="list"),
        pytest.param('event = "x"', about(computation_id=None), "ignored: not_wanted", id="bad"),
        pytest.param("userId exists", about(computation_id=None), "invalid: bad_audience_id",
                     id="bad and wanted"),
        pytest.param('event = "x"', identify(context={}), "ignored: not_engage", id="no Engage"),
        pytest.param('type = "group"', identify(type="group"), "+user/u_1", id="a group call"),
    ],
)  # fmt: skip
def test_triggers_decide_which_events_are_wanted(text: str, event: Any, expected: str) -> None:
    """Nobody's event is no error, whatever is wrong with it."""
    decoder = Decoder(Mapping(trigger=trigger(text)))

    assert read(event, decoder) == expected
    assert read(event, decoder) == expected, "of a known audience too"


def test_a_trigger_for_one_type_does_not_hide_another() -> None:
    """One mapping by type, one by condition, one for anything."""
    decoder = Decoder(
        Mapping(trigger=trigger('type = "identify"')),
        Mapping(trigger=trigger('type = "track" and event = "Audience Entered"'),
                context_kind="device"),
        Mapping(trigger=trigger("userId exists"), context_kind="any"),
    )  # fmt: skip

    assert read(identify(), decoder) == "+user/u_1, +any/u_1"
    assert read(track(), decoder) == "+device/u_1, +any/u_1"
    assert read(track(event="x"), decoder) == "+any/u_1"
    assert read(identify(type="page"), decoder) == "+any/u_1"


def test_mappings_that_differ_in_name_and_trigger_are_one() -> None:
    """What they would do is the same, and is done once."""
    decoder = Decoder(
        *(Mapping(name=f"mapping {number}") for number in range(40)),
        Mapping(name="odd", trigger=trigger('userId = "u_1"')),
        Mapping(name="page a", trigger=trigger('type = "page" and name = "a"')),
        Mapping(name="page b", trigger=trigger('type = "page" and name = "b"')),
    )

    assert read(identify(), decoder) == "+user/u_1"
    assert read(identify(type="page", name="b", userId="u_2"), decoder) == "+user/u_2"
    assert read(identify(type="page", name="c", userId="u_2"), decoder) == "ignored: not_wanted"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (WithoutFlag.DEAD_LETTER, "invalid: membership_missing"),
        (WithoutFlag.ADD, "+user/u_1"),
        (WithoutFlag.IGNORE, "ignored: step_without_flag"),
    ],
)
def test_a_journey_step_without_a_flag_means_what_the_mapping_says(
    choice: WithoutFlag, expected: str
) -> None:
    """Only a journey step, and only without a flag; Segment's way knows no choice."""
    mapping = Mapping(journey_step_without_flag=choice)
    step = about(computation_class="journey_step")

    for traits in ({}, {AUDIENCE_KEY: None}):
        assert read(step | {"traits": traits}, Decoder(mapping)) == expected
        by_segment = Decoder(mapping, membership_mode=MembershipMode.SEGMENT)
        assert read(step | {"traits": traits}, by_segment) == "-user/u_1"
    assert read(step | {"traits": {AUDIENCE_KEY: False}}, Decoder(mapping)) == "-user/u_1"
    assert read(identify(ABSENT), Decoder(mapping)) == "invalid: membership_missing"


@pytest.mark.parametrize("mode", MembershipMode)
def test_the_fields_of_audiences_may_stand_elsewhere(mode: MembershipMode) -> None:
    """With one of them at the top, and the flag where only the mapping knows."""
    fields = Fields(
        audience_id=parse("audience.id"),
        audience_key=parse("audience.key"),
        computation_class=parse("class"),
        traits_or_properties=parse("audience.flags"),
    )
    decoder = Decoder(Mapping(fields=fields), membership_mode=mode)
    event = {
        "type": "track",
        "userId": "u_1",
        "class": "audience",
        "audience": {"id": "aud_1", "key": "vip", "flags": {"vip": False}},
        "properties": {"vip": True},
    }

    assert read(event, decoder) == "-user/u_1"
    assert read(event | {"class": "trait"}, decoder) == "ignored: class_not_audience"
    without = event | {"audience": {"id": "aud_1", "key": "vip"}}
    assert read(without, decoder) == "invalid: membership_missing"


def test_targets_of_kinds_from_a_path_are_kept_apart() -> None:
    """One audience, several kinds: one segment, a target for each."""
    decoder = Decoder(Mapping(context_kind=parse("kind")))
    events = [encode(identify(kind=kind)) for kind in ("a", "b", "a")]

    found = [decoder.read(event, RECORD_MS) for event in events]

    a, b, again = (each.target for each in found if isinstance(each, Change))
    assert a is again
    assert (a.context_kind, b.context_kind) == ("a", "b")
    assert a.segment is b.segment


# --- several events in a record ---------------------------------------------------------------

BARE = identify(context=ABSENT)
CONTEXT = identify()["context"]
PLAIN = {"type": "page", "context": {}}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param([identify()], "+user/u_1", id="an array of one is one"),
        pytest.param([identify(), track(False, userId="u_2")], "+user/u_1, -user/u_2", id="two"),
        pytest.param([identify(), PLAIN, 5], "+user/u_1, invalid: not_an_object", id="mixed"),
        pytest.param([identify(), PLAIN], "+user/u_1", id="ignored beside a change"),
        pytest.param([PLAIN, identify(userId="")], "skipped: no_context_key", id="the worst"),
        pytest.param([[identify()]], "invalid: not_an_object", id="no deeper"),
        pytest.param([], "ignored: empty_batch", id="nothing"),
        pytest.param({"batch": []}, "ignored: empty_batch", id="a batch of nothing"),
        pytest.param([{"batch": []}], "ignored: empty_batch", id="nothing in it"),
        pytest.param({"batch": [BARE], "context": CONTEXT}, "+user/u_1", id="shared context"),
        pytest.param({"batch": [identify(context=None)], "context": CONTEXT}, "+user/u_1",
                     id="null context"),
        pytest.param({"batch": [identify(context={"ip": "::1"})], "context": CONTEXT}, "+user/u_1",
                     id="merged"),
        pytest.param({"batch": [identify()], "context": {"personas": None}}, "+user/u_1",
                     id="the own context wins"),
        pytest.param({"batch": [identify(context=5)], "context": CONTEXT}, "ignored: not_engage",
                     id="no context"),
        pytest.param({"batch": [5], "context": CONTEXT}, "invalid: not_an_object", id="number"),
        pytest.param({"batch": [identify()], "context": 5}, "+user/u_1", id="odd shared context"),
        pytest.param({"type": None, "batch": [identify()]}, "+user/u_1", id="null type"),
        pytest.param(identify(batch=[identify(userId="u_2")]), "+user/u_1", id="an event has"),
        pytest.param({"batch": {}}, "ignored: type_not_audience", id="no array"),
        pytest.param([{"batch": [BARE], "context": CONTEXT}, track(userId="u_2")],
                     "+user/u_1, +user/u_2", id="a batch in an array"),
        pytest.param([{"batch": [{"batch": [identify()]}]}], "ignored: type_not_audience",
                     id="a batch in a batch"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mode", MembershipMode)
def test_nested_events_are_parts_of_one_record(
    value: Any, expected: str, mode: MembershipMode
) -> None:
    """Arrays, batches of the HTTP API, and arrays of those."""
    assert read(value, Decoder(Mapping(), membership_mode=mode)) == expected


def test_nested_events_under_several_mappings() -> None:
    """All parts together."""
    decoder = Decoder(Mapping(), EMAILS, Mapping(context_kind=parse("kind")))

    found = read([identify(), identify(traits={AUDIENCE_KEY: False})], decoder)

    assert found == ("+user/u_1, +email/ann@example.com, -user/u_1, invalid: bad_context_kind")


def test_nested_events_keep_their_digits() -> None:
    """In arrays and batches, beside floats."""
    events = [identify(userId=2**64 + 1), identify(userId=1.5), identify(userId=2**70)]
    expected = f"+user/{2**64 + 1}, +user/{2**70}, skipped: no_context_key"

    assert read(events) == expected
    assert read({"batch": events}) == expected


def test_the_time_of_an_event_counts_once_for_all_mappings() -> None:
    """However many changes it makes."""
    decoder = Decoder(Mapping(), DEVICES)

    read(identify(timestamp=ABSENT), decoder)

    assert decoder.fallbacks[Fallback.MISSING_TIMESTAMP] == 1


class Seen(NamedTuple):
    """A record."""

    value: bytes | None
    timestamp: int
    offset: int


def test_a_chunk_is_read_in_order_and_told_apart() -> None:
    """Changes, refused records, and those with several parts at their place among the changes."""
    values = [
        identify(userId="1"),
        [identify(userId="2"), identify(userId="3"), 5],
        PLAIN,
        identify(userId="4"),
        [identify(userId="5"), identify(userId="6")],
    ]
    records = [Seen(encode(value), RECORD_MS, offset) for offset, value in enumerate(values)]
    records.append(Seen(None, RECORD_MS, 5))

    changes, refused, several = Decoder(Mapping()).read_all(records)

    assert [change.member for change in changes] == ["user/1", "user/4"]
    assert [(found.reason, record.offset) for found, record in refused] == [
        ("type_not_audience", 2),
        ("tombstone", 5),
    ]
    assert [(record.offset, before) for _, record, before in several] == [(1, 1), (4, 2)]
    assert [[change.member for change in found.changes] for found, _, _ in several] == [
        ["user/2", "user/3"],
        ["user/5", "user/6"],
    ]
