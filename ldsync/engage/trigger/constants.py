"""What can be said of an event from the texts that a trigger compares its fields with."""

from __future__ import annotations

from typing import Final, NamedTuple, assert_never

from ldsync.engage.trigger.syntax import AllOf, AnyOf, Condition, Expression, Field, Operator

TYPE: Final = Field("type")

Texts = dict[Field, frozenset[str]]
"""For each of some fields, the texts one of which stands there."""


class Constants(NamedTuple):
    """What must be true of all events that match.

    Each field in `texts` is one of its texts. `decisive` says that this is all that is asked: every
    event of which it is true does match.
    """

    texts: Texts
    decisive: bool


def constants_of(expression: Expression) -> Constants:
    """Say which texts a trigger needs in which fields; no field at all if it needs none."""
    match expression:
        case Condition(field=field, operator=Operator.EQUALS, value=str(value)):
            return Constants({field: frozenset((value,))}, decisive=True)
        case Condition():
            return Constants({}, decisive=False)
        case AllOf(parts=parts):
            return _of_all([constants_of(part) for part in parts])
        case AnyOf(parts=parts):
            return _of_any([constants_of(part) for part in parts])
        case _:
            assert_never(expression)


def _of_all(parts: list[Constants]) -> Constants:
    """Join what all parts need: of a field that several speak of, what they have in common."""
    texts: Texts = {}
    for part in parts:
        for field, possible in part.texts.items():
            texts[field] = texts.get(field, possible) & possible
    return Constants(texts, decisive=all(part.decisive for part in parts))


def _of_any(parts: list[Constants]) -> Constants:
    """Return what is needed whichever part is true: fields of which every part speaks.

    That is all that is asked if the parts differ in one field at most; `a = "1" and b = "2" or a =
    "3" and b = "4"` is not true of an event with `1` and `4`.
    """
    first, *others = (part.texts for part in parts)
    common = [field for field in first if all(field in texts for texts in others)]
    texts = {field: first[field].union(*(texts[field] for texts in others)) for field in common}
    differing = sum(any(texts[field] != first[field] for texts in others) for field in common)
    whole = all(part.decisive and len(part.texts) == len(common) for part in parts)
    return Constants(texts, decisive=whole and differing <= 1)
