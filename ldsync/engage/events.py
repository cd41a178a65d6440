"""Reading an Engage event: from the bytes of a record to what it says about one audience.

The rules are those of Segment's own destination with its known defects mended (docs/events.md): a
removal is never guessed, a wrong type is never coerced into a membership, and no event can stop
another.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NoReturn

import orjson

from ldsync.engage import verdict

if TYPE_CHECKING:
    from ldsync.engage.verdict import Verdict

Document = dict[str, Any]
"""A decoded JSON object."""

AUDIENCE_CLASSES: Final = ("audience", "journey_step")
"""The computation classes that mean membership; computed traits are ordinary traffic."""

_MOST_DIGITS: Final = 4000
_WORDS: Final = {"true": True, "false": False}
_UNREADABLE: Final = object()


def parse(value: bytes) -> Document | Verdict:
    """Decode the value of a record into a JSON object.

    orjson reads nearly everything. What it refuses is read again with care: the standard library
    accepts lone surrogates (half an emoji, cut by someone's limit) and numbers of any size, which
    are valid JSON.
    """
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError:
        document = _parse_with_care(value)
    if isinstance(document, dict):
        return document
    return verdict.BAD_JSON if document is _UNREADABLE else verdict.NOT_AN_OBJECT


def audience(document: Document, value: bytes) -> tuple[str, str] | Verdict:
    """Return id and key of the audience that an event is about.

    `value` is the record's value, from which numbers are read again where digits were lost.
    """
    context = document.get("context")
    names = context.get("personas") if type(context) is dict else None
    if type(names) is not dict:
        return verdict.NOT_ENGAGE
    if names.get("computation_class") not in AUDIENCE_CLASSES:
        return verdict.CLASS_NOT_AUDIENCE
    if type(names.get("computation_id")) is float or type(names.get("computation_key")) is float:
        names = _with_exact_integers(document, value)["context"]["personas"]
    audience_id = _text(names.get("computation_id"))
    audience_key = _text(names.get("computation_key"))
    if not audience_id:
        return verdict.BAD_AUDIENCE_ID
    if not audience_key:
        return verdict.BAD_AUDIENCE_KEY
    return audience_id, audience_key


def membership(document: Document, audience_key: str) -> bool | Verdict:
    """Return whether the member is in, from the flag that is named like the audience key.

    It stands in `traits` of an identify and `properties` of a track call; where it is not there,
    the other one is looked at. Null is as absent: leaving is said by `false`, never by silence.
    """
    places = ("traits", "properties")
    if document["type"] == "track":
        places = ("properties", "traits")
    for place in places:
        flags = document.get(place)
        flag = flags.get(audience_key) if type(flags) is dict else None
        if type(flag) is bool:
            return flag
        if type(flag) is str:
            return _WORDS.get(flag.lower(), verdict.MEMBERSHIP_NOT_BOOLEAN)
        if flag is not None:
            return verdict.MEMBERSHIP_NOT_BOOLEAN
    return verdict.MEMBERSHIP_MISSING


def user_id(document: Document, value: bytes) -> str | Verdict:
    """Return the `userId` as a context key. A key is never trimmed, and blank text is none.

    `value` is the record's value, from which the number is read again where digits were lost.
    """
    if type(document.get("userId")) is float:
        document = _with_exact_integers(document, value)
    key = _text(document.get("userId"))
    return verdict.NO_CONTEXT_KEY if not key or key.isspace() else key


def _text(value: object) -> str | None:
    """Return an identifier as text: strings that UTF-8 can carry and integers, in decimal."""
    if type(value) is int:
        return str(value)
    if type(value) is not str:
        return None
    try:
        value.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which cannot be sent to anyone
        return None
    return value


def _with_exact_integers(document: Document, value: bytes) -> Document:
    """Read an event again with all the digits: beyond 64 bits orjson makes floats of integers."""
    again = _parse_with_care(value)
    return again if isinstance(again, dict) else document


def _parse_with_care(value: bytes) -> object:
    """Decode with the standard library, as strictly as JSON is defined."""
    try:
        return json.loads(
            value.decode(), parse_constant=_refuse_constant, parse_int=_integer_of_any_length
        )
    except (ValueError, RecursionError):
        return _UNREADABLE


def _refuse_constant(constant: str) -> NoReturn:
    """Refuse NaN and Infinity, which JSON does not have."""
    raise ValueError(constant)


def _integer_of_any_length(digits: str) -> int | float:
    """Read an integer; one of absurd length becomes a float, which is nobody's identifier."""
    return int(digits) if len(digits) <= _MOST_DIGITS else float("inf")
