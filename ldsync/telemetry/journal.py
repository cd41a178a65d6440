"""The journal: says what happened to records and batches, in metrics, log and status page alike."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Final

import structlog

from ldsync.engage.times import to_epoch_seconds
from ldsync.sync.change import IN, includes
from ldsync.sync.outcomes import RecordOutcome
from ldsync.telemetry.collisions import Collisions
from ldsync.telemetry.fortunes import Fortunes
from ldsync.telemetry.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from ldsync.engage.decoder import Record, Several
    from ldsync.engage.times import Fallback
    from ldsync.engage.verdict import Verdict
    from ldsync.sync.batch import Batch
    from ldsync.sync.change import Segment
    from ldsync.sync.ledger import Partition
    from ldsync.sync.outcomes import Ending
    from ldsync.telemetry.metrics import Metrics

_RETRY_INTERVAL_SECONDS: Final = 1.0
_SHOWN_MEMBERS: Final = 5
_SIGN: Final = itemgetter(-1)
_MERGED_MS: Final = 50
"""Delays are counted together if the record times lie in one such span: half of it is the error."""


class Journal:
    """Counts, logs and remembers outcomes, each in one place.

    `outcomes` holds the number of records by (outcome, reason) and `consumed` those that were read:
    with what the buffer holds they account for every record (P7). `read_again` records were history
    of a warm-up, and are not among them. `collisions` tells of audiences that ask for the same
    segment, `fortunes` of how each segment fares. Of members the log names only a few that
    LaunchDarkly rejected, because nobody could find them otherwise.
    """

    def __init__(self, metrics: Metrics) -> None:
        """Write to `metrics` and to the log."""
        self._metrics = metrics
        self._log = structlog.get_logger()
        self._throttle = Throttle()
        self._retries = Throttle(_RETRY_INTERVAL_SECONDS)
        self.fortunes = Fortunes()
        self.collisions = Collisions(metrics)
        self.consumed = 0
        self.read_again = 0
        self.outcomes: Counter[tuple[str, str]] = Counter()

    def records(self, topic: str, consumed: int) -> None:
        """Note that records were read."""
        self.consumed += consumed
        self._metrics.records_consumed[topic].inc(consumed)

    def history(self, topic: str, records: int) -> None:
        """Note that records were read again."""
        self.read_again += records
        self._metrics.history_records[topic].inc(records)

    def refused(
        self,
        refused: Iterable[tuple[Verdict, Record]],
        several: Iterable[tuple[Several, Record, int]],
        partition: Partition,
    ) -> None:
        """Note records of `partition` that change nothing, or in part.

        Those that change something as well end with their changes.
        """
        offsets: dict[Verdict, list[int]] = {}
        for verdict, record in refused:
            offsets.setdefault(verdict, []).append(record.offset)
        for verdict, found in offsets.items():
            self._count(verdict.outcome, verdict.reason, len(found))
        for parts, record, _ in several:
            if parts.worst is not None:
                offsets.setdefault(parts.worst, []).append(record.offset)
        for verdict, found in offsets.items():
            if verdict.outcome is RecordOutcome.INVALID:
                self._invalid(verdict, found, partition)

    def _invalid(self, verdict: Verdict, offsets: Sequence[int], partition: Partition) -> None:
        suppressed = self._throttle.allow(verdict.reason, time.monotonic())
        if suppressed is not None:
            self._log.warning(
                "record.invalid",
                reason=verdict.reason,
                topic=partition.topic,
                partition=partition.number,
                offset=min(offsets),
                records=len(offsets),
                suppressed=suppressed,
                advice="it is counted, and kept in the dead-letter topic if there is one",
            )

    def fallbacks(self, counts: dict[Fallback, int]) -> None:
        """Note events ordered by another time than their own, and set the counts back to zero."""
        for reason, count in counts.items():
            if count:
                self._metrics.event_time_fallbacks[reason].inc(count)
                counts[reason] = 0

    def ended(self, records: Mapping[Ending, int]) -> None:
        """Note how records ended whose changes were in the buffer."""
        for (outcome, reason), count in records.items():
            self._count(outcome, reason, count)

    def _count(self, outcome: RecordOutcome, reason: str, count: int) -> None:
        if count:
            self.outcomes[outcome.value, reason] += count
            self._metrics.records[outcome.value, reason].inc(count)

    def taken(self, batch: Batch) -> None:
        """Note that a batch was taken to be written."""
        if batch.attempt == 1:
            self._metrics.batches_closed[batch.trigger].inc()
            self._metrics.batch_size.observe(len(batch.changes))

    def delivered(self, batch: Batch, *, rejected: Collection[str], seconds: float) -> None:
        """Note that LaunchDarkly accepted a batch, but for the members that were `rejected`."""
        now = time.time()
        size = len(batch.changes) - len(rejected)
        adds = _adds(batch) - sum(includes(batch.changes[member]) for member in rejected)
        self._attempt("rejected" if rejected else "delivered", seconds)
        self._metrics.members_delivered["include"].inc(adds)
        self._metrics.members_delivered["exclude"].inc(size - adds)
        self._metrics.last_delivery.set(now)
        self._observe_delays(batch, now)
        oldest = to_epoch_seconds(min(batch.changes.values()))
        age = None if oldest is None else max(0.0, now - oldest)
        if age is not None:
            self._metrics.event_age.observe(age)
        fortune = self.fortunes.of(batch.segment)
        fortune.last_success_at = now
        fortune.wait_no_longer()
        if not rejected:
            fortune.last_error = ""
        self._log.info(
            "batch.delivered",
            segment=batch.segment.key,
            trigger=batch.trigger.value,
            adds=adds,
            removes=size - adds,
            rejected=len(rejected),
            attempts=batch.attempt,
            seconds=round(seconds, 4),
            oldest_event_age=None if age is None else round(age, 3),
        )

    def rejected(self, batch: Batch, reason: str, members: Mapping[str, str]) -> None:
        """Note members that LaunchDarkly refused, each with what it said."""
        count = len(members)
        self._metrics.rejected_changes[reason].inc(count)
        message = next(iter(members.values()), "")
        self.fortunes.of(batch.segment).last_error = f"{count} members rejected: {message}"
        self._log.warning(
            "batch.rejected",
            segment=batch.segment.key,
            reason=reason,
            rejected=count,
            members=list(members)[:_SHOWN_MEMBERS],
            detail=message,
            advice="the other members of the batch were delivered; these are kept in the "
            "dead-letter topic if there is one",
        )

    def retried(
        self, batch: Batch, reason: str, detail: str, wait: float, seconds: float, *, lasting: bool
    ) -> None:
        """Note that a batch was given back after `seconds`, to be written again after `wait`.

        `lasting` if only a person can end the cause.
        """
        self._attempt("retry", seconds)
        self._metrics.retries[reason].inc()
        fortune = self.fortunes.of(batch.segment)
        fortune.last_error = detail
        fortune.attempts = batch.attempt
        if fortune.waiting_since is None:
            fortune.waiting_since = time.time()
        # In an outage every segment says the same; what needs a person is never held back.
        suppressed = 0 if lasting else self._retries.allow(reason, time.monotonic())
        if suppressed is None:
            return
        self._log.log(
            40 if lasting else 30,
            "batch.retry",
            segment=batch.segment.key,
            reason=reason,
            detail=detail,
            members=len(batch.changes),
            attempts=batch.attempt,
            wait_seconds=round(wait, 3),
            seconds=round(seconds, 4),
            suppressed=suppressed,
        )

    def parked(self, segment: Segment, count: int, detail: str) -> None:
        """Note that changes of a segment were moved to the dead letters, for what was said last."""
        self._metrics.parked_changes.inc(count)
        self._log.error(
            "segment.parked",
            segment=segment.key,
            audience_id=segment.audience_id,
            changes=count,
            detail=detail,
            advice="the segment lacks these changes; they are in the dead-letter topic with the "
            "reason parked, and are applied again when it can be written",
        )

    def replayed(
        self, segment: Segment, count: int, left: int, lack: str, *, recovered: bool
    ) -> None:
        """Note that parked changes were applied again, but for `left`.

        `recovered` if the segment lacks nothing any more; else `lack` says what, in words.
        """
        self._metrics.replayed_changes.inc(count)
        names = {"segment": segment.key, "audience_id": segment.audience_id, "replayed": count}
        if recovered:
            self._log.info("segment.recovered", **names)
            return
        self._log.warning(
            "segment.replayed",
            **names,
            left=left,
            detail=lack,
            advice="these changes stay in the dead-letter topic: see docs/dead-letters.md",
        )

    def hurried(self, waiting: int) -> None:
        """Note that an operator wants so many waiting segments to be tried at once."""
        self._log.info("segments.tried", waiting=waiting)

    def recalled(self, segments: int, letters: int, left_out: int) -> None:
        """Note what was parked before the assignment; `left_out` letters were not looked at."""
        names = {"segments": segments, "changes": letters, "left_out": left_out}
        if not segments and not left_out:
            self._log.info("dead_letters.recalled", **names)
            return
        self._log.warning(
            "dead_letters.recalled",
            **names,
            advice="segments lack changes that were parked before; they are applied again when it "
            "shows that their segment can be written, see /status",
        )

    def looked_back(self, records: int, since: float, *, whole: bool) -> None:
        """Note that topics were read again from a time on (epoch seconds), if they reach back."""
        names = {"records": records, "since": datetime.fromtimestamp(since, UTC).isoformat()}
        if whole:
            self._log.info("replay.looked_back", **names)
            return
        self._log.warning(
            "replay.looked_back",
            **names,
            detail="the topics do not hold everything since then, or it is too much",
            advice="what is older than what is remembered stays parked: see docs/dead-letters.md",
        )

    def replay_failed(self, detail: str) -> None:
        """Note that parked changes could not be read again."""
        self._log.warning(
            "dead_letters.unreadable",
            detail=detail,
            advice="what was parked stays parked, and reading it is tried again; the user needs "
            "Read on the dead-letter topic",
        )

    def epoch_ended(self, abandoned: int) -> None:
        """Note that the partitions were revoked, with so many changes that were not written yet.

        Their new owners consume these again, and no segment waits here any longer.
        """
        self.fortunes.wait_no_longer()
        if abandoned:
            self._log.info("changes.abandoned", changes=abandoned)

    def paused(self, changes: int, size: int, *, letters: bool = False) -> None:
        """Note that consumption pauses with so many changes, of `size` bytes, in the buffer.

        `letters` says that it does because of dead letters that wait to be written.
        """
        self._metrics.pauses.inc()
        self._log.warning(
            "consumption.paused",
            changes=changes,
            bytes=size,
            advice="dead letters wait for their topic, see dead_letters.unwritable"
            if letters
            else "the buffer is full: LaunchDarkly takes less than Kafka brings",
        )

    def resumed(self, changes: int) -> None:
        """Note that consumption goes on."""
        self._log.info("consumption.resumed", changes=changes)

    def unsafe_order(self, concern: str) -> None:
        """Note that the newest change may not win, if there is such a `concern` (P2)."""
        if concern:
            self._log.warning("ordering.unsafe", detail=concern)

    def drain_started(self, changes: int) -> None:
        """Note that the process is about to end."""
        self._log.info("drain.started", changes=changes)

    def drained(self, changes: int, commit: str, *, complete: bool) -> None:
        """Note how the last drain went, and how many changes were left."""
        if complete:
            self._log.info("drain.complete")
        else:
            self._log.warning(
                "drain.incomplete",
                changes=changes,
                commit=commit,
                advice="nothing is lost: what is not committed is consumed again after the start",
            )

    def _observe_delays(self, batch: Batch, now: float) -> None:
        merged: dict[int, int] = {}
        for record_ms, count in batch.waits():
            span = record_ms // _MERGED_MS
            merged[span] = merged.get(span, 0) + count
        for span, count in merged.items():
            if span >= 0:
                middle = (span + 0.5) * _MERGED_MS / 1000
                self._metrics.delivery_delay.observe_many(now - middle, count)

    def _attempt(self, outcome: str, seconds: float) -> None:
        self._metrics.attempts[outcome].inc()
        self._metrics.flush_duration[outcome].observe(seconds)

    def records_by_outcome(self) -> dict[str, dict[str, int]]:
        """Return the numbers of records, by outcome and then by reason."""
        found: dict[str, dict[str, int]] = {outcome.value: {} for outcome in RecordOutcome}
        for (outcome, reason), count in self.outcomes.items():
            found[outcome][reason] = count
        return found


def _adds(batch: Batch) -> int:
    """Count the changes that put their member in, in one pass at the speed of C."""
    return "".join(map(_SIGN, batch.changes.values())).count(IN)
