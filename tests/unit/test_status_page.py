"""The status page: the status in words."""

import re

import pytest

from ldsync.telemetry.page import duration, render

NOW = 1_764_000_000.0

STATUS = {
    "version": "1.2.3",
    "state": "paused",
    "uptime_seconds": 3725.0,
    "consumed_records": 1234567,
    "pending_records": 12,
    "records": {"delivered": {"": 1000}, "invalid": {"not_json": 7}},
    "partitions": [
        {"topic": "engage-events", "partition": 3, "position": 99, "committable": 90, "lag": None}
    ],
    "buffer": {"changes": 200000, "bytes": 9000, "batches": 4, "in_flight": 2, "paused": True},
    "launchdarkly": {
        "project": "demo",
        "environment": "production",
        "problem": "",
        "gate_open_in_seconds": 12.0,
    },
    "segments": [
        {
            "key": "vip",
            "audience_id": "aud_1",
            "pending": 5,
            "in_flight": 0,
            "last_success_at": NOW - 90,
            "last_error": "answered 403",
            "attempts": 4,
            "waiting": True,
        },
        {
            "key": "first_time_shopper",
            "audience_id": "aud_2",
            "pending": 0,
            "in_flight": 0,
            "last_success_at": None,
            "last_error": None,
            "attempts": 0,
            "waiting": False,
        },
    ],
}


def _rows(page: str) -> list[str]:
    """The text of every table row, cells separated by a bar."""
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", page)
    return [re.sub(r"<[^>]+>", "", re.sub(r"</t[dh]><t[dh][^>]*>", " | ", row)) for row in rows]


def test_it_tells_everything_that_the_status_has() -> None:
    """Numbers can be read, durations are in words, what is absent is a dash."""
    page = render(STATUS, NOW)

    assert "<h1>ldsync: paused</h1>" in page
    assert "Version 1.2.3, up for 1 h 2 min" in page
    assert _rows(page) == [
        "consumed records | 1,234,567",
        "pending records | 12",
        "changes | 200,000",
        "bytes | 9,000",
        "batches | 4",
        "in flight | 2",
        "paused | yes",
        "project | demo",
        "environment | production",
        "problem | -",
        "gate open in seconds | 12 s",
        "Outcome | Reason | Records",
        "delivered | - | 1,000",
        "invalid | not_json | 7",
        "Segment | Audience | Last success | Pending | In flight | Trouble",
        "vip | aud_1 | 1 min 30 s ago | 5 | 0 | Waiting: answered 403 (4 attempts failed)",
        "first_time_shopper | aud_2 | never | 0 | 0 | -",
        "Topic | Partition | Position | Committable | Lag",
        "engage-events | 3 | 99 | 90 | -",
    ]


def test_only_segments_in_trouble_are_marked() -> None:
    """They are what one looks for."""
    assert re.findall(r'<tr class="trouble"><td>(\w+)', render(STATUS, NOW)) == ["vip"]


def test_what_the_status_does_not_have_is_left_out() -> None:
    """A program that has just started has little to say."""
    page = render({}, NOW)

    assert "<h1>ldsync: unknown</h1>" in page
    assert "<table" not in page
    assert "<h2" not in page


@pytest.mark.parametrize("moment", [NOW - 30, "2025-11-24T15:59:30+00:00", "2025-11-24T15:59:30Z"])
def test_moments_are_shown_as_ages(moment: object) -> None:
    """Seconds since 1970 or ISO 8601: it is the age that matters."""
    page = render({"segments": [{"key": "vip", "last_success_at": moment}]}, NOW)

    assert "30 s ago" in page


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0.0 s"),
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (10, "10 s"),
        (59.7, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3725, "1 h 2 min"),
        (90000, "1 d 1 h"),
        (86400 * 400, "400 d"),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    """The two largest units; nobody needs the seconds of a day."""
    assert duration(seconds) == words
