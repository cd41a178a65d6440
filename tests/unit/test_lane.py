"""A lane: what of a segment may be written when, and where changes go that come back."""

from __future__ import annotations

import pytest

from ldsync.sync.lane import Lane, size_of
from ldsync.sync.limits import Limits
from tests.support.core import Intake, keys, segment, stamp, target

LIMITS = Limits(max_size=3, max_age=2.0)


@pytest.mark.parametrize(
    ("member", "size"), [("user/a", 6), ("user/é", 7), ("user/😀", 9), ("", 0)]
)
def test_the_size_of_a_member_is_in_bytes(member: str, size: int) -> None:
    """As a request body would carry it."""
    assert size_of(member) == size


def test_a_new_lane_has_nothing_to_do() -> None:
    """No deadline, and nothing to remember it for."""
    lane = Lane(segment())
    assert lane.idle(0.0)
    assert lane.in_flight == 0
    assert lane.next_deadline(0.0, LIMITS, draining=False) is None
    assert lane.take(0.0, LIMITS, draining=True) is None


def test_members_that_came_again_wait_until_their_block_ends_and_others_do_not() -> None:
    """R1: the block belongs to the member; a newer change of it waits as well."""
    intake, vip = Intake(), target()
    intake.add(vip, "a", "b", "c")
    batch = intake.take(0.0)
    intake.add(vip, "b", now=1.0, version=2, sign="-")
    intake.buffer.give_back(batch, 1.0, not_before=1.0, blocked_until=16.0)
    assert intake.ended() == {"coalesced": 1}
    intake.add(vip, "d", now=1.0)
    assert intake.buffer.take(2.5) is None
    assert intake.buffer.next_deadline() == 3.0
    assert keys(intake.take(3.0)) == ["d"]


def test_a_blocked_member_is_free_the_moment_its_block_ends() -> None:
    """Not before, and not later; the newer change is what is written."""
    intake, vip = Intake(), target()
    intake.add(vip, "a", "b")
    batch = intake.take(2.0)
    intake.add(vip, "b", now=3.0, version=2, sign="-")
    intake.buffer.give_back(batch, 3.0, not_before=3.0, blocked_until=16.0)
    assert intake.buffer.take(15.9) is None
    assert intake.buffer.next_deadline() == 16.0
    again = intake.take(16.0)
    assert again.changes == {"user/a": stamp(1), "user/b": stamp(2, "-")}


def test_members_that_came_while_others_are_held_back_are_batched_as_ever() -> None:
    """What is held back is no reason to write every new member in a request of its own."""
    intake, vip = Intake(), target()
    intake.add(vip, "a")
    batch = intake.take(2.0)
    intake.add(vip, "a", now=3.0, version=2)
    intake.buffer.give_back(batch, 3.0, not_before=3.0, blocked_until=18.0)
    assert intake.buffer.take(5.0) is None
    intake.add(vip, "d", now=6.0)
    assert intake.buffer.take(7.9) is None
    intake.add(vip, "e", now=7.9)
    assert intake.buffer.next_deadline() == 8.0
    batch = intake.take(8.0)
    assert keys(batch) == ["d", "e"]
    assert batch.trigger.value == "age"


def test_a_page_of_which_some_members_are_held_back_is_taken_in_part() -> None:
    """The rest stays, in its place, and holds what it held."""
    intake, vip = Intake(Limits(max_size=4)), target()
    intake.add(vip, "a", "é")
    batch = intake.take(2.0)
    intake.add(vip, "b", "é", "c", "d", now=3.0, version=2, record_ms=3_000)
    intake.buffer.give_back(batch, 4.0, not_before=4.0, blocked_until=16.0)
    assert intake.ended() == {"coalesced": 1}
    part = intake.take(4.0)
    assert keys(part) == ["b", "c", "d"]
    assert part.trigger.value == "size"
    assert list(part.waits()) == [(3_000, 3)]
    (lane,) = intake.buffer.lanes()
    assert [(page.count, page.size, page.in_flight) for page in lane.pages] == [
        (1, 6, False),
        (3, 18, True),
        (1, 7, False),
    ]
    intake.buffer.settle(part, 5.0)
    assert intake.committable() is None
    rest = intake.take(16.0)
    assert rest.changes == {"user/a": stamp(1), "user/é": stamp(2)}
    assert list(rest.waits()) == [(1_000, 1), (3_000, 1)]
    intake.buffer.settle(rest, 16.0)
    assert intake.committable() == 6


def test_an_expired_block_of_a_member_that_went_away_holds_nothing_up() -> None:
    """Blocks outlive an epoch; once they are over nobody waits for them, least of all in a loop."""
    intake, vip = Intake(), target()
    intake.add(vip, "a")
    batch = intake.take(2.0)
    intake.buffer.give_back(batch, 2.0, not_before=2.0, blocked_until=17.0)
    intake.buffer.discard(2.0)
    intake.add(vip, "b", now=10.0)
    batch = intake.take(12.0)
    intake.add(vip, "b", now=12.0, version=2)
    intake.buffer.give_back(batch, 12.0, not_before=12.0, blocked_until=27.0)
    assert intake.buffer.take(18.0) is None
    assert intake.buffer.next_deadline() == 27.0
    assert intake.take(27.0).changes == {"user/b": stamp(2)}


def test_a_page_is_looked_at_again_when_the_first_of_several_blocks_ends() -> None:
    """Members of one page may be blocked until different times."""
    intake, vip = Intake(Limits(max_size=1, max_age=2.0)), target()
    intake.add(vip, "a", "b")
    first = intake.take(0.0)
    intake.buffer.give_back(first, 0.0, not_before=1.0, blocked_until=20.0)
    second = intake.take(1.0)
    assert keys(second) == ["b"]
    intake.buffer.give_back(second, 1.0, not_before=1.0, blocked_until=10.0)
    assert intake.buffer.take(1.0) is None
    assert intake.buffer.next_deadline() == 10.0
    assert keys(intake.take(10.0)) == ["b"]


def test_changes_that_come_back_go_where_they_were() -> None:
    """In front of what came later, together with it if there is room."""
    intake, vip = Intake(Limits(max_size=4, max_age=2.0)), target()
    intake.add(vip, "a", "b")
    batch = intake.take(2.0)
    intake.add(vip, "c", "b", now=2.0, version=2)
    intake.buffer.give_back(batch, 2.0, not_before=5.0)
    assert intake.ended() == {"coalesced": 1}
    (lane,) = intake.buffer.lanes()
    assert list(lane.changes) == ["user/a", "user/c", "user/b"]
    assert intake.buffer.take(4.9) is None
    assert keys(intake.take(5.0)) == ["a", "c", "b"]


def test_changes_come_back_between_those_before_and_those_behind() -> None:
    """Pages before them may wait or be in flight themselves."""
    intake = Intake(Limits(max_size=1, max_age=2.0, writes_per_segment=3))
    vip = target()
    intake.add(vip, "a", "b", "c", "d")
    a, b, c = (intake.take(0.0) for _ in range(3))
    intake.buffer.give_back(c, 0.0, not_before=0.0)
    intake.buffer.give_back(a, 0.0, not_before=0.0)
    (lane,) = intake.buffer.lanes()
    assert list(lane.changes) == ["user/a", "user/c", "user/d"]
    intake.buffer.give_back(b, 0.0, not_before=0.0)
    assert list(lane.changes) == ["user/a", "user/b", "user/c", "user/d"]
    assert [page.count for page in lane.pages] == [1, 1, 1, 1]


def test_a_batch_of_several_pages_comes_back_as_one() -> None:
    """It fitted in one request and does so again; nothing is settled by that."""
    intake, vip = Intake(Limits(max_size=4, max_age=2.0)), target()
    intake.add(vip, "a", "b")
    first = intake.take(2.0)
    intake.add(vip, "c", now=2.0)
    intake.buffer.give_back(first, 2.0, not_before=2.0)
    both = intake.take(2.0)
    assert keys(both) == ["a", "b", "c"]
    assert len(both.pages) == 2
    intake.buffer.give_back(both, 2.0, not_before=2.0)
    (lane,) = intake.buffer.lanes()
    (page,) = lane.pages
    assert (page.count, page.size, page.in_flight) == (3, 18, False)
    assert list(page.waits()) == [(1_000, 3)]
    again = intake.take(2.0)
    intake.buffer.settle(again, 2.0)
    assert intake.committable() == 3


def test_the_waits_of_what_comes_back_are_those_of_its_first_record() -> None:
    """Which of the changes it was that are left is not known; they waited at most that long."""
    intake, vip = Intake(), target()
    intake.add(vip, "a", "b", record_ms=1_000)
    intake.add(vip, "c", record_ms=2_000)
    batch = intake.take(0.0)
    intake.add(vip, "a", "b", now=1.0, version=2, record_ms=3_000)
    intake.buffer.give_back(batch, 1.0, not_before=1.0)
    again = intake.take(1.0)
    assert keys(again) == ["c", "a", "b"]
    assert list(again.waits()) == [(1_000, 1), (3_000, 2)]


def test_what_was_superseded_while_in_flight_is_settled_with_its_survivor() -> None:
    """R8: the newer change is of another partition, and the rest of its page is written first."""
    intake, vip = Intake(Limits(max_size=2)), target()
    intake.add(vip, "x", "y", number=2)
    batch = intake.take(0.0)
    intake.add(vip, "x", "m", now=1.0, version=2, number=0)
    intake.buffer.give_back(batch, 1.0, not_before=1.0, blocked_until=15.0)
    part = intake.take(1.0)
    assert keys(part) == ["m"]
    intake.add(vip, "m", now=2.0, version=3, number=1)
    intake.buffer.give_back(part, 2.0, not_before=2.0, blocked_until=30.0)
    assert intake.ended() == {"coalesced": 1}
    rest = intake.take(15.0)
    assert keys(rest) == ["y", "x"]
    intake.buffer.settle(rest, 15.0)
    assert intake.committable(0) is None
    intake.buffer.settle(intake.take(30.0), 30.0)
    assert intake.committable(0) == 4
    assert intake.committable(1) == 5


def test_what_a_later_page_holds_for_a_batch_that_comes_back_stays_held() -> None:
    """R8: it is settled with the survivor, which came from another partition meanwhile."""
    intake, vip = Intake(Limits(max_size=1)), target()
    intake.add(vip, "a", "b", number=2)
    intake.add(vip, "a", version=2, number=0)  # held by the page of "b"
    batch = intake.take(0.0)
    intake.add(vip, "a", now=1.0, version=3, number=1)
    intake.buffer.give_back(batch, 1.0, not_before=1.0)
    assert intake.ended() == {"coalesced": 1}
    following = intake.take(1.0)
    assert keys(following) == ["b"]
    intake.buffer.settle(following, 1.0)
    assert intake.committable(0) is None
    intake.buffer.settle(intake.take(1.0), 1.0)
    assert intake.committable(0) == 3
    assert intake.committable(1) == 4
    assert intake.committable(2) == 2


def test_what_settles_behind_a_page_that_waits_is_not_kept() -> None:
    """A member that nobody answers for hours does not make settled pages pile up (P3)."""
    intake, vip = Intake(Limits(max_size=1)), target()
    intake.add(vip, "stuck")
    batch = intake.take(0.0)
    intake.buffer.give_back(batch, 0.0, not_before=0.0, blocked_until=1_000.0)
    for number in range(20):
        intake.add(vip, f"m{number}", now=1.0)
        intake.buffer.settle(intake.take(1.0), 1.0)
        (lane,) = intake.buffer.lanes()
        assert len(lane.pages) == 1
    assert intake.committable() is None
    intake.buffer.settle(intake.take(1_000.0), 1_000.0)
    assert intake.committable() == 21


def test_the_first_page_is_committable_as_soon_as_it_is_settled() -> None:
    """It does not wait for those behind it."""
    intake, vip = Intake(), target()
    intake.add(vip, "a", "b", "c")
    intake.add(vip, "d")
    intake.buffer.settle(intake.take(0.0), 0.0)
    assert intake.committable() == 3


def test_what_a_later_page_holds_for_an_earlier_one_is_kept_when_it_settles() -> None:
    """A newer change of a waiting member came with the last page, and that is written first (P1).

    Partition 1 must not be committed before "a" is written.
    """
    intake, vip = Intake(Limits(max_size=1)), target()
    intake.add(vip, "a")
    batch = intake.take(0.0)
    intake.buffer.give_back(batch, 0.0, not_before=0.0, blocked_until=15.0)
    intake.add(vip, "b", now=1.0)
    assert intake.add(vip, "a", now=1.0, version=2, number=1) == [True]
    intake.buffer.settle(intake.take(1.0), 1.0)
    assert intake.committable(0) is None
    assert intake.committable(1) is None
    last = intake.take(15.0)
    assert last.changes == {"user/a": stamp(2)}
    intake.buffer.settle(last, 15.0)
    assert intake.committable(0) == 2
    assert intake.committable(1) == 3


def test_members_in_flight_are_held_back_until_they_land() -> None:
    """P4, with several writes at a time: then at once, without waiting for an age."""
    intake = Intake(Limits(max_size=2, max_age=2.0, writes_per_segment=2))
    vip = target()
    intake.add(vip, "a", "b")
    first = intake.take(0.0)
    intake.add(vip, "a", "b", now=1.0, version=2)
    assert intake.buffer.take(1.0) is None
    assert intake.buffer.next_deadline() is None
    intake.add(vip, "c", now=1.5)
    assert intake.buffer.take(3.4) is None
    second = intake.take(3.5)
    assert keys(second) == ["c"]
    intake.buffer.settle(second, 3.6)
    assert intake.buffer.take(9.0) is None
    intake.buffer.settle(first, 10.0)
    assert keys(intake.take(10.0)) == ["a", "b"]


def test_a_page_held_by_both_a_block_and_a_flight_is_free_with_the_first_to_end() -> None:
    """Whichever it is, some member of it can be written then."""
    intake = Intake(Limits(max_size=2, max_age=2.0, writes_per_segment=2))
    vip = target()
    intake.add(vip, "a", "b", "c", "d")
    blocked, flying = intake.take(0.0), intake.take(0.0)
    intake.buffer.give_back(blocked, 0.0, not_before=0.0, blocked_until=15.0)
    intake.add(vip, "c", now=1.0, version=2)
    assert intake.buffer.take(3.0) is None
    intake.buffer.settle(flying, 4.0)
    assert keys(intake.take(4.0)) == ["c"]
    assert intake.buffer.next_deadline() == 15.0


def test_after_a_failure_one_write_at_a_time_finds_out_whether_it_goes_again() -> None:
    """P5: several writes of a segment may not all wait for an answer that does not come."""
    intake = Intake(Limits(max_size=1, max_age=2.0, writes_per_segment=3))
    intake.add(target(), "a", "b", "c", "d", "e", "f")
    failed, going, gone = (intake.take(0.0) for _ in range(3))
    intake.buffer.give_back(failed, 1.0, not_before=2.0)
    for batch in (going, gone):
        assert intake.buffer.take(5.0) is None
        intake.buffer.give_back(batch, 5.0, not_before=5.0)
    probe = intake.take(5.0)
    assert intake.buffer.take(5.0) is None
    assert intake.buffer.next_deadline() is None
    intake.buffer.settle(probe, 6.0)
    assert [keys(intake.take(6.0)) for _ in range(3)] == [["b"], ["c"], ["d"]]
    assert intake.buffer.take(6.0) is None


def test_a_landing_frees_only_pages_that_a_flight_held() -> None:
    """What is held by a block alone is not looked at again with every write that ends."""
    intake = Intake(Limits(max_size=2, max_age=2.0, writes_per_segment=2))
    vip = target()
    intake.add(vip, "a", "b", "c", "d")
    blocked, flying = intake.take(0.0), intake.take(0.0)
    intake.add(vip, "a", "c", now=1.0, version=2)
    intake.buffer.give_back(blocked, 1.0, not_before=1.0, blocked_until=15.0)
    assert intake.buffer.take(3.0) is None
    intake.buffer.settle(flying, 4.0)
    intake.buffer.settle(intake.take(4.0), 5.0)
    assert intake.buffer.take(5.0) is None
    intake.add(vip, "e", "f", now=6.0)
    other = intake.take(6.0)
    assert keys(other) == ["e", "f"]
    intake.buffer.settle(other, 7.0)
    assert intake.buffer.next_deadline() == 15.0


def test_no_more_writes_than_allowed_are_in_flight_for_a_segment() -> None:
    """One for a standard segment (P4)."""
    intake, vip = Intake(), target()
    intake.add(vip, "a", "b", "c", "d", "e", "f")
    first = intake.take(0.0)
    (lane,) = intake.buffer.lanes()
    assert lane.in_flight == 3
    assert intake.buffer.take(100.0) is None
    assert intake.buffer.next_deadline() is None
    intake.buffer.settle(first, 100.0)
    assert keys(intake.take(100.0)) == ["d", "e", "f"]


@pytest.mark.parametrize("batches", [1, 400])
def test_taking_from_the_front_keeps_the_rest_in_order(batches: int) -> None:
    """Also after the dictionary was made anew, which saves walking over what is gone."""
    intake, vip = Intake(), target()
    names = [f"m{number}" for number in range(3 * batches + 3)]
    intake.add(vip, *names)
    for start in range(0, len(names), 3):
        batch = intake.take(0.0)
        assert keys(batch) == names[start : start + 3]
        intake.buffer.settle(batch, 0.0)
    assert intake.buffer.empty


def test_what_is_taken_in_part_keeps_its_own_arrivals() -> None:
    """Records that come later are not the ones that a batch in flight waited for."""
    intake, vip = Intake(Limits(max_size=8)), target()
    intake.add(vip, "a", record_ms=1_000)
    intake.buffer.give_back(intake.take(2.0), 2.0, not_before=2.0, blocked_until=50.0)
    intake.add(vip, "b", now=2.0, record_ms=2_000)
    intake.buffer.give_back(intake.take(4.0), 4.0, not_before=4.0)
    batch = intake.take(4.0)
    intake.add(vip, "c", now=4.0, record_ms=9_000)
    assert sum(count for _, count in batch.waits()) == len(batch.changes)
    assert all(record_ms < 9_000 for record_ms, _ in batch.waits())
