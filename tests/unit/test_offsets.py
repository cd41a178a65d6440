"""What may be committed, and when."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import pytest

from ldsync.kafka.commits import CommitOutcome
from ldsync.kafka.offsets import Offsets
from ldsync.sync.ledger import Ledger, Partition
from ldsync.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from ldsync.kafka.source import Source

P0, P1 = Partition("events", 0), Partition("events", 1)


class Broker:
    """Stands in for a source: keeps what it is told to commit."""

    def __init__(self) -> None:
        self.assigned = frozenset({P0, P1})
        self.at: dict[Partition, int] = {}
        self.behind: dict[Partition, int] = {}
        self.dry_run = False
        self.outcome = CommitOutcome.COMMITTED
        self.commits: list[dict[Partition, int]] = []
        self.clean: list[bool] = []

    def positions(self) -> Mapping[Partition, int]:
        """How far it was read."""
        return dict(self.at)

    async def commit(
        self,
        offsets: Mapping[Partition, int],
        *,
        timeout: float | None = None,
        clean: bool = False,
    ) -> CommitOutcome:
        """Write it down."""
        self.commits.append(dict(offsets))
        self.clean.append(clean)
        return self.outcome

    async def lags(self) -> Mapping[Partition, int]:
        """How far it is to the end."""
        return dict(self.behind)


@pytest.fixture
def broker() -> Broker:
    """A source that owns two partitions."""
    return Broker()


@pytest.fixture
def ledger() -> Ledger:
    """A ledger with an account of each."""
    ledger = Ledger()
    ledger.assign(P0)
    ledger.assign(P1)
    return ledger


@pytest.fixture
def metrics() -> Metrics:
    """Metrics of their own."""
    return Metrics()


@pytest.fixture
def offsets(broker: Broker, ledger: Ledger, metrics: Metrics) -> Offsets:
    """Offsets of an assignment that has begun."""
    offsets = Offsets(cast("Source", broker), ledger, metrics)
    offsets.begin({})
    return offsets


def uncommitted(metrics: Metrics, partition: Partition) -> float | None:
    """The gauge of one partition; None if there is none."""
    labels = {"topic": partition.topic, "partition": str(partition.number)}
    return metrics.registry.get_sample_value("ldsync_uncommitted_offsets", labels)


async def test_only_what_is_settled_is_committed_and_only_once(
    offsets: Offsets, broker: Broker, ledger: Ledger
) -> None:
    """P1: a record that waits holds back everything behind it."""
    first = ledger.account(P0).open_chunk(10, 20, 0)
    second = ledger.account(P0).open_chunk(20, 30, 0)
    second.release()
    await offsets.commit()
    assert broker.commits == []
    first.release()
    await offsets.commit()
    await offsets.commit()
    assert broker.commits == [{P0: 30}]


async def test_where_nothing_waits_transaction_markers_are_passed(
    offsets: Offsets, broker: Broker, ledger: Ledger
) -> None:
    """The last offset of a partition may be a marker, which nobody consumes."""
    ledger.account(P0).open_chunk(10, 20, 0).release()
    waiting = ledger.account(P1).open_chunk(5, 6, 0)
    broker.at = {P0: 21, P1: 9}
    await offsets.commit()
    waiting.release()
    await offsets.commit()
    assert broker.commits == [{P0: 21}, {P1: 9}]


async def test_a_commit_of_a_dry_run_is_not_counted(
    broker: Broker, ledger: Ledger, offsets: Offsets, metrics: Metrics
) -> None:
    """The source takes it for done without asking anybody."""
    broker.dry_run = True
    ledger.account(P0).open_chunk(0, 5, 0).release()
    assert await offsets.commit() is CommitOutcome.COMMITTED
    assert metrics.commits["committed"]._value.get() == 0  # noqa: SLF001


async def test_what_was_passed_is_never_taken_back(
    offsets: Offsets, broker: Broker, ledger: Ledger
) -> None:
    """New records that wait do not move a commit back before the marker."""
    ledger.account(P0).open_chunk(10, 20, 0).release()
    broker.at = {P0: 21}
    await offsets.commit()
    ledger.account(P0).open_chunk(21, 30, 0)
    broker.at = {P0: 30}
    await offsets.commit()
    assert broker.commits == [{P0: 21}]


async def test_positions_before_what_is_settled_are_left_alone(
    offsets: Offsets, broker: Broker, ledger: Ledger
) -> None:
    """Positions are those of the poll before; the ledger may know more."""
    ledger.account(P0).open_chunk(10, 20, 0).release()
    broker.at = {P0: 10}
    await offsets.commit()
    assert broker.commits == [{P0: 20}]


async def test_positions_do_not_count_while_partitions_are_revoked(
    offsets: Offsets, broker: Broker, ledger: Ledger, metrics: Metrics
) -> None:
    """They cover records that were fetched and that nobody takes in any more."""
    ledger.account(P0).open_chunk(10, 20, 0).release()
    broker.at = {P0: 50, P1: 50}
    offsets.revoke()
    await offsets.commit(1.0)
    offsets.end({P0, P1})
    ledger.revoke(P0)
    ledger.revoke(P1)
    await offsets.commit()
    assert broker.commits == [{P0: 20}]
    assert uncommitted(metrics, P0) is None


async def test_a_new_assignment_begins_from_nothing(
    offsets: Offsets, broker: Broker, ledger: Ledger
) -> None:
    """What was committed before may have been moved by others since."""
    ledger.account(P0).open_chunk(10, 20, 0).release()
    await offsets.commit()
    offsets.revoke()
    offsets.begin({})
    ledger.assign(P0).open_chunk(10, 20, 0).release()
    await offsets.commit()
    assert broker.commits == [{P0: 20}, {P0: 20}]


@pytest.mark.parametrize("outcome", [CommitOutcome.FAILED, CommitOutcome.FENCED])
async def test_a_commit_that_did_not_succeed_is_tried_again(
    offsets: Offsets, broker: Broker, ledger: Ledger, metrics: Metrics, outcome: CommitOutcome
) -> None:
    """And counted as what it was."""
    ledger.account(P0).open_chunk(10, 20, 0).release()
    broker.outcome = outcome
    assert await offsets.commit() is outcome
    broker.outcome = CommitOutcome.COMMITTED
    assert await offsets.commit() is CommitOutcome.COMMITTED
    assert broker.commits == [{P0: 20}, {P0: 20}]
    registry = metrics.registry
    assert registry.get_sample_value("ldsync_commits_total", {"outcome": outcome.value}) == 1


async def test_the_gauge_says_what_a_restart_would_consume_again(
    offsets: Offsets, broker: Broker, ledger: Ledger, metrics: Metrics
) -> None:
    """Also before anything was committed in this epoch."""
    waiting = ledger.account(P0).open_chunk(10, 20, 0)
    broker.at = {P0: 20, P1: 7}
    await offsets.commit()
    assert uncommitted(metrics, P0) == 10
    assert uncommitted(metrics, P1) == 0
    waiting.release()
    await offsets.commit()
    assert uncommitted(metrics, P0) == 0
    ledger.account(P0).open_chunk(20, 60, 0)
    broker.at = {P0: 60, P1: 7}
    await offsets.commit()
    assert uncommitted(metrics, P0) == 40


async def test_lags_of_partitions_that_were_lost_meanwhile_are_left_out(
    offsets: Offsets, broker: Broker, metrics: Metrics
) -> None:
    """The brokers may take seconds to answer."""
    broker.behind = {P0: 3, P1: 4}
    broker.assigned = frozenset({P1})
    await offsets.measure()
    assert offsets.lags == {P1: 4}
    labels = {"topic": "events", "partition": "1"}
    assert metrics.registry.get_sample_value("ldsync_consumer_lag_records", labels) == 4
    offsets.end({P1})
    assert offsets.lags == {}
    assert metrics.registry.get_sample_value("ldsync_consumer_lag_records", labels) is None


async def test_what_is_committed_already_is_not_committed_again(
    offsets: Offsets, broker: Broker
) -> None:
    """Whoever took the partitions over knows how far they are."""
    offsets.begin({P0: 7, P1: 3})
    broker.at = {P0: 7, P1: 3}
    assert await offsets.commit() is CommitOutcome.COMMITTED
    assert broker.commits == []


async def test_a_clean_hand_over_marks_every_partition(offsets: Offsets, broker: Broker) -> None:
    """R2: also those where nothing new is settled; where nothing is known nothing is claimed."""
    offsets.begin({P0: 7})
    broker.at = {P0: 9}
    await offsets.commit(clean=True)
    await offsets.commit(clean=True)
    assert broker.commits == [{P0: 9}, {P0: 9}]
    offsets.begin({P0: 9, P1: 4})
    broker.at = {}
    await offsets.commit(clean=True)
    assert broker.commits[2:] == [{P0: 9, P1: 4}]
    assert broker.clean == [True, True, True]


async def test_nothing_is_committed_before_the_partitions_were_taken_over(
    broker: Broker, ledger: Ledger, metrics: Metrics
) -> None:
    """R2: it would remove a mark that still has to be read."""
    offsets = Offsets(cast("Source", broker), ledger, metrics)
    broker.at = {P0: 7}
    assert await offsets.commit() is CommitOutcome.COMMITTED
    assert broker.commits == []
