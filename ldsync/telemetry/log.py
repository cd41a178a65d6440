"""The log: one stream of lines on standard output, JSON for machines or readable in a terminal.

Our own lines and those of libraries (aiokafka, aiohttp, asyncio) go the same way and lose secrets
on it. Events have dotted names (`batch.delivered`) and carry what they are about in keys. One line
per flush, none per record: a line costs as much as consuming several records.
"""

import io
import json
import logging
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TextIO, TypeAlias, cast

import orjson
import structlog
from structlog.processors import ExceptionRenderer, StackInfoRenderer, TimeStamper
from structlog.stdlib import ProcessorFormatter
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from ldsync.telemetry.redaction import Redactor
from ldsync.telemetry.throttle import Throttle

Level: TypeAlias = Literal["debug", "info", "warning", "error"]
Format: TypeAlias = Literal["auto", "json", "console"]
Logger: TypeAlias = FilteringBoundLogger

# What they log at `debug`, and nothing below a warning otherwise: they narrate every rebalance.
# Below INFO aiokafka logs whole requests and records, which must never be seen (P8).
_LIBRARIES_AT_DEBUG = {
    "aiokafka": logging.INFO,
    "aiohttp": logging.DEBUG,
    "asyncio": logging.DEBUG,
}


LIBRARY_INTERVAL_SECONDS = 10.0
"""How often a library may say the same thing: of a broker that is away aiokafka does 20 times a
second, for as long as the outage lasts."""


@dataclass(frozen=True, slots=True)
class _Rendering:
    """How an event becomes a line: for our own loggers, and as text for logging's handler."""

    exceptions: Processor
    line: Processor
    text: Processor
    factory: structlog.BytesLoggerFactory | structlog.WriteLoggerFactory


# Of the present configuration; none before the first.
_REDACTORS: list[Redactor] = []


def hide(secret: str) -> None:
    """Have one more text replaced wherever it appears: a secret that was not known at the start."""
    for redactor in _REDACTORS:
        redactor.add(secret)


def get_logger(**values: object) -> Logger:
    """A logger whose lines all carry `values`."""
    return cast("Logger", structlog.get_logger(**values))


def configure(
    level: Level = "info",
    format: Format = "auto",  # noqa: A002 - the name of the setting, log.format
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Send everything that is logged from now on to `stream`.

    Loggers remember the configuration they were first used with: call this once, before anything
    is logged.

    Args:
        level: The lowest level that is written.
        format: json, console, or auto: console in a terminal, else json.
        secrets: Texts that are replaced wherever they appear.
        stream: A text stream over bytes, as standard output is, which is the default.
    """
    stream = stream or sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        # Half a surrogate pair in somebody's segment name must not stop the program.
        stream.reconfigure(errors="backslashreplace")
    threshold = logging.getLevelNamesMapping()[level.upper()]
    console = format == "console" or (format == "auto" and stream.isatty())
    rendering = _console(stream) if console else _json(stream)
    redactor = Redactor(secrets)
    _REDACTORS[:] = [redactor]
    steps: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        TimeStamper(fmt="iso", utc=True),
        StackInfoRenderer(),
        rendering.exceptions,
        redactor,
    ]
    structlog.configure(
        processors=[*steps, rendering.line],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=rendering.factory,
        cache_logger_on_first_use=True,
    )
    _bridge_libraries(stream, threshold, [*steps, rendering.text])


def _console(stream: TextIO) -> _Rendering:
    # Not the pretty tracebacks: they show the values of variables, which may be raw events.
    line = structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    return _Rendering(ExceptionRenderer(), line, line, structlog.WriteLoggerFactory(stream))


def _json(stream: TextIO) -> _Rendering:
    # Without local variables for the same reason.
    exceptions = ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
    factory = structlog.BytesLoggerFactory(stream.buffer)
    return _Rendering(exceptions, _to_json, _to_json_text, factory)


def _to_json(_logger: WrappedLogger, _method: str, event: EventDict) -> bytes:
    line = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    line |= event
    try:
        return orjson.dumps(line)
    except orjson.JSONEncodeError:
        # An integer of more than 64 bits, half a surrogate pair: slower, but it takes anything.
        return json.dumps(line).encode()


def _to_json_text(logger: WrappedLogger, method: str, event: EventDict) -> str:
    return _to_json(logger, method, event).decode()


def _bridge_libraries(stream: TextIO, threshold: int, steps: Sequence[Processor]) -> None:
    """Make the standard library's logging write the same lines to the same stream."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name],
            processors=[ProcessorFormatter.remove_processors_meta, *steps],
        )
    )
    handler.addFilter(Demotion(threshold))
    handler.addFilter(Repetition())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    for name, at_debug in _LIBRARIES_AT_DEBUG.items():
        quiet = max(threshold, logging.WARNING)
        logging.getLogger(name).setLevel(at_debug if threshold == logging.DEBUG else quiet)


class Demotion(logging.Filter):
    """Makes a warning of what aiokafka calls an error and tries again by itself.

    A broker that is away, a group without its coordinator yet. What ends the process or needs
    somebody is an error of our own, which says what to do: the level can be alerted on. What
    carries an exception that aiokafka did not expect stays an error.
    """

    def __init__(self, threshold: int) -> None:
        super().__init__()
        self._threshold = threshold

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether the record is still to be written."""
        retried = record.levelno == logging.ERROR and not record.exc_info
        if retried and record.name.partition(".")[0] == "aiokafka":
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return record.levelno >= self._threshold


class Repetition(logging.Filter):
    """Lets a library say the same thing, whatever it names in it, once per interval.

    The line then carries how many were held back since the one before. What is the same is told by
    the message before its arguments are filled in.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._throttle = Throttle(LIBRARY_INTERVAL_SECONDS)

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether the record is to be written."""
        suppressed = self._throttle.allow(f"{record.name} {record.msg}", self._clock())
        if suppressed:
            record.msg = f"{record.msg} (and {suppressed} more like this)"
        return suppressed is not None
