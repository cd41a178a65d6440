"""Which parked letters still stand for something, as the dead-letter topic says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import orjson
import pytest

from ldsync.kafka.letter import (
    Letter,
    Origin,
    Refusal,
    change_json,
    encode,
    marker_json,
)
from ldsync.kafka.marking import markers
from ldsync.kafka.parked_record import Marker, ParkedRecord, read
from ldsync.kafka.standing import Standing, runs
from ldsync.sync.ledger import Partition
from tests.support.core import partition, segment

if TYPE_CHECKING:
    from aiokafka import ConsumerRecord

DEAD, OTHER = Partition("dead", 0), Partition("dead", 1)
NOTHING = cast("Any", None)


def parked(at: int, *, key: str = "vip", number: int = 0, place: Partition = DEAD) -> ParkedRecord:
    """A letter at an offset, of a record of a partition."""
    return ParkedRecord(place, at, key, "user/u", b"", partition(number), at, 0)


def standing(*found: ParkedRecord | Marker) -> dict[str, tuple[int, Any]]:
    """What stands after all of it was read, in order."""
    letters = Standing()
    for each in found:
        letters.take(each)
    return letters.outstanding()


def marker(*ranges: tuple[int, int], key: str = "vip", place: Partition = DEAD) -> Marker:
    """A marker of an owner of the first partition."""
    return Marker(place, key, ranges, frozenset({partition(0)}))


@pytest.mark.parametrize(
    ("wanted", "others", "expected"),
    [
        pytest.param([], [], [], id="nothing"),
        pytest.param([1, 2, 5], [], [(1, 6)], id="gaps do not count"),
        pytest.param([5, 1, 2], [3], [(1, 3), (5, 6)], id="others do, in any order"),
        pytest.param([1, 2], [0, 7], [(1, 3)], id="others around"),
    ],
)
def test_ranges_hold_what_is_wanted_and_nothing_else(
    wanted: list[int], others: list[int], expected: list[tuple[int, int]]
) -> None:
    """The fewest there are."""
    assert runs(wanted, others) == expected


def test_what_no_marker_is_about_still_stands() -> None:
    """By segment and partition of the dead-letter topic."""
    found = standing(
        parked(1), parked(2), parked(3, key="other"), parked(4, place=OTHER), marker((1, 2))
    )
    assert found == {
        "vip": (2, {DEAD: [(2, 3)], OTHER: [(4, 5)]}),
        "other": (1, {DEAD: [(3, 4)]}),
    }


def test_a_partition_whose_letters_are_all_done_is_not_read_again() -> None:
    """Others of the same segment may still stand elsewhere."""
    found = standing(parked(1), parked(2, place=OTHER), marker((1, 2)))
    assert found == {"vip": (1, {OTHER: [(2, 3)]})}


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(marker((2, 9)), id="other offsets"),
        pytest.param(marker((0, 9), key="other"), id="another segment"),
        pytest.param(marker((0, 9), place=OTHER), id="another place"),
        pytest.param(Marker(DEAD, "vip", [(0, 9)], frozenset({partition(1)})), id="another owner"),
    ],
)
def test_a_marker_is_about_what_it_names(found: Marker) -> None:
    """And of its own partition of the dead-letter topic alone."""
    assert standing(parked(1), found)["vip"][0] == 1


def test_a_marker_without_owner_is_about_all_of_them() -> None:
    """As one that an operator writes."""
    assert standing(parked(1), parked(2, number=1), Marker(DEAD, "vip", [(0, 9)], None)) == {}


def record_of(letter: Letter, *, longest: int = 10_000, group: str = "g") -> ConsumerRecord:
    """A letter as it is read again, at offset 9."""
    _, value, headers = encode(letter, longest, group)
    place = DEAD if letter.number is None else Partition(letter.to, letter.number)
    return cast(
        "ConsumerRecord",
        SimpleNamespace(
            topic=place.topic, partition=place.number, offset=9, value=value, headers=headers
        ),
    )


def letter(value: bytes = b"value", reason: str = "parked") -> Letter:
    """A letter of a parked change."""
    origin = Origin("events", 2, 17, 1_700)
    refusal = Refusal("vip", "user/u", 3)
    return Letter("dead", b"k", value, origin, reason, NOTHING, refusal=refusal)


def test_a_letter_is_read_as_it_was_written() -> None:
    """With its record's first place and time (R9)."""
    assert read(record_of(letter()), "g") == ParkedRecord(
        DEAD, 9, "vip", "user/u", b"value", Partition("events", 2), 17, 1_700
    )


def test_of_a_pointer_the_hash_is_known_and_not_the_value() -> None:
    """The record has to be read where it was."""
    found = read(record_of(letter(b"v" * 9_000), longest=1_000), "g")
    assert isinstance(found, ParkedRecord)
    assert found.value is None
    assert len(found.sha256) == 64


def test_a_change_by_itself_belongs_to_one_partition() -> None:
    """Its version and its segment are all that is known."""
    value = change_json(segment(), "user/u", included=False, version="v")
    refusal = Refusal("vip", "user/u", 3)
    change = Letter(
        "dead", b"u", value, None, "parked", NOTHING, refusal=refusal, owner=partition(2)
    )
    found = read(record_of(change), "g")
    assert isinstance(found, ParkedRecord)
    assert found.partition == partition(2)
    assert found.alone is not None
    assert (found.alone.stamp, found.alone.audience_id) == ("v-", "aud_vip")


def test_a_marker_is_read_as_it_was_written() -> None:
    """It stands in the partition that it is about."""
    (written,) = markers("vip", OTHER, [partition(1), partition(0)], [4, 5, 7], [6])
    owned = frozenset({partition(0), partition(1)})
    assert read(record_of(written), "g") == Marker(OTHER, "vip", [(4, 6), (7, 8)], owned)


def test_many_ranges_take_several_markers() -> None:
    """None of which is too large for a topic."""
    odd = range(1, 6_001, 2)
    found = list(markers("vip", DEAD, [partition()], odd, range(0, 6_000, 2)))
    assert len(found) == 3
    ranges = [pair for each in found for pair in orjson.loads(each.value or b"")["letters"]]
    assert ranges == [[number, number + 1] for number in odd]


@pytest.mark.parametrize(
    ("written", "group"),
    [
        pytest.param(letter(), "h", id="of another group"),
        pytest.param(letter(reason="bad_request"), "g", id="refused, not parked"),
        pytest.param(
            Letter("dead", None, b"x", None, "parked", NOTHING), "g", id="not ours: no headers"
        ),
        pytest.param(
            Letter("dead", None, b"{", None, "replayed", NOTHING, number=0), "g", id="no JSON"
        ),
        pytest.param(
            Letter("dead", None, b'{"format": "x"}', None, "replayed", NOTHING, number=0),
            "g",
            id="another format",
        ),
        pytest.param(
            Letter(
                "dead",
                None,
                b'{"format": "ldsync-replayed/1", "segment": ["vip", "other"]}',
                None,
                "replayed",
                NOTHING,
                number=0,
            ),
            "g",
            id="of several segments",
        ),
    ],
)
def test_everything_else_is_no_concern(written: Letter, group: str) -> None:
    """Whoever wrote it: the topic may hold anything."""
    assert read(record_of(written), group) is None


def test_what_is_marked_is_json_as_documented() -> None:
    """See docs/dead-letters.md."""
    assert orjson.loads(marker_json("vip", {"events": [0]}, [(1, 3)])) == {
        "format": "ldsync-replayed/1",
        "segment": "vip",
        "partitions": {"events": [0]},
        "letters": [[1, 3]],
    }
