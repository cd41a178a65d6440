"""Every metric of ldsync: its name, its meaning, and the object to count with.

Names, types and labels are API: dashboards and alerts of other people depend on them (changes go
into CHANGELOG.md). Labels come from bounded sets; a member, a user or a segment is never one.

Count per chunk, not per record. Gauges over something that knows its own size are best bound once,
`metrics.buffered_changes.set_function(lambda: buffer.changes)`: they are read when someone asks.
"""

import platform
from collections.abc import Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from ldsync import __version__
from ldsync.sync.batch import Trigger
from ldsync.sync.gate import Held
from ldsync.sync.outcomes import RecordOutcome
from ldsync.sync.states import State
from ldsync.telemetry.instruments import Definition, Family, Instruments

DURATION_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Seconds, for requests and flushes."""

DELAY_BUCKETS = (0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
"""Seconds, from the event to LaunchDarkly."""

SIZE_BUCKETS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000)
"""Members of a batch."""

_ATTEMPT_OUTCOMES = ("delivered", "retry", "rejected")
# The other outcomes always have a reason.
_OUTCOMES_WITHOUT_REASON = (
    RecordOutcome.COALESCED,
    RecordOutcome.DELIVERED,
    RecordOutcome.ABANDONED,
)


class Metrics:
    """The metrics of one process. Make one per application; `registry` is what `/metrics` shows.

    A metric without labels is the client library's object; one with labels is a `Family`, a mapping
    from label values to such objects.

    Attributes:
        definitions: Name, type, labels and help of every metric of ldsync itself.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """Register everything with `registry`, or with a new one."""
        # Twice the series for what `process_start_time_seconds` says as well.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry or CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        make = Instruments(self.registry)
        self._define_process(make)
        self._define_consuming(make)
        self._define_buffering(make)
        self._define_delivering(make)
        self._define_requests(make)
        self.definitions: tuple[Definition, ...] = tuple(make.definitions)

    def set_state(self, state: State) -> None:
        """Show `state` as the current one, and no other."""
        for each in State:
            self.state[each].set(each is state)

    def forget_partitions(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Remove the series of revoked partitions: their new owner shows them from now on."""
        for partition in partitions:
            self.lag.forget(partition)
            self.uncommitted.forget(partition)

    def _define_process(self, make: Instruments) -> None:
        make.info(
            "ldsync_build",
            "Version of ldsync and of Python; always 1.",
            {"version": __version__, "python": platform.python_version()},
        )
        self.state: Family[str, Gauge] = make.gauges(
            "ldsync_state",
            ("state",),
            "1 for the state the process is in, 0 for all others.",
            expected=State,
        )
        self.set_state(State.STARTING)
        self.drain_duration = make.gauge(
            "ldsync_drain_duration_seconds",
            "How long the last drain (at a revoke or a shutdown) took; keep it below "
            "shutdown.drain_seconds.",
        )

    def _define_consuming(self, make: Instruments) -> None:
        self.records_consumed: Family[str, Counter] = make.counters(
            "ldsync_records_consumed_total", ("topic",), "Records read from Kafka."
        )
        self.records: Family[tuple[str, str], Counter] = make.counters(
            "ldsync_records_total",
            ("outcome", "reason"),
            "Records by what became of them. Their sum and ldsync_records_pending make "
            "ldsync_records_consumed_total.",
            expected=[(outcome, "") for outcome in _OUTCOMES_WITHOUT_REASON],
        )
        self.history_records: Family[str, Counter] = make.counters(
            "ldsync_history_records_total",
            ("topic",),
            "Records below the committed offsets that were read again to know the newest versions; "
            "not among the consumed.",
        )
        self.warm_up_left = make.gauge(
            "ldsync_warm_up_left_offsets",
            "Offsets that are still to be read again before new records are taken in.",
        )
        self.warm_up_duration = make.gauge(
            "ldsync_warm_up_duration_seconds",
            "How long it took before new records were taken in after the last assignment; "
            "ordering.warm_up_max_records bounds it.",
        )
        self.records_pending = make.gauge(
            "ldsync_records_pending", "Records consumed that have no outcome yet."
        )
        self.event_time_fallbacks: Family[str, Counter] = make.counters(
            "ldsync_event_time_fallbacks_total",
            ("reason",),
            "Events ordered by another time than their timestamp, because it is missing, "
            "unreadable or in the future.",
            expected=("missing_timestamp", "bad_timestamp", "no_event_time", "future_timestamp"),
        )
        self.segment_key_collisions: Family[str, Counter] = make.counters(
            "ldsync_segment_key_collisions_total",
            ("likeness",),
            "Audiences found whose segment key another audience has (same), or one that differs "
            "only in case (case); /status names them.",
            expected=("same", "case"),
        )
        partition = ("topic", "partition")
        self.lag: Family[tuple[str, int], Gauge] = make.gauges(
            "ldsync_consumer_lag_records",
            partition,
            "Records in the partition that were not consumed yet.",
        )
        self.uncommitted: Family[tuple[str, int], Gauge] = make.gauges(
            "ldsync_uncommitted_offsets",
            partition,
            "Offsets between the committed and the consumed: what a restart would consume again.",
        )
        self._define_group(make)

    def _define_group(self, make: Instruments) -> None:
        self.commits: Family[str, Counter] = make.counters(
            "ldsync_commits_total",
            ("outcome",),
            "Commits of offsets. fenced: the partitions belong to another member already. "
            "failed: the broker did not take it; tried again.",
            expected=("committed", "fenced", "failed"),
        )
        self.rebalances: Family[str, Counter] = make.counters(
            "ldsync_rebalances_total",
            ("kind",),
            "Assignments and revocations of partitions. lost: revoked without being asked, "
            "because the group took this member for dead.",
            expected=("assigned", "revoked", "lost"),
        )
        self.paused = make.gauge(
            "ldsync_consumer_paused", "1 while consumption is paused because the buffer is full."
        )
        self.pauses = make.counter("ldsync_pauses_total", "Times that consumption was paused.")

    def _define_buffering(self, make: Instruments) -> None:
        self.buffered_changes = make.gauge(
            "ldsync_buffered_changes",
            "Changes held in memory, in flight included; consumption pauses at buffer.max_changes.",
        )
        self.buffered_bytes = make.gauge(
            "ldsync_buffered_bytes",
            "Estimated memory of these changes; consumption pauses at buffer.max_bytes.",
        )
        self.open_batches = make.gauge(
            "ldsync_open_batches", "Segments that have changes which are not being written."
        )
        self.batches_in_flight = make.gauge(
            "ldsync_batches_in_flight", "Batches that are being written."
        )
        self.segments_waiting = make.gauge(
            "ldsync_segments_waiting",
            "Segments whose last write failed; /status says why. Their changes are kept.",
        )
        self.segments_diverged = make.gauge(
            "ldsync_segments_diverged",
            "Segments that lack changes: they were parked in the dead-letter topic, or the segment "
            "was deleted and created again. /status says which; worry while it is above 0.",
        )
        self.parked_changes = make.counter(
            "ldsync_parked_changes_total",
            "Changes moved to the dead-letter topic because their segment alone could not be "
            "written.",
        )
        self.replayed_changes = make.counter(
            "ldsync_replayed_changes_total",
            "Parked changes that were applied again because their segment can be written again.",
        )
        self.writes_held: Family[str, Gauge] = make.gauges(
            "ldsync_writes_held",
            ("reason",),
            "1 while no write may begin. take_over: a request of the previous owner of the "
            "partitions may still act. lease: the group has not answered for so long that others "
            "may own them; worry if it stays.",
            expected=(Held.TAKE_OVER, Held.LEASE),
        )
        self.batches_closed: Family[str, Counter] = make.counters(
            "ldsync_batches_closed_total",
            ("trigger",),
            "Batches taken for a write, by what made them due.",
            expected=Trigger,
        )
        self.batch_size = make.histogram(
            "ldsync_batch_size_members", "Members of a batch taken for a write.", SIZE_BUCKETS
        )
        self.oldest_unsent_change_age = make.gauge(
            "ldsync_oldest_unsent_change_age_seconds",
            "Age of the oldest change in memory, since the timestamp of its Kafka record; 0 if "
            "there is none.",
        )
        self.version_store_entries = make.gauge(
            "ldsync_version_store_entries",
            "Members whose newest version is remembered; NaN with redis, which does not say.",
        )
        self.version_store_up = make.gauge(
            "ldsync_version_store_up",
            "1 while the version store can be relied on; 0 while it is down or cold, and writes "
            "wait.",
        )
        self.version_store_cold = make.gauge(
            "ldsync_version_store_cold",
            "1 while the version store answers but has lost what it knew.",
        )
        self.version_store_errors: Family[str, Counter] = make.counters(
            "ldsync_version_store_errors_total",
            ("reason",),
            "Requests to the version store that failed. lost: it was emptied, started again or "
            "replaced.",
            expected=("timeout", "connection", "auth", "refused", "lost", "cold"),
        )
        self.version_store_assumed_warm = make.counter(
            "ldsync_version_store_assumed_warm_total",
            "Times that a version store was used without what it had lost: older events may have "
            "won since.",
        )
        self.ordering_horizon = make.gauge(
            "ldsync_ordering_horizon_seconds",
            "How far back events out of order are still recognised. Events later than this may "
            "overwrite a newer state.",
        )

    def _define_delivering(self, make: Instruments) -> None:
        self.delivery_delay = make.distribution(
            "ldsync_delivery_delay_seconds",
            "From the timestamp of the Kafka record until LaunchDarkly accepted its change: the "
            "main indicator of service.",
            DELAY_BUCKETS,
        )
        self.event_age = make.histogram(
            "ldsync_event_age_seconds",
            "From the time of the oldest event of a batch until LaunchDarkly accepted the batch; "
            "includes what Engage and the producer took.",
            DELAY_BUCKETS,
        )
        self.last_delivery = make.gauge(
            "ldsync_last_delivery_timestamp_seconds",
            "When LaunchDarkly last accepted a batch; 0 if it has not yet.",
        )
        self.flush_duration: Family[str, Histogram] = make.histograms(
            "ldsync_flush_duration_seconds",
            ("outcome",),
            "One attempt to write a batch, with everything it takes (creating the segment, "
            "bisecting).",
            DURATION_BUCKETS,
            expected=_ATTEMPT_OUTCOMES,
        )
        self.attempts: Family[str, Counter] = make.counters(
            "ldsync_delivery_attempts_total",
            ("outcome",),
            "Attempts to write a batch. rejected: LaunchDarkly took it without some members.",
            expected=_ATTEMPT_OUTCOMES,
        )
        self.retries: Family[str, Counter] = make.counters(
            "ldsync_retries_total",
            ("reason",),
            "Attempts that failed and are repeated; nothing is lost by them.",
        )
        self.members_delivered: Family[str, Counter] = make.counters(
            "ldsync_members_delivered_total",
            ("action",),
            "Changes that LaunchDarkly accepted: members put into a segment or taken out.",
            expected=("include", "exclude"),
        )
        self.rejected_changes: Family[str, Counter] = make.counters(
            "ldsync_rejected_changes_total",
            ("reason",),
            "Changes that LaunchDarkly refused for themselves and that are given up.",
        )

        self._define_dead_letters(make)

    def _define_dead_letters(self, make: Instruments) -> None:
        self.dead_letters: Family[str, Counter] = make.counters(
            "ldsync_dead_letters_total",
            ("reason",),
            "Records written to the dead-letter topic and acknowledged.",
        )
        self.dead_letter_failures = make.counter(
            "ldsync_dead_letter_failures_total",
            "Attempts to write dead letters that failed. They are repeated, and hold the commit.",
        )
        self.dead_letters_pending = make.gauge(
            "ldsync_dead_letters_pending",
            "Records that wait to be written to the dead-letter topic; worry if it stays above 0.",
        )

    def _define_requests(self, make: Instruments) -> None:
        self.segments_created = make.counter(
            "ldsync_segments_created_total", "Segments created in LaunchDarkly."
        )
        self.segments_full = make.gauge(
            "ldsync_segments_full",
            "Standard segments without room for members that joined: LaunchDarkly allows 15,000 "
            'targets. Their removals go on; launchdarkly.write_path = "big" has no such limit.',
        )
        self.request_duration: Family[tuple[str, str, str], Histogram] = make.histograms(
            "ldsync_launchdarkly_request_duration_seconds",
            ("method", "route", "status"),
            "Requests to LaunchDarkly. status is that of HTTP, or timeout or connection if there "
            "was no answer.",
            DURATION_BUCKETS,
        )
        self.dry_run_requests: Family[tuple[str, str], Counter] = make.counters(
            "ldsync_launchdarkly_dry_run_requests_total",
            ("method", "route"),
            "Requests that launchdarkly.dry_run kept from being sent; their changes count as "
            "delivered.",
        )
        self.rate_limit_remaining: Family[str, Gauge] = make.gauges(
            "ldsync_launchdarkly_rate_limit_remaining",
            ("family",),
            "Requests left in the current rate window, as LaunchDarkly last said; no series until "
            "it has. The rest of the account shares them.",
        )
        self.rate_limit: Family[str, Gauge] = make.gauges(
            "ldsync_launchdarkly_rate_limit",
            ("family",),
            "Requests in a whole rate window: as LaunchDarkly last said, else the most that was "
            "seen to be left. ldsync uses launchdarkly.budget_share of it.",
        )
        self.rate_limit_reset: Family[str, Gauge] = make.gauges(
            "ldsync_launchdarkly_rate_limit_reset_timestamp_seconds",
            ("family",),
            "When that window ends, by LaunchDarkly's clock; 0 if it did not say.",
        )
        self.concurrency_limit = make.gauge(
            "ldsync_launchdarkly_concurrency_limit",
            "Requests that may be on their way at once: launchdarkly.max_in_flight, or less while "
            "LaunchDarkly refuses or fails them. Worry if it stays low.",
        )
