"""Versions: what orders changes, from whatever times an event carries."""

from itertools import pairwise
from typing import Any

import pytest

from ldsync.engage.times import (
    CLAMP_MS,
    NO_TIME,
    Fallback,
    Versions,
    from_epoch_ms,
    normalise,
    to_epoch_seconds,
)

NOON_MS = 1772625600000
NOON = "2026-03-04T12:00:00.000Z"
A_MINUTE_LATER = "2026-03-04T12:01:00.000Z"
EVENT = "2026-03-04T11:59:30.123Z"
RECEIVED = "2026-03-04T11:59:41.877Z"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-03-04T10:15:30.123Z", "2026-03-04T10:15:30.123Z"),
        ("2026-03-04T10:15:30Z", "2026-03-04T10:15:30.000Z"),
        ("2026-03-04T10:15:30", "2026-03-04T10:15:30.000Z"),
        ("2026-03-04T10:15:30.5", "2026-03-04T10:15:30.500Z"),
        ("2026-03-04t10:15:30z", "2026-03-04T10:15:30.000Z"),
        ("2026-03-04 10:15:30Z", "2026-03-04T10:15:30.000Z"),
        ("2026-03-04T10:15:30.1Z", "2026-03-04T10:15:30.100Z"),
        ("2026-03-04T10:15:30.123000000Z", "2026-03-04T10:15:30.123Z"),
        ("2026-03-04T10:15:30.1234Z", "2026-03-04T10:15:30.123a400000"),
        ("2026-03-04T10:15:30.123456Z", "2026-03-04T10:15:30.123a456000"),
        ("2026-03-04T10:15:30.123456789Z", "2026-03-04T10:15:30.123a456789"),
        ("2026-03-04T10:15:30.000000001Z", "2026-03-04T10:15:30.000a000001"),
        ("2026-03-04T10:15:30+00:00", "2026-03-04T10:15:30.000Z"),
        ("2026-03-04T10:15:30-00:00", "2026-03-04T10:15:30.000Z"),
        ("2026-03-04T10:15:30+05:30", "2026-03-04T04:45:30.000Z"),
        ("2026-03-04T10:15:30+0530", "2026-03-04T04:45:30.000Z"),
        ("2026-03-04T22:15:30.5-08:00", "2026-03-05T06:15:30.500Z"),
        ("2026-01-01T00:30:00+01:00", "2025-12-31T23:30:00.000Z"),
        ("2026-03-04T10:15:30.123456789+23:59", "2026-03-03T10:16:30.123a456789"),
        ("2024-02-29T00:00:00.000Z", "2024-02-29T00:00:00.000Z"),
        ("2000-02-29T00:00:00Z", "2000-02-29T00:00:00.000Z"),
        ("0001-01-01T00:00:00.000Z", "0001-01-01T00:00:00.000Z"),
        ("0999-06-01T00:00:00Z", "0999-06-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999a999999"),
    ],
)
def test_a_time_is_brought_into_one_form(written: str, expected: str) -> None:
    """UTC, with milliseconds, and with nanoseconds where there are any."""
    assert normalise(written) == expected


@pytest.mark.parametrize(
    "written",
    [
        "",
        " ",
        "yesterday",
        "1772619330",
        "2026-03-04",
        "2026-03-04T10:15Z",
        "20260304T101530Z",
        "2026-3-4T10:15:30Z",
        "2026-03-04T10:15:30.123Z ",
        "2026-03-04T10:15:30.123Z\n",
        " 2026-03-04T10:15:30.123Z",
        "2026-03-04_10:15:30.123Z",
        "2026-03-04T10:15:30,123Z",
        "2026-03-04T10:15:30.Z",
        "2026-03-04T10:15:30.1234567890Z",
        "2026-03-04T10:15:30.12\0Z",
        "2026-03-04T10:15:30.123ZZ",
        "2026-03-04T10:15:30.123UTC",
        "2026-03-04T10:15:30.123+1",
        "2026-03-04T10:15:30.123+01",
        "2026-03-04T10:15:30+24:00",
        "2026-03-04T10:15:30+05:60",
        "2026-03-04T10:15:30\u221205:00",
        "2026-00-04T10:15:30.123Z",
        "2026-13-04T10:15:30.123Z",
        "2026-03-00T10:15:30.123Z",
        "2026-03-32T10:15:30.123Z",
        "2026-04-31T10:15:30.123Z",
        "2026-06-31T10:15:30Z",
        "2026-02-29T10:15:30.123Z",
        "2026-02-30T10:15:30.123Z",
        "1900-02-29T10:15:30.123Z",
        "2026-03-04T24:00:00.000Z",
        "2026-03-04T10:60:30.123Z",
        "2026-03-04T10:15:60.123Z",
        "0000-01-01T00:00:00.000Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "12026-03-04T10:15:30Z",
        "+2026-03-04T10:15:30Z",
        "٢٠٢٦-03-04T10:15:30.123Z",
        "2026-03-04T10:15:30.12٣Z",
        "2026-03-04T10:15:30.123a456789",
        NO_TIME,
    ],
)
def test_what_is_no_time_is_not_guessed(written: str) -> None:
    """Also where it has the usual length, and the days that a month does not have."""
    assert normalise(written) is None


@pytest.mark.parametrize("value", [None, True, 1772619330, 1.5, [], ["2026"], {}, b"2026"])
def test_only_text_is_a_time(value: object) -> None:
    """Numbers could be seconds or milliseconds: not guessed either."""
    assert normalise(value) is None


@pytest.mark.parametrize("month", range(1, 13))
@pytest.mark.parametrize("year", [2026, 2028])
def test_the_usual_form_is_checked_against_the_calendar(year: int, month: int) -> None:
    """Every day of the month is a time, the day after its last is none."""
    last = (31, 29 if year % 4 == 0 else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]
    days = [f"{year}-{month:02d}-{day:02d}T01:02:03.004Z" for day in range(1, last + 1)]

    assert [normalise(day) for day in days] == days
    assert normalise(f"{year}-{month:02d}-{last + 1:02d}T01:02:03.004Z") is None


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (NOON_MS + 999, "2026-03-04T12:00:00.999Z"),
        (253402300799999, "9999-12-31T23:59:59.999Z"),
        (253402300800000, "9999-12-31T23:59:59.999Z"),
        (2**63 - 1, "9999-12-31T23:59:59.999Z"),
        (10**30, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_epoch_milliseconds_have_the_same_form(milliseconds: int, expected: str) -> None:
    """What is beyond the calendar is its last moment."""
    assert from_epoch_ms(milliseconds) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-04T12:00:00.000Z", 1772625600.0),
        ("2026-03-04T12:00:00.250a999999" + RECEIVED + "+", 1772625600.25),
        ("1969-12-31T23:59:59.000Z", -1.0),
        (NO_TIME + NO_TIME + "-", None),
        ("", None),
    ],
)
def test_the_time_of_a_stamp_can_be_read_back(text: str, expected: float | None) -> None:
    """For metrics: to the millisecond, and None where there was no time."""
    assert to_epoch_seconds(text) == expected


@pytest.mark.parametrize(
    ("timestamp", "received_at", "expected", "fallback"),
    [
        pytest.param(EVENT, RECEIVED, EVENT + RECEIVED, None, id="both"),
        pytest.param(EVENT, None, EVENT + NO_TIME, None, id="no receivedAt"),
        pytest.param(EVENT, "soon", EVENT + NO_TIME, None, id="bad receivedAt"),
        pytest.param(EVENT, 5, EVENT + NO_TIME, None, id="receivedAt is no text"),
        pytest.param(
            "2026-03-04T11:59:30.123000Z", RECEIVED, EVENT + RECEIVED, None, id="another form"
        ),
        pytest.param(EVENT[:-1], f"Z{RECEIVED}", EVENT + NO_TIME, None, id="shifted by one"),
        pytest.param("", EVENT + RECEIVED, NOON + NO_TIME, Fallback.NO_EVENT_TIME, id="joined"),
        pytest.param(
            None, RECEIVED, RECEIVED * 2, Fallback.MISSING_TIMESTAMP, id="missing timestamp"
        ),
        pytest.param("", RECEIVED, RECEIVED * 2, Fallback.MISSING_TIMESTAMP, id="empty timestamp"),
        pytest.param("soon", RECEIVED, RECEIVED * 2, Fallback.BAD_TIMESTAMP, id="bad timestamp"),
        pytest.param(
            "2026-02-30T00:00:00.000Z",
            RECEIVED,
            RECEIVED * 2,
            Fallback.BAD_TIMESTAMP,
            id="no such day",
        ),
        pytest.param(
            "2026-03-04T11:59:30.12٣Z",
            RECEIVED,
            RECEIVED * 2,
            Fallback.BAD_TIMESTAMP,
            id="digits beyond ASCII",
        ),
        pytest.param(5, RECEIVED, RECEIVED * 2, Fallback.BAD_TIMESTAMP, id="number"),
        pytest.param([], RECEIVED, RECEIVED * 2, Fallback.BAD_TIMESTAMP, id="array"),
        pytest.param(None, None, NOON + NO_TIME, Fallback.NO_EVENT_TIME, id="neither"),
        pytest.param("soon", "late", NOON + NO_TIME, Fallback.NO_EVENT_TIME, id="both bad"),
        pytest.param(
            A_MINUTE_LATER, RECEIVED, A_MINUTE_LATER + RECEIVED, None, id="a minute ahead"
        ),
        pytest.param(
            "2026-03-04T12:01:00.000000001Z",
            RECEIVED,
            NOON + RECEIVED,
            Fallback.FUTURE_TIMESTAMP,
            id="a nanosecond more",
        ),
        pytest.param(
            "2026-03-04T12:01:00.001Z",
            RECEIVED,
            NOON + RECEIVED,
            Fallback.FUTURE_TIMESTAMP,
            id="a millisecond more",
        ),
        pytest.param(
            "2099-01-01T00:00:00.000Z",
            RECEIVED,
            NOON + RECEIVED,
            Fallback.FUTURE_TIMESTAMP,
            id="far future",
        ),
        pytest.param(
            None,
            "2099-01-01T00:00:00.000Z",
            NOON + "2099-01-01T00:00:00.000Z",
            Fallback.FUTURE_TIMESTAMP,
            id="receivedAt stands in, in the future",
        ),
        pytest.param(
            EVENT,
            "2099-01-01T00:00:00.000Z",
            EVENT + "2099-01-01T00:00:00.000Z",
            None,
            id="receivedAt in the future only decides ties",
        ),
    ],
)
def test_a_version_is_the_best_time_there_is(
    timestamp: Any, received_at: Any, expected: str, fallback: Fallback | None
) -> None:
    """`timestamp`, else `receivedAt`, else the record's; one reason is counted at most."""
    versions = Versions()

    assert versions.version(timestamp, received_at, NOON_MS) == expected
    assert versions.fallbacks == {one: int(one is fallback) for one in Fallback}


@pytest.mark.parametrize(
    ("ahead_ms", "believed"),
    [(0, True), (CLAMP_MS - 1, True), (CLAMP_MS, True), (CLAMP_MS + 1, False)],
)
@pytest.mark.parametrize("record_ms", [NOON_MS, NOON_MS + 1, NOON_MS + 999, 0, 61_000])
def test_the_limit_is_exact_to_the_millisecond(
    record_ms: int, ahead_ms: int, believed: bool
) -> None:
    """Sixty seconds after the record, whatever its own milliseconds are."""
    versions = Versions()
    time = from_epoch_ms(record_ms + ahead_ms)

    version = versions.version(time, RECEIVED, record_ms)

    assert version == (time if believed else from_epoch_ms(record_ms)) + RECEIVED
    assert versions.fallbacks[Fallback.FUTURE_TIMESTAMP] == (not believed)


def test_a_replay_gives_the_same_version() -> None:
    """Also after records of other times, earlier and later: the limit is that of each record."""
    versions = Versions()
    reads = [("2099-01-01T00:00:00.000Z", NOON_MS), (EVENT, NOON_MS), (None, NOON_MS)]

    def read() -> list[str]:
        return [versions.version(time, RECEIVED, record_ms) for time, record_ms in reads]

    first = read()
    versions.version(EVENT, RECEIVED, NOON_MS + 10**12)
    second = read()
    versions.version(EVENT, RECEIVED, 0)

    assert first == second == read()
    assert first[0].startswith(NOON)


@pytest.mark.parametrize("record_ms", [-1, -1000, -2000, -(10**15)])
def test_a_record_without_a_time_limits_nothing(record_ms: int) -> None:
    """Then the event is believed, and one without a time comes before all others."""
    versions = Versions()
    future = "2099-01-01T00:00:00.000Z"

    assert versions.version(future, RECEIVED, record_ms) == future + RECEIVED
    assert versions.version(None, None, record_ms) == NO_TIME + NO_TIME
    assert versions.fallbacks[Fallback.FUTURE_TIMESTAMP] == 0
    assert versions.fallbacks[Fallback.NO_EVENT_TIME] == 1
    assert NO_TIME < "0001-01-01T00:00:00.000Z"


def test_a_record_of_the_epoch_has_a_time() -> None:
    """Zero is a time; only what is negative is none."""
    assert Versions().version(None, None, 0) == "1970-01-01T00:00:00.000Z" + NO_TIME


def test_versions_order_as_times_do() -> None:
    """A ladder of versions, each later than the one before."""
    versions = Versions()
    ladder = [
        ("2026-03-04T11:00:00Z", None),
        ("2026-03-04T11:00:00Z", "2026-03-04T11:00:01Z"),
        ("2026-03-04T11:00:00.000Z", "2026-03-04T11:00:01.000000001Z"),
        ("2026-03-04T11:00:00.000Z", "2026-03-04T11:00:01.001Z"),
        ("2026-03-04T11:00:00.000000001Z", None),
        ("2026-03-04T11:00:00.000999999Z", "2026-03-04T11:00:01Z"),
        ("2026-03-04T11:00:00.001Z", None),
        ("2026-03-04T16:30:01+05:30", None),
        ("2026-03-04T03:00:02-08:00", None),
    ]
    made = [versions.version(*times, NOON_MS) for times in ladder]

    assert all(earlier < later for earlier, later in pairwise(made))
    assert sum(versions.fallbacks.values()) == 0
