"""The histogram that counts many equal observations at once."""

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.registry import DuplicateTimeseries

from ldsync.telemetry.distribution import Distribution


def _make(registry: CollectorRegistry) -> Distribution:
    distribution = Distribution("delay_seconds", "A delay.", (0.5, 1, 10))
    registry.register(distribution)
    return distribution


def test_it_looks_like_the_client_librarys_histogram() -> None:
    """A scrape cannot tell them apart."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    distribution = _make(ours)
    histogram = Histogram("delay_seconds", "A delay.", buckets=(0.5, 1, 10), registry=theirs)
    for value, count in [(0.1, 3), (0.5, 2), (0.75, 4), (10, 1), (11, 5)]:
        distribution.observe_many(value, count)
        for _ in range(count):
            histogram.observe(value)

    text = generate_latest(theirs).decode()
    kept = "".join(
        line for line in text.splitlines(keepends=True) if "delay_seconds_created" not in line
    )
    assert generate_latest(ours).decode() == kept


def test_one_observation_counts_once() -> None:
    """Observing without a count is observing one."""
    registry = CollectorRegistry()
    _make(registry).observe(2.0)

    assert registry.get_sample_value("delay_seconds_count") == 1
    assert registry.get_sample_value("delay_seconds_sum") == 2.0


@pytest.mark.parametrize(
    ("value", "bucket"),
    [
        pytest.param(0.5, "0.5", id="a bound belongs to its bucket"),
        pytest.param(0.500001, "1.0", id="just above goes to the next"),
        pytest.param(10.1, "+Inf", id="above all bounds"),
        pytest.param(0.0, "0.5", id="zero"),
    ],
)
def test_a_value_goes_into_the_first_bucket_that_holds_it(value: float, bucket: str) -> None:
    """Bounds are inclusive, as Prometheus defines them."""
    registry = CollectorRegistry()
    _make(registry).observe(value)

    counts = {
        bound: registry.get_sample_value("delay_seconds_bucket", {"le": bound})
        for bound in ("0.5", "1.0", "10.0", "+Inf")
    }
    assert next(bound for bound, count in counts.items() if count) == bucket
    assert counts["+Inf"] == 1


def test_a_negative_value_counts_as_zero() -> None:
    """A producer's clock may be ahead; a sum that falls would look like a restart."""
    registry = CollectorRegistry()
    distribution = _make(registry)
    distribution.observe(3.0)
    distribution.observe_many(-100.0, 2)

    assert registry.get_sample_value("delay_seconds_sum") == 3.0
    assert registry.get_sample_value("delay_seconds_bucket", {"le": "0.5"}) == 2


def test_its_name_is_taken() -> None:
    """A second metric of that name is refused when it is registered, not at the scrape."""
    registry = CollectorRegistry()
    _make(registry)

    with pytest.raises(DuplicateTimeseries, match="delay_seconds"):
        _make(registry)


@pytest.mark.parametrize("buckets", [(), (1, 1), (2, 1)], ids=["none", "equal", "falling"])
def test_buckets_must_increase(buckets: tuple[float, ...]) -> None:
    """Anything else is a slip in the program."""
    with pytest.raises(ValueError, match="the buckets of delay_seconds must increase"):
        Distribution("delay_seconds", "A delay.", buckets)
