"""An explanation for people: the steps of each mapping, the changes, and the requests."""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from rich.console import Console
from rich.text import Text

from ldsync.cli.screen import OUTCOMES, console, text
from ldsync.engage.explanation import CHANGE, EventStory, Explanation, MappingStory
from ldsync.engage.steps import Step
from ldsync.engage.verdict import Verdict
from ldsync.engage.words import words_of
from ldsync.explain.requests import Shown
from ldsync.sync.change import includes

_DETAILS = len("      ok context kind  ")


def show(
    explanation: Explanation, requests: Sequence[Shown], origin: Mapping[str, str | int]
) -> None:
    """Print an explanation to standard output."""
    out = console()
    where = ", ".join(f"{name} {value}" for name, value in origin.items())
    out.print(text(f"{where}: ", "bold") + _outcome(explanation.verdict), soft_wrap=True)
    if explanation.nested:
        _line(out, f"{len(explanation.events)} events in one record", 2)
    for number, story in enumerate(explanation.events, start=1):
        _event(out, story, f"event {number}: " if explanation.nested else "")
    _changes(out, explanation)
    _requests(out, requests)
    out.print()


def _event(out: Console, story: EventStory, title: str) -> None:
    out.print()
    _line(out, f"{title}{story.call}", 2, "bold")
    if title:
        out.print(text("    ") + _outcome(story.verdict), soft_wrap=True)
    if story.order is not None:
        _steps(out, [story.order])
    for mapping in story.mappings:
        _mapping(out, mapping)


def _mapping(out: Console, story: MappingStory) -> None:
    name = f'mapping "{story.mapping.name}"'
    if not story.wanted:
        (step,) = story.steps
        reasons = "; ".join(step.details)
        _line(out, f"{name}: {step.text}{': ' if reasons else ''}{reasons}", 4)
        return
    _line(out, name, 4)
    _steps(out, story.steps)
    if story.same_as:
        _line(out, f'makes the same change as mapping "{story.same_as}": it is made once', 6)


def _steps(out: Console, steps: Iterable[Step]) -> None:
    for step in steps:
        line = text("      ")
        line.append_text(text("ok", "green") if step.passed else text("--", "yellow"))
        line.append_text(text(f" {step.name:<12}  {step.text}"))
        out.print(line, soft_wrap=True)
        for detail in step.details:
            _line(out, detail, _DETAILS, "dim")


def _changes(out: Console, explanation: Explanation) -> None:
    if explanation.effects:
        out.print()
        _line(out, "changes", 2, "bold")
    for effect in explanation.effects:
        target, member, stamp = effect.change
        direction = "goes into" if includes(stamp) else "leaves"
        _line(
            out,
            f"{member} {direction} segment {target.segment.key} "
            f'("{target.segment.name}"), by mapping "{effect.mapping}"',
            4,
        )
    if explanation.beside is not None:
        out.print(text("    beside them: ") + _outcome(explanation.beside), soft_wrap=True)


def _requests(out: Console, requests: Iterable[Shown]) -> None:
    for (write_path, is_configured), group in groupby(
        requests, lambda request: (request.write_path, request.is_configured)
    ):
        out.print()
        note = " (the one that is configured)" if is_configured else ""
        _line(out, f'request with write_path = "{write_path}"{note}', 2, "bold")
        for request in group:
            _line(out, f"{request.method} {request.url}", 4)
            for name, value in request.headers.items():
                _line(out, f"{name}: {value}", 4, "dim")
            for line in json.dumps(request.body, indent=2, ensure_ascii=False).splitlines():
                _line(out, line, 4)


def _outcome(verdict: Verdict | None) -> Text:
    if verdict is None:
        return text(CHANGE, OUTCOMES[CHANGE])
    outcome = verdict.outcome.value
    said = text(outcome, OUTCOMES[outcome])
    said.append_text(text(f": {verdict.reason}: {words_of(verdict)}"))
    return said


def _line(out: Console, content: str, indent: int, style: str = "") -> None:
    """One line, which is never broken: it may be copied."""
    out.print(text(" " * indent + content, style), soft_wrap=True)
