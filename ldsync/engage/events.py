"""The documents of a record: what stands in its value, and the events that are nested in it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NoReturn

import orjson

from ldsync.engage import verdict

if TYPE_CHECKING:
    from ldsync.engage.verdict import Verdict

Document = dict[str, Any]
"""A decoded JSON object."""

AUDIENCE_CLASSES: Final = ("audience", "journey_step")
"""The computation classes that mean membership; computed traits are ordinary traffic."""

EXACT: Final = b""
"""In place of a record's value: there are no more digits than the document has."""

_MOST_DIGITS: Final = 4000
_UNREADABLE: Final = object()
_has_long_integer = re.compile(rb"\d{19}").search


def parse(value: bytes) -> Document | list[Any] | Verdict:
    """Decode the value of a record into a JSON object or array.

    orjson reads nearly everything. What it refuses is read again with care: the standard library
    accepts lone surrogates (half an emoji, cut by someone's limit) and numbers of any size, which
    are valid JSON.
    """
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError:
        document = _parse_with_care(value)
    if isinstance(document, dict | list):
        return document
    return verdict.BAD_JSON if document is _UNREADABLE else verdict.NOT_AN_OBJECT


def nested(document: Any, value: bytes) -> list[Any] | None:
    """Return the events of a record that has several of them, None if it is no such record.

    Such a record is an array of events, or a batch of Segment's HTTP API: an object without a type
    of its own and with an array `batch`, whose `context` stands in for what its events do not say
    in theirs. An array may hold such batches. `value` is the value of the record, which is read
    again, once, if digits of its integers may have been lost.
    """
    if not isinstance(document, list) and not _is_batch(document):
        return None
    if _has_long_integer(value):
        again = _parse_with_care(value)
        document = again if isinstance(again, dict | list) else document
    if isinstance(document, dict):
        return _items(document)
    return [item for each in document for item in (_items(each) if _is_batch(each) else [each])]


def _is_batch(document: Any) -> bool:
    return (
        isinstance(document, dict)
        and document.get("type") is None
        and isinstance(document.get("batch"), list)
    )


def _items(batch: Document) -> list[Any]:
    """Return the events of a batch, each with the context of the batch under its own."""
    shared = batch.get("context")
    if not isinstance(shared, dict):
        return list(batch["batch"])
    return [_in_context(item, shared) for item in batch["batch"]]


def _in_context(item: Any, shared: Document) -> Any:
    """Complete the context of an event, if it is one and its context is not something else."""
    own = item.get("context") if isinstance(item, dict) else False
    if own is None:
        return item | {"context": shared}
    return item | {"context": shared | own} if isinstance(own, dict) else item


def text(value: object) -> str | None:
    """Return an identifier as text: strings that UTF-8 can carry and integers, in decimal."""
    if type(value) is int:
        return str(value)
    if type(value) is not str:
        return None
    return value if is_sendable(value) else None


def is_sendable(text: str) -> bool:
    """Say whether UTF-8 can carry a text: half a surrogate pair cannot be sent to anyone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def with_exact_integers(document: Document, value: bytes) -> Document:
    """Read an event again with all the digits: beyond 64 bits orjson makes floats of integers.

    `value` is that of the record, or EXACT.
    """
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
