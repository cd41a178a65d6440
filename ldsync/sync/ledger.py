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

from typing import NamedTuple


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    number: int


class Chunk:
    """A run of consecutive records of one assignment of one partition.

    `first` is the offset of its first record, `end` one past that of its last, or past that of the
    settled chunks which follow. `oldest_ms` is the record time of its first record, in epoch
    milliseconds. `before` and `after` are its unsettled neighbours; they belong to the account.
    """

    __slots__ = ("_holds", "account", "after", "before", "end", "first", "oldest_ms")

    def __init__(self, account: Account, first: int, end: int, oldest_ms: int) -> None:
        """Start with one hold: that of the intake, which is still to look at the records."""
        self.account = account
        self.first = first
        self.end = end
        self.oldest_ms = oldest_ms
        self.before: Chunk | None = None
        self.after: Chunk | None = None
        self._holds = 1

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
            self.account.settle(self)


class Account:
    """One epoch of one partition: the chunks consumed since it was assigned and not settled yet.

    `oldest` is the first of them, None when nothing is outstanding; `committable` is one past the
    highest offset below which all is settled, None before the first. It never decreases.

    Unsettled chunks form a chain, oldest first. A chunk that settles leaves the chain: the one
    before it ends where it ended, so that one record that waits for hours does not make everything
    consumed behind it pile up (P3).

    An account that was closed (its partition was revoked) stays closed: releases of its chunks
    change nothing that can be committed (P6). The next assignment opens a new account.
    """

    __slots__ = ("_newest", "closed", "committable", "detached", "oldest", "partition")

    def __init__(self, partition: Partition, *, detached: bool = False) -> None:
        """Open an epoch of `partition` with nothing consumed.

        One that is `detached` is of records that are safe elsewhere: nobody commits it.
        """
        self.partition = partition
        self.detached = detached
        self.closed = False
        self.oldest: Chunk | None = None
        self._newest: Chunk | None = None
        self.committable: int | None = None

    @property
    def end(self) -> int:
        """One past the last record consumed; 0 before the first."""
        return self._newest.end if self._newest is not None else self.committable or 0

    def open_chunk(self, first: int, end: int, oldest_ms: int) -> Chunk:
        """Note that records `first` to `end` (exclusive) were consumed, and hold their chunk.

        Chunks are opened in the order of their offsets.
        """
        chunk = Chunk(self, first, end, oldest_ms)
        chunk.before = self._newest
        if self._newest is None:
            self.oldest = chunk
        else:
            self._newest.after = chunk
        self._newest = chunk
        return chunk

    def settle(self, chunk: Chunk) -> None:
        """Take a chunk that nothing holds any longer out of the chain; `Chunk.release` does."""
        before, after = chunk.before, chunk.after
        # A chunk that pages still remember must not keep all later ones alive.
        chunk.before = chunk.after = None
        if self.closed:
            return
        if before is None:
            self.oldest = after
            self.committable = chunk.end
        else:
            before.after = after
            before.end = chunk.end
        if after is None:
            self._newest = before
        else:
            after.before = before

    def close(self) -> None:
        """End the epoch: nothing of it is committable from now on."""
        self.closed = True
        self.oldest = self._newest = self.committable = None


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

    def committable(self) -> dict[Partition, int]:
        """Return, for partitions where anything is settled, the offset that may be committed."""
        return {
            partition: account.committable
            for partition, account in self._accounts.items()
            if account.committable is not None
        }
