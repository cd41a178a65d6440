"""Which keys there are, where they may be written, and what they mean: the models, read as data."""

from dataclasses import dataclass
from typing import Any, cast, get_args, get_origin

from pydantic import BaseModel, SecretStr

from ldsync.config.sections import Section

PREFIX = "LDSYNC_"
FILE_VARIABLE = "LDSYNC_CONFIG"
"""The environment variable that names the configuration file; not a key."""
FILE_SUFFIX = "_FILE"
"""Appended to the variable of a secret: a file that holds it, as Docker and Kubernetes mount it."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the configuration.

    Attributes:
        section: The table it stands in; empty for the top of the file.
        name: Its name in that table.
        type: What a value must be; `SecretStr` for a secret.
        default: What it is when nobody says.
        description: One line for operators.
    """

    section: str
    name: str
    type: Any
    default: Any
    description: str

    @property
    def path(self) -> str:
        """How it is called in messages: `kafka.topics`."""
        return f"{self.section}.{self.name}" if self.section else self.name

    @property
    def variable(self) -> str:
        """The environment variable: `LDSYNC_KAFKA__TOPICS`."""
        return PREFIX + self.path.replace(".", "__").upper()

    @property
    def file_variable(self) -> str:
        """The environment variable for the path of a file that holds the secret."""
        return self.variable + FILE_SUFFIX

    @property
    def secret(self) -> bool:
        """Whether the value must never be shown."""
        return self.type is SecretStr


def keys_of(section: str, model: type[BaseModel]) -> list[Key]:
    """The keys that stand directly in one table, in the order of their declaration."""
    return [
        Key(section, name, field.annotation, field.default, field.description or "")
        for name, field in model.model_fields.items()
        if not _is_section(field.annotation) and _entry_of(field.annotation) is None
    ]


def sections_of(root: type[BaseModel]) -> dict[str, type[Section]]:
    """The tables of a configuration by name, in the order of their declaration."""
    annotations = {name: field.annotation for name, field in root.model_fields.items()}
    return {name: cast(type[Section], of) for name, of in annotations.items() if _is_section(of)}


def lists_of(root: type[BaseModel]) -> dict[str, type[Section]]:
    """The arrays of tables of a configuration by name, with what one of their tables is."""
    entries = {name: _entry_of(field.annotation) for name, field in root.model_fields.items()}
    return {name: entry for name, entry in entries.items() if entry is not None}


def list_keys(root: type[BaseModel]) -> dict[str, list[Key]]:
    """The keys of a table of each array, by the name of the array; only a file can have them."""
    return {name: keys_of(name, entry) for name, entry in lists_of(root).items()}


def all_keys(root: type[BaseModel]) -> list[Key]:
    """All keys of a configuration but those of lists: those at the top, then table by table."""
    keys = keys_of("", root)
    for section, model in sections_of(root).items():
        keys += keys_of(section, model)
    return keys


def _entry_of(annotation: Any) -> type[Section] | None:
    entry = next(iter(get_args(annotation)), None)
    return entry if get_origin(annotation) is tuple and _is_section(entry) else None


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)
