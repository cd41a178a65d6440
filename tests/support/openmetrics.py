"""Reading expositions with the strict parser of the client library."""

from prometheus_client.openmetrics.parser import text_string_to_metric_families


def families_of(text: str) -> set[str]:
    """Return the names of the metric families in an OpenMetrics text; fails if it is not valid."""
    families = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    return {family.name for family in families}
