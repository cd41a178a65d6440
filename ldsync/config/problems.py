"""What is wrong with a configuration, in words: which key, where it was given, what is wanted.

No value is repeated that might be secret: values of secret keys, of keys that do not exist, and of
addresses (`values.base_url`) are left out.
"""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from ldsync.config.schema import Key

_LONGEST_VALUE = 60
_NUMBER = re.compile(r"\[\d+\]")
_WANTED = {
    "bool_type": "must be true or false",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "string_type": "must be text",
    "string_unicode": "must be text in UTF-8",
    "tuple_type": "must be a list",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:.15g}",
    "literal_error": "must be {expected}",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to correct.

    Attributes:
        key: The key (`kafka.topics`), or the name as the operator wrote it if there is no such key.
        source: Where it was given: a file, an environment variable, or that nobody gave it.
        message: What is wrong, and what is wanted.
    """

    key: str
    source: str
    message: str

    def __str__(self) -> str:
        where = f" ({self.source})" if self.source else ""
        return f"{self.key}{where}: {self.message}"


class ConfigError(Exception):
    """The configuration cannot be used. All problems that were found, not only the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__(self.listing())

    def listing(self) -> str:
        """All problems, a line each, below a line that counts them."""
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        return "\n".join([f"configuration has {count}:", *(f"  {line}" for line in self.problems)])


def from_validation(
    error: ValidationError, keys: Mapping[str, Key], sources: Mapping[str, str]
) -> list[Problem]:
    """The problems of values that have the wrong type or range: one for each key.

    Args:
        error: What pydantic found.
        keys: The keys by path.
        sources: Where the value of a key was given, by path.
    """
    messages: dict[str, list[str]] = {}
    for details in error.errors(include_url=False):
        path, entry = _place(details["loc"])
        key = keys.get(_NUMBER.sub("", path))
        messages.setdefault(path, []).append(entry + _message(details, key))
    return [
        Problem(path, sources.get(path.partition("[")[0], ""), "; ".join(texts))
        for path, texts in messages.items()
    ]


def did_you_mean(name: str, candidates: Collection[str]) -> str:
    """A hint to append to a message about an unknown name; empty if nothing is similar."""
    similar = difflib.get_close_matches(name, candidates, n=1)
    return f"; did you mean {similar[0]}?" if similar else ""


def _place(location: tuple[int | str, ...]) -> tuple[str, str]:
    """The key that pydantic's location is in, and which entry of its list is meant."""
    path, entry = "", ""
    for part in location:
        if isinstance(part, int):
            path, entry = f"{path}[{part + 1}]", f"entry {part + 1} "
        else:
            path, entry = f"{path}.{part}" if path else part, ""
    # An entry that is wrong itself is a problem of its list, a key of a table in it one of its own.
    return (path.rpartition("[")[0] if entry else path), entry


def _message(details: Any, key: Key | None) -> str:
    context = details.get("ctx", {})
    if details["type"] == "value_error":
        return str(context["error"])
    wanted = _WANTED.get(details["type"])
    text = wanted.format(**context) if wanted else details["msg"]
    if key is None or key.secret:
        return text
    return f"{text}, not {_shown(details['input'])}"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…"
