"""Traffic that must not change any membership: not ours, not usable, or broken.

A table of makers, each with its share. Broken values are made from a proper event about a regular
member, so that reading one too kindly shows in the final state.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ldsync.demo import shapes
from ldsync.demo.audiences import AUDIENCES, Audience
from ldsync.demo.shapes import Event, Shape

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

__all__ = ["MAKERS", "Maker"]

_ABSENT = object()
_HUGE = 2**80


@dataclass(frozen=True, slots=True)
class Maker:
    """One kind of noise: what it is, how often it comes, and how to make one.

    `make(audience, user, times, rng)` returns the value to produce.
    """

    shape: Shape
    weight: int
    make: Callable[[Audience, str, Event, random.Random], bytes | None]


def _without_user(user_id: Any) -> Maker:
    def make(audience: Audience, _user: str, times: Event, rng: random.Random) -> bytes:
        event = shapes.anonymous(audience, rng.choice((True, False)), times, rng)
        if user_id is not _ABSENT:
            event["userId"] = user_id
        return shapes.encode(event)

    return Maker(Shape.ANONYMOUS, 24 if user_id is _ABSENT else 1, make)


def _trait(_audience: Audience, user: str, times: Event, rng: random.Random) -> bytes:
    return shapes.encode(shapes.computed_trait(user, times, rng))


def _ordinary(kind: str, weight: int) -> Maker:
    def make(audience: Audience, user: str, times: Event, rng: random.Random) -> bytes:
        return shapes.encode(shapes.ordinary(kind, audience, user, times, rng))

    return Maker(Shape.ORDINARY, weight, make)


def _changed(shape: Shape, **fields: Any) -> Maker:
    """A proper identify event with top-level fields replaced, or left out with `_ABSENT`."""

    def make(audience: Audience, user: str, times: Event, rng: random.Random) -> bytes:
        event = shapes.identify(audience, user, True, times, rng) | fields
        return shapes.encode({k: v for k, v in event.items() if v is not _ABSENT})

    return Maker(shape, 1, make)


def _personas(shape: Shape, field: str, value: Any) -> Maker:
    """A proper track event with one field of `context.personas` replaced or left out."""

    def make(audience: Audience, user: str, times: Event, rng: random.Random) -> bytes:
        event = shapes.track(audience, user, True, times, rng)
        personas = audience.personas | {field: value}
        event["context"]["personas"] = {k: v for k, v in personas.items() if v is not _ABSENT}
        return shapes.encode(event)

    return Maker(shape, 1, make)


def _flag(value: Any) -> Maker:
    """An identify event whose flag is neither a boolean nor the text of one."""

    def make(audience: Audience, user: str, times: Event, rng: random.Random) -> bytes:
        event = shapes.identify(audience, user, value, times, rng)
        if value is _ABSENT:
            del event["traits"][audience.key]
        return shapes.encode(event)

    return Maker(Shape.BROKEN, 1, make)


def _no_flag(_audience: Audience, user: str, times: Event, rng: random.Random) -> bytes:
    step = rng.choice([a for a in AUDIENCES if a.computation_class == "journey_step"])
    return shapes.encode(shapes.journey_step(step, user, None, times, rng))


def _cut(audience: Audience, user: str, times: Event, rng: random.Random) -> bytes:
    value = shapes.encode(shapes.identify(audience, user, True, times, rng))
    return value[: rng.randrange(1, len(value))]


def _latin1(audience: Audience, user: str, times: Event, rng: random.Random) -> bytes:
    event = shapes.track(audience, user, True, times, rng)
    event["context"]["city"] = "Malmö"
    return shapes.encode(event).replace("Malmö".encode(), "Malmö".encode("latin-1"))


def _not_a_number(audience: Audience, user: str, times: Event, rng: random.Random) -> bytes:
    event = shapes.track(audience, user, True, times, rng)
    event["context"]["score"] = float("nan")  # written as NaN, which JSON does not have
    return shapes.encode(event)


def _literal(value: bytes) -> Maker:
    def make(value: bytes, *_: object) -> bytes:
        return value

    return Maker(Shape.BROKEN, 1, partial(make, value))


def _tombstone(*_: object) -> None:
    return None


MAKERS: tuple[Maker, ...] = (
    *(_without_user(user_id) for user_id in (_ABSENT, None, "", "  \t", True, ["u_1"], {"id": 1})),
    Maker(Shape.COMPUTED_TRAIT, 16, _trait),
    _ordinary("page", 8),
    _ordinary("screen", 4),
    _ordinary("group", 4),
    _ordinary("alias", 2),
    _ordinary("track", 10),
    _ordinary("identify", 8),
    _ordinary("account", 2),
    _changed(Shape.ORDINARY, type="Identify"),
    _changed(Shape.ORDINARY, type="delete"),
    _changed(Shape.ORDINARY, type=_ABSENT),
    _changed(Shape.ORDINARY, context=None),
    _changed(Shape.ORDINARY, context=_ABSENT),
    _changed(Shape.ORDINARY, context={"personas": None}),
    _personas(Shape.ORDINARY, "computation_class", "Audience"),
    _personas(Shape.ORDINARY, "computation_class", "computed_trait"),
    _personas(Shape.ORDINARY, "computation_class", _ABSENT),
    Maker(Shape.TOMBSTONE, 1, _tombstone),
    Maker(Shape.NO_FLAG, 10, _no_flag),
    Maker(Shape.BROKEN, 3, _cut),
    Maker(Shape.BROKEN, 1, _latin1),
    Maker(Shape.BROKEN, 1, _not_a_number),
    *(
        _literal(value)
        for value in (
            b"",
            b"hello",
            b"{'type': 'identify'}",
            b'"identify"',
            b"42",
            b"null",
            b"true",
        )
    ),
    *(
        _personas(Shape.BROKEN, field, value)
        for field in ("computation_id", "computation_key")
        for value in (_ABSENT, None, "", True, 1.5, {}, ["aud_1"])
    ),
    *(
        _flag(value)
        for value in (_ABSENT, None, 0, 1, -1, _HUGE, 1.0, "", "yes", "1", [], [True], {})
    ),
    _changed(Shape.BROKEN, traits=_ABSENT),
    _changed(Shape.BROKEN, traits=None),
    _changed(Shape.BROKEN, traits=["first_time_shopper"]),
    _changed(Shape.BROKEN, traits="first_time_shopper"),
)
"""Every kind of noise. Weights are relative; each kind is produced at least once."""
