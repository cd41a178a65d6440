"""The tables [[mappings]]: which events are wanted, and which member of which segment they change.

Apart from the other tables, because it knows the languages of `ldsync.engage`, which the health
check need not load.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainValidator

from ldsync.config import values
from ldsync.config.sections import Section, Text
from ldsync.engage import paths
from ldsync.engage.mapping import PRESET_NAME, Priority
from ldsync.engage.naming import is_context_kind
from ldsync.engage.trigger import TriggerError
from ldsync.engage.trigger import parse as parse_trigger

MOST_MAPPINGS = 50
"""As many as a destination of Segment may have (engage-events contract 5.3)."""

_PRIORITIES = ", ".join(Priority)


def not_too_many(entries: Any) -> Any:
    """The tables of a configuration, before each of them is looked at."""
    if isinstance(entries, list | tuple) and not 1 <= len(entries) <= MOST_MAPPINGS:
        raise ValueError(f"must be 1 to {MOST_MAPPINGS} tables, not {len(entries)}")
    return entries


class FromPath(Section):
    """A value that is read from each event: in TOML `{ path = "context.kind" }`."""

    path: str

    def __str__(self) -> str:
        return f"path {self.path}"


def _path(value: str) -> str:
    paths.parse(value)
    return value


def _optional_path(value: str) -> str:
    return _path(value) if value else value


def _trigger(value: str) -> str:
    try:
        parse_trigger(value)
    except TriggerError as error:
        raise ValueError(str(error)) from None
    return value


def _from_path(value: dict[str, Any], otherwise: str) -> FromPath:
    """The only table that is taken in place of a text."""
    path = value.get("path")
    if set(value) != {"path"} or not isinstance(path, str):
        raise ValueError(f'must be {otherwise}, or a table {{ path = "…" }}')
    return FromPath(path=_path(path))


def _context_kind(value: Any) -> str | FromPath:
    wanted = "a kind of contexts"
    if isinstance(value, FromPath):
        return value
    if isinstance(value, dict):
        return _from_path(value, wanted)
    if not isinstance(value, str):
        raise ValueError(f'must be {wanted}, or a table {{ path = "…" }}')  # noqa: TRY004 - pydantic
    if not is_context_kind(value):
        raise ValueError(
            f"{value!r} cannot be a kind of contexts: letters, digits and . _ -, "
            'and neither "kind" nor "multi"'
        )
    return value


def _context_key(value: Any) -> str | FromPath:
    if isinstance(value, FromPath):
        return value
    if isinstance(value, dict):
        return _from_path(value, f"one of {_PRIORITIES}")
    if value not in list(Priority):
        raise ValueError(f'must be one of {_PRIORITIES}, or a table {{ path = "…" }}')
    return str(value)


FieldPath = Annotated[str, AfterValidator(_path)]
OptionalFieldPath = Annotated[str, AfterValidator(_optional_path)]


class MappingSettings(Section):
    """Which events are wanted, and which member of which segment they change; up to 50 of them."""

    name: Text = Field(default=PRESET_NAME, description="What it is called in explanations.")
    enabled: bool = Field(default=True, description="Whether it is used.")
    trigger: Annotated[str, AfterValidator(_trigger)] = Field(
        default='type = "identify" or type = "track"',
        description="Which events it wants; docs/triggers.md describes the language.",
    )
    context_kind: Annotated[str | FromPath, PlainValidator(_context_kind)] = Field(
        default="user",
        description='Kind of the members, or where events have it: { path = "context.kind" }.',
    )
    context_key: Annotated[str | FromPath, PlainValidator(_context_key)] = Field(
        default="user_id_only",
        description='One of five priorities (docs/events.md), or where it is: { path = "…" }.',
    )
    email_normalization: Literal["none", "lower", "trim_lower"] = Field(
        default="none", description="Of e-mail addresses as keys: none, lower or trim_lower."
    )
    journey_step_without_flag: Literal["dead_letter", "add", "ignore"] = Field(
        default="dead_letter",
        description="A journey step that does not say in or out: dead_letter, add or ignore.",
    )
    batch_events: bool = Field(
        default=True, description="false sends each change in a request of its own."
    )
    segment_key: Annotated[str, AfterValidator(values.optional_segment_key_template)] = Field(
        default="", description="Instead of naming.segment_key."
    )
    segment_name: Annotated[str, AfterValidator(values.segment_name_template)] = Field(
        default="{audience_name}",
        description="Template over {audience_name}, {audience_key} and {audience_id}.",
    )
    audience_id: FieldPath = Field(
        default="context.personas.computation_id", description="Where events have the audience id."
    )
    audience_key: FieldPath = Field(
        default="context.personas.computation_key", description="Where they have its key."
    )
    computation_class: FieldPath = Field(
        default="context.personas.computation_class",
        description="Where they say audience or journey_step.",
    )
    user_id: FieldPath = Field(default="userId", description="Where they have the user id.")
    anonymous_id: FieldPath = Field(
        default="anonymousId", description="Where they have the anonymous id."
    )
    email: OptionalFieldPath = Field(
        default="",
        description="Where they have the e-mail; empty: traits.email, then context.traits.email.",
    )
    traits_or_properties: OptionalFieldPath = Field(
        default="",
        description="Where they have the object with the flag; empty: traits or properties.",
    )
