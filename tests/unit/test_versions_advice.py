"""What is known to keep the newest change from winning, and what is not made a fuss of."""

from typing import Any

import pytest

from ldsync.config import OrderingSettings
from ldsync.versions.advice import replicas_concern, server_concerns, settings_concerns


@pytest.mark.parametrize(
    ("ordering", "concerns"),
    [
        pytest.param(OrderingSettings(), 0, id="memory"),
        pytest.param(OrderingSettings(retention_seconds=60.0), 0, id="memory_has_no_retention"),
        pytest.param(OrderingSettings(store="redis"), 0, id="redis"),
        pytest.param(OrderingSettings(store="redis", retention_seconds=14_400.0), 0, id="enough"),
        pytest.param(OrderingSettings(store="redis", retention_seconds=14_399.0), 1, id="short"),
    ],
)
def test_a_retention_shorter_than_the_horizon_is_a_concern(
    ordering: OrderingSettings, concerns: int
) -> None:
    """It would be known for less time than events may be late."""
    found = settings_concerns(ordering)
    assert len(found) == concerns
    assert all("ordering.retention_seconds is 14399" in each for each in found)


@pytest.mark.parametrize("shared_store", [False, True], ids=["memory", "redis"])
@pytest.mark.parametrize("others", [False, True], ids=["alone", "others"])
@pytest.mark.parametrize("unkeyed", [False, True], ids=["keyed", "unkeyed"])
def test_only_memory_with_others_on_a_topic_without_keys_is_a_concern(
    shared_store: bool, others: bool, unkeyed: bool
) -> None:
    """P2 needs one of the three to be otherwise."""
    found = replicas_concern(shared_store=shared_store, others=others, unkeyed=unkeyed)
    assert bool(found) is (not shared_store and others and unkeyed)


@pytest.mark.parametrize(
    ("info", "words"),
    [
        pytest.param({}, ["does not say how it is set up"], id="says_nothing"),
        pytest.param(
            {"maxmemory_policy": "", "evicted_keys": 0}, ["does not say"], id="may_not_be_asked"
        ),
        pytest.param({"maxmemory_policy": "noeviction", "evicted_keys": 0}, [], id="as_it_should"),
        pytest.param({"maxmemory_policy": "allkeys-lru"}, ["maxmemory-policy is not"], id="evicts"),
        pytest.param(
            {"maxmemory_policy": "noeviction", "evicted_keys": 3},
            ["has evicted keys"],
            id="has_evicted",
        ),
        pytest.param(
            {"maxmemory_policy": "volatile-ttl", "evicted_keys": 3},
            ["maxmemory-policy is not", "has evicted keys"],
            id="evicts_and_has",
        ),
    ],
)
def test_a_redis_that_evicts_or_is_silent_is_a_concern(
    info: dict[str, Any], words: list[str]
) -> None:
    """What it says of itself decides; each concern is one sentence that can be told apart."""
    found = server_concerns(info)
    assert len(found) == len(words)
    assert all(word in concern for word, concern in zip(words, found, strict=True))
