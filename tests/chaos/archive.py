"""The evidence of a run as a directory of JSON lines.

A run that failed can be judged again later, by a better judge too.
"""

import base64
import dataclasses
import json
import types
import typing
from enum import StrEnum
from pathlib import Path
from typing import Any

from tests.chaos.evidence import Evidence
from tests.support.offsets_topic import Commit


def save(evidence: Evidence, directory: Path) -> None:
    """Write one file of JSON lines for each part of the evidence; what is there is replaced."""
    directory.mkdir(parents=True, exist_ok=True)
    for each in dataclasses.fields(evidence):
        part = getattr(evidence, each.name)
        lines = part if isinstance(part, tuple) else (part,)
        text = "".join(json.dumps(_plain(line)) + "\n" for line in lines)
        (directory / f"{each.name}.jsonl").write_text(text)


def load(directory: Path) -> Evidence:
    """Read what `save` wrote.

    Raises:
        FileNotFoundError: A part is missing.
        ValueError: A line is not what it should be.
    """
    hints = typing.get_type_hints(Evidence)
    parts: dict[str, Any] = {}
    for name, hint in hints.items():
        # Lines end with "\n" alone: other separators may stand in a text.
        lines = (directory / f"{name}.jsonl").read_text().split("\n")[:-1]
        values = [json.loads(line) for line in lines]
        whole = values if typing.get_origin(hint) is tuple else values[0]
        parts[name] = _typed(hint, whole)
    return Evidence(**parts)


def _plain(value: Any) -> Any:
    """As JSON can say it: named values as objects, bytes in base 64."""
    if isinstance(value, Commit):
        return value._asdict()
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value


def _typed(hint: Any, value: Any) -> Any:
    """The opposite of `_plain`, led by the type that the value has."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType or origin is typing.Union:
        (inner,) = (each for each in arguments if each is not type(None))
        return None if value is None else _typed(inner, value)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return tuple(_typed(arguments[0], each) for each in value)
        return tuple(_typed(*pair) for pair in zip(arguments, value, strict=True))
    if hint is Commit or (isinstance(hint, type) and dataclasses.is_dataclass(hint)):
        hints = typing.get_type_hints(hint)
        return hint(**{name: _typed(hints[name], each) for name, each in value.items()})
    if hint is bytes:
        return base64.b64decode(value)
    if issubclass(hint, StrEnum):
        return hint(value)
    return value
