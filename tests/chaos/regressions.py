"""Plans that once showed something wrong, as they were then, each with its story.

A seed alone would mean another plan as soon as there is another sort of mischief.
"""

from dataclasses import dataclass

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


REGRESSIONS: tuple[Regression, ...] = ()
