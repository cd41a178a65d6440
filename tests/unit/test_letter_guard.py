"""The guard against a wrong topic: of each topic only a part may be invalid."""

import pytest

from ldsync.kafka.errors import SourceFailed
from ldsync.kafka.guard import Guard


def test_a_topic_is_judged_once_enough_of_it_was_seen() -> None:
    """Until then everything may be invalid, and nothing is trusted."""
    guard = Guard(0.5, 100)
    guard.note("a", 99, 99)
    assert not guard.trusts("a")
    with pytest.raises(SourceFailed, match="100 of 100 records read from a "):
        guard.note("a", 1, 1)


def test_the_ratio_has_to_be_exceeded() -> None:
    """Exactly half is half."""
    guard = Guard(0.5, 100)
    guard.note("a", 100, 50)
    assert guard.trusts("a")
    guard = Guard(0.5, 100)
    with pytest.raises(SourceFailed):
        guard.note("a", 100, 51)


def test_each_topic_is_judged_by_itself() -> None:
    """A good one does not hide a bad one."""
    guard = Guard(0.5, 100)
    guard.note("good", 10_000, 0)
    assert not guard.trusts("bad")
    with pytest.raises(SourceFailed, match="bad"):
        guard.note("bad", 100, 100)


def test_a_topic_that_turns_bad_after_long_is_noticed() -> None:
    """What was seen long ago counts less and less."""
    guard = Guard(0.5, 100)
    for _ in range(1000):
        guard.note("a", 100, 0)

    def turn_bad() -> None:
        for _ in range(5):
            guard.note("a", 100, 100)

    with pytest.raises(SourceFailed):
        turn_bad()


def test_a_ratio_of_one_switches_it_off() -> None:
    """Everything is trusted from the first record."""
    guard = Guard(1.0, 1)
    assert guard.trusts("a")
    guard.note("a", 1000, 1000)
