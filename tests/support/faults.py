"""Everything that can go wrong with one segment, as the suite and the bench bring it about.

Each of `CASES` is of one segment: requests that write to it are befallen, or it is itself not as it
should be. `MANY` are of many segments at the same time. `SHARED` are faults that concern the whole
account or token, so that everything waits.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from ldsync.demo.simulator import Answer, Apply, Fault, Side, Simulator
from ldsync.demo.simulator.segment import MAX_TARGETS

TAG: Final = "ldsync"
#: Requests that write members of a segment, dry runs included, on each write path.
WRITES: Final = {
    "standard": "PATCH /api/v2/segments/*/*/{}",
    "big": "POST /api/v2/segments/*/*/{}/contexts",
}
_HTML = "<!doctype html><title>Sign in</title><p>Please sign in to go on."
_STRANGER = "stranger"

World = Callable[[Simulator, str], None]


def _nothing(_simulator: Simulator, _segment: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Case:
    """A fault.

    Attributes:
        name: What it is called in tests and tables.
        reason: The reason that `ldsync_retries_total` gives; empty if nothing is tried again.
        orders: What befalls writes to the segment, one after the other.
        begin: What is done to the segment itself at the beginning.
        end: How that is undone.
        unseen: Whether the segment has no events before: ldsync must look it up during the fault.
        copies: How many segments have it at the same time.
        only_standard: Whether it cannot befall big segments: they have no limit, and the answers
            to their writes no body.
    """

    name: str
    reason: str
    orders: tuple[Fault, ...] = ()
    begin: World = _nothing
    end: World = _nothing
    unseen: bool = False
    copies: int = 1
    only_standard: bool = False

    @property
    def segment(self) -> str:
        """Key of the segment, and of the audience, that it befalls."""
        return self.segments[0]

    @property
    def segments(self) -> list[str]:
        """Keys of all of them."""
        name = "ill_" + self.name.replace(" ", "_")
        return [name, *(f"{name}_{number}" for number in range(1, self.copies))]

    def put_in_force(self, simulator: Simulator, write_path: str = "standard") -> "InForce":
        """Let it befall its segments until `end` of what is returned is called."""
        numbers = []
        for segment in self.segments:
            self.begin(simulator, segment)
            route = WRITES[write_path].format(segment)
            numbers += [simulator.faults.add(replace(each, route=route)) for each in self.orders]
        return InForce(self, simulator, numbers)


@dataclass(frozen=True, slots=True)
class InForce:
    """A fault that befalls its segments."""

    case: Case
    _simulator: Simulator
    _numbers: list[int]

    @property
    def befallen(self) -> int:
        """How many requests it has befallen."""
        return sum(map(self._simulator.faults.befallen, self._numbers))

    def end(self) -> None:
        """Take it out of force."""
        for number in self._numbers:
            self._simulator.faults.remove(number)
        for segment in self.case.segments:
            self.case.end(self._simulator, segment)


def _delete(simulator: Simulator, segment: str) -> None:
    simulator.segments.pop(segment, None)


def _strangers(*, present: bool) -> World:
    """Have somebody else fill a segment up to the last place, or leave it again."""

    def change(simulator: Simulator, segment: str) -> None:
        membership = simulator.segments[segment].membership
        room = MAX_TARGETS - membership.count(Side.INCLUDED)
        for number in range(room if present else MAX_TARGETS):
            membership.put(Side.INCLUDED, "user", f"{_STRANGER}-{number}", present=present)

    return change


def _made_by_hand(simulator: Simulator, segment: str) -> None:
    simulator.create_segment(segment)


def _given_the_tag(simulator: Simulator, segment: str) -> None:
    simulator.segments[segment].tags = [TAG]


CASES: Final = (
    Case("400 without code", "bad_request", (Fault(status=400, body={"message": "No."}),)),
    Case("403 forbidden", "forbidden", (Fault(status=403),)),
    Case(
        "403 approval required",
        "approval_required",
        (Fault(status=403, message="approval is required"),),
    ),
    Case("404 deleted", "", begin=_delete),
    Case("404 though it is there", "not_found", (Fault(status=404),)),
    Case("409 optimistic lock for ever", "conflict", (Fault(status=409),)),
    Case("409 of another kind", "conflict", (Fault(status=409, code="key_exists"),)),
    Case(
        "5xx storm",
        "server_error",
        (
            Fault(status=503, times=2),
            Fault(status=500, times=2),
            Fault(status=504, apply=Apply.NOW, times=1),
            Fault(status=520, body=_HTML, times=1),
            Fault(status=503, body=""),
        ),
    ),
    Case("hangs", "timeout", (Fault(answer=Answer.HANG),)),
    Case("hangs after applying", "timeout", (Fault(answer=Answer.HANG, apply=Apply.NOW),)),
    Case("reset before applying", "connection", (Fault(answer=Answer.RESET),)),
    Case("reset after applying", "connection", (Fault(answer=Answer.RESET, apply=Apply.NOW),)),
    Case("slow body", "timeout", (Fault(body_seconds=600),), only_standard=True),
    Case("truncated body", "connection", (Fault(answer=Answer.CUT),), only_standard=True),
    Case("200 with HTML", "unexpected", (Fault(status=200, body=_HTML),)),
    Case(
        "segment full",
        "segment_full",
        begin=_strangers(present=True),
        end=_strangers(present=False),
        only_standard=True,
    ),
    Case(
        "segment not adoptable",
        "not_adopted",
        begin=_made_by_hand,
        end=_given_the_tag,
        unseen=True,
        only_standard=True,
    ),
)

#: More segments than there may be requests at a time (`launchdarkly.max_in_flight`).
MANY: Final = (
    Case("5xx in ten segments", "server_error", (Fault(status=503),), copies=10),
    Case("hangs in ten segments", "timeout", (Fault(answer=Answer.HANG),), copies=10),
)

SHARED: Final = (
    Case("429 until a reset", "rate_limited", (Fault(status=429, reset_seconds=3),)),
    Case("401 unauthorized", "unauthorized", (Fault(status=401),)),
)
