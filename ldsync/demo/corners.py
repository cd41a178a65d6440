"""Valid changes that only a careful reader gets right, each about a member of its own.

Every corner is a short story about one member with one right ending: times that sort differently
as text than as times, ties, clocks that are wrong, late arrivals, unusual ids, flags in unusual
places. `late` steps belong into the tail of the script.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ldsync.demo import shapes
from ldsync.demo.shapes import Event, Moment, TimeStyle, iso

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from ldsync.demo.audiences import Audience

__all__ = ["Corner", "Step", "corners"]

_MILLISECOND = 1_000_000
_SECOND = 1_000_000_000
_HOUR = 3600 * _SECOND
_FAR_FUTURE = "2099-12-31T23:59:59.000Z"
_TAIL_AFTER = 55 * _SECOND
"""Later than the opening ends, and not so late that it counts as future (60 s) itself."""


@dataclass(frozen=True, slots=True)
class Step:
    """One event of a corner."""

    event: Event
    late: bool = False


@dataclass(frozen=True, slots=True)
class Corner:
    """One member's story; `together` when all its records must share a partition."""

    name: str
    steps: tuple[Step, ...]
    together: bool = False


def corners(
    audience: Audience, number: int, moment: Moment, start: int, rng: random.Random
) -> Iterator[Corner]:
    """Every corner once, about members of this audience whose ids carry `number`.

    Args:
        audience: an ordinary one (not a journey).
        number: keeps the members of several calls apart.
        moment: when things happened, well before `start`.
        start: when producing begins, nanoseconds since the epoch.
        rng: where ids and details come from.
    """
    second = moment.time // _SECOND * _SECOND
    received = {"receivedAt": iso(moment.received)}

    def at(text: str, **more: str) -> Event:
        return {"timestamp": text, **received, **more}

    def step(user: Any, flag: Any, times: Event, *, late: bool = False) -> Step:
        shape = rng.choice((shapes.identify, shapes.track))
        return Step(shape(audience, user, flag, times, rng), late)

    def story(name: str, *told: tuple[bool, Event, bool], together: bool = False) -> Corner:
        user = f"corner_{name}_{number}"
        steps = tuple(step(user, flag, times, late=late) for flag, times, late in told)
        return Corner(name, steps, together)

    yield from _clocks(story, at, second, start)
    usual = shapes.time_fields(moment, TimeStyle.MILLISECONDS, rng)
    big = 12345678901234567890 + number
    for name, user in (
        ("unicode_id", f"Zoë-日本-{number}"),
        ("slash_in_id", f"acct/{number}/7"),
        ("padded_id", f" padded {number} "),
        ("integer_id", 1000 + number),
        ("integer_id_of_64_bits", big),
        ("integer_id_beyond_64_bits", big * 2**40),
    ):
        yield Corner(name, (step(user, True, usual),))
    yield from _places(audience, number, usual, rng)


def _clocks(story: Any, at: Any, second: int, start: int) -> Iterator[Corner]:
    """Which of several events is the newest."""
    z = iso(second, 0)
    nanos = [iso(second + 7 * _MILLISECOND + n, 9) for n in range(3)]
    yield story("a_nanosecond_later", (True, at(nanos[0]), False), (False, at(nanos[1]), False))
    yield story(
        "fraction_sorts_before_z",
        (True, at(z), False),
        (False, at(iso(second + _SECOND // 2)), False),
    )
    yield story(
        "offset_looks_later",
        (False, at(z), False),
        (True, at(iso(second - _HOUR, 3, 330)), False),
    )
    yield story(
        "same_time_received_later",
        (True, at(z), False),
        (False, at(z, receivedAt=iso(second + 20 * _SECOND)), False),
    )
    yield story(
        "same_time_same_partition", (False, at(z), False), (True, at(z), False), together=True
    )
    yield story("no_time_at_all", (False, at(z), False), (True, {}, False))
    yield story("only_in_the_future", (True, at(_FAR_FUTURE), False))
    yield story(
        "wrong_clock_then_right",
        (True, at(_FAR_FUTURE), False),
        (False, at(iso(start + _TAIL_AFTER)), True),
    )
    later = iso(second + 2 * _SECOND)
    yield story("late_entry_after_exit", (False, at(later), False), (True, at(z), True))
    yield story("late_exit_after_entry", (True, at(later), False), (False, at(z), True))
    yield story("exit_in_the_tail", (True, at(z), False), (False, at(later), True))


def _places(audience: Audience, number: int, times: Event, rng: random.Random) -> Iterator[Corner]:
    """Where the flag stands and how it is written."""

    def made(name: str, event: Event, **fields: Any) -> Corner:
        return Corner(name, (Step(event | fields),))

    def user(name: str) -> str:
        return f"corner_{name}_{number}"

    flag = {audience.key: True}
    identify = shapes.identify(audience, user("flag_in_properties"), True, times, rng)
    yield made("flag_in_properties", identify, traits={"plan": "a"}, properties=flag)
    identify = shapes.identify(audience, user("empty_properties"), True, times, rng)
    yield made("empty_properties", identify, properties={})
    track = shapes.track(audience, user("flag_in_traits"), True, times, rng)
    yield made("flag_in_traits", track, properties=None, traits=flag)
    for text in ("TRUE", "False"):
        name = f"text_{text}"
        yield made(name, shapes.identify(audience, user(name), text, times, rng))
