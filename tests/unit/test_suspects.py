"""Members that were refused alone, from one attempt to the next."""

import gc

from ldsync.launchdarkly.writers.suspects import AllSuspects, Suspects
from ldsync.sync.change import Segment

OLD, NEW = "2026-11-24T20:00:00.000Z+", "2026-11-24T20:00:01.000Z+"


def segment() -> Segment:
    """A segment of its own."""
    return Segment(key="vip", name="Vip", audience_id="aud", audience_key="vip")


def test_what_is_remembered_is_a_change_and_what_was_said_of_it() -> None:
    """Others of the batch are not suspected, nor is a newer change of the same member."""
    suspects = Suspects()
    suspects.remember([("user/a", OLD), ("user/b", OLD)], {"user/a": "no"})

    assert suspects.among([("user/a", OLD), ("user/b", OLD)]) == {"user/a": "no"}
    assert suspects.among([("user/a", NEW)]) == {}


def test_what_is_done_with_is_forgotten() -> None:
    """Only that: another batch of the segment may be on its way."""
    suspects = Suspects()
    suspects.remember([("user/a", OLD), ("user/b", OLD)], {"user/a": "no", "user/b": "no"})

    suspects.forget([("user/a", OLD), ("user/c", OLD)])

    assert suspects.among([("user/a", OLD), ("user/b", OLD)]) == {"user/b": "no"}


def test_memory_is_bounded() -> None:
    """Batches that never come back, for their partitions were revoked, must not add up (P3)."""
    suspects = Suspects()
    for number in range(10_002):
        suspects.remember([(f"user/{number}", OLD)], {f"user/{number}": "no"})

    assert suspects.among([("user/0", OLD)]) == {}
    assert suspects.among([("user/10001", OLD)]) == {"user/10001": "no"}


def test_each_segment_has_its_own() -> None:
    """For as long as there is the segment."""
    every = AllSuspects()
    one, other = segment(), segment()
    every.of(one).alone = 7

    assert every.of(one).alone == 7
    assert every.of(other).alone == 0
    del one
    gc.collect()
    assert len(every) == 1
