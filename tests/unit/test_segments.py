"""Two audiences and one segment key: who gets it, and what is told (docs/events.md)."""

from typing import Any

import pytest

from ldsync.engage import decoder as decoding
from ldsync.engage import segments
from ldsync.engage.decoder import Decoder
from ldsync.engage.mapping import Mapping, MembershipMode, Priority
from ldsync.engage.segments import Collision, Likeness, OnCollision
from ldsync.engage.trigger import parse as trigger
from tests.support.engage_events import about, change, read

REFUSED = "skipped: segment_key_collision"
IN = "+user/u_1"


def of(audience_id: str, key: str = "vip", **fields: Any) -> dict[str, Any]:
    """An event of an audience."""
    return about(computation_id=audience_id, computation_key=key) | {"traits": {key: True}} | fields


@pytest.mark.parametrize("mode", MembershipMode)
def test_two_audiences_with_one_key_share_a_segment(mode: MembershipMode) -> None:
    """By default: an audience that was made again goes on where the first ended; told once."""
    decoder = Decoder(Mapping(), membership_mode=mode)

    first, second, again = (change(of(each), decoder) for each in ("aud_1", "aud_2", "aud_2"))

    assert first.target.segment is second.target.segment is again.target.segment
    assert decoder.collisions == [Collision("vip", "aud_2", "vip", "aud_1", refused=False)]
    assert decoder.collisions[0].likeness is Likeness.SAME


@pytest.mark.parametrize("mode", MembershipMode)
def test_the_second_can_be_refused(mode: MembershipMode) -> None:
    """Every event of it, whatever comes in between; told once."""
    decoder = Decoder(Mapping(), membership_mode=mode, on_collision=OnCollision.REFUSE)
    seen = [read(of(each), decoder) for each in ("aud_1", "aud_2", "aud_1", "aud_2", "aud_3")]

    assert seen == [IN, REFUSED, IN, REFUSED, REFUSED]
    assert decoder.collisions == [
        Collision("vip", "aud_2", "vip", "aud_1", refused=True),
        Collision("vip", "aud_3", "vip", "aud_1", refused=True),
    ]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        pytest.param(of("aud_2", traits={}), "invalid: membership_missing", id="flag"),
        pytest.param(of("aud_2", userId=None), "skipped: no_context_key", id="key"),
        pytest.param(of("aud_2", type="page"), "ignored: type_not_audience", id="type"),
        pytest.param([of("aud_2"), of("aud_1")], IN, id="beside a change it says nothing"),
        pytest.param([of("aud_2"), 5], "invalid: not_an_object", id="invalid is worse"),
    ],
)
def test_whoever_changes_nothing_collides_with_nobody(event: Any, expected: str) -> None:
    """Other reasons come first."""
    decoder = Decoder(Mapping(), on_collision=OnCollision.REFUSE)
    read(of("aud_1"), decoder)

    assert read(event, decoder) == expected


def test_an_audience_that_changes_nothing_takes_no_key() -> None:
    """The first is the first that had something to write."""
    decoder = Decoder(Mapping(), on_collision=OnCollision.REFUSE)
    read(of("aud_1", userId=None), decoder)

    assert read(of("aud_2"), decoder) == IN
    assert read(of("aud_1"), decoder) == REFUSED


@pytest.mark.parametrize("on_collision", OnCollision)
def test_one_audience_in_several_mappings_is_no_collision(on_collision: OnCollision) -> None:
    """They mean to write to one segment."""
    decoder = Decoder(
        Mapping(),
        Mapping(
            context_kind="email", context_key=Priority.EMAIL_ONLY, segment_key="{audience_key}"
        ),
        on_collision=on_collision,
    )
    event = of("aud_1") | {"context": of("aud_1")["context"] | {"traits": {"email": "a@b.c"}}}

    assert read(event, decoder) == "+user/u_1, +email/a@b.c"
    assert decoder.collisions == []


def test_mappings_can_collide_with_one_another() -> None:
    """What counts is the key of the segment, however it was made."""
    decoder = Decoder(
        Mapping(trigger=trigger('type = "identify"'), segment_key="x-{audience_key}"),
        Mapping(trigger=trigger('type = "track"')),
        on_collision=OnCollision.REFUSE,
    )

    assert read(of("aud_1"), decoder) == IN
    assert read(of("aud_2", "x-vip", type="track"), decoder) == REFUSED
    assert [each.segment_key for each in decoder.collisions] == ["x-vip"]


def test_the_id_in_the_template_keeps_audiences_apart() -> None:
    """What the advice says."""
    decoder = Decoder(
        Mapping(segment_key="{audience_key}-{audience_id}"), on_collision=OnCollision.REFUSE
    )

    assert [read(of(each), decoder) for each in ("aud_1", "aud_2")] == [IN, IN]
    assert decoder.collisions == []


@pytest.mark.parametrize("on_collision", OnCollision)
def test_keys_that_differ_only_in_case_are_told_and_not_refused(on_collision: OnCollision) -> None:
    """They are two segments to LaunchDarkly (launchdarkly-api contract 3)."""
    decoder = Decoder(Mapping(), on_collision=on_collision)

    found = [change(of(*each), decoder) for each in (("a", "VIP"), ("b", "vip"), ("c", "Vip"))]

    assert [each.target.segment.key for each in found] == ["VIP", "vip", "Vip"]
    assert decoder.collisions == [
        Collision("vip", "b", "VIP", "a", refused=False),
        Collision("Vip", "c", "VIP", "a", refused=False),
    ]
    assert {each.likeness for each in decoder.collisions} == {Likeness.CASE}


def test_the_segment_of_one_that_differs_in_case_is_its_own() -> None:
    """A third audience collides with the one that has the very key."""
    decoder = Decoder(Mapping(), on_collision=OnCollision.REFUSE)

    seen = [read(of(*each), decoder) for each in (("a", "VIP"), ("b", "vip"), ("c", "vip"))]

    assert seen == [IN, IN, REFUSED]
    assert decoder.collisions[1] == Collision("vip", "c", "vip", "b", refused=True)


def test_what_was_told_is_not_told_again() -> None:
    """Who tells empties the list; targets that are made anew change nothing."""
    decoder = Decoder(Mapping(), on_collision=OnCollision.REFUSE)
    for each in ("aud_1", "aud_2"):
        read(of(each), decoder)
    decoder.collisions.clear()

    assert read(of("aud_2"), decoder) == REFUSED
    assert decoder.collisions == []


def test_the_number_of_collisions_told_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after is treated alike."""
    monkeypatch.setattr(segments, "_MOST_COLLISIONS", 3)
    decoder = Decoder(Mapping(), on_collision=OnCollision.REFUSE)

    seen = [read(of(f"aud_{number}"), decoder) for number in range(6)]

    assert seen == [IN] + [REFUSED] * 5
    assert [each.audience_id for each in decoder.collisions] == ["aud_1", "aud_2", "aud_3"]


def test_who_came_first_is_remembered_for_a_bounded_number_of_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Then the key that was new longest ago is free again."""
    monkeypatch.setattr(decoding, "_MOST_TARGETS", 2)
    decoder = Decoder(Mapping(), on_collision=OnCollision.REFUSE)
    read(of("aud_1", "One"), decoder)
    read(of("aud_2", "two"), decoder)
    assert read(of("aud_9", "One"), decoder) == REFUSED
    assert read(of("aud_9", "two"), decoder) == REFUSED

    read(of("aud_3", "three"), decoder)

    assert read(of("aud_9", "two"), decoder) == REFUSED
    assert read(of("aud_9", "one"), decoder) == IN
    assert [each.likeness for each in decoder.collisions] == ["same", "same"], "One is forgotten"
    assert read(of("aud_8", "One"), decoder) == IN
    assert decoder.collisions[-1] == Collision("One", "aud_8", "one", "aud_9", refused=False)


def test_as_many_keys_are_remembered_as_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more takes the place of the oldest."""
    monkeypatch.setattr(decoding, "_MOST_TARGETS", 2)
    decoder = Decoder(Mapping(), on_collision=OnCollision.REFUSE)

    for key in ("one", "two", "three"):
        assert read(of("aud_1", key), decoder) == IN

    assert read(of("aud_2", "three"), decoder) == REFUSED
    assert read(of("aud_2", "two"), decoder) == REFUSED
    assert read(of("aud_2", "one"), decoder) == IN
