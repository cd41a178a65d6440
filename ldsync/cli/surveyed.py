"""A report on many events, for people."""

from rich import box
from rich.table import Table

from ldsync.cli.screen import OUTCOMES, console, counted, text
from ldsync.engage.segments import Collision, Likeness
from ldsync.explain.survey import Report
from ldsync.launchdarkly.writers.room import MAX_TARGETS

_MOST_SEGMENTS = 50
_MOST_COLLISIONS = 20


def show(report: Report) -> None:
    """Print a report to standard output."""
    out = console()
    times = f", events from {report.first} to {report.last}" if report.first else ""
    out.print(text(counted(report.records, "record") + times, "bold"), soft_wrap=True)
    out.print()
    out.print(_outcomes(report))
    if report.segments:
        out.print()
        out.print(text(_summary(report), "bold"), soft_wrap=True)
        out.print()
        out.print(_segments(report))
    for line in _remarks(report):
        out.print()
        out.print(text(line))


def _outcomes(report: Report) -> Table:
    table = _table("outcome", "reason", "records", "in words")
    for row in report.outcomes:
        table.add_row(
            text(row["outcome"], OUTCOMES[row["outcome"]]),
            row["reason"] or "",
            f"{row['records']:,}",
            text(row["words"] or "puts members into segments or takes them out"),
        )
    return table


def _summary(report: Report) -> str:
    count = "" if report.exact else " (members are estimated)"
    return (
        f"{counted(len(report.segments), 'segment')}: {counted(report.adds, 'time')} in, "
        f"{counted(report.removes, 'time')} out{count}"
    )


def _segments(report: Report) -> Table:
    table = _table("segment", "audience", "times in", "times out", "members", "out")
    for segment in report.segments[:_MOST_SEGMENTS]:
        table.add_row(
            text(segment.key),
            text(segment.audience_id),
            f"{segment.adds:,}",
            f"{segment.removes:,}",
            f"{segment.members:,}",
            f"{segment.removed:,}",
        )
    return table


def _remarks(report: Report) -> list[str]:
    remarks = []
    further = len(report.segments) - _MOST_SEGMENTS
    if further > 0:
        remarks.append(f"Not shown: {counted(further, 'segment')}, which --json lists.")
    if report.unlisted:
        remarks.append(f"Not counted: {counted(report.unlisted, 'change')} of further segments.")
    remarks += [
        f"Beside changes, in the same record: {counted(row['records'], 'time')} "
        f"{row['outcome']}: {row['reason']}: {row['words']}."
        for row in report.beside
    ]
    remarks += [
        f"Not ordered by their timestamp: {counted(count, 'event')}, {fallback}."
        for fallback, count in report.fallbacks.items()
        if count
    ]
    remarks += [
        f"More than the {MAX_TARGETS:,} members that a standard segment can have: {segment.key}."
        for segment in report.segments[:_MOST_SEGMENTS]
        if segment.members > MAX_TARGETS
    ]
    remarks += [_collision(each) for each in report.collisions[:_MOST_COLLISIONS]]
    return remarks


def _collision(found: Collision) -> str:
    if found.likeness is Likeness.SAME:
        result = "the second is skipped" if found.refused else "both write to it"
        return (
            f"One segment key, {found.segment_key}, for two audiences: {found.first_audience_id} "
            f"and {found.audience_id}; {result}."
        )
    return (
        f"Two segment keys that only their case tells apart: {found.first_segment_key} "
        f"({found.first_audience_id}) and {found.segment_key} ({found.audience_id})."
    )


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    numbers = {"records", "times in", "times out", "members", "out"}
    for column in columns:
        justify = "right" if column in numbers else "left"
        table.add_column(column, justify=justify, overflow="fold")  # type: ignore[arg-type]
    return table
