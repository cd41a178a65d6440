"""The journal: what it counts, what it logs, and what it remembers of segments."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from ldsync.engage import verdict
from ldsync.engage.times import Fallback
from ldsync.sync.buffer import Batch, Trigger
from ldsync.sync.change import Segment
from ldsync.sync.lane import Lane
from ldsync.sync.ledger import Account, Partition
from ldsync.sync.outcomes import RecordOutcome
from ldsync.sync.page import Page
from ldsync.telemetry.journal import Journal
from ldsync.telemetry.metrics import Metrics

VERSION = "2026-11-24T20:00:00.000Z2026-11-24T20:00:11.000Z"
P0 = Partition("events", 0)
DELAY = "ldsync_delivery_delay_seconds"


@pytest.fixture
def journal() -> Journal:
    """A journal with metrics of its own."""
    return Journal(Metrics())


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    """The lines that are logged meanwhile."""
    with capture_logs() as logs:
        yield logs


def segment(key: str = "vip") -> Segment:
    """A segment for audience `aud_<key>`."""
    return Segment(key=key, name=key, audience_id=f"aud_{key}", audience_key=key)


def batch(
    ins: int = 1,
    outs: int = 0,
    *,
    of: Segment | None = None,
    attempt: int = 1,
    arrivals: Mapping[int, int] | None = None,
) -> Batch:
    """A batch with so many joins and leaves; `arrivals` are record times and numbers of changes."""
    of = of or segment()
    page = Page(0.0)
    account = Account(P0)
    for at, (record_ms, count) in enumerate((arrivals or {-1: ins + outs}).items()):
        page.hold(account.open_chunk(at, at + 1, record_ms))
        page.count += count
    changes = {f"user/in{n}": f"{VERSION}+" for n in range(ins)}
    changes |= {f"user/out{n}": f"{VERSION}-" for n in range(outs)}
    return Batch(of, changes, Trigger.AGE, attempt, Lane(of), (page,), 0)


def sample(journal: Journal, name: str, **labels: str) -> float:
    """A sample as it is scraped; 0 if there is none."""
    registry = journal._metrics.registry  # noqa: SLF001 - what it writes to
    return registry.get_sample_value(name, labels) or 0.0


def deliver(journal: Journal, given: Batch, *, stale: int = 0, rejected: int = 0) -> None:
    """Note a delivery."""
    journal.delivered(given, stale=stale, rejected=rejected, seconds=0.1)


def fail(journal: Journal, given: Batch, *, lasting: bool = False) -> None:
    """Note a failed attempt."""
    journal.retried(given, "server_error", "no luck", 1.0, 0.1, lasting=lasting)


def row(journal: Journal, key: str = "vip") -> dict[str, Any]:
    """What is said of one segment."""
    return next(row for row in journal.segments({}) if row["key"] == key)


def test_consumed_records_are_counted_by_topic(journal: Journal) -> None:
    """With those that another change superseded at once."""
    journal.records("events", 10, 3)
    journal.records("events", 5, 0)
    assert journal.consumed == 15
    assert journal.outcomes == {("coalesced", ""): 3}
    assert sample(journal, "ldsync_records_consumed_total", topic="events") == 15
    assert sample(journal, "ldsync_records_total", outcome="coalesced", reason="") == 3


@pytest.mark.parametrize(
    ("ins", "outs", "stale", "rejected", "outcomes"),
    [
        pytest.param(2, 3, 0, 0, {("delivered", ""): 5}, id="all accepted"),
        pytest.param(2, 3, 1, 0, {("delivered", ""): 4, ("skipped", "stale"): 1}, id="one stale"),
        pytest.param(2, 3, 0, 2, {("delivered", ""): 3}, id="two rejected"),
        pytest.param(2, 0, 2, 1, {("skipped", "stale"): 1}, id="more stale than accepted"),
        pytest.param(0, 1, 0, 0, {("delivered", ""): 1}, id="only a leave"),
    ],
)
def test_a_delivery_gives_every_record_one_outcome(
    journal: Journal,
    ins: int,
    outs: int,
    stale: int,
    rejected: int,
    outcomes: dict[tuple[str, str], int],
) -> None:
    """P7: rejected ones are counted by `rejected`, so what is here adds up to the rest."""
    deliver(journal, batch(ins, outs), stale=stale, rejected=rejected)
    assert journal.outcomes == outcomes
    assert sum(outcomes.values()) == ins + outs - rejected
    assert sample(journal, "ldsync_members_delivered_total", action="include") == ins
    assert sample(journal, "ldsync_members_delivered_total", action="exclude") == outs


def test_a_delivery_is_one_line(journal: Journal, logs: list[Any]) -> None:
    """With what an operator asks: which segment, how many, why now, how often, how old."""
    deliver(journal, batch(2, 3, attempt=2))
    (line,) = logs
    assert line.pop("oldest_event_age") == pytest.approx(time.time() - 1795550400, abs=5)
    assert line == {
        "event": "batch.delivered",
        "log_level": "info",
        "segment": "vip",
        "trigger": "age",
        "adds": 2,
        "removes": 3,
        "rejected": 0,
        "attempts": 2,
        "seconds": 0.1,
    }


def test_delays_are_counted_for_every_record(journal: Journal) -> None:
    """Record times that lie close together are counted at once: none is lost, half a span off."""
    now_ms = int(time.time() * 1000)
    near = {now_ms - 2000 + each: 10 for each in range(40)}
    arrivals = {**near, now_ms - 20_000: 3, now_ms - 400_000: 2}
    deliver(journal, batch(405, arrivals=arrivals))
    assert sample(journal, f"{DELAY}_count") == 405
    assert sample(journal, f"{DELAY}_bucket", le="1.0") == 0
    assert sample(journal, f"{DELAY}_bucket", le="2.5") == 400
    assert sample(journal, f"{DELAY}_bucket", le="30.0") == 403
    total = sum(count * (now_ms - at) / 1000 for at, count in arrivals.items())
    assert sample(journal, f"{DELAY}_sum") == pytest.approx(total, abs=0.1 * 405)


def test_records_without_a_time_have_no_delay(journal: Journal) -> None:
    """Kafka says -1 then; it must not look like a delay of fifty years."""
    deliver(journal, batch(3, arrivals={-1: 3}))
    assert sample(journal, f"{DELAY}_count") == 0


def test_invalid_records_are_logged_once_a_minute_by_reason(
    journal: Journal, logs: list[Any]
) -> None:
    """Each is counted; the first is named so that it can be looked up."""
    journal.verdict(verdict.BAD_JSON, 2, P0, 17)
    journal.verdict(verdict.BAD_JSON, 1, P0, 18)
    journal.verdict(verdict.NOT_AN_OBJECT, 1, P0, 19)
    said = [(line["event"], line["reason"], line["offset"], line["records"]) for line in logs]
    assert said == [
        ("record.invalid", "bad_json", 17, 2),
        ("record.invalid", "not_an_object", 19, 1),
    ]
    assert journal.outcomes == {("invalid", "bad_json"): 3, ("invalid", "not_an_object"): 1}


def test_ordinary_traffic_is_counted_and_not_logged(journal: Journal, logs: list[Any]) -> None:
    """A shared topic may be full of it."""
    journal.verdict(verdict.NOT_ENGAGE, 1000, P0, 1)
    journal.verdict(verdict.NO_CONTEXT_KEY, 2, P0, 1)
    assert logs == []
    assert journal.outcomes == {("ignored", "not_engage"): 1000, ("skipped", "no_context_key"): 2}


def test_fallbacks_are_counted_and_set_back(journal: Journal) -> None:
    """The decoder counts; the journal takes it over."""
    counts = dict.fromkeys(Fallback, 0) | {Fallback.FUTURE_TIMESTAMP: 4}
    journal.fallbacks(counts)
    journal.fallbacks(counts)
    name = "ldsync_event_time_fallbacks_total"
    assert sample(journal, name, reason="future_timestamp") == 4
    assert set(counts.values()) == {0}


def test_a_batch_is_counted_when_it_is_taken_first(journal: Journal) -> None:
    """Further attempts are no further batches."""
    journal.taken(batch(5))
    journal.taken(batch(5, attempt=2))
    assert sample(journal, "ldsync_batches_closed_total", trigger="age") == 1
    assert sample(journal, "ldsync_batch_size_members_sum") == 5


def test_rejected_members_are_named_but_only_a_few(journal: Journal, logs: list[Any]) -> None:
    """Nobody could find them otherwise; a thousand of them are no log line."""
    members = {f"user/{number}": "not a key" for number in range(9)}
    given = batch(20)
    journal.rejected(given, "bad_request", members)
    deliver(journal, given, rejected=9)
    assert journal.outcomes == {("rejected", "bad_request"): 9, ("delivered", ""): 11}
    assert sample(journal, "ldsync_rejected_changes_total", reason="bad_request") == 9
    assert logs[0]["members"] == list(members)[:5]
    assert row(journal)["last_error"] == "9 members rejected: not a key"
    assert sample(journal, "ldsync_delivery_attempts_total", outcome="rejected") == 1


@pytest.mark.parametrize(
    ("lasting", "level"),
    [
        pytest.param(False, "warning", id="passes"),
        pytest.param(True, "error", id="someone must act"),
    ],
)
def test_a_failed_attempt_is_logged_by_its_weight(
    journal: Journal, logs: list[Any], lasting: bool, level: str
) -> None:
    """What a person has to end stands out."""
    fail(journal, batch(3, attempt=4), lasting=lasting)
    (line,) = logs
    assert (line["log_level"], line["event"], line["attempts"]) == (level, "batch.retry", 4)
    assert sample(journal, "ldsync_retries_total", reason="server_error") == 1


def test_a_segment_waits_from_a_failure_until_a_success(journal: Journal) -> None:
    """Whatever the failure is."""
    fail(journal, batch(attempt=1))
    fail(journal, batch(attempt=1, of=segment("other")), lasting=True)
    assert journal.waiting == 2
    assert (row(journal)["waiting"], row(journal)["last_error"]) == (True, "no luck")
    deliver(journal, batch(attempt=2))
    assert journal.waiting == 1
    after = row(journal)
    assert (after["waiting"], after["attempts"], after["last_error"]) == (False, 0, "")
    assert after["last_success_at"] == pytest.approx(time.time(), abs=5)


def test_no_segment_waits_after_the_end_of_an_epoch(journal: Journal, logs: list[Any]) -> None:
    """Its changes are somebody else's; what went wrong last stays to be read."""
    fail(journal, batch(attempt=3))
    journal.epoch_ended(7)
    assert journal.waiting == 0
    assert row(journal)["last_error"] == "no luck"
    assert journal.outcomes == {("abandoned", ""): 7}
    assert [(line["event"], line.get("changes")) for line in logs[1:]] == [("changes.abandoned", 7)]


def test_the_end_of_an_empty_epoch_is_no_news(journal: Journal, logs: list[Any]) -> None:
    """Most are."""
    journal.epoch_ended(0)
    assert (journal.outcomes, logs) == ({}, [])


def test_segments_in_trouble_come_first_and_the_list_is_bounded(journal: Journal) -> None:
    """A page of ten thousand segments would help nobody."""
    for number in range(300):
        deliver(journal, batch(of=segment(f"s{number:03}")))
    fail(journal, batch(of=segment("s250")))
    given = batch(of=segment("s200"))
    journal.rejected(given, "bad_request", {"user/in0": "no"})
    rows = journal.segments({"s100": (5, 2)})
    assert [each["key"] for each in rows[:4]] == ["s250", "s200", "s100", "s000"]
    assert (rows[2]["pending"], rows[2]["in_flight"]) == (5, 2)
    assert rows[0]["audience_id"] == "aud_s250"
    assert len(rows) == 200


def test_records_by_outcome_names_every_outcome(journal: Journal) -> None:
    """Those that have not happened too: the shape of /status does not depend on luck."""
    journal.ended(RecordOutcome.SKIPPED, 2, "stale")
    journal.ended(RecordOutcome.DELIVERED, 0)
    assert journal.records_by_outcome() == {
        "ignored": {},
        "skipped": {"stale": 2},
        "invalid": {},
        "coalesced": {},
        "delivered": {},
        "rejected": {},
        "abandoned": {},
    }


def test_pauses_and_drains_are_told(journal: Journal, logs: list[Any]) -> None:
    """Each once, with how much there is."""
    journal.paused(100, 30_000)
    journal.resumed(79)
    journal.drain_started(5)
    journal.drained(0, "committed", complete=True)
    journal.drained(3, "failed", complete=False)
    assert [(line["event"], line["log_level"], line.get("changes")) for line in logs] == [
        ("consumption.paused", "warning", 100),
        ("consumption.resumed", "info", 79),
        ("drain.started", "info", 5),
        ("drain.complete", "info", None),
        ("drain.incomplete", "warning", 3),
    ]
    assert sample(journal, "ldsync_pauses_total") == 1
