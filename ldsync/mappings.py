"""From the configuration to the decoder: what `ldsync run` and the tools beside it decode with."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from ldsync.config import FromPath
from ldsync.engage import paths, trigger
from ldsync.engage.decoder import Decoder
from ldsync.engage.explanation import Explainer
from ldsync.engage.mapping import (
    EmailNormalization,
    Fields,
    Mapping,
    MembershipMode,
    Priority,
    WithoutFlag,
)
from ldsync.engage.segments import OnCollision

if TYPE_CHECKING:
    from collections.abc import Callable

    from ldsync.config import MappingSettings, Settings


SYNCED_KEY: Final = "segment-audiences-{audience_id}"
"""How LaunchDarkly itself is presumed to name a synced segment (launchdarkly-api contract 8.2)."""


def decoder_of(settings: Settings) -> Decoder:
    """Return a decoder for all mappings of a configuration."""
    return _decoder(settings)(*mappings_of(settings))


def explainer_of(settings: Settings) -> Explainer:
    """Return what explains how that decoder reads a record."""
    mode = MembershipMode(settings.membership_mode)
    return Explainer(mappings_of(settings), mode, _decoder(settings))


def _decoder(settings: Settings) -> Callable[..., Decoder]:
    """Return what makes a decoder of mappings, with everything else as it is configured."""
    return partial(
        Decoder,
        membership_mode=MembershipMode(settings.membership_mode),
        on_collision=OnCollision(settings.naming.on_collision),
        most_bytes=settings.kafka.max_record_bytes,
        one_kind_per_segment=settings.launchdarkly.write_path != "standard",
    )


def mappings_of(settings: Settings) -> tuple[Mapping, ...]:
    """Return the mappings of a configuration, those that are not enabled among them."""
    # A synced segment is that of one audience id, whatever its key: no two may share one here.
    synced = settings.launchdarkly.write_path == "synced"
    key = SYNCED_KEY if synced else settings.naming.segment_key
    return tuple(_mapping(each, key) for each in settings.mappings)


def _mapping(section: MappingSettings, segment_key: str) -> Mapping:
    kind, key = section.context_kind, section.context_key
    return Mapping(
        name=section.name,
        enabled=section.enabled,
        trigger=trigger.parse(section.trigger),
        context_kind=paths.parse(kind.path) if isinstance(kind, FromPath) else kind,
        context_key=paths.parse(key.path) if isinstance(key, FromPath) else Priority(key),
        email_normalization=EmailNormalization(section.email_normalization),
        journey_step_without_flag=WithoutFlag(section.journey_step_without_flag),
        batch_events=section.batch_events,
        segment_key=section.segment_key or segment_key,
        segment_name=section.segment_name,
        fields=Fields(
            audience_id=paths.parse(section.audience_id),
            audience_key=paths.parse(section.audience_key),
            computation_class=paths.parse(section.computation_class),
            user_id=paths.parse(section.user_id),
            anonymous_id=paths.parse(section.anonymous_id),
            email=paths.parse(section.email) if section.email else None,
            traits_or_properties=(
                paths.parse(section.traits_or_properties) if section.traits_or_properties else None
            ),
        ),
    )
