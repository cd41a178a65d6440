"""The delay of many changes in two figures, and the table of what faults do to it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from rich.console import Console
from rich.table import Table

GOAL = 2.0  # times the undisturbed 99th percentile


class Reach(StrEnum):
    """What a fault concerns, as the title of a table."""

    ONE = "Faults of one segment"
    MANY = "Faults of many segments at a time"
    ALL = "Faults that concern everything, and for which there is no goal"


@dataclass(frozen=True, slots=True)
class Row:
    """One fault.

    Attributes:
        fault: Its name.
        befallen: Requests it befell; 0 if it is the segment that is not as it should be.
        undisturbed: Delays of the other segments' changes before it, in seconds, sorted.
        during: The same, while it was in force.
        reach: What it concerns.
    """

    fault: str
    befallen: int
    undisturbed: Sequence[float]
    during: Sequence[float]
    reach: Reach

    def ratio(self, share: float) -> float:
        """How many times longer a percentile of the delay is during the fault."""
        return percentile(self.during, share) / percentile(self.undisturbed, share)

    @property
    def misses(self) -> bool:
        """Whether it does more to the others than it should."""
        return self.reach is not Reach.ALL and not self.ratio(0.99) <= GOAL


def percentile(ordered: Sequence[float], share: float) -> float:
    """The least value that at least this share of all are not above; NaN if there are none."""
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def show(rows: Sequence[Row], console: Console) -> None:
    """Print a table for each reach, and what misses the goal."""
    for reach in Reach:
        chosen = [row for row in rows if row.reach is reach]
        if chosen:
            console.print(_table(chosen, f"{reach}: delay of the other segments' changes"))
    missing = [row.fault for row in rows if row.misses]
    console.print(
        f"goal: p99 within {GOAL:g} times the undisturbed one; "
        + (f"missed by {', '.join(missing)}" if missing else "reached by all")
    )


def _table(rows: Sequence[Row], title: str) -> Table:
    table = Table(title=f"{title} (seconds)")
    table.add_column("fault")
    for heading in ("befallen", "changes", "p50 before", "during", "p99 before", "during"):
        table.add_column(heading, justify="right")
    table.add_column("p50 ratio", justify="right")
    table.add_column("p99 ratio", justify="right")
    for row in rows:
        figures = [
            percentile(delays, share)
            for share in (0.5, 0.99)
            for delays in (row.undisturbed, row.during)
        ]
        table.add_row(
            row.fault,
            str(row.befallen or ""),
            f"{len(row.during):,}",
            *(f"{figure:.3f}" for figure in figures),
            f"{row.ratio(0.5):.2f}",
            f"{row.ratio(0.99):.2f}",
        )
    return table
