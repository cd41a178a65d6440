"""The metrics: names and labels that others rely on, and series that are there in time."""

import re
import shutil
import subprocess
from enum import StrEnum

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from ldsync import __version__
from ldsync.sync.batch import Trigger
from ldsync.sync.ledger import Partition
from ldsync.sync.states import State
from ldsync.telemetry.instruments import Definition
from ldsync.telemetry.metrics import Metrics
from tests.support.openmetrics import families_of

# Name, type, labels. Lines may be added; one that changes or goes breaks somebody's dashboard.
PUBLISHED = """\
ldsync_build_info info version,python
ldsync_state gauge state
ldsync_drain_duration_seconds gauge
ldsync_records_consumed_total counter topic
ldsync_records_total counter outcome,reason
ldsync_history_records_total counter topic
ldsync_warm_up_left_offsets gauge
ldsync_warm_up_duration_seconds gauge
ldsync_records_pending gauge
ldsync_event_time_fallbacks_total counter reason
ldsync_segment_key_collisions_total counter likeness
ldsync_consumer_lag_records gauge topic,partition
ldsync_uncommitted_offsets gauge topic,partition
ldsync_commits_total counter outcome
ldsync_rebalances_total counter kind
ldsync_consumer_paused gauge
ldsync_pauses_total counter
ldsync_buffered_changes gauge
ldsync_buffered_bytes gauge
ldsync_open_batches gauge
ldsync_batches_in_flight gauge
ldsync_segments_waiting gauge
ldsync_segments_diverged gauge
ldsync_parked_changes_total counter
ldsync_replayed_changes_total counter
ldsync_writes_held gauge reason
ldsync_batches_closed_total counter trigger
ldsync_batch_size_members histogram
ldsync_oldest_unsent_change_age_seconds gauge
ldsync_version_store_entries gauge
ldsync_version_store_up gauge
ldsync_version_store_cold gauge
ldsync_version_store_errors_total counter reason
ldsync_version_store_assumed_warm_total counter
ldsync_ordering_horizon_seconds gauge
ldsync_delivery_delay_seconds histogram
ldsync_event_age_seconds histogram
ldsync_last_delivery_timestamp_seconds gauge
ldsync_flush_duration_seconds histogram outcome
ldsync_delivery_attempts_total counter outcome
ldsync_retries_total counter reason
ldsync_members_delivered_total counter action
ldsync_rejected_changes_total counter reason
ldsync_dead_letters_total counter reason
ldsync_dead_letter_failures_total counter
ldsync_dead_letters_pending gauge
ldsync_segments_created_total counter
ldsync_segments_full gauge
ldsync_launchdarkly_request_duration_seconds histogram method,route,status
ldsync_launchdarkly_dry_run_requests_total counter method,route
ldsync_launchdarkly_rate_limit_remaining gauge family
ldsync_launchdarkly_rate_limit gauge family
ldsync_launchdarkly_rate_limit_reset_timestamp_seconds gauge family
ldsync_launchdarkly_concurrency_limit gauge
"""


@pytest.fixture
def metrics() -> Metrics:
    """Metrics of their own: nothing is shared between tests."""
    return Metrics()


def _exposition(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()


def _use_everything(metrics: Metrics) -> None:
    metrics.records_consumed["events"].inc()
    metrics.history_records["events"].inc()
    metrics.lag["events", 0].set(1)
    metrics.uncommitted["events", 0].set(1)
    metrics.retries["timeout"].inc()
    metrics.rejected_changes["bad_request"].inc()
    metrics.dead_letters["bad_json"].inc()
    metrics.request_duration["PATCH", "/segments/{key}", "200"].observe(0.1)
    metrics.rate_limit_remaining["global"].set(5)
    metrics.rate_limit["global"].set(10)
    metrics.dry_run_requests["PATCH", "/segments/{key}"].inc()
    metrics.rate_limit_reset["global"].set(1_795_104_000)


def test_names_types_and_labels_are_the_published_ones(metrics: Metrics) -> None:
    """Names, types and labels are API."""
    lines = [f"{d.name} {d.type} {','.join(d.labels)}".strip() for d in metrics.definitions]

    assert lines == PUBLISHED.splitlines()


def _shown(metrics: Metrics) -> dict[str, set[str]]:
    """Names of metrics in the exposition, with the labels that their series carry."""
    shown: dict[str, set[str]] = {}
    for family in metrics.registry.collect():
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        for sample in family.samples:
            shown.setdefault(family.name + suffix, set()).update(sample.labels)
    return shown


@pytest.mark.parametrize("definition", Metrics().definitions, ids=lambda d: str(d.name))
def test_every_definition_is_true_of_the_exposition(definition: Definition) -> None:
    """What is written down about a metric is what a scrape of it finds."""
    metrics = Metrics()
    _use_everything(metrics)

    assert _shown(metrics)[definition.name] - {"le"} == set(definition.labels)
    text = _exposition(metrics)
    kind = "gauge" if definition.type == "info" else definition.type
    assert f"# TYPE {definition.name} {kind}\n" in text
    assert f"# HELP {definition.name} {definition.help}\n" in text


def test_no_metric_of_ours_is_without_a_definition(metrics: Metrics) -> None:
    """The list that the documentation is compared with is complete."""
    _use_everything(metrics)

    ours = {name for name in _shown(metrics) if name.startswith("ldsync_")}
    assert ours == {definition.name for definition in metrics.definitions}


def test_help_is_a_sentence(metrics: Metrics) -> None:
    """Help texts end up in dashboards and in README.md."""
    for definition in metrics.definitions:
        assert re.fullmatch(r"[A-Z0-9].{10,}\.", definition.help), definition


def test_each_application_has_metrics_of_its_own() -> None:
    """Two applications in one process do not share or clash."""
    first, second = Metrics(), Metrics()
    first.pauses.inc()

    assert "ldsync_pauses_total 1.0" in _exposition(first)
    assert "ldsync_pauses_total 0.0" in _exposition(second)


def test_a_given_registry_is_used() -> None:
    """Whoever brings a registry finds everything in it."""
    registry = CollectorRegistry()

    assert Metrics(registry).registry is registry
    assert registry.get_sample_value("ldsync_pauses_total") == 0


def test_process_and_runtime_are_shown(metrics: Metrics) -> None:
    """Memory, descriptors and garbage collection come with it."""
    text = _exposition(metrics)

    assert "process_resident_memory_bytes" in text
    assert "python_info{" in text
    assert "python_gc_collections_total{" in text


def test_no_created_series_are_shown(metrics: Metrics) -> None:
    """They would double the series and say nothing that the start time does not."""
    _use_everything(metrics)

    assert not re.search(r"_created[ {]", _exposition(metrics))


def test_the_build_is_shown(metrics: Metrics) -> None:
    """Which version runs can be seen from outside."""
    assert re.search(
        rf'ldsync_build_info{{python="3\.\d+\.\d+\S*",version="{re.escape(__version__)}"}} 1.0',
        _exposition(metrics),
    )


def test_a_series_is_bound_once(metrics: Metrics) -> None:
    """Asking again gives the same object, without going through the client library."""
    assert metrics.records["delivered", ""] is metrics.records["delivered", ""]
    assert metrics.records["delivered", ""] is metrics.records.get(("delivered", ""))


def test_enums_and_their_values_name_the_same_series(metrics: Metrics) -> None:
    """Code may count with an enum where a dashboard reads its value."""
    metrics.batches_closed[Trigger.SIZE].inc(2)
    metrics.batches_closed["size"].inc(3)

    assert 'ldsync_batches_closed_total{trigger="size"} 5.0' in _exposition(metrics)


def test_an_enum_met_first_shows_its_value(metrics: Metrics) -> None:
    """A series made from an enum is labelled with the value, not with the name of the enum."""

    class Reason(StrEnum):
        SLOW = "slow"

    metrics.retries[Reason.SLOW].inc()

    assert 'ldsync_retries_total{reason="slow"} 1.0' in _exposition(metrics)


@pytest.mark.parametrize(
    "series",
    [
        'ldsync_records_total{outcome="delivered",reason=""}',
        'ldsync_records_total{outcome="coalesced",reason=""}',
        'ldsync_records_total{outcome="abandoned",reason=""}',
        *(f'ldsync_batches_closed_total{{trigger="{t}"}}' for t in ("size", "age", "drain")),
        *(f'ldsync_commits_total{{outcome="{o}"}}' for o in ("committed", "fenced", "failed")),
        *(f'ldsync_rebalances_total{{kind="{k}"}}' for k in ("assigned", "revoked", "lost")),
        *(f'ldsync_members_delivered_total{{action="{a}"}}' for a in ("include", "exclude")),
        'ldsync_delivery_attempts_total{outcome="retry"}',
        'ldsync_flush_duration_seconds_count{outcome="rejected"}',
        'ldsync_event_time_fallbacks_total{reason="future_timestamp"}',
        "ldsync_delivery_delay_seconds_count",
        "ldsync_consumer_paused",
    ],
)
def test_what_can_be_counted_is_zero_from_the_start(metrics: Metrics, series: str) -> None:
    """An alert on a rate sees the first failure only if there was a zero before it."""
    assert f"{series} 0.0\n" in _exposition(metrics)


@pytest.mark.parametrize(
    "name", ["ldsync_launchdarkly_rate_limit_remaining", "ldsync_consumer_lag_records"]
)
def test_what_is_not_known_has_no_series(metrics: Metrics, name: str) -> None:
    """A zero would read as an exhausted budget, or as no lag at all."""
    assert not [line for line in _exposition(metrics).splitlines() if line.startswith(name)]


def test_a_process_starts_in_the_first_state(metrics: Metrics) -> None:
    """There is never a process without a state."""
    assert _states(metrics) == {state: float(state is State.STARTING) for state in State}


def test_exactly_one_state_is_current(metrics: Metrics) -> None:
    """Entering a state leaves the one before."""
    metrics.set_state(State.RUNNING)
    metrics.set_state(State.PAUSED)

    assert _states(metrics) == {state: float(state is State.PAUSED) for state in State}


def _states(metrics: Metrics) -> dict[State, float | None]:
    get = metrics.registry.get_sample_value
    return {state: get("ldsync_state", {"state": state.value}) for state in State}


def test_revoked_partitions_disappear(metrics: Metrics) -> None:
    """The lag of a partition that somebody else consumes now must not stay and alarm."""
    kept, revoked = Partition("events", 0), Partition("events", 1)
    for partition in (kept, revoked):
        metrics.lag[partition].set(10)
        metrics.uncommitted[partition].set(3)

    metrics.forget_partitions([revoked, Partition("events", 7)])

    text = _exposition(metrics)
    assert 'ldsync_consumer_lag_records{partition="0",topic="events"} 10.0' in text
    assert 'ldsync_uncommitted_offsets{partition="0",topic="events"} 3.0' in text
    assert 'partition="1"' not in text
    assert 'partition="7"' not in text


def test_a_partition_that_comes_back_is_shown_again(metrics: Metrics) -> None:
    """A series that was removed is made anew, not written to unseen."""
    partition = Partition("events", 1)
    metrics.lag[partition].set(10)
    metrics.forget_partitions([partition])
    metrics.lag[partition].set(4)

    assert 'ldsync_consumer_lag_records{partition="1",topic="events"} 4.0' in _exposition(metrics)


def test_the_exposition_is_valid_openmetrics(metrics: Metrics) -> None:
    """The strict parser reads what a scrape with content negotiation gets."""
    _use_everything(metrics)
    text = generate_openmetrics(metrics.registry).decode()  # type: ignore[no-untyped-call]

    assert {"ldsync_records", "ldsync_delivery_delay_seconds", "ldsync_build"} <= families_of(text)


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool (Prometheus) is not installed")
def test_promtool_finds_nothing_wrong(metrics: Metrics) -> None:
    """Names and types follow the conventions of Prometheus."""
    _use_everything(metrics)
    ours = "".join(
        line
        for line in _exposition(metrics).splitlines(keepends=True)
        if "ldsync_" in line.partition("{")[0]
    )
    check = subprocess.run(
        ["promtool", "check", "metrics"], input=ours, capture_output=True, text=True, check=False
    )

    assert (check.returncode, check.stdout + check.stderr) == (0, "")
