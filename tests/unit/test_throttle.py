"""The throttle: one mention per key and interval, and a count of the others."""

from ldsync.telemetry.throttle import Throttle


def test_the_first_mention_is_allowed() -> None:
    """What happens for the first time is said."""
    assert Throttle().allow("not_json", now=100.0) == 0


def test_mentions_within_the_interval_are_suppressed() -> None:
    """A flood gives one line."""
    throttle = Throttle(interval_seconds=60)
    throttle.allow("not_json", now=100.0)

    assert [throttle.allow("not_json", now=100.0 + second) for second in (0, 1, 59.9)] == [None] * 3


def test_the_next_mention_tells_how_many_were_suppressed() -> None:
    """No occurrence goes unaccounted for."""
    throttle = Throttle(interval_seconds=60)
    for second in range(31):
        throttle.allow("not_json", now=100.0 + second)

    assert throttle.allow("not_json", now=160.0) == 30
    assert throttle.allow("not_json", now=220.0) == 0


def test_keys_do_not_silence_each_other() -> None:
    """A rare trouble is heard beside a frequent one."""
    throttle = Throttle()
    throttle.allow("not_json", now=100.0)

    assert throttle.allow("no_type", now=100.0) == 0


def test_keys_beyond_the_bound_share_one_allowance() -> None:
    """Endless new keys neither fill the memory nor flood the log."""
    throttle = Throttle(interval_seconds=60, max_keys=2)
    answers = [throttle.allow(f"key {number}", now=100.0) for number in range(1000)]

    assert answers == [0, 0, 0] + [None] * 997
    assert throttle.allow("key 5000", now=160.0) == 0, "old keys have made room"


def test_the_shared_allowance_counts_what_it_suppressed() -> None:
    """Keys without a place of their own are accounted for together."""
    throttle = Throttle(interval_seconds=60, max_keys=1)
    throttle.allow("first", now=150.0)
    for number in range(10):
        throttle.allow(f"key {number}", now=100.0)

    assert throttle.allow("another", now=160.0) == 9


def test_old_keys_make_room() -> None:
    """A key whose interval is over costs nothing to forget."""
    throttle = Throttle(interval_seconds=60, max_keys=2)
    throttle.allow("a", now=100.0)
    throttle.allow("b", now=100.0)

    assert throttle.allow("c", now=160.0) == 0
    assert throttle.allow("d", now=160.0) == 0
    assert throttle.allow("c", now=161.0) is None, "it has a place of its own"
