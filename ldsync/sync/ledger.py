"""The ledger: which consumed records are settled, and so how far each partition may be committed.

Records arrive in *chunks* (a run of records of one partition that the worker takes in without
giving up the event loop). A chunk counts its *holds*: whoever still needs records of it (the intake
while it works on them, a page of the buffer while a change waits) holds it, and a chunk without
holds is settled. A partition is committable up to the first record of its first unsettled chunk:
tracking by chunk makes the cost of an event a fraction of a decrement (P1, R8).

Offsets are only ever those of records that were seen, so gaps from compaction or transaction
markers cost nothing and block nothing.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    number: int


class Chunk:
    """A run of consecutive records of one assignment of one partition.

    `first` is the offset of its first record, `end` one past that of its last. `oldest_ms` is the
    record time of its first record, in epoch milliseconds.
    """

    __slots__ = ("_holds", "account", "end", "first", "oldest_ms")

    def __init__(self, account: Account, first: int, end: int, oldest_ms: int) -> None:
        """Start with one hold: that of the intake, which is still to look at the records."""
        self.account = account
        self.first = first
        self.end = end
        self.oldest_ms = oldest_ms
        self._holds = 1

    @property
    def settled(self) -> bool:
        """Say whether nothing needs the chunk any longer."""
        return self._holds == 0

    def hold(self) -> None:
        """Keep the chunk from settling until a matching `release`."""
        self._holds += 1

    def release(self) -> None:
        """Give back one hold; the last one settles the chunk."""
        if self._holds == 0:
            message = f"chunk at {self.first} of {self.account.partition} was released twice"
            raise AssertionError(message)
        self._holds -= 1
        if self._holds == 0:
            self.account.sweep()


class Account:
    """One epoch of one partition: the chunks consumed since it was assigned, oldest first.

    An account that was closed (its partition was revoked) stays closed: releases of its chunks
    change nothing that can be committed (P6). The next assignment opens a new account.
    """

    __slots__ = ("_chunks", "_committable", "closed", "partition")

    def __init__(self, partition: Partition) -> None:
        """Open an epoch of `partition` with nothing consumed."""
        self.partition = partition
        self.closed = False
        self._chunks: deque[Chunk] = deque()
        self._committable: int | None = None

    def open_chunk(self, first: int, end: int, oldest_ms: int) -> Chunk:
        """Note that records `first` to `end` (exclusive) were consumed, and hold their chunk."""
        chunk = Chunk(self, first, end, oldest_ms)
        self._chunks.append(chunk)
        return chunk

    def sweep(self) -> None:
        """Forget settled chunks at the front."""
        chunks = self._chunks
        while chunks and chunks[0].settled:
            self._committable = chunks.popleft().end

    @property
    def committable(self) -> int | None:
        """One past the highest offset below which all is settled, None before the first."""
        return self._committable

    @property
    def oldest(self) -> Chunk | None:
        """The first chunk that is not settled, None when nothing is outstanding."""
        return self._chunks[0] if self._chunks else None

    @property
    def consumed_to(self) -> int | None:
        """One past the last offset consumed in this epoch, None before the first record."""
        return self._chunks[-1].end if self._chunks else self._committable

    def close(self) -> None:
        """End the epoch: nothing of it is committable from now on."""
        self.closed = True
        self._chunks.clear()
        self._committable = None


class Ledger:
    """The accounts of all assigned partitions."""

    def __init__(self) -> None:
        """Start with nothing assigned."""
        self._accounts: dict[Partition, Account] = {}

    def assign(self, partition: Partition) -> Account:
        """Open a fresh epoch of `partition`, closing one that was left open."""
        self.revoke(partition)
        account = self._accounts[partition] = Account(partition)
        return account

    def account(self, partition: Partition) -> Account:
        """Return the open account of `partition`; the first record may have to open it."""
        account = self._accounts.get(partition)
        return self.assign(partition) if account is None else account

    def revoke(self, partition: Partition) -> None:
        """Close the epoch of `partition`; unknown partitions are none of the ledger's business."""
        account = self._accounts.pop(partition, None)
        if account is not None:
            account.close()

    def accounts(self) -> list[Account]:
        """Return the open accounts."""
        return list(self._accounts.values())

    def committable(self) -> dict[Partition, int]:
        """Return, for partitions where anything is settled, the offset that may be committed."""
        return {
            partition: account.committable
            for partition, account in self._accounts.items()
            if account.committable is not None
        }

    def idle(self, partition: Partition) -> bool:
        """Say whether nothing that was consumed of `partition` is unsettled."""
        account = self._accounts.get(partition)
        return account is None or account.oldest is None
