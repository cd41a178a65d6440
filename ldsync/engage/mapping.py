"""Mappings: which events are wanted, and which member of which segment they change."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ldsync.engage.paths import Path
from ldsync.engage.trigger import Trigger
from ldsync.engage.trigger import parse as parse_trigger

PRESET_NAME: Final = "Sync Engage Audience to LaunchDarkly"
"""What Segment calls the preset of its destination."""

DEFAULT_TRIGGER: Final = parse_trigger('type = "identify" or type = "track"')
"""The trigger of that preset."""


class MembershipMode(StrEnum):
    """By which rules events are read (docs/events.md)."""

    STRICT = "strict"
    """Nothing is guessed: what is no clear statement changes nothing."""
    SEGMENT = "segment"
    """As Segment's own destination reads them, its defects included."""


class Priority(StrEnum):
    """Which identifiers may be the context key, in which order; the first that is there is taken.

    The names are those of Segment's destination.
    """

    USER_ID_ONLY = "user_id_only"
    EMAIL_ONLY = "email_only"
    USER_ID_THEN_EMAIL = "user_id_then_email"
    USER_ID_THEN_ANONYMOUS_ID = "user_id_then_anonymousId"
    USER_ID_THEN_EMAIL_THEN_ANONYMOUS_ID = "user_id_then_email_then_anonymousId"


class EmailNormalization(StrEnum):
    """What is done to an e-mail address before it is a context key."""

    NONE = "none"
    LOWER = "lower"
    TRIM_LOWER = "trim_lower"

    def apply(self, email: str) -> str:
        """Return the address as it becomes a key."""
        if self is EmailNormalization.NONE:
            return email
        return email.lower() if self is EmailNormalization.LOWER else email.strip().lower()


class WithoutFlag(StrEnum):
    """What a journey step without a membership flag means, in strict mode."""

    DEAD_LETTER = "dead_letter"
    """Nothing is known: the record is invalid."""
    ADD = "add"
    """The member has reached the step."""
    IGNORE = "ignore"
    """Nothing."""


_AUDIENCE_ID: Final = Path(("context", "personas", "computation_id"))
_AUDIENCE_KEY: Final = Path(("context", "personas", "computation_key"))
_COMPUTATION_CLASS: Final = Path(("context", "personas", "computation_class"))
_USER_ID: Final = Path(("userId",))
_ANONYMOUS_ID: Final = Path(("anonymousId",))


@dataclass(frozen=True, slots=True)
class Fields:
    """Where the fields of an event stand; the defaults are those of Segment's destination.

    `email` None: `traits.email`, else `context.traits.email`. `traits_or_properties`, the object
    that has the flag, None: the one that belongs to the type of the call, else the other one.
    """

    audience_id: Path = _AUDIENCE_ID
    audience_key: Path = _AUDIENCE_KEY
    computation_class: Path = _COMPUTATION_CLASS
    user_id: Path = _USER_ID
    anonymous_id: Path = _ANONYMOUS_ID
    email: Path | None = None
    traits_or_properties: Path | None = None


DEFAULT_FIELDS: Final = Fields()


@dataclass(frozen=True, slots=True)
class Mapping:
    """What to do with the events of a topic; the default is the preset of Segment's destination.

    `context_kind` is one that `naming.is_context_kind` accepts, or where to read it. `segment_key`
    and `segment_name` are templates over `{audience_key}` and `{audience_id}`, the name also over
    `{audience_name}`: the name that Segment's destination gives.
    """

    name: str = PRESET_NAME
    enabled: bool = True
    trigger: Trigger = DEFAULT_TRIGGER
    context_kind: str | Path = "user"
    context_key: Priority | Path = Priority.USER_ID_ONLY
    email_normalization: EmailNormalization = EmailNormalization.NONE
    journey_step_without_flag: WithoutFlag = WithoutFlag.DEAD_LETTER
    batch_events: bool = True
    segment_key: str = "{audience_key}"
    segment_name: str = "{audience_name}"
    fields: Fields = DEFAULT_FIELDS
