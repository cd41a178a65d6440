"""How many records are asked for at a time, so that what they hold stays bounded (P3)."""

from collections.abc import Mapping

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from ldsync.kafka.portions import PORTION, Portions
from ldsync.sync.ledger import Partition

MANY, MUCH = 1000, 1_000_000
P0, P1 = Partition("events", 0), Partition("events", 1)


def some(
    count: int, size: int | None, partition: Partition = P0, first: int = 0
) -> Mapping[TopicPartition, list[ConsumerRecord]]:
    """So many records with values of that size, in order; None: without values."""
    value = None if size is None else b"x" * size
    records = [
        ConsumerRecord(*partition, first + number, 0, 0, None, value, None, 0, 0, ())
        for number in range(count)
    ]
    return {TopicPartition(*partition): records}


@pytest.fixture
def portions() -> Portions:
    """At most a thousand records or a million bytes at a time."""
    return Portions(MANY, MUCH)


def test_the_first_record_is_asked_for_alone(portions: Portions) -> None:
    """It may be as large as they come."""
    assert portions.next == 1


@pytest.mark.parametrize(
    ("size", "following"),
    [
        pytest.param(None, PORTION, id="without_value"),
        pytest.param(0, PORTION, id="empty"),
        pytest.param(1_000, PORTION, id="usual"),
        pytest.param(100_000, 9, id="large"),
        pytest.param(600_000, 1, id="more_than_is_left"),
        pytest.param(1_000_000, 0, id="all_there_may_be"),
        pytest.param(1_500_000, 0, id="more_than_there_may_be"),
    ],
)
def test_as_many_follow_as_have_room(portions: Portions, size: int, following: int) -> None:
    """Judged by the largest of the last portion, and never more than a few."""
    portions.add(some(1, size))
    assert portions.next == following


def test_it_ends_with_the_number_of_records(portions: Portions) -> None:
    """Exactly."""
    count = 0
    while portions.next:
        count += portions.next
        portions.add(some(portions.next, 10))
    assert count == MANY


def test_the_size_is_remembered_for_the_next_poll(portions: Portions) -> None:
    """Large records come in a row; what was gathered is let go."""
    portions.add(some(1, 1_000_000))
    portions.begin()
    assert portions.records == {}
    assert portions.next == 1
    portions.add(some(1, 10))
    portions.begin()
    assert portions.next == PORTION


def test_records_of_a_partition_stay_in_order_over_portions(portions: Portions) -> None:
    """Each partition has one list."""
    portions.add(some(2, 10))
    portions.add({**some(1, 10, first=2), **some(1, 10, P1)})
    found = {
        place.partition: [each.offset for each in portions.records[place]]
        for place in portions.records
    }
    assert found == {0: [0, 1, 2], 1: [0]}


@pytest.mark.parametrize(
    ("positions", "reached"),
    [
        pytest.param({P0: 5, P1: 7}, True, id="behind_the_records"),
        pytest.param({P0: 5}, True, id="partition_gone"),
        pytest.param({P0: 6, P1: 7}, False, id="further_where_records_came"),
        pytest.param({P0: 5, P1: 8}, False, id="further_where_none_came"),
    ],
)
def test_records_that_were_lost_are_told_by_the_positions(
    portions: Portions, positions: Mapping[Partition, int], reached: bool
) -> None:
    """An error of one partition may have taken records of another with it."""
    portions.add(some(3, 10, first=2))
    assert portions.reach(positions, {P0: 3, P1: 7}) is reached
