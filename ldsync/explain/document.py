"""An explanation as a JSON document: what `ldsync explain --json` prints, one line an event."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ldsync.engage.explanation import CHANGE
from ldsync.engage.times import split
from ldsync.sync.change import includes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ldsync.engage.explanation import Effect, EventStory, Explanation, MappingStory
    from ldsync.engage.verdict import Verdict
    from ldsync.explain.requests import Shown


def document(
    explanation: Explanation, requests: Iterable[Shown], origin: Mapping[str, str | int]
) -> dict[str, Any]:
    """Return an explanation as what JSON can carry."""
    beside = explanation.beside
    return {
        "outcome": explanation.outcome,
        "reason": explanation.reason,
        "words": explanation.words or None,
        "changes": [_change(effect) for effect in explanation.effects],
        "beside": None if beside is None else beside.reason,
        "origin": dict(origin),
        "events": [_event(story) for story in explanation.events],
        "requests": [asdict(request) for request in requests],
    }


def _change(effect: Effect) -> dict[str, Any]:
    target, member, stamp = effect.change
    version = stamp[:-1]
    time, received_at = split(version)
    return {
        "mapping": effect.mapping,
        "segment_key": target.segment.key,
        "segment_name": target.segment.name,
        "audience_id": effect.audience.id,
        "audience_key": effect.audience.key,
        "context_kind": target.context_kind,
        "context_key": member.removeprefix(target.prefix),
        "action": "add" if includes(stamp) else "remove",
        "version": version,
        "time": time,
        "received_at": received_at,
    }


def _event(story: EventStory) -> dict[str, Any]:
    return {
        "call": story.call,
        **_outcome(story.verdict),
        "order": None if story.order is None else asdict(story.order),
        "mappings": [_mapping(each) for each in story.mappings],
    }


def _mapping(story: MappingStory) -> dict[str, Any]:
    return {
        "mapping": story.mapping.name,
        "enabled": story.mapping.enabled,
        "wanted": story.wanted,
        **(_outcome(story.verdict) if story.mapping.enabled else {"outcome": None, "reason": None}),
        "same_as": story.same_as or None,
        "steps": [asdict(step) for step in story.steps],
    }


def _outcome(verdict: Verdict | None) -> dict[str, str | None]:
    if verdict is None:
        return {"outcome": CHANGE, "reason": None}
    return {"outcome": verdict.outcome.value, "reason": verdict.reason}
