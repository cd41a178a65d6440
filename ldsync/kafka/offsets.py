"""What may be committed and what is, as long as partitions are ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldsync.kafka.commits import CommitOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ldsync.kafka.source import Source
    from ldsync.sync.ledger import Ledger, Partition
    from ldsync.telemetry.metrics import Metrics


class Offsets:
    """Commits what the ledger says is settled, and shows what is not.

    Args:
        source: Who commits, and knows how far partitions were read.
        ledger: Which records are settled.
        metrics: `commits`, `uncommitted` and `lag`.

    Attributes:
        lags: How many records each partition was behind when `measure` last asked.
    """

    def __init__(self, source: Source, ledger: Ledger, metrics: Metrics) -> None:
        self._source = source
        self._ledger = ledger
        self._metrics = metrics
        self._committed: dict[Partition, int] = {}
        self._idle = True
        self.lags: dict[Partition, int] = {}

    def begin(self, committed: Mapping[Partition, int]) -> None:
        """Records of an assignment come from now on; so much of it is committed."""
        self._committed = dict(committed)
        self._idle = False

    def revoke(self) -> None:
        """An assignment ends: positions count records that nobody takes in any more."""
        self._idle = True

    def end(self, partitions: Iterable[Partition]) -> None:
        """These partitions are gone: their new owner shows how far they are."""
        self.lags = {}
        self._committed = {}
        self._metrics.forget_partitions(partitions)

    async def commit(self, timeout: float | None = None, *, clean: bool = False) -> CommitOutcome:
        """Commit what is settled; takes at most `timeout` seconds, by default what a commit may.

        `clean` leaves the mark of a clean hand-over on every partition, also where nothing is new.
        """
        offsets = self._committable()
        if clean:
            offsets = self._committed | offsets
        outcome = CommitOutcome.COMMITTED
        if offsets:
            outcome = await self._source.commit(offsets, timeout=timeout, clean=clean)
            if not self._source.dry_run:
                self._metrics.commits[outcome].inc()
            if outcome is CommitOutcome.COMMITTED:
                self._committed.update(offsets)
        self._show_uncommitted()
        return outcome

    async def measure(self) -> None:
        """Ask the brokers how far behind we are."""
        lags = await self._source.lags()
        ours = self._source.assigned
        self.lags = {partition: lag for partition, lag in lags.items() if partition in ours}
        for partition, lag in self.lags.items():
            self._metrics.lag[partition].set(lag)

    def _committable(self) -> dict[Partition, int]:
        """Return the offsets that may be committed and are not yet."""
        for partition, position in self._positions().items():
            account = self._ledger.account(partition)
            done = account.committable
            if account.oldest is None and (done is None or done < position):
                # Nothing unsettled: go past transaction markers, which would look like lag.
                account.open_chunk(position, position, 0).release()
        return {
            partition: offset
            for partition, offset in self._ledger.committable().items()
            if self._committed.get(partition) != offset
        }

    def _show_uncommitted(self) -> None:
        for partition, position in self._positions().items():
            oldest = self._ledger.account(partition).oldest
            begin = position if oldest is None else oldest.first
            behind = position - self._committed.get(partition, begin)
            self._metrics.uncommitted[partition].set(max(0, behind))

    def _positions(self) -> Mapping[Partition, int]:
        return {} if self._idle else self._source.positions()
