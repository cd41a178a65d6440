"""Segment keys that are alike: counted, logged once, and kept for the status page."""

from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from ldsync.engage.segments import Collision
from ldsync.telemetry.collisions import Collisions
from ldsync.telemetry.metrics import Metrics
from ldsync.telemetry.page import render

SHARED = Collision("vip", "aud_2", "vip", "aud_1", refused=False)
REFUSED = Collision("vip", "aud_3", "vip", "aud_1", refused=True)
CASE = Collision("VIP", "aud_4", "vip", "aud_1", refused=False)


@pytest.fixture
def metrics() -> Metrics:
    """Nothing counted yet."""
    return Metrics()


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    """The lines that are logged meanwhile."""
    with capture_logs() as logs:
        yield logs


def counted(metrics: Metrics, likeness: str) -> float | None:
    """The counter of one likeness."""
    name, labels = "ldsync_segment_key_collisions_total", {"likeness": likeness}
    return metrics.registry.get_sample_value(name, labels)


def test_both_series_are_there_before_anything_happens(metrics: Metrics) -> None:
    """An increase is seen only of what was there."""
    assert (counted(metrics, "same"), counted(metrics, "case")) == (0, 0)


def test_each_collision_is_counted_and_the_list_is_emptied(metrics: Metrics) -> None:
    """The decoder finds, this tells."""
    collisions = Collisions(metrics)
    found = [SHARED, REFUSED, CASE]

    collisions.take(found)
    collisions.take(found)

    assert found == []
    assert (counted(metrics, "same"), counted(metrics, "case")) == (2, 1)
    assert [row["audience_id"] for row in collisions.rows()] == ["aud_2", "aud_3", "aud_4"]


@pytest.mark.parametrize(
    ("collision", "advice"),
    [
        pytest.param(SHARED, "both audiences write to this segment", id="shared"),
        pytest.param(REFUSED, "events of the second audience are skipped", id="refused"),
        pytest.param(CASE, "only their case tells apart", id="case"),
    ],
)
def test_the_log_says_who_collides_and_what_to_do(
    metrics: Metrics, logs: list[Any], collision: Collision, advice: str
) -> None:
    """One warning."""
    Collisions(metrics).take([collision])

    (line,) = logs
    assert (line["event"], line["log_level"]) == ("segment.key_collision", "warning")
    assert line["segment"] == collision.segment_key
    assert (line["first_segment"], line["first_audience_id"]) == ("vip", "aud_1")
    assert (line["audience_id"], line["refused"]) == (collision.audience_id, collision.refused)
    assert line["suppressed"] == 0
    assert advice in line["advice"]


def test_many_at_once_are_one_line_for_each_likeness(metrics: Metrics, logs: list[Any]) -> None:
    """The page has the rest."""
    Collisions(metrics).take([SHARED, REFUSED, CASE])

    assert [line["audience_id"] for line in logs] == ["aud_2", "aud_4"]


def test_the_status_page_shows_them(metrics: Metrics) -> None:
    """With both audiences, by their ids."""
    collisions = Collisions(metrics)
    collisions.take([REFUSED])

    page = render({"collisions": collisions.rows()}, 0.0)

    assert "<h2>Segment keys that are alike</h2>" in page
    assert "<td>vip</td><td>aud_3</td><td>vip</td><td>aud_1</td><td>yes</td>" in page
    assert "Segment keys" not in render({"collisions": []}, 0.0)
