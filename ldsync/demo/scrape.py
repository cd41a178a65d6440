"""What a running ldsync says of itself: `/metrics`, read as an operator's Prometheus would."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

__all__ = ["Reading"]


@dataclass(frozen=True, slots=True)
class Reading:
    """One scrape: the numbers that the demo shows and checks."""

    state: str = "starting"
    consumed: int = 0
    """Records read from Kafka."""
    pending: int = 0
    """Records consumed that have no outcome yet."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """Records by outcome."""
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Records by outcome and reason, where there is one."""
    closed: Counter[str] = field(default_factory=Counter)
    """Batches by the trigger that closed them."""

    @property
    def settled(self) -> int:
        """Records that have their outcome."""
        return self.outcomes.total()

    @classmethod
    def parse(cls, exposition: str) -> Reading:
        """Read the text of `/metrics`; what is missing counts as zero.

        Raises:
            ValueError: this is not the Prometheus text format.
        """
        state, consumed, pending = "starting", 0, 0
        outcomes: Counter[str] = Counter()
        reasons: Counter[tuple[str, str]] = Counter()
        closed: Counter[str] = Counter()
        for family in text_string_to_metric_families(exposition):
            for sample in family.samples:
                value, labels = int(sample.value) if sample.value > 0 else 0, sample.labels
                match sample.name:
                    case "ldsync_state" if value:
                        state = labels["state"]
                    case "ldsync_records_consumed_total":
                        consumed += value
                    case "ldsync_records_pending":
                        pending = value
                    case "ldsync_batches_closed_total":
                        closed[labels["trigger"]] += value
                    case "ldsync_records_total":
                        outcomes[labels["outcome"]] += value
                        if labels["reason"]:
                            reasons[labels["outcome"], labels["reason"]] += value
        return cls(state, consumed, pending, outcomes, reasons, closed)
