"""What the tests of the core share: segments, changes and stamps in few words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from ldsync.sync.buffer import Buffer
from ldsync.sync.change import Change, Segment, Target
from ldsync.sync.ledger import Account, Chunk, Ledger, Partition
from ldsync.sync.limits import Budget, Limits

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from ldsync.sync.batch import Batch

PLENTY = Budget()
T = TypeVar("T")


def segment(key: str = "vip") -> Segment:
    """A segment of its own: segments compare by identity."""
    return Segment(key=key, name=key.title(), audience_id=f"aud_{key}", audience_key=key)


def target(key: str = "vip", *, batch_events: bool = True) -> Target:
    """A target with a segment of its own."""
    return Target(segment(key), context_kind="user", batch_events=batch_events)


def stamp(version: int, sign: str = "+") -> str:
    """A stamp that is newer the higher `version` is."""
    return f"{version:06d}{sign}"


def partition(number: int = 0) -> Partition:
    """A partition of the one topic."""
    return Partition("events", number)


def settled(chunk: Chunk) -> bool:
    """Whether an open account has no longer to wait for a chunk."""
    other = chunk.account.oldest
    while other is not None and other is not chunk:
        other = other.after
    return other is None


def finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waited for something")


class Intake:
    """A buffer and a ledger with the little of the worker that feeds them, one chunk per call."""

    def __init__(self, limits: Limits | None = None, budget: Budget = PLENTY) -> None:
        """Limits of three members and two seconds, unless told otherwise."""
        self.buffer = Buffer(Limits(max_size=3) if limits is None else limits, budget)
        self.ledger = Ledger()
        self.offset = 0

    def account(self, number: int = 0) -> Account:
        """The account of a partition."""
        return self.ledger.account(partition(number))

    def add(
        self,
        to: Target,
        *members: str,
        now: float = 0.0,
        version: int = 1,
        sign: str = "+",
        number: int = 0,
        record_ms: int = 1_000,
    ) -> list[bool]:
        """Consume one record per member in one chunk; whether each superseded another."""
        chunk = self.chunk(number, len(members), record_ms)
        found = []
        for member in members:
            self.buffer.add([Change(to, f"user/{member}", stamp(version, sign))], chunk, now)
            found.append(self.ended() == {"coalesced": 1})
        chunk.release()
        return found

    def ended(self) -> dict[str, int]:
        """How records ended since this was last asked: numbers by outcome, or reason if any."""
        ended = self.buffer.take_ended()
        return {end.reason or end.outcome.value: count for end, count in ended.items()}

    def chunk(self, number: int = 0, records: int = 1, record_ms: int = 1_000) -> Chunk:
        """The next chunk of a partition; offsets are never used twice, whatever the partition."""
        first, self.offset = self.offset, self.offset + records
        return self.account(number).open_chunk(first, self.offset, record_ms)

    def take(self, now: float) -> Batch:
        """Take a batch that has to be there."""
        batch = self.buffer.take(now)
        assert batch is not None
        return batch

    def committable(self, number: int = 0) -> int | None:
        """How far a partition may be committed."""
        return self.ledger.committable().get(partition(number))


def keys(batch: Batch) -> list[str]:
    """The members of a batch in order, without their kind."""
    return [member.removeprefix("user/") for member in batch.changes]
