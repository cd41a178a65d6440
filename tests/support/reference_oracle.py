"""A second reading of events by the rules of Segment's own destination: slow and plain.

It shares no code with `ldsync.engage`. Written after the order of evaluation that its code has:
trigger, fields, what is empty is dropped, coercion, membership, key.
"""

import json
from dataclasses import dataclass
from typing import Any

MISSING = object()
REQUIRED = ("id", "key", "class", "kind")
TEXTS = (*REQUIRED, "user", "anonymous", "email")
ORDERS = {
    "user_id_only": ("user",),
    "email_only": ("email",),
    "user_id_then_email": ("user", "email"),
    "user_id_then_anonymousId": ("user", "anonymous"),
    "user_id_then_email_then_anonymousId": ("user", "email", "anonymous"),
}
FUNCTIONS = [
    "constructor",
    "hasOwnProperty",
    "isPrototypeOf",
    "propertyIsEnumerable",
    "toLocaleString",
    "toString",
    "valueOf",
    "__proto__",
    "__defineGetter__",
    "__defineSetter__",
    "__lookupGetter__",
    "__lookupSetter__",
]


class Refused(Exception):
    """The destination drops the event."""


@dataclass(frozen=True)
class Entry:
    """A member as it would be sent; `user` is None if it has no key."""

    audience_id: str
    audience_key: str
    kind: str
    user: str | None
    value: bool


def entry(event: Any, *, priority: str, kind: Any, batched: bool) -> Entry | None:
    """What is sent for an event; None if no trigger asks for it.

    `kind` is a constant, or a list of the keys that lead to it.

    Raises:
        Refused: It is dropped.
    """
    if not isinstance(event, dict) or event.get("type") not in ("identify", "track"):
        return None
    fields = _resolved(event, kind)
    fields = {name: value for name, value in fields.items() if value is not None}
    if not batched:
        fields = {name: value for name, value in fields.items() if value != ""}
    if any(name not in fields for name in (*REQUIRED, "object")):
        raise Refused
    for name in TEXTS:
        if name in fields:
            fields[name] = _coerced(fields[name])
    if fields["class"] not in ("audience", "journey_step") or not isinstance(
        fields["object"], dict
    ):
        raise Refused
    user = next((fields[name] for name in ORDERS[priority] if fields.get(name)), None)
    flag = fields["object"].get(fields["key"], fields["key"] in FUNCTIONS)
    value = flag not in (None, False, 0, "") or isinstance(flag, (list, dict))
    return Entry(fields["id"], fields["key"], fields["kind"], user, value)


def _resolved(event: dict[str, Any], kind: Any) -> dict[str, Any]:
    own = _at(event, "traits", "email")
    properties = _at(event, "properties")
    return {
        "id": _at(event, "context", "personas", "computation_id"),
        "key": _at(event, "context", "personas", "computation_key"),
        "class": _at(event, "context", "personas", "computation_class"),
        "kind": _at(event, *kind) if isinstance(kind, list) else kind,
        "user": _at(event, "userId"),
        "anonymous": _at(event, "anonymousId"),
        "email": _at(event, "context", "traits", "email") if own is None else own,
        "object": _at(event, "traits") if properties is None else properties,
    }


def _at(value: Any, *steps: str) -> Any:
    """What the mapping kit finds at a path; None for missing and null."""
    for step in steps:
        if value is None or value is False or value == "" or (_is_number(value) and value == 0):
            return value
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _coerced(value: Any) -> str:
    if isinstance(value, list):
        if len(value) != 1:
            raise Refused
        value = "" if value[0] is None else value[0]
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return json.dumps(value)
    if not _is_number(value):
        raise Refused
    return number(value)


def number(value: float) -> str:
    """A number as JavaScript prints it, made from Python's shortest notation."""
    try:
        value = float(value)
    except OverflowError:
        value = float("inf") * (1 if value > 0 else -1)
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "0"
    sign, size = ("-", -value) if value < 0 else ("", value)
    mantissa, _, exponent = f"{size!r}".partition("e")
    if 1e-6 <= size < 1e21:
        if exponent or mantissa.endswith(".0"):
            whole = f"{size:.25f}" if size < 1 else f"{int(size)}"
            digits = mantissa.replace(".", "").rstrip("0").lstrip("0")
            if size >= 1:
                return sign + digits.ljust(len(whole), "0")
            zeros = len(whole[2:]) - len(whole[2:].lstrip("0"))
            return f"{sign}0.{'0' * zeros}{digits}"
        return sign + mantissa
    if not exponent:  # Python prints 1e-5 with an exponent, as JavaScript does below 1e-6
        raise AssertionError(value)
    power = int(exponent)
    return f"{sign}{mantissa.removesuffix('.0')}e{'+' if power > 0 else '-'}{abs(power)}"
