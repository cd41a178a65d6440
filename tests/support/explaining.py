"""Explaining single events in tests, and picking a step out of what is told."""

from functools import partial
from typing import Any

from ldsync.engage.decoder import Decoder
from ldsync.engage.explanation import Explainer, Explanation, MappingStory
from ldsync.engage.mapping import Mapping, MembershipMode
from tests.support.engage_events import RECORD_MS, encode


def explain(
    event: Any,
    *mappings: Mapping,
    mode: MembershipMode = MembershipMode.STRICT,
    record_ms: int = RECORD_MS,
) -> Explanation:
    """The explanation of an event (bytes and None are taken as they are)."""
    value = event if isinstance(event, bytes | None) else encode(event)
    explainer = Explainer(mappings or (Mapping(),), mode, partial(Decoder, membership_mode=mode))
    return explainer.explain(value, record_ms)


def story(
    event: Any, mapping: Mapping | None = None, mode: MembershipMode = MembershipMode.STRICT
) -> MappingStory:
    """What one mapping makes of one event."""
    (event_story,) = explain(event, mapping or Mapping(), mode=mode).events
    (mapping_story,) = event_story.mappings
    return mapping_story


def step(told: MappingStory, name: str) -> tuple[str, bool, str]:
    """One step: its text, whether it was passed, and the details on a line."""
    (found,) = [each for each in told.steps if each.name == name]
    return found.text, found.passed, " | ".join(found.details)
