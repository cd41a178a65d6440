"""How many requests at once: half when it goes badly, one more a round when it goes well."""

from ldsync.launchdarkly.concurrency import Concurrency


def test_it_begins_with_all_that_is_allowed() -> None:
    """`launchdarkly.max_in_flight`."""
    assert Concurrency(8).limit == 8


def test_a_refusal_halves_it_and_a_burst_of_them_counts_once() -> None:
    """Those that were on their way together are refused together; never below one."""
    limit = Concurrency(8)
    for _ in range(8):
        limit.overloaded(100.0)
    assert limit.limit == 4
    for second in range(1, 9):
        limit.overloaded(100.0 + second)
    assert limit.limit == 1


def test_successes_bring_it_back_one_a_round() -> None:
    """Additive: as many successes as requests go at once make it one more; never above all."""
    limit = Concurrency(4)
    for second in range(5):
        limit.overloaded(second)
    rounds = []
    for _ in range(40):
        limit.succeeded(10.0)
        rounds.append(limit.limit)
    assert rounds[0] == 2
    assert rounds == sorted(rounds)
    assert rounds.index(3) == 3
    assert rounds[-1] == 4


def test_trouble_of_one_request_is_not_the_trouble_of_all() -> None:
    """P5: as long as others are accepted meanwhile, a request without answer stands alone."""
    limit = Concurrency(8)
    limit.succeeded(105.0)
    limit.overloaded(110.0, began=100.0)
    assert limit.limit == 8
    limit.overloaded(116.0, began=106.0)
    assert limit.limit == 4


def test_requests_without_answer_leave_a_place_to_another_one() -> None:
    """P5: one segment that hangs, with little traffic beside it, must not have the only place."""
    limit = Concurrency(8)
    for second in range(0, 100, 10):
        limit.overloaded(second + 10.0, began=float(second))
    assert limit.limit == 2
    limit.overloaded(200.0)
    assert limit.limit == 1, "too many requests are too many"
    limit.overloaded(220.0, began=210.0)
    assert limit.limit == 1


def test_with_one_request_allowed_there_is_always_one() -> None:
    """`launchdarkly.max_in_flight = 1`."""
    limit = Concurrency(1)
    limit.overloaded(10.0, began=0.0)
    limit.overloaded(20.0)
    assert limit.limit == 1
