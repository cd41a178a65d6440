"""Which requests a fault of the simulator befalls, and what follows from what it says."""

import json
import math

import orjson
import pytest

from ldsync.demo.simulator import ROUTES, Action, Answer, Apply, Exchange, Fault
from ldsync.demo.simulator.calls import Write
from ldsync.demo.simulator.control import fault_from
from ldsync.demo.simulator.faults import Faults, Standing
from ldsync.demo.simulator.membership import Change

PATCH = next(route for route in ROUTES if route.name == "patch_segment")


def an_exchange(*keys: str, segment: str = "vip") -> Exchange:
    """A patch that includes some keys."""
    writes = (Write(segment, (Change(Action.INCLUDE, "user", keys),)),)
    path = f"/api/v2/segments/p/e/{segment}"
    return Exchange(1, "patch_segment", "PATCH", path, "", {}, 0.0, writes)


@pytest.mark.parametrize(
    ("fault", "befalls"),
    [
        pytest.param(Fault(status=500), True, id="everything"),
        pytest.param(Fault(route="patch_segment", status=500), True, id="name"),
        pytest.param(Fault(route="create_segment", status=500), False, id="another name"),
        pytest.param(Fault(route="*_segment", status=500), True, id="pattern of names"),
        pytest.param(Fault(route=f"PATCH {PATCH.template}", status=500), True, id="template"),
        pytest.param(Fault(route="* /api/v2/segments/p/e/v*", status=500), True, id="path"),
        pytest.param(Fault(route="POST *", status=500), False, id="another verb"),
        pytest.param(Fault(segment="vip", status=500), True, id="segment"),
        pytest.param(Fault(segment="other", status=500), False, id="another segment"),
        pytest.param(Fault(member="b", status=500), True, id="member"),
        pytest.param(Fault(member="z", status=500), False, id="another member"),
        pytest.param(Fault(more_than=1, status=500), True, id="enough members"),
        pytest.param(Fault(more_than=2, status=500), False, id="too few members"),
        pytest.param(Fault(segment="vip", member="z", status=500), False, id="one of two holds"),
    ],
)
def test_a_fault_befalls_what_meets_all_its_conditions(*, fault: Fault, befalls: bool) -> None:
    """Conditions that are given must all hold."""
    faults = Faults()
    faults.add(fault)
    assert (faults.take(PATCH, an_exchange("a", "b")) is not None) == befalls


def test_a_fault_skips_befalls_and_expires_by_count() -> None:
    """`skip` requests pass it, `times` are befallen; those it leaves are for the next fault."""
    faults = Faults()
    first = faults.add(Fault(status=500, skip=1, times=2))
    second = faults.add(Fault(status=503))
    taken = [faults.take(PATCH, an_exchange("a")) for _ in range(4)]
    assert [standing and standing.number for standing in taken] == [second, first, first, second]
    assert (faults.befallen(first), faults.befallen(second)) == (2, 2)


def test_a_fault_expires_by_time() -> None:
    """`seconds` after it was added a fault is gone."""
    now = iter([100.0, 104.9, 105.0])
    faults = Faults(clock=lambda: next(now))
    faults.add(Fault(status=500, seconds=5))
    assert faults.take(PATCH, an_exchange("a")) is not None
    assert faults.take(PATCH, an_exchange("a")) is None


@pytest.mark.parametrize(
    ("fault", "outcome", "apply"),
    [
        pytest.param(Fault(delay_seconds=1), Answer.TRUE, Apply.NOW, id="delay"),
        pytest.param(Fault(status=500), Answer.STATUS, Apply.NEVER, id="status"),
        pytest.param(Fault(answer=Answer.RESET), Answer.RESET, Apply.NEVER, id="reset"),
        pytest.param(Fault(answer=Answer.HANG), Answer.HANG, Apply.NEVER, id="hang"),
        pytest.param(Fault(late_seconds=1), Answer.HANG, Apply.LATE, id="late"),
        pytest.param(Fault(late_seconds=1, status=504), Answer.STATUS, Apply.LATE, id="late 504"),
        pytest.param(Fault(status=504, apply=Apply.NOW), Answer.STATUS, Apply.NOW, id="lie"),
    ],
)
def test_what_a_fault_leaves_out_follows(fault: Fault, outcome: Answer, apply: Apply) -> None:
    """The answer and the effect follow from what is given."""
    assert (fault.outcome, fault.apply) == (outcome, apply)


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"answer": "status"}, id="no status"),
        pytest.param({"status": 500, "answer": "reset"}, id="status and reset"),
        pytest.param({"apply": "late", "answer": "hang"}, id="late without a time"),
        pytest.param({"apply": "never"}, id="true answer without applying"),
        pytest.param({"apply": "never", "answer": "cut"}, id="half of it without applying"),
        pytest.param({"late_seconds": 1.0, "apply": "now", "status": 500}, id="late now"),
        pytest.param({"answer": "maybe"}, id="unknown answer"),
        pytest.param({"rout": "patch_segment"}, id="unknown field"),
        pytest.param({"times": "3"}, id="text for a number"),
        pytest.param({"times": True}, id="boolean for a number"),
        pytest.param({"body": 3}, id="number for a body"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(document: dict[str, object]) -> None:
    """It is told when it is ordered, not when it befalls."""
    with pytest.raises(
        ValueError, match=r"belong together|only known|unknown|cannot be|not a valid"
    ):
        fault_from(document)


def test_a_fault_reads_back_as_it_was_ordered() -> None:
    """What the list of faults shows can be ordered again, infinite waits included."""
    fault = Fault(
        route="patch_segment",
        status=429,
        headers={"Retry-After": "3", "X-Ratelimit-Reset": None},
        body={"message": "no code"},
        delay_seconds=math.inf,
        answer_delay_seconds=1,
    )
    shown = json.loads(orjson.dumps(Standing(1, fault, math.inf).summary()))
    assert (
        fault_from({name: shown[name] for name in shown.keys() - {"id", "seen", "befallen"}})
        == fault
    )
