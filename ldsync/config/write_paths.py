"""What the write paths ask of the rest of the configuration (docs/launchdarkly.md)."""

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ldsync.config.violation import Violation

if TYPE_CHECKING:
    from ldsync.config.settings import Settings

# Instances that have no synced segments (launchdarkly-api contract 1.1).
_NOT_SYNCED = {"launchdarkly.us": "the federal instance", "eu.launchdarkly.com": "the EU instance"}
_PATH = "launchdarkly.write_path"


def synced(settings: "Settings") -> Iterator[Violation]:
    """What synced segments cannot do, and what they would ignore."""
    launchdarkly = settings.launchdarkly
    if launchdarkly.write_path != "synced":
        return
    host = urlsplit(launchdarkly.base_url).hostname or ""
    for domain, instance in _NOT_SYNCED.items():
        if host == domain or host.endswith(f".{domain}"):
            yield Violation(
                (_PATH, "launchdarkly.base_url"),
                f'cannot be "synced" with launchdarkly.base_url {launchdarkly.base_url}: {instance}'
                ' has no synced segments; use "big" or "standard"',
            )
    if launchdarkly.exit_action == "exclude":
        yield Violation(
            ("launchdarkly.exit_action", _PATH),
            f'cannot be "exclude" while {_PATH} is "synced": these segments have no excluded '
            'members; use "remove", or another write path',
        )
    creates = "LaunchDarkly itself creates synced segments"
    names = "LaunchDarkly itself names synced segments, after the audience id"
    default_key = type(settings.naming).model_fields["segment_key"].default
    ignored = [
        ("launchdarkly.create_segments", not launchdarkly.create_segments, creates),
        ("launchdarkly.view_keys", bool(launchdarkly.view_keys), creates),
        ("naming.segment_key", settings.naming.segment_key != default_key, names),
    ]
    ignored += [
        (f"mappings[{number}].segment_key", bool(mapping.segment_key), names)
        for number, mapping in enumerate(settings.mappings, start=1)
    ]
    for key, given, why in ignored:
        if given:
            yield Violation((key, _PATH), f'would be ignored: {_PATH} is "synced", and {why}')


def context_kinds(settings: "Settings") -> Iterator[Violation]:
    """A big or synced segment has one context kind, whichever mapping writes to it.

    Kinds that are read from events are only known then: what does not fit is invalid.
    """
    path = settings.launchdarkly.write_path
    if path == "standard":
        return
    constant = [
        (number, mapping, mapping.segment_key or settings.naming.segment_key)
        for number, mapping in enumerate(settings.mappings, start=1)
        if mapping.enabled and isinstance(mapping.context_kind, str)
    ]
    remedy = "use one kind" if path == "synced" else "use one kind, or a segment_key for each"
    for (first, one, one_key), (second, other, other_key) in combinations(constant, 2):
        if one.context_kind == other.context_kind or (path == "big" and one_key != other_key):
            continue
        yield Violation(
            (f"mappings[{second}].context_kind", f"mappings[{first}].context_kind", _PATH),
            f'is "{other.context_kind}", but mapping {first} ({one.name}) writes '
            f'"{one.context_kind}" to the same segments, and with {_PATH} = "{path}" a segment has '
            f"one context kind: {remedy}",
        )
