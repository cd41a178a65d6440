"""What is known to keep the newest change from winning (P2), in words for the operator. Pure.

Much cannot be known from the configuration: how many replicas there are, and whether the topic is
keyed by user. `replicas_concern` is for those who have found that out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ldsync.config import OrderingSettings

_UNKEYED: Final = (
    "several replicas share a topic whose records have no key, and each remembers versions for "
    "itself (ordering.store is memory): an older event that another replica reads may win. Key the "
    'topic by user (Message Key of the destination: userId), set ordering.store to "redis" with '
    "one ordering.redis_url for all replicas, or run one replica"
)
_SHORT: Final = (
    "ordering.retention_seconds is {retention:g}, less than ordering.horizon_seconds "
    "({horizon:g}): an event that is later than the retention may win over a newer one"
)
_EVICTING: Final = (
    "Redis may evict what ldsync has marked when its memory is full (maxmemory-policy is not "
    "noeviction), and nothing tells: an older event may win then. Set maxmemory-policy to "
    "noeviction, on a Redis of its own"
)
_BLIND: Final = (
    "Redis does not say how it is set up (INFO): a restart of a Redis that persists is not "
    "noticed, and an older event may win after it. Allow the user of ordering.redis_url to run INFO"
)
_EVICTED: Final = (
    "Redis has evicted keys since it was started (evicted_keys of INFO): marks of ldsync may be "
    "among them, and an older event may win where they are. Give it memory, and set "
    "maxmemory-policy to noeviction"
)


def settings_concerns(ordering: OrderingSettings) -> list[str]:
    """Return what is wrong with the section `[ordering]`, though it can be used."""
    if ordering.store == "redis" and ordering.retention_seconds < ordering.horizon_seconds:
        return [
            _SHORT.format(retention=ordering.retention_seconds, horizon=ordering.horizon_seconds)
        ]
    return []


def replicas_concern(*, shared_store: bool, others: bool, unkeyed: bool) -> str:
    """Return what is wrong with the topic for these replicas; empty if nothing is known to be.

    `others` if the group has more members, `unkeyed` if records without a key were seen.
    """
    return _UNKEYED if others and unkeyed and not shared_store else ""


def server_concerns(info: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a Redis that says so of itself (`INFO`)."""
    concerns = []
    policy = info.get("maxmemory_policy")
    if policy != "noeviction":
        concerns.append(_EVICTING if policy else _BLIND)
    if info.get("evicted_keys", 0):
        concerns.append(_EVICTED)
    return concerns
