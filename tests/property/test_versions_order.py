"""Versions sort as the times do that they were made of, in whatever form these were written."""

from datetime import date
from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from ldsync.engage.times import CLAMP_MS, Versions, normalise
from tests.support import engage_oracle as oracle

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
BASE = 1_772_619_330 * SECOND
"""2026-03-04T10:15:30Z in nanoseconds."""

near = st.builds(
    lambda steps, size: BASE + steps * size,
    st.integers(-3, 3),
    st.sampled_from([1, 1_000, 1_000_000, 1_000_000_000]),
)
"""Around one moment, so that all orders and many ties happen."""
anywhere = st.integers(oracle.FIRST * SECOND + DAY, oracle.AFTER_LAST * SECOND - DAY - 1)


@st.composite
def written(draw: st.DrawFn, moments: st.SearchStrategy[int] = near | anywhere) -> str:
    """A moment, in nanoseconds since the epoch, written in one of the accepted forms."""
    moment = draw(moments)
    minutes = draw(st.just(0) | st.integers(-1439, 1439))
    local = moment + minutes * 60 * SECOND
    needed = len(f"{local % SECOND:09d}".rstrip("0"))
    digits = draw(st.integers(needed, 9) | st.just(max(3, needed)))
    fraction = f".{local % SECOND:09d}"[: digits + 1] if digits else ""
    zone = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    zones = [zone, zone.replace(":", "")] if minutes else ["Z", "z", "", zone, "-00:00"]
    separator = draw(st.sampled_from("TTTt "))
    return _to_seconds(local, separator) + fraction + draw(st.sampled_from(zones))


times = st.tuples(written(), written() | st.none() | st.just("never"))
BOTH_COMMON = ("2026-03-04T10:15:30.123Z", "2026-03-04T10:15:30.124Z")


@given(times, times)
@example(BOTH_COMMON, ("2026-03-04T10:15:30.1230Z", "2026-03-04T10:15:30.124Z"))
@example(BOTH_COMMON, ("2026-03-04T10:15:30.123000001Z", None))
@example(("2026-03-04T10:15:30.123000001Z", None), ("2026-03-04T10:15:30.124Z", None))
def test_versions_sort_as_instants(
    one: tuple[str, str | None], other: tuple[str, str | None]
) -> None:
    """To the nanosecond; equal instants give equal versions, and none begins another."""
    versions = Versions()
    first, second = (versions.version(*both, -1) for both in (one, other))
    instants = tuple(_instants(both) for both in (one, other))

    assert (first < second) is (instants[0] < instants[1])
    assert (first == second) is (instants[0] == instants[1])
    assert first == second or not (first.startswith(second) or second.startswith(first))


@given(written())
def test_a_time_loses_nothing(text: str) -> None:
    """Its form changes, its moment does not; and the form is a time of the usual form's order."""
    normal = normalise(text)

    assert normal is not None
    assert oracle.instant_of_version(normal) == oracle.instant(text)


@given(written(near), written(near), st.integers(-CLAMP_MS - 5, CLAMP_MS + 5))
def test_a_time_too_far_ahead_becomes_the_records(
    timestamp: str, received_at: str, ahead_ms: int
) -> None:
    """More than sixty seconds; and reading it again, between others, gives the same version."""
    versions = Versions()
    record_ms = BASE // 1_000_000 - ahead_ms
    own = oracle.instant(timestamp)
    assert own is not None
    clamped = own > Fraction(record_ms + CLAMP_MS, 1000)

    version = versions.version(timestamp, received_at, record_ms)

    time, received = oracle.times_of_version(version)
    assert time == (Fraction(record_ms, 1000) if clamped else own)
    assert received == oracle.instant(received_at)
    assert sum(versions.fallbacks.values()) == clamped
    versions.version(timestamp, received_at, record_ms + 12_345)
    assert versions.version(timestamp, received_at, record_ms) == version


def _instants(both: tuple[str, str | None]) -> tuple[Fraction, Fraction]:
    time, received = map(oracle.instant, both)
    assert time is not None
    return time, received if received is not None else Fraction(oracle.FIRST - 1)


def _to_seconds(nanoseconds: int, separator: str) -> str:
    days, rest = divmod(nanoseconds // SECOND, 86_400)
    day = date.fromordinal(oracle.EPOCH + days).isoformat()
    return f"{day}{separator}{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
