"""The journal: what it counts, what it logs, and what it remembers of segments."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest
from structlog.testing import capture_logs

from ldsync.engage import verdict
from ldsync.engage.decoder import Several
from ldsync.engage.times import Fallback
from ldsync.sync.batch import Batch, Trigger
from ldsync.sync.change import Segment
from ldsync.sync.lane import Lane
from ldsync.sync.ledger import Account, Partition
from ldsync.sync.outcomes import COALESCED, STALE
from ldsync.sync.page import Page
from ldsync.telemetry.journal import Journal
from ldsync.telemetry.metrics import Metrics

VERSION = "2026-11-24T20:00:00.000Z2026-11-24T20:00:11.000Z"
P0 = Partition("events", 0)


class Seen(NamedTuple):
    """A record, as far as the journal looks at it."""

    offset: int
    value: bytes | None = b"{"
    timestamp: int = 0


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
    return Batch(of, changes, Trigger.AGE, attempt, Lane(of), (page,), {}, 0)


def sample(journal: Journal, name: str, **labels: str) -> float:
    """A sample as it is scraped; 0 if there is none."""
    registry = journal._metrics.registry  # noqa: SLF001 - what it writes to
    return registry.get_sample_value(name, labels) or 0.0


def deliver(journal: Journal, given: Batch, *, rejected: int = 0) -> None:
    """Note a delivery."""
    refused = list(given.changes)[:rejected]
    journal.delivered(given, rejected=refused, seconds=0.1)


def refuse(journal: Journal, found: verdict.Verdict, *offsets: int) -> None:
    """Note records that change nothing."""
    journal.refused([(found, Seen(offset)) for offset in offsets], [], P0)


def fail(journal: Journal, given: Batch, *, lasting: bool = False) -> None:
    """Note a failed attempt."""
    journal.retried(given, "server_error", "no luck", 1.0, 0.1, lasting=lasting)


def row(journal: Journal, key: str = "vip") -> dict[str, Any]:
    """What is said of one segment."""
    return next(row for row in journal.fortunes.rows({}) if row["key"] == key)


def test_consumed_records_are_counted_by_topic(journal: Journal) -> None:
    """Apart from what becomes of them."""
    journal.records("events", 10)
    journal.records("events", 5)
    journal.ended({COALESCED: 3, STALE: 0})
    assert journal.consumed == 15
    assert journal.outcomes == {("coalesced", ""): 3}
    assert sample(journal, "ldsync_records_consumed_total", topic="events") == 15
    assert sample(journal, "ldsync_records_total", outcome="coalesced", reason="") == 3


@pytest.mark.parametrize(
    ("ins", "outs", "rejected"),
    [
        pytest.param(2, 3, 0, id="all accepted"),
        pytest.param(2, 3, 3, id="three rejected"),
        pytest.param(0, 1, 0, id="only a leave"),
    ],
)
def test_a_delivery_counts_the_members_that_were_accepted(
    journal: Journal, ins: int, outs: int, rejected: int
) -> None:
    """Records are another matter: the buffer knows how these ended."""
    deliver(journal, batch(ins, outs), rejected=rejected)
    assert journal.outcomes == {}
    refused_ins = min(rejected, ins)  # a batch names those who join first
    included = sample(journal, "ldsync_members_delivered_total", action="include")
    excluded = sample(journal, "ldsync_members_delivered_total", action="exclude")
    assert included == ins - refused_ins
    assert excluded == outs - (rejected - refused_ins)


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
    refuse(journal, verdict.BAD_JSON, 17, 18)
    refuse(journal, verdict.BAD_JSON, 18)
    refuse(journal, verdict.NOT_AN_OBJECT, 19)
    said = [(line["event"], line["reason"], line["offset"], line["records"]) for line in logs]
    assert said == [
        ("record.invalid", "bad_json", 17, 2),
        ("record.invalid", "not_an_object", 19, 1),
    ]
    assert journal.outcomes == {("invalid", "bad_json"): 3, ("invalid", "not_an_object"): 1}


def test_what_is_invalid_beside_changes_is_logged_and_no_outcome(
    journal: Journal, logs: list[Any]
) -> None:
    """The record ends with its changes (P7); the log still says where to look."""
    beside = [Several((), each) for each in (None, verdict.NOT_AN_OBJECT, verdict.NO_CONTEXT_KEY)]
    several = [(found, Seen(offset), 0) for offset, found in enumerate(beside)]
    journal.refused([(verdict.NOT_AN_OBJECT, Seen(7))], several, P0)
    assert [(line["reason"], line["offset"], line["records"]) for line in logs] == [
        ("not_an_object", 1, 2)
    ]
    assert journal.outcomes == {("invalid", "not_an_object"): 1}


def test_ordinary_traffic_is_counted_and_not_logged(journal: Journal, logs: list[Any]) -> None:
    """A shared topic may be full of it."""
    refuse(journal, verdict.NOT_ENGAGE, *range(1000))
    refuse(journal, verdict.NO_CONTEXT_KEY, 1, 2)
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


def test_an_outage_is_logged_once_a_second_and_what_needs_a_person_every_time(
    journal: Journal, logs: list[Any]
) -> None:
    """A thousand segments that fail alike are one piece of news; all of them are counted."""
    for _ in range(3):
        fail(journal, batch())
    assert len(logs) == 1
    assert sample(journal, "ldsync_retries_total", reason="server_error") == 3
    for _ in range(2):
        fail(journal, batch(), lasting=True)
    assert [line["log_level"] for line in logs] == ["warning", "error", "error"]


def test_a_segment_waits_from_a_failure_until_a_success(journal: Journal) -> None:
    """Whatever the failure is."""
    fail(journal, batch(attempt=1))
    fail(journal, batch(attempt=1, of=segment("other")), lasting=True)
    assert journal.fortunes.waiting == 2
    assert (row(journal)["waiting"], row(journal)["last_error"]) == (True, "no luck")
    deliver(journal, batch(attempt=2))
    assert journal.fortunes.waiting == 1
    after = row(journal)
    assert (after["waiting"], after["attempts"], after["last_error"]) == (False, 0, "")
    assert after["last_success_at"] == pytest.approx(time.time(), abs=5)


def test_no_segment_waits_after_the_end_of_an_epoch(journal: Journal, logs: list[Any]) -> None:
    """Its changes are somebody else's; what went wrong last stays to be read."""
    fail(journal, batch(attempt=3))
    journal.epoch_ended(7)
    assert journal.fortunes.waiting == 0
    assert row(journal)["last_error"] == "no luck"
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
    rows = journal.fortunes.rows({"s100": (5, 2)})
    assert [each["key"] for each in rows[:4]] == ["s250", "s200", "s100", "s000"]
    assert (rows[2]["pending"], rows[2]["in_flight"]) == (5, 2)
    assert rows[0]["audience_id"] == "aud_s250"
    assert len(rows) == 200


def test_records_by_outcome_names_every_outcome(journal: Journal) -> None:
    """Those that have not happened too: the shape of /status does not depend on luck."""
    journal.ended({STALE: 2, COALESCED: 0})
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
