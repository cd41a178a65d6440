"""What the demo shows: a live view on a terminal, a line a second elsewhere, then the summary."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ldsync.demo.result import STALE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ldsync.demo.result import Check, Figures
    from ldsync.demo.scrape import Reading

__all__ = ["Progress", "Screen"]

_LINE_SECONDS = 1.0
_CAPTION = """\
Delay: from producing a record to LaunchDarkly's answer, measured outside.
The embedded broker adds up to 0.5 s: it lets an idle fetch wait to its end."""
_OUTCOMES = {
    "delivered": "written to LaunchDarkly",
    "coalesced": "superseded before it was written",
    "ignored": "not a membership event: page, computed trait",
    "skipped": "a membership event without a user id",
    "invalid": "broken: bad JSON, wrong type, no membership flag",
    "rejected": "refused by LaunchDarkly",
    "abandoned": "handed to another replica",
}


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands."""

    phase: str
    produced: int
    total: int
    reading: Reading
    segments: int
    requests: int
    members: int
    """Members that the simulator's segments hold now."""


class Screen:
    """Everything the demo prints goes through here, to standard output."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._live: Live | None = None
        self._next_line = 0.0

    def say(self, text: str, style: str = "") -> None:
        """Print a line; addresses in it are never broken."""
        self._console.print(Text(text, style), soft_wrap=True)

    def progress(self, progress: Progress) -> None:
        """Show where the run stands, as often as is useful."""
        if self._console.is_terminal:
            if self._live is None:
                self._live = Live(console=self._console, auto_refresh=False, transient=True)
                self._live.start()
            self._live.update(_view(progress), refresh=True)
        elif (now := time.monotonic()) >= self._next_line:
            self._next_line = now + _LINE_SECONDS
            self.say(_line(progress))

    def summary(
        self, *, events: int, changes: int, seconds: float, figures: Figures, reading: Reading
    ) -> None:
        """Records by outcome, then the traffic."""
        self.close()
        records = Table(title=f"{events:,} records in {seconds:.1f} s", title_justify="left")
        records.add_column("outcome")
        records.add_column("records", justify="right")
        records.add_column("meaning")
        for outcome, count, meaning in _records(reading):
            if count:
                records.add_row(outcome, f"{count:,}", meaning)
        self._console.print(records)
        traffic = Table(show_header=False, title="Delivery", title_justify="left")
        traffic.caption = _CAPTION
        traffic.caption_justify = "left"
        for name, value in _traffic(changes, figures, reading):
            traffic.add_row(name, value)
        self._console.print(traffic)

    def checks(self, checks: Iterable[Check]) -> None:
        """One line for each, with what was found."""
        for check in checks:
            mark, style = ("ok  ", "green") if check.holds else ("FAIL", "bold red")
            line = Text.assemble((mark, style), f"  {check.name}: {check.detail}")
            self._console.print(line, soft_wrap=True)

    def close(self) -> None:
        """End the live view and give the terminal back."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def _records(reading: Reading) -> Iterable[tuple[str, int, str]]:
    stale = reading.reasons["skipped", STALE]
    for outcome, meaning in _OUTCOMES.items():
        count = reading.outcomes[outcome]
        yield outcome, count - stale if outcome == "skipped" else count, meaning
    yield f"skipped, {STALE}", stale, "late, and older than what was written already"


def _traffic(changes: int, figures: Figures, reading: Reading) -> Iterable[tuple[str, str]]:
    yield "requests to LaunchDarkly", f"{figures.requests:,}, of them {figures.writes:,} writes"
    closed = ", ".join(f"{count:,} by {trigger}" for trigger, count in reading.closed.items())
    yield "batches closed", closed or "none"
    if figures.members:
        factor = changes / figures.members
        yield (
            "coalescing",
            f"{changes:,} changes in {figures.members:,} member writes: {factor:.2f}",
        )
    for name, share in (("delay p50", 0.5), ("delay p99", 0.99)):
        if (delay := figures.quantile(share)) is not None:
            yield name, f"{delay:.3f} s"


def _view(progress: Progress) -> Group:
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(total=progress.total, completed=progress.reading.settled, width=40),
        f"{progress.reading.settled:,} of {progress.total:,} records settled",
    )
    figures = Table.grid(padding=(0, 2))
    for name, value in _figures(progress).items():
        figures.add_row(Text(name, "dim"), value)
    return Group(Text(progress.phase, "bold"), bar, figures)


def _line(progress: Progress) -> str:
    return (
        f"{progress.phase}: {progress.produced:,} produced, "
        f"{progress.reading.consumed:,} consumed, "
        f"{progress.reading.settled:,} settled, {progress.requests:,} requests, "
        f"{progress.members:,} members of {progress.segments} segments"
    )


def _figures(progress: Progress) -> dict[str, str]:
    reading = progress.reading
    outcomes = [
        f"{name} {reading.outcomes[name]:,}" for name in _OUTCOMES if reading.outcomes[name]
    ]
    return {
        "state": reading.state,
        "produced": f"{progress.produced:,}",
        "consumed": f"{reading.consumed:,}",
        "pending": f"{reading.pending:,}",
        "settled": " ".join(outcomes) or "none",
        "requests": f"{progress.requests:,}",
        "in LaunchDarkly": f"{progress.members:,} members of {progress.segments} segments",
    }
