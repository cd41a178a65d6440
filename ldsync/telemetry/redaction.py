"""Keeps secrets out of the log (P8): the last thing before a line is rendered.

Three nets. Values under a key that names a secret (`authorization`, `sasl_password`, …) are
replaced whatever they are. The secrets of this process are replaced wherever their text appears, at
any depth: in messages of other libraries, in exceptions, in headers that were logged by mistake.
And so is what looks like a credential of LaunchDarkly: its replies carry SDK keys.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from structlog.typing import EventDict, WrappedLogger

REDACTED = "[redacted]"

# At the end of a key, so that `token_endpoint` or `password_file` stay readable.
_SECRET_KEY = re.compile(
    r"(?:^|[^a-z])(?:authorization|cookie|credentials?|passwd|password|secret|token"
    r"|(?:api|sdk|mobile|private|access)[-_]?key)$",
    re.IGNORECASE,
)


CREDENTIAL = r"\b(?:api|sdk|mob)-[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"
"""What API tokens, SDK keys and mobile keys of LaunchDarkly look like: a regular expression."""


class Redactor:
    """A structlog processor that replaces secrets; what it lets through is only plain data.

    Objects of other kinds become text here, not in the renderer behind it: their text, too, may
    hold a secret.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        """Remember what must not be seen.

        Args:
            secrets: Exact texts. Empty ones are left out.
        """
        self._secrets = set(filter(None, secrets))
        self._replace = _replacer(self._secrets)

    def add(self, secret: str) -> None:
        """Remember one more text that must not be seen; the others stay."""
        if secret and secret not in self._secrets:
            self._secrets.add(secret)
            self._replace = _replacer(self._secrets)

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Return the event without secrets."""
        return self._mapping(event)

    def _mapping(self, values: Mapping[Any, Any]) -> dict[str, object]:
        return {
            self._replace(str(key)): REDACTED if _names_secret(key, value) else self._clean(value)
            for key, value in values.items()
        }

    def _clean(self, value: object) -> object:
        if isinstance(value, str):
            return self._replace(value)
        if value is None or isinstance(value, int | float):
            return value
        if isinstance(value, bytes | bytearray):
            return self._replace(value.decode("utf-8", "replace"))
        if isinstance(value, Mapping):
            return self._mapping(value)
        if isinstance(value, list | tuple | AbstractSet):
            return [self._clean(each) for each in value]
        if isinstance(value, BaseException):
            return self._replace(f"{type(value).__name__}: {value}")
        return self._replace(str(value))


def _names_secret(key: object, value: object) -> bool:
    # Numbers and flags are no secrets: `token=true` says that there is one.
    if value is None or isinstance(value, int | float):
        return False
    return isinstance(key, str) and _SECRET_KEY.search(key) is not None


def _replacer(secrets: Iterable[str]) -> Callable[[str], str]:
    # The longest first: a secret may begin with another one.
    longest_first = sorted(secrets, key=len, reverse=True)
    exact = ["".join(map(_however_escaped, each)) for each in longest_first]
    pattern = re.compile("|".join([*exact, CREDENTIAL]))
    return lambda text: pattern.sub(REDACTED, text)


def _however_escaped(char: str) -> str:
    """Return a pattern for a character as it is, in JSON, in a repr, or in a repr of these."""
    if char == "\\":
        return r"\\+"
    if char.isascii() and char.isprintable() and char not in "\"'":
        return re.escape(char)
    forms = {form.lstrip("\\") for form in (char, json.dumps(char)[1:-1], repr(char)[1:-1])}
    return r"\\*(?:" + "|".join(map(re.escape, sorted(forms))) + ")"
