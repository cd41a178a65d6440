"""A histogram that takes many equal observations at the price of one.

The client library's histogram counts one observation per call, at about 2 microseconds. Delivery
delay is known for every record, and the records of a batch share few distinct delays: counting them
one by one would cost as much as decoding them.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Distribution(Collector):
    """A classic histogram without labels, whose observations carry a count.

    Observe and collect from one thread only (ldsync: that of the event loop, which also answers
    `/metrics`).
    """

    def __init__(self, name: str, documentation: str, buckets: Sequence[float]) -> None:
        """Make an empty one.

        Args:
            name: Full name of the metric, with its unit.
            documentation: The help text.
            buckets: Upper bounds, inclusive and increasing, without infinity.
        """
        if not buckets or any(a >= b for a, b in pairwise(buckets)):
            raise ValueError(f"the buckets of {name} must increase: {list(buckets)}")
        self._name = name
        self._documentation = documentation
        self._bounds = tuple(buckets)
        self._labels = (*map(floatToGoString, buckets), "+Inf")
        self._counts = [0] * len(self._labels)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one observation of `value`."""
        self.observe_many(value, 1)

    def observe_many(self, value: float, count: int) -> None:
        """Count `count` observations of `value`.

        A negative value (the clock of a producer that runs ahead of ours) counts as 0: a sum that
        falls looks like a restart to Prometheus.
        """
        value = max(value, 0.0)
        self._counts[bisect_left(self._bounds, value)] += count
        self._sum += value * count

    def describe(self) -> Iterable[Metric]:
        """Tell the registry the name, so that it notices a second metric of that name."""
        return [HistogramMetricFamily(self._name, self._documentation)]

    def collect(self) -> Iterable[Metric]:
        """What `/metrics` shows: cumulative buckets, count and sum."""
        cumulative = accumulate(map(float, self._counts))
        buckets = list(zip(self._labels, cumulative, strict=True))
        return [HistogramMetricFamily(self._name, self._documentation, buckets, self._sum)]
