"""Misbehaviour on order: which requests, how often, and what happens to them instead."""

import asyncio
import fnmatch
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum

from ldsync.demo.simulator.calls import Route
from ldsync.demo.simulator.journal import Exchange


class Apply(StrEnum):
    """What becomes of the effect of a request."""

    NOW = "now"
    NEVER = "never"
    LATE = "late"  # after `late_seconds`, whatever the client did or was told meanwhile


class Answer(StrEnum):
    """What the client gets."""

    TRUE = "true"  # what the API really answers
    STATUS = "status"  # the fault's `status`
    RESET = "reset"  # the connection is reset
    HANG = "hang"  # nothing, until the client gives up
    CUT = "cut"  # the head and half of the body of what the API really answers, then the end


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One rule of misbehaviour. All conditions that are given must hold.

    What is not given follows from what is: a `status` is answered and nothing applied; `reset` and
    `hang` apply nothing unless told to; a late application hangs unless an answer is given; and
    a fault with nothing but a delay lets the request through.

    Attributes:
        route: Which operations: a name (`patch_segment`), a verb and template
            (`PATCH /api/v2/segments/{projectKey}/{environmentKey}/{segmentKey}`) or a pattern for
            either or for the verb and path as sent (`* /api/v2/segments/*`).
        segment: Only writes to that segment.
        member: Only writes that name that context key.
        more_than: Only writes of more members than that.
        skip: Let that many matching requests through first.
        times: Befall that many, then expire; None is no limit.
        seconds: Expire after that time; None is no limit.
        answer: What the client gets.
        apply: What becomes of the effect.
        status: Status to answer.
        code: `code` of the error body, where the documented one is not wanted.
        message: `message` of the error body, likewise ("approval is required").
        body: Whole body instead: an object is sent as JSON, a string as it is.
        headers: Headers to set; None takes one out.
        reset_seconds: Say in the headers that the route's rate window is used up and ends then.
        delay_seconds: Wait before anything else; infinite until `release`.
        answer_delay_seconds: Wait between applying and answering; infinite until `release`.
        late_seconds: When a late application takes place; infinite until `release`.
        body_seconds: Send the body in pieces, over that time.
    """

    route: str | None = None
    segment: str | None = None
    member: str | None = None
    more_than: int | None = None
    skip: int = 0
    times: int | None = None
    seconds: float | None = None
    answer: Answer | None = None
    apply: Apply | None = None
    status: int | None = None
    code: str | None = None
    message: str | None = None
    body: Mapping[str, object] | str | None = None
    headers: Mapping[str, str | None] = field(default_factory=dict)
    reset_seconds: float | None = None
    delay_seconds: float = 0.0
    answer_delay_seconds: float = 0.0
    late_seconds: float | None = None
    body_seconds: float = 0.0

    def __post_init__(self) -> None:
        late = self.late_seconds is not None
        if self.apply is None:
            refused = self.outcome in (Answer.STATUS, Answer.RESET, Answer.HANG)
            effect = Apply.LATE if late else Apply.NEVER if refused else Apply.NOW
            object.__setattr__(self, "apply", effect)
        if (self.outcome is Answer.STATUS) != (self.status is not None):
            raise ValueError("answer 'status' and a status belong together")
        if (self.apply is Apply.LATE) != late:
            raise ValueError("apply 'late' and late_seconds belong together")
        if self.apply is not Apply.NOW and self.outcome in (Answer.TRUE, Answer.CUT):
            raise ValueError("the true answer is only known when the request is applied now")

    @property
    def outcome(self) -> Answer:
        """What the client gets, where it follows from the rest."""
        if self.answer is not None:
            return self.answer
        if self.status is not None:
            return Answer.STATUS
        return Answer.HANG if self.late_seconds is not None else Answer.TRUE

    def matches(self, route: Route, exchange: Exchange) -> bool:
        """Whether a request is one of those it is about."""
        names = (route.name, f"{route.method} {route.template}", f"{route.method} {exchange.path}")
        return (
            (self.route is None or any(fnmatch.fnmatchcase(name, self.route) for name in names))
            and (self.segment is None or any(w.segment == self.segment for w in exchange.writes))
            and (self.more_than is None or exchange.members > self.more_than)
            and (
                self.member is None
                or any(
                    self.member in change.keys
                    for write in exchange.writes
                    for change in write.changes
                )
            )
        )


@dataclass(slots=True, eq=False)
class Standing:
    """A fault in force."""

    number: int
    fault: Fault
    expires: float
    seen: int = 0
    befallen: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def pause(self, seconds: float) -> None:
        """Wait that long, or until the fault is released."""
        if seconds <= 0:
            return
        try:
            async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                await self.released.wait()
        except TimeoutError:
            return

    def summary(self) -> dict[str, object]:
        """It as a JSON object."""
        given = {each.name: getattr(self.fault, each.name) for each in fields(self.fault)}
        given = {name: "release" if value == math.inf else value for name, value in given.items()}
        given["headers"] = dict(self.fault.headers)
        return {"id": self.number, "seen": self.seen, "befallen": self.befallen} | given


class Faults:
    """The faults in force, in the order they were added; the first that matches befalls."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._numbers = itertools.count(1)
        self._standing: dict[int, Standing] = {}
        # Faults whose last request is still waiting can be released after they have expired.
        self._known: dict[int, Standing] = {}

    def __iter__(self) -> Iterator[Standing]:
        self._expire()
        return iter(list(self._standing.values()))

    def add(self, fault: Fault) -> int:
        """Put a fault in force.

        Returns:
            Its number, for `remove` and `release`.
        """
        number = next(self._numbers)
        expires = math.inf if fault.seconds is None else self._clock() + fault.seconds
        self._standing[number] = self._known[number] = Standing(number, fault, expires)
        return number

    def remove(self, number: int) -> None:
        """Take a fault out of force; what it befell goes on as ordered."""
        self._standing.pop(number, None)

    def clear(self) -> None:
        """Take all faults out of force, and let go of every request that waits in one."""
        self._standing.clear()
        for standing in self._known.values():
            standing.released.set()
        self._known.clear()

    def release(self, number: int) -> None:
        """End every wait of a fault at once: delays, and the time to late applications.

        Raises:
            KeyError: There never was such a fault.
        """
        self._known[number].released.set()

    def befallen(self, number: int) -> int:
        """How many requests a fault has befallen.

        Raises:
            KeyError: There never was such a fault.
        """
        return self._known[number].befallen

    def take(self, route: Route, exchange: Exchange) -> Standing | None:
        """The fault that befalls a request, counted."""
        self._expire()
        for standing in self._standing.values():
            if not standing.fault.matches(route, exchange):
                continue
            standing.seen += 1
            if standing.seen <= standing.fault.skip:
                continue
            standing.befallen += 1
            exchange.fault = standing.number
            return standing
        return None

    def _expire(self) -> None:
        now = self._clock()
        for number, standing in list(self._standing.items()):
            times = standing.fault.times
            if now >= standing.expires or (times is not None and standing.befallen >= times):
                del self._standing[number]
