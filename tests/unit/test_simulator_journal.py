"""What the simulator's journal says about the order and the overlap of writes."""

from ldsync.demo.simulator import Action, Ending, Exchange, Journal
from ldsync.demo.simulator.calls import Write
from ldsync.demo.simulator.membership import Change


class Scripted:
    """A journal whose clock the test moves."""

    def __init__(self, cap: int = 100) -> None:
        self.now = 0.0
        self.journal = Journal(cap=cap, clock=lambda: self.now)

    def arrive(self, at: float, *keys: str, segment: str = "vip") -> Exchange:
        """A patch arrives."""
        self.now = at
        path = f"/api/v2/segments/p/e/{segment}"
        exchange = self.journal.open("patch_segment", "PATCH", path, "", {})
        change = Change(Action.INCLUDE, "user", keys)
        self.journal.describe(exchange, b"{}", (Write(segment, (change,)),))
        return exchange

    def apply(self, exchange: Exchange, at: float, *, late: bool = False) -> None:
        """It takes effect."""
        self.now = at
        self.journal.apply(exchange, late=late)

    def end(self, exchange: Exchange, at: float, ending: Ending = Ending.ANSWERED) -> None:
        """It is over for the client."""
        self.now = at
        self.journal.end(exchange, ending)


def test_patches_one_after_the_other_do_not_overlap() -> None:
    """The end of one may be the moment the next arrives; other segments do not count."""
    script = Scripted()
    first = script.arrive(1, "a")
    other = script.arrive(1.5, "a", segment="other")
    script.end(first, 2)
    script.end(script.arrive(2, "a"), 3)
    script.end(other, 4)
    assert script.journal.patch_overlaps() == []
    assert script.journal.member_overlaps() == []


def test_a_patch_that_arrives_while_another_is_open_is_an_overlap() -> None:
    """Also when the earlier one never ended, and when others came in between."""
    script = Scripted()
    hanging, second, third = script.arrive(1, "a"), script.arrive(2, "b"), script.arrive(5, "a")
    script.end(second, 3)
    script.end(third, 6)
    assert script.journal.patch_overlaps() == [(hanging, second), (hanging, third)]
    pairs = script.journal.member_overlaps()
    assert [(before.exchange, after.exchange) for before, after in pairs] == [(hanging, third)]


def test_a_late_application_after_the_next_write_of_the_member_is_an_overlap() -> None:
    """The client had given up before it wrote again, but not waited long enough (R1)."""
    script = Scripted()
    given_up = script.arrive(1, "a", "b")
    script.end(given_up, 2, Ending.ABANDONED)
    again, safe = script.arrive(3, "a"), script.arrive(3.5, "c")
    script.end(again, 4)
    script.end(safe, 4)
    script.apply(given_up, 5, late=True)
    assert script.journal.patch_overlaps() == [(again, safe)]
    pairs = script.journal.member_overlaps()
    assert [(before.key, after.exchange) for before, after in pairs] == [("a", again)]


def test_the_journal_keeps_the_newest_up_to_its_cap() -> None:
    """The cap counts members; what is forgotten is counted."""
    script = Scripted(cap=5)
    exchanges = [script.arrive(at, "a", "b") for at in range(4)]
    assert list(script.journal.exchanges) == exchanges[-2:]
    assert script.journal.dropped == 2
    assert [write.exchange for write in script.journal.writes(key="b")] == exchanges[-2:]


def test_order_is_that_of_taking_effect() -> None:
    """`sequence` counts arrivals, `order` effects."""
    script = Scripted()
    first, second, third = (script.arrive(at, "a") for at in (1, 2, 3))
    script.apply(second, 5)
    script.apply(first, 6, late=True)
    assert [(each.sequence, each.order, each.late) for each in (first, second, third)] == [
        (1, 2, True),
        (2, 1, False),
        (3, None, False),
    ]
