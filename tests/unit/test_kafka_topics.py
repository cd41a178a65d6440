"""A topic pattern stands for whole names, and never for dead letters."""

import pytest

from ldsync.kafka import SourceMisconfigured
from ldsync.kafka.topics import whole_names


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("events", "events", True),
        ("events", "events-eu", False),
        ("events", "my-events", False),
        ("events|other", "other", True),
        ("events|other", "otherwise", False),
        ("events-.*", "events-eu.v1", True),
        ("(?i)EVENTS-.*", "events-eu", True),
        ("(?i:EVENTS)-eu", "events-eu", True),
        (".*", "events.ldsync-dead-letters", False),
        (".*", "events.dead-letters", False),
        (".*dead-letters", "events.dead-letters", False),
        (".*", "dead-letters-archive", True),
        (".*", "events.dead-letters.copy", True),
    ],
)
def test_a_pattern_matches(pattern: str, name: str, matches: bool) -> None:
    """As `aiokafka` asks, which is by `match`."""
    assert bool(whole_names(pattern).match(name)) is matches


@pytest.mark.parametrize("pattern", ["events(", "events-.*)|(.*", "a(?i)b"])
def test_a_pattern_that_cannot_be_compiled_is_named(pattern: str) -> None:
    """Also one that would only compile inside of ours."""
    with pytest.raises(SourceMisconfigured, match=r"kafka\.topic_pattern"):
        whole_names(pattern)
