"""What metrics are made of: definitions, and families of series bound to their labels once.

Looking up a series through `labels()` costs three times what counting does. A family does it once
and is a dictionary lookup from then on, so that counting is cheap wherever it happens.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from ldsync.telemetry.distribution import Distribution

Key: TypeAlias = str | tuple[str | int, ...]
"""The value of the only label, or the values of all labels in their order."""

K = TypeVar("K", bound=Key)
M = TypeVar("M", Counter, Gauge, Histogram)


@dataclass(frozen=True, slots=True)
class Definition:
    """What others can rely on of a metric: API, and the metrics table of README.md."""

    name: str
    type: str
    labels: tuple[str, ...]
    help: str


class Family(dict[K, M], Generic[K, M]):
    """The series of one metric by their label values: `family["delivered"].inc()`.

    A series that is not there yet is made when it is first asked for. Those named in `expected` are
    made at once and show as 0 from the start, so that a rate over a first failure is not blind.
    Label values must come from a bounded set: topics, partitions, enums, never members.
    """

    __slots__ = ("_metric",)

    def __init__(self, metric: M, expected: Iterable[K] = ()) -> None:
        super().__init__()
        self._metric: M = metric
        for key in expected:
            self[key]  # asking for it makes it

    def __missing__(self, key: K) -> M:
        child: M = self._metric.labels(*_values(key))
        self[key] = child
        return child

    def forget(self, key: K) -> None:
        """Take a series out of the exposition; one that never was is no error."""
        if self.pop(key, None) is not None:
            self._metric.remove(*_values(key))


def _values(key: Key) -> tuple[str | int, ...]:
    return (key,) if isinstance(key, str) else key


class Instruments:
    """Makes metrics in one registry and keeps the list of their definitions."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.definitions: list[Definition] = []

    def counter(self, name: str, documentation: str) -> Counter:
        """A counter without labels."""
        self._define(name, "counter", (), documentation)
        return Counter(name, documentation, registry=self._registry)

    def counters(
        self, name: str, labels: tuple[str, ...], documentation: str, expected: Iterable[K] = ()
    ) -> Family[K, Counter]:
        """A counter with labels; the series `expected` are there from the start."""
        self._define(name, "counter", labels, documentation)
        return Family(Counter(name, documentation, labels, registry=self._registry), expected)

    def gauge(self, name: str, documentation: str) -> Gauge:
        """A gauge without labels."""
        self._define(name, "gauge", (), documentation)
        return Gauge(name, documentation, registry=self._registry)

    def gauges(
        self, name: str, labels: tuple[str, ...], documentation: str, expected: Iterable[K] = ()
    ) -> Family[K, Gauge]:
        """A gauge with labels; one that is not `expected` has no series until it is set."""
        self._define(name, "gauge", labels, documentation)
        return Family(Gauge(name, documentation, labels, registry=self._registry), expected)

    def histogram(self, name: str, documentation: str, buckets: Sequence[float]) -> Histogram:
        """A histogram without labels."""
        self._define(name, "histogram", (), documentation)
        return Histogram(name, documentation, registry=self._registry, buckets=buckets)

    def histograms(
        self,
        name: str,
        labels: tuple[str, ...],
        documentation: str,
        buckets: Sequence[float],
        expected: Iterable[K] = (),
    ) -> Family[K, Histogram]:
        """A histogram with labels; the series `expected` are there from the start."""
        self._define(name, "histogram", labels, documentation)
        histogram = Histogram(name, documentation, labels, registry=self._registry, buckets=buckets)
        return Family(histogram, expected)

    def distribution(self, name: str, documentation: str, buckets: Sequence[float]) -> Distribution:
        """A histogram whose observations carry a count."""
        self._define(name, "histogram", (), documentation)
        distribution = Distribution(name, documentation, buckets)
        self._registry.register(distribution)
        return distribution

    def info(self, name: str, documentation: str, values: dict[str, str]) -> None:
        """Constants about the process, as labels of a series that is always 1."""
        self._define(f"{name}_info", "info", tuple(values), documentation)
        Info(name, documentation, registry=self._registry).info(values)

    def _define(self, name: str, type_: str, labels: tuple[str, ...], documentation: str) -> None:
        self.definitions.append(Definition(name, type_, labels, documentation))
