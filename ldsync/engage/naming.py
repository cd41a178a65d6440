"""How segments are named after audiences."""

from __future__ import annotations

import hashlib
import re

_NOT_ALLOWED = re.compile(r"[^a-zA-Z0-9_.-]+")
_BAD_START = re.compile(r"^[^a-zA-Z0-9]+")
_DIGESTED = re.compile(r"-[0-9a-f]{12}\Z")
_CONTEXT_KIND = re.compile(r"[a-zA-Z0-9_.-]+")
_RESERVED_KINDS = frozenset({"kind", "multi"})
_LONGEST_KEY = 128
_LONGEST_NAME = 256
_DIGEST = 12


def segment_name(audience_key: str) -> str:
    """Return the name Segment's own destination gives: sentence case, underscores as spaces.

    Only the first letter changes case, and nothing is trimmed or collapsed: `first_time_shopper`
    becomes `First time shopper`, `UPPER_case` stays `UPPER case`. A first letter outside the basic
    plane is left alone, as JavaScript leaves it.
    """
    first, rest = audience_key[:1], audience_key[1:]
    if first <= "\uffff":
        first = first.upper()
    return (first + rest).replace("_", " ")


def segment_key(template: str, *, audience_key: str, audience_id: str) -> str:
    """Render the key of the segment of an audience and make it one that LaunchDarkly accepts.

    `template` is a format string over `{audience_key}` and `{audience_id}`. LaunchDarkly allows
    letters, digits, `.`, `_` and `-`, and a letter or digit first (launchdarkly-api contract 3).
    A text that has to be changed for that, or shortened to 128 characters, gets a digest of itself
    at its end: two audiences must never share a segment because their keys became alike. So does
    one that ends like such a digest, because it could be what another becomes.
    """
    text = template.format(audience_key=audience_key, audience_id=audience_id)
    key = _BAD_START.sub("", _NOT_ALLOWED.sub("-", text))
    if key == text and len(key) <= _LONGEST_KEY and not _DIGESTED.search(key):
        return key
    digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST]
    stem = key[: _LONGEST_KEY - _DIGEST - 1].rstrip("-")
    return f"{stem}-{digest}" if stem else f"audience-{digest}"


def rendered_name(template: str, *, audience_key: str, audience_id: str) -> str:
    """Render the name of the segment of an audience.

    `template` is a format string over `{audience_name}`, which is what `segment_name` makes of the
    key, `{audience_key}` and `{audience_id}`. LaunchDarkly states no limit for names; one of more
    than 256 characters, which nobody could read in a list, is cut and ends in `…`.
    """
    name = template.format(
        audience_name=segment_name(audience_key),
        audience_key=audience_key,
        audience_id=audience_id,
    )
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def is_context_kind(text: str) -> bool:
    """Say whether LaunchDarkly accepts a context kind (launchdarkly-api contract 2).

    Letters, digits, `.`, `_` and `-`, and none of the two words that have a meaning of their own.
    """
    return bool(_CONTEXT_KIND.fullmatch(text)) and text not in _RESERVED_KINDS
