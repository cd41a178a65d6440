"""One measured run, and the table of all of them."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

BATCH = 1_500  # members in one request, at the most


@dataclass(frozen=True, slots=True, kw_only=False)
class Result:
    """What one run took.

    Attributes:
        subject: What ran.
        events: Records read.
        seconds: Wall time from the first record to the last, or to the last answered write.
        cpu_seconds: User and system time of the process for that.
        start_cpu_seconds: The same, for its start before that.
        peak_bytes: Highest resident memory of the process.
        requests: Membership writes sent.
        operations: Members in them.
    """

    subject: str
    events: int
    seconds: float
    cpu_seconds: float
    start_cpu_seconds: float
    peak_bytes: int
    requests: int = 0
    operations: int = 0

    @property
    def rate(self) -> float:
        """Events per second."""
        return self.events / self.seconds

    @property
    def cpu_rate(self) -> float:
        """Events per CPU second."""
        return self.events / self.cpu_seconds


def ratios(rounds: Sequence[Sequence[Result]]) -> dict[str, list[float]]:
    """For each subject, events per CPU second over those of the parse limit in the same round."""
    found: dict[str, list[float]] = {}
    for results in rounds:
        (limit,) = (result for result in results if result.subject == "parse limit")
        for result in results:
            found.setdefault(result.subject, []).append(result.cpu_rate / limit.cpu_rate)
    return found


def show(rounds: Sequence[Sequence[Result]], console: Console, goal: float) -> None:
    """Print every run, and for each subject the smallest and the median ratio.

    `goal` is the least ratio that the last subject of each round should reach.
    """
    table = Table(
        title="CPU from the first record on; the start of the process is a column of its own"
    )
    table.add_column("round")
    table.add_column("subject")
    for heading in (
        "events/s",
        "events/CPU s",
        "ratio",
        "start CPU s",
        "peak RSS MB",
        "requests",
        "ops/request",
    ):
        table.add_column(heading, justify="right")
    by_subject = ratios(rounds)
    for number, results in enumerate(rounds):
        for result in results:
            table.add_row(
                str(number + 1),
                result.subject,
                f"{result.rate:,.0f}",
                f"{result.cpu_rate:,.0f}",
                f"{by_subject[result.subject][number]:.2f}",
                f"{result.start_cpu_seconds:.1f}",
                f"{result.peak_bytes / 1e6:.0f}",
                f"{result.requests:,}" if result.requests else "",
                f"{result.operations / result.requests:,.0f}" if result.requests else "",
            )
        table.add_section()
    console.print(table)
    for subject, values in by_subject.items():
        wanted = f"; the goal is {goal:.2f} or more" if subject == rounds[0][-1].subject else ""
        console.print(
            f"{subject}: ratio to the parse limit in events per CPU second: "
            f"minimum {min(values):.2f}, median {statistics.median(values):.2f}{wanted}"
        )
