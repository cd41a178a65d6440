"""The configuration in effect, written as TOML that could be used as a file: without secrets."""

import json
from typing import Any

from pydantic import SecretStr

from ldsync.config.mappings import FromPath
from ldsync.config.schema import Key, all_keys, list_keys
from ldsync.config.settings import Loaded, Settings


def render(loaded: Loaded) -> str:
    """Every key with its value; what is not a default is followed by where it was found."""
    lines: list[str] = []
    section = ""
    for key in all_keys(Settings):
        if key.section != section:
            section = key.section
            lines += ["", f"[{section}]"]
        source = loaded.sources.get(key.path)
        comment = f"  # {_printable(source)}" if source else ""
        lines.append(f"{key.name} = {toml_value(_value(loaded.settings, key))}{comment}")
    for name, keys in list_keys(Settings).items():
        source = loaded.sources.get(name)
        comment = f"  # {_printable(source)}" if source else ""
        for entry in getattr(loaded.settings, name):
            lines += ["", f"[[{name}]]{comment}"]
            lines += [f"{key.name} = {toml_value(getattr(entry, key.name))}" for key in keys]
    return "\n".join(lines) + "\n"


def toml_value(value: Any) -> str:
    """A value as TOML writes it; a secret shows only whether there is one."""
    if isinstance(value, SecretStr):
        return toml_value(str(value))
    if isinstance(value, str):
        if '"' in value and "'" not in value and value.isprintable():
            return f"'{value}'"
        # JSON's escapes are TOML's, except that TOML wants one for DEL as well.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, FromPath):
        return f"{{ path = {toml_value(value.path)} }}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return repr(value)


def _value(settings: Settings, key: Key) -> Any:
    table = getattr(settings, key.section) if key.section else settings
    return getattr(table, key.name)


def _printable(text: str) -> str:
    """A comment ends with its line, and the name of a file may contain anything."""
    return "".join(char if char.isprintable() else "?" for char in text)
