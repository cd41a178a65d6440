"""Reading an Engage event: from the bytes of a record to what it says about one audience.

The rules are those of Segment's own destination with its known defects mended (docs/events.md): a
removal is never guessed, a wrong type is never coerced into a membership, and no event can stop
another.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import orjson

from ldsync.engage import verdict

if TYPE_CHECKING:
    from ldsync.engage.verdict import Verdict

Document = dict[str, Any]
"""A decoded JSON object."""

AUDIENCE_CLASSES: Final = ("audience", "journey_step")
"""The computation classes that mean membership; computed traits are ordinary traffic."""

_DECIMAL_DIGITS: Final = 4000
_WORDS: Final = {"true": True, "false": False}


class Event(NamedTuple):
    """What an audience event says, whoever it is about.

    `document` is the whole event: mappings look up the context key and times in it.
    """

    document: Document
    audience_id: str
    audience_key: str
    entered: bool


def parse(value: bytes) -> Document | Verdict:
    """Decode the value of a record into a JSON object.

    orjson reads nearly everything. What it refuses is read again with care: the standard library
    accepts lone surrogates (half an emoji, cut by someone's limit), which are valid JSON.
    """
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError:
        document = _parse_with_care(value)
    if isinstance(document, dict):
        return document
    return verdict.BAD_JSON if document is _UNREADABLE else verdict.NOT_AN_OBJECT


def read_event(document: Document, value: bytes) -> Event | Verdict:
    """Read what an event of a type that the mapping wants says about its audience.

    `value` is the record's value, from which numbers are read again where precision was lost.
    """
    context = document.get("context")
    personas = context.get("personas") if type(context) is dict else None
    if type(personas) is not dict:
        return verdict.NOT_ENGAGE
    if personas.get("computation_class") not in AUDIENCE_CLASSES:
        return verdict.CLASS_NOT_AUDIENCE
    audience_id = personas.get("computation_id")
    audience_key = personas.get("computation_key")
    if type(audience_id) is not str or type(audience_key) is not str:
        exact = exact_numbers(document, value, audience_id, audience_key)
        personas = exact["context"]["personas"]
        audience_id = text(personas.get("computation_id"))
        audience_key = text(personas.get("computation_key"))
    if not audience_id or not _encodable(audience_id):
        return verdict.BAD_AUDIENCE_ID
    if not audience_key or not _encodable(audience_key):
        return verdict.BAD_AUDIENCE_KEY
    entered = _membership(document, audience_key)
    if type(entered) is not bool:
        return entered
    return Event(document, audience_id, audience_key, entered)


def _membership(document: Document, audience_key: str) -> bool | Verdict:
    """Return whether the member is in, from the flag that is named like the audience key.

    It stands in `traits` of an identify and `properties` of a track call; where it is not there,
    the other one is looked at. Null is as absent: leaving is said by `false`, never by silence.
    """
    places = ("traits", "properties")
    if document["type"] == "track":
        places = ("properties", "traits")
    for place in places:
        flags = document.get(place)
        if type(flags) is not dict:
            continue
        flag = flags.get(audience_key)
        if type(flag) is bool:
            return flag
        if type(flag) is str:
            word = _WORDS.get(flag.lower())
            return verdict.MEMBERSHIP_NOT_BOOLEAN if word is None else word
        if flag is not None:
            return verdict.MEMBERSHIP_NOT_BOOLEAN
    return verdict.MEMBERSHIP_MISSING


def text(value: object) -> str | None:
    """Return an identifier as text: strings, integers in decimal, anything else is None."""
    if type(value) is str:
        return value
    return str(value) if type(value) is int else None


def identifier(value: object) -> str | None:
    """Return what may serve as a context key, None for what may not.

    Blank text is no key, and neither is text that UTF-8 cannot carry. A key is never trimmed.
    """
    key = text(value)
    if key is None or not key or key.isspace() or not _encodable(key):
        return None
    return key


def exact_numbers(document: Document, value: bytes, *found: object) -> Document:
    """Return `document` with exact integers, reading it again only if one of `found` lost digits.

    orjson gives integers beyond 64 bits as floats; the standard library keeps every digit.
    """
    if not any(type(item) is float for item in found):
        return document
    again = _parse_with_care(value)
    return again if type(again) is dict else document


def _encodable(key: str) -> bool:
    """Say whether UTF-8 can carry the text: half a surrogate pair cannot be sent to anyone."""
    if key.isascii():
        return True
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


_UNREADABLE: Final = object()


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
    return int(digits) if len(digits) <= _DECIMAL_DIGITS else float("inf")
