"""Plans that once showed something wrong, as they were then, each with its story.

A seed alone would mean another plan as soon as there is another sort of mischief.
"""

from dataclasses import dataclass, replace

from tests.chaos.evidence import Store
from tests.chaos.mischief import Step, Trouble
from tests.chaos.plan import Plan


@dataclass(frozen=True, slots=True)
class Regression:
    """A plan that must never fail again.

    Attributes:
        story: What was wrong, and what was done about it.
        plan: The plan.
    """

    story: str
    plan: Plan


_TWO_BROKERS = Plan(
    seed=157,
    brokers=2,
    replicas=2,
    partitions=3,
    more_partitions=3,
    keyed=True,
    disordered=True,
    store=Store.MEMORY,
    write_path="standard",
    exit_action="exclude",
    batch_seconds=0.2,
    batch_size=50,
    tight=False,
    transactions=False,
    compacted=False,
    members=20,
    audiences=2,
    events=800,
    clean=False,
    steps=(),
)

REGRESSIONS: tuple[Regression, ...] = (
    Regression(
        "Started while one of two brokers was away, ldsync ended with 78: a dead-letter topic with "
        "two replicas could not be made, which it took for a fault of the configuration. Now it is "
        "tried again until the start times out.",
        replace(
            _TWO_BROKERS,
            steps=(Step(0.0, Trouble.BROKER_STOP, 1, 3.0), Step(12.0, Trouble.KILL_ALL)),
        ),
    ),
    Regression(
        "Asked to end while it was being put together, after the first line of its log, ldsync "
        "ended by the signal (143) instead of in order (0).",
        replace(
            _TWO_BROKERS,
            seed=1010,
            brokers=1,
            steps=tuple(
                Step(at, Trouble.TERM, slot)
                for slot, first in enumerate((0.4, 0.7))
                for at in (first, first + 2.0, first + 4.0, first + 6.0)
            ),
        ),
    ),
)
