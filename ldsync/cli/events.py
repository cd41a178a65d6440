"""`ldsync explain` and `ldsync check-events`: look at events, and write nothing anywhere.

Exit codes beside those of all commands: 1 also if a file cannot be read or a record is not there,
and of `check-events` if more records are invalid than allowed.
"""

import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from ldsync.cli.common import EX_CONFIG, EX_UNAVAILABLE, ConfigFile, fail, refuse

if TYPE_CHECKING:
    from ldsync.config import Settings
    from ldsync.explain.inputs import Item
    from ldsync.explain.survey import Survey

_STDIN = Path("-")
_LINES_AT_A_TIME = 5000
_SHOWN = (
    "instance",
    "base_url",
    "project_key",
    "environment_key",
    "client_side_id",
    "write_path",
    "exit_action",
    "max_members_per_request",
)

Input = Annotated[
    Path | None,
    typer.Argument(
        metavar="FILE|-",
        show_default=False,
        help="Where the events are; standard input if it is - or left out.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, not text.")]


class End(StrEnum):
    """Which records of a partition to look at."""

    EARLIEST = "earliest"
    LATEST = "latest"


def explain(
    *,
    file: Input = None,
    topic: Annotated[
        str | None, typer.Option(help="Read one record from this topic instead.")
    ] = None,
    partition: Annotated[int | None, typer.Option(min=0, help="Its partition.")] = None,
    offset: Annotated[int | None, typer.Option(min=0, help="Its offset.")] = None,
    record_time: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="When the records of FILE were written, in ISO 8601; else they have no time.",
        ),
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show step by step what events lead to, and what would be written; write nothing.

    FILE holds one event as JSON, on any number of lines, or JSON Lines.
    """
    given = [each is not None for each in (topic, partition, offset)]
    if any(given) and not all(given):
        raise typer.BadParameter("--topic, --partition and --offset go together")
    if any(given) and (file or record_time):
        raise typer.BadParameter("a record has its time with it, and takes the place of FILE")
    time = _record_ms(record_time)
    settings = _settings(config, kafka=topic is not None)

    from ldsync.explain import inputs

    if topic is None or partition is None or offset is None:
        with _opened(file) as stream:
            _explain(inputs.items(stream.read(), time), settings, as_json=as_json)
    else:
        from ldsync.kafka import read_record
        from ldsync.sync.ledger import Partition

        record = _run(read_record(settings.kafka, Partition(topic, partition), offset))
        _explain([inputs.item_of(record)], settings, as_json=as_json)


def check_events(
    *,
    file: Input = None,
    topic: Annotated[
        list[str] | None, typer.Option(help="Read records from this topic instead; repeatable.")
    ] = None,
    kafka: Annotated[
        bool, typer.Option("--kafka", help="Read records from the configured topics instead.")
    ] = False,
    limit: Annotated[
        int, typer.Option(min=1, help="Records of the topics at most, from all partitions.")
    ] = 100_000,
    end: Annotated[
        End, typer.Option("--from", help="Whether to take the oldest or the newest records.")
    ] = End.LATEST,
    max_invalid_ratio: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Exit with 1 if a larger part of the records is invalid."),
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Sum up what many events would do: outcomes, segments, members; write nothing.

    FILE holds JSON Lines: each line is the value of a record.
    """
    from_kafka = kafka or bool(topic)
    if from_kafka and file:
        raise typer.BadParameter("records of a topic take the place of FILE")
    if kafka and topic:
        raise typer.BadParameter("--kafka means the configured topics: leave out --topic")
    settings = _settings(config, kafka=from_kafka)

    from ldsync.explain.survey import Survey
    from ldsync.mappings import decoder_of

    survey = Survey(decoder_of(settings))
    if from_kafka:
        from ldsync.kafka import sample

        newest = end is End.LATEST
        _run(survey.take_all(sample(settings.kafka, topic or [], limit=limit, newest=newest)))
    else:
        _survey_file(survey, file)
    report = survey.report()
    if as_json:
        _print_json(report)
    else:
        from ldsync.cli.surveyed import show

        show(report)
    if max_invalid_ratio is not None and report.invalid_ratio > max_invalid_ratio:
        fail(
            f"{report.invalid_ratio:.2%} of the records are invalid, and "
            f"--max-invalid-ratio allows {max_invalid_ratio:.2%}"
        )


def _explain(items: "Iterator[Item] | list[Item]", settings: "Settings", *, as_json: bool) -> None:
    from ldsync.explain.document import document
    from ldsync.explain.requests import Destination
    from ldsync.mappings import explainer_of

    explainer, destination = explainer_of(settings), Destination(settings.launchdarkly)
    for item in items:
        explanation = explainer.explain(item.value, item.timestamp)
        requests = list(destination.requests([each.change for each in explanation.effects]))
        if as_json:
            _print_json(document(explanation, requests, item.origin))
        else:
            from ldsync.cli.explained import show

            show(explanation, requests, item.origin)


def _survey_file(survey: "Survey", file: Path | None) -> None:
    from itertools import islice

    from ldsync.explain import inputs

    with _opened(file) as stream:
        lines = inputs.lines_of(stream)
        while chunk := list(islice(lines, _LINES_AT_A_TIME)):
            survey.take(chunk)


def _settings(config: Path | None, *, kafka: bool) -> "Settings":
    """The part of the configuration that is needed; anything may be missing from the rest."""
    from ldsync.config import ConfigError, load_part

    tables = ["membership_mode", "naming", "mappings", *(["kafka"] if kafka else [])]
    keys = ["kafka.max_record_bytes", *(f"launchdarkly.{name}" for name in _SHOWN)]
    try:
        return load_part(tables, keys, config)
    except ConfigError as error:
        refuse(error)


@contextmanager
def _opened(file: Path | None) -> Iterator[BinaryIO]:
    """The file, or standard input if there is something in it."""
    if file is None or file == _STDIN:
        if file is None and sys.stdin.isatty():
            raise typer.BadParameter("name a FILE, or - to type events until Ctrl-D")
        yield sys.stdin.buffer
        return
    try:
        with file.open("rb") as stream:
            yield stream
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}")


def _record_ms(text: str | None) -> int:
    """A time in epoch milliseconds; that of records without any if none is given."""
    from ldsync.engage.times import normalise, to_epoch_seconds
    from ldsync.explain.inputs import NO_TIME

    if text is None:
        return NO_TIME
    seconds = to_epoch_seconds(normalise(text) or "")
    if seconds is None:
        raise typer.BadParameter(f"{text!r} is no time like 2026-03-04T10:15:30Z")
    return round(seconds * 1000)


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """Do something with Kafka, and say how it failed."""
    import asyncio

    from ldsync.kafka import SourceError, SourceMisconfigured, SourceUnavailable

    try:
        return asyncio.run(work)
    except SourceUnavailable as error:
        fail(str(error), EX_UNAVAILABLE)
    except SourceMisconfigured as error:
        fail(str(error), EX_CONFIG)
    except SourceError as error:
        fail(str(error))


def _print_json(document: Any) -> None:
    import orjson

    typer.echo(orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS))
