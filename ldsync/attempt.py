"""One attempt at a batch: the newest known changes are written, and nothing newer is overtaken.

With a version store that replicas share (R7) an attempt is more than a request. What is about to be
written is marked first. After the answer the marks are read again: if another replica has marked
something newer meanwhile, its request may have been applied before ours, so the newer change is
written again, here, until nothing newer is marked. Whoever comes last finds the newest. Reading the
marks before the answer, or marking after the write, would leave a moment in which neither sees the
other.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ldsync.launchdarkly.outcome import Delivered, Outcome, Rejected, Retry, RetryReason
from ldsync.versions.base import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Collection

    from ldsync.launchdarkly.writers.writer import Writer
    from ldsync.sync.batch import Batch
    from ldsync.versions.base import Versions

MOST_ROUNDS: Final = 10
"""Writes of one attempt. After them the batch is given back: other segments want to be written."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """How an attempt ended, and the members whose change was older than what was known."""

    outcome: Outcome
    stale: Collection[str] = ()


async def attempt(batch: Batch, versions: Versions, writer: Writer) -> Attempt:
    """Write a batch once, and what others have marked newer meanwhile.

    The changes of the batch become the newest known of their members, in place (R6): a batch that
    is given back goes on with those.
    """
    segment, changes = batch.segment, batch.changes
    stale: Collection[str] = ()
    rejected: Rejected | None = None
    try:
        stale = await versions.merge(segment, changes, time.monotonic())
        written = changes
        for _ in range(MOST_ROUNDS):
            outcome = await writer.write(segment, written)
            if isinstance(outcome, Retry):
                return Attempt(outcome, stale)
            if isinstance(outcome, Rejected):
                rejected = _both(rejected, outcome)
                # What is refused now will be refused when it is newer.
                written = {m: s for m, s in written.items() if m not in outcome.members}
            again = await versions.confirm(segment, written)
            changes.update((member, written[member]) for member in again)
            if not again:
                return Attempt(rejected or Delivered(), stale)
            written = {member: written[member] for member in again}
    except StoreUnavailable as error:
        return Attempt(_put_off(f"writing to segment {segment.key}: {error}"), stale)
    return Attempt(
        _put_off(
            f"writing to segment {segment.key}: {len(written)} of its changes were superseded in "
            f"each of {MOST_ROUNDS} rounds; ldsync tries again"
        ),
        stale,
    )


def _both(before: Rejected | None, now: Rejected) -> Rejected:
    if before is None:
        return now
    return Rejected(now.reason, {**before.members, **now.members})


def _put_off(detail: str) -> Retry:
    return Retry(RetryReason.VERSION_STORE, detail)
