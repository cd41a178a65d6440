"""The status as a page for people: what is held, where it is stuck, and why, in words.

It shows what `/status` gives as JSON. Everything in it is escaped: segment keys and messages come
from outside. A key that the status does not have is left out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

_STYLE = """\
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:2rem;max-width:75rem}
table{border-collapse:collapse;margin:.5rem 0 1.5rem}th,td{padding:.25rem .75rem;text-align:left;
border-bottom:1px solid #8884;vertical-align:top}td.n{text-align:right;
font-variant-numeric:tabular-nums}tr.trouble td{background:#f802}h2{font-size:1.1rem}"""


def _document(title: str, body: str, head: str = "") -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title>{head}<style>{_STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1>{body}</body></html>\n"
    )


INDEX = _document(
    "ldsync",
    "<ul>"
    '<li><a href="status">status</a> of the segments (also as <a href="status?format=json">JSON'
    "</a>)</li>"
    '<li><a href="metrics">metrics</a> for Prometheus</li>'
    '<li><a href="healthz">healthz</a>: do the loops turn?</li>'
    '<li><a href="readyz">readyz</a>: has it joined, and is it not draining?</li>'
    "</ul>",
)
"""The page at `/`: where everything is."""


def render(status: Mapping[str, Any], now: float) -> str:
    """Return the page.

    Args:
        status: The keys that are shown are `state`, `version`, `uptime_seconds`,
            `consumed_records`, `pending_records`, `records` (outcome to reason to count), `buffer`,
            `dead_letters`, `launchdarkly`, `ordering`, `partitions`, `segments` (those in trouble
            first) and `collisions`.
        now: Seconds since 1970, for what is shown as an age.
    """
    parts = [
        _overview(status),
        _section("Buffer", _facts(status.get("buffer", {}))),
        _section("Warm-up", _facts(status.get("warm_up", {}))),
        _section("Dead letters", _facts(status.get("dead_letters", {}))),
        _section("LaunchDarkly", _facts(status.get("launchdarkly", {}))),
        _section("Ordering", _facts(status.get("ordering", {}))),
        _section("Records", _records(status.get("records", {}))),
        _section("Segments", _segments(status.get("segments", ()), now)),
        _section("Segment keys that are alike", _collisions(status.get("collisions", ()))),
        _section("Partitions", _partitions(status.get("partitions", ()))),
    ]
    refresh = '<meta http-equiv="refresh" content="5">'
    return _document(f"ldsync: {status.get('state', 'unknown')}", "".join(parts), refresh)


def duration(seconds: float) -> str:
    """Return a duration in the two largest units that say something: `2 h 5 min`, `0.4 s`."""
    if seconds < 10:  # noqa: PLR2004 - where a tenth of a second stops to matter
        return f"{max(seconds, 0.0):.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    while units[0][0] == 0:
        units.pop(0)
    return " ".join(f"{count} {unit}" for count, unit in units[:2] if count)


def _overview(status: Mapping[str, Any]) -> str:
    facts = {key: status[key] for key in ("consumed_records", "pending_records") if key in status}
    words = []
    if "version" in status:
        words.append(f"Version {status['version']}")
    if "uptime_seconds" in status:
        words.append(f"up for {duration(status['uptime_seconds'])}")
    return f"<p>{escape(', '.join(words))}</p>" + _facts(facts)


def _facts(facts: Mapping[str, Any]) -> str:
    rows = [(name.replace("_", " "), _in_words(name, value)) for name, value in facts.items()]
    return _table((), rows)


def _in_words(name: str, value: object) -> object:
    if name.endswith("_seconds") and isinstance(value, int | float):
        return duration(value)
    return value


def _records(records: Mapping[str, Mapping[str, int]]) -> str:
    rows = [
        (outcome, reason or None, count)
        for outcome, reasons in records.items()
        for reason, count in reasons.items()
    ]
    return _table(("Outcome", "Reason", "Records"), rows)


def _partitions(partitions: Iterable[Mapping[str, Any]]) -> str:
    keys = ("topic", "partition", "position", "committable", "lag")
    rows = [[each.get(key) for key in keys] for each in partitions]
    return _table([key.capitalize() for key in keys], rows)


def _segments(segments: Iterable[Mapping[str, Any]], now: float) -> str:
    shown = list(segments)
    rows = [
        (
            each.get("key"),
            each.get("audience_id"),
            _ago(each.get("last_success_at"), now),
            each.get("pending"),
            each.get("in_flight"),
            _trouble(each),
        )
        for each in shown
    ]
    heads = ("Segment", "Audience", "Last success", "Pending", "In flight", "Trouble")
    return _table(heads, rows, marked=lambda row: bool(_trouble(shown[row])))


def _collisions(collisions: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        (
            each.get("segment"),
            each.get("audience_id"),
            each.get("first_segment"),
            each.get("first_audience_id"),
            each.get("refused"),
        )
        for each in collisions
    ]
    heads = ("Segment", "Audience", "First segment", "First audience", "Refused")
    return _table(heads, rows)


def _trouble(segment: Mapping[str, Any]) -> str | None:
    error, diverged = segment.get("last_error"), segment.get("diverged")
    words = [f"Diverged: {diverged}"] if diverged else []
    if error:
        attempts = segment.get("attempts")
        tried = f" ({attempts} attempts failed)" if attempts else ""
        words.append(f"{'Waiting: ' if segment.get('waiting') else ''}{error}{tried}")
    return ". ".join(words) or None


def _ago(moment: float | str | None, now: float) -> str:
    if moment is None:
        return "never"
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment).timestamp()
    return f"{duration(now - moment)} ago"


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>{content}" if content else ""


def _table(
    heads: Sequence[str],
    rows: Sequence[Sequence[object]],
    marked: Callable[[int], bool] = lambda _row: False,
) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    lines = [f"<tr>{head}</tr>"] if heads else []
    for number, row in enumerate(rows):
        mark = ' class="trouble"' if marked(number) else ""
        lines.append(f"<tr{mark}>{''.join(map(_cell, row))}</tr>")
    return f"<table>{''.join(lines)}</table>"


def _cell(value: object) -> str:
    if value is None or value == "":
        return "<td>-</td>"
    if isinstance(value, bool):
        return f"<td>{'yes' if value else 'no'}</td>"
    if isinstance(value, int | float):
        return f'<td class="n">{value:,}</td>'
    return f"<td>{escape(str(value))}</td>"
