"""Where values come from: the TOML file, the environment, and files that hold secrets.

The only reader of `os.environ`. Every source is read into a `Layer`, together with what is wrong in
it; an unknown name is a problem wherever it stands, because a misspelt key that is silently ignored
is worse than a program that does not start. pydantic-settings' own environment source is not used:
it overlooks a misspelt section, takes `…_FILE` for an unknown key and expects lists as JSON.
"""

import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from ldsync.config.problems import Problem, did_you_mean
from ldsync.config.schema import (
    FILE_SUFFIX,
    FILE_VARIABLE,
    PREFIX,
    Key,
    all_keys,
    list_keys,
    lists_of,
    sections_of,
)
from ldsync.config.secrets import FileSecret, read_secret

# Kubernetes tells every container about the services of its namespace. If one of them is called
# `ldsync` or `ldsync-…`, those variables begin with our prefix, and nobody misspelt anything.
_SERVICE_LINK = re.compile(
    r"([A-Z0-9]+_)+(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9]+)*|PORT_\d+_(TCP|UDP|SCTP)(_[A-Z]+)?)"
)


@dataclass(slots=True)
class Layer:
    """What one source says.

    Attributes:
        values: By table and key, as in the file; keys at the top stand beside the tables.
        sources: Where each value was found, by the path of its key.
        problems: What is wrong in this source.
        readable: Whether its values could be read at all.
    """

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    readable: bool = True

    def put(self, key: Key, value: Any, source: str) -> None:
        """Take up the value of one key."""
        table = self.values.setdefault(key.section, {}) if key.section else self.values
        table[key.name] = value
        self.sources[key.path] = source

    def drop(self, path: str) -> None:
        """Forget the value of one key; of a key in a list (`mappings[2].name`) the whole list."""
        section, _, name = path.partition("[")[0].rpartition(".")
        table = self.values.get(section, {}) if section else self.values
        table.pop(name, None)


def environment() -> Mapping[str, str]:
    """The environment of this process."""
    return os.environ


def from_file(path: Path | None, environ: Mapping[str, str], root: type[BaseModel]) -> Layer:
    """Read the TOML file at `path`, else at `LDSYNC_CONFIG`; without either, nothing."""
    data, layer = read_toml(path, environ)
    file = str(path or environ.get(FILE_VARIABLE, ""))
    sections = sections_of(root)
    lists = list_keys(root)
    known = {key.path: key for key in all_keys(root)}
    for name, value in data.items():
        if name in known:
            layer.put(known[name], value, file)
        elif name in lists:
            _put_list(layer, name, value, file, lists[name])
        elif name not in sections:
            layer.problems.append(_unknown(name, file, known, [*sections, *lists]))
        elif not isinstance(value, dict):
            layer.problems.append(Problem(name, file, f"must be a table: [{name}]"))
        else:
            for inner, setting in value.items():
                dotted = f"{name}.{inner}"
                if dotted in known:
                    layer.put(known[dotted], setting, file)
                else:
                    layer.problems.append(_unknown(dotted, file, known, sections))
    return layer


def _put_list(layer: Layer, name: str, value: Any, file: str, keys: Sequence[Key]) -> None:
    """Take up the tables of an array, without the keys in them that nobody knows."""
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        layer.problems.append(Problem(name, file, f"must be a list of tables: [[{name}]]"))
        return
    names = [key.name for key in keys]
    for number, entry in enumerate(value, start=1):
        layer.problems += [
            Problem(f"{name}[{number}].{key}", file, f"is unknown{did_you_mean(key, names)}")
            for key in entry
            if key not in names
        ]
    layer.values[name] = [
        {inner: setting for inner, setting in entry.items() if inner in names} for entry in value
    ]
    layer.sources[name] = file


def read_toml(path: Path | None, environ: Mapping[str, str]) -> tuple[dict[str, Any], Layer]:
    """The content of the configuration file, and a layer that holds what is wrong with it."""
    named_by = "named by --config" if path else f"named by {FILE_VARIABLE}"
    file = path or Path(environ.get(FILE_VARIABLE, ""))
    if not path and not environ.get(FILE_VARIABLE):
        return {}, Layer()
    try:
        return tomllib.loads(file.read_text(encoding="utf-8")), Layer()
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        message = "is not text in UTF-8"
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        # The error's own text: it carries the line, and never more of the file than a character.
        message = f"is not TOML: {error}"
    return {}, Layer(problems=[Problem(str(file), named_by, message)], readable=False)


def from_environment(environ: Mapping[str, str], root: type[BaseModel]) -> Layer:
    """Read `LDSYNC_<SECTION>__<KEY>`; any other name with our prefix is a problem."""
    keys = all_keys(root)
    layer = from_variables(environ, keys)
    secrets = {key.file_variable for key in keys if key.secret}
    known = {key.variable: key for key in keys}
    lists = {PREFIX + name.upper(): name for name in lists_of(root)}
    for name, value in environ.items():
        if not name.upper().startswith(PREFIX) or name in known or name in secrets:
            continue
        if name == FILE_VARIABLE or _is_service_link(name, value):
            continue
        if in_file := lists.get(name.partition("__")[0]):
            message = f"is unknown: [[{in_file}]] can only be given in the file"
        elif known.get(name.removesuffix(FILE_SUFFIX)):
            message = "is unknown: only secrets are read from files"
        else:
            names = [other.removeprefix(PREFIX) for other in (*known, *secrets)]
            hint = did_you_mean(name.upper().removeprefix(PREFIX), names)
            message = "is unknown" + hint.replace("mean ", f"mean {PREFIX}")
        layer.problems.append(Problem(name, "environment", message))
    return layer


def from_variables(environ: Mapping[str, str], keys: Sequence[Key]) -> Layer:
    """The values that the environment has for these keys."""
    layer = Layer()
    for key in keys:
        text = environ.get(key.variable)
        source = f"environment variable {key.variable}"
        if text is None:
            continue
        if any("\ud800" <= char <= "\udfff" for char in text):  # how `os.environ` keeps other bytes
            layer.problems.append(Problem(key.path, source, "is not text in UTF-8"))
        else:
            layer.put(key, _typed(text, key), source)
    return layer


def from_secret_files(environ: Mapping[str, str], root: type[BaseModel]) -> Layer:
    """Read the files named by `…_FILE`, for secrets that the environment does not hold itself.

    Only variables of keys that are declared secret are looked at: a scan for `*_FILE` would open
    files that are no business of ours. Line breaks at the end are what editors leave, and removed.
    """
    layer = Layer()
    for key in all_keys(root):
        if not key.secret or key.file_variable not in environ or key.variable in environ:
            continue
        file = environ[key.file_variable]
        source = f"file {file!r} named by {key.file_variable}"
        try:
            secret = FileSecret(read_secret(Path(file)), Path(file))
        except OSError as error:
            layer.problems.append(Problem(key.path, source, f"cannot be read: {error.strerror}"))
        except ValueError:
            layer.problems.append(Problem(key.path, source, "is not text in UTF-8"))
        else:
            layer.put(key, secret, source)
    return layer


def _typed(text: str, key: Key) -> Any:
    """A variable's text as the key wants it, or unchanged, which validation then reports."""
    if key.type == tuple[str, ...]:
        return [part.strip() for part in text.split(",") if part.strip()]
    if key.type not in (bool, int, float):
        return text
    try:
        return TypeAdapter(key.type).validate_strings(text)
    except ValidationError:
        return text


def _unknown(name: str, source: str, known: Mapping[str, Key], sections: Iterable[str]) -> Problem:
    """A key of the file that does not exist. Its value is not repeated: it may be a secret."""
    section, _, key = name.rpartition(".")
    elsewhere = [path for path in known if path.rpartition(".")[2] == key]
    siblings = [other.name for other in known.values() if other.section == section]
    if elsewhere:
        hint = f"; did you mean {elsewhere[0]}?"
    else:
        hint = did_you_mean(key, siblings if section else [*sections, *siblings])
    return Problem(name, source, f"is unknown{hint}")


def _is_service_link(name: str, value: str) -> bool:
    if "__" in name:
        return False
    return bool(_SERVICE_LINK.fullmatch(name)) or (name.endswith("_PORT") and "://" in value)
