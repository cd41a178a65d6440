"""The log: one stream, one form, no secrets."""

import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from ldsync.telemetry import log
from ldsync.telemetry.redaction import REDACTED, Redactor

TOKEN = "api-11111111-2222-3333-4444-555555555555"
PASSWORD = "it's a\\hunter2"


class Terminal(io.TextIOWrapper):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Pretend."""
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Logging is global: put back what a test changed."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    names = (None, "aiokafka", "aiohttp", "asyncio")
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def stream() -> io.TextIOWrapper:
    """What stands for standard output."""
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8")


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


def _lines(stream: io.TextIOWrapper) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _text(stream).splitlines()]


def test_a_line_is_json_with_time_level_and_event_first(stream: io.TextIOWrapper) -> None:
    """Machines read the keys; people read the beginning of the line."""
    log.configure(stream=stream)
    log.get_logger().info("batch.delivered", segment="vip", members=3, seconds=0.25)

    (line,) = _lines(stream)
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert line["timestamp"].endswith("Z")
    assert line | {"timestamp": ""} == {
        "timestamp": "",
        "level": "info",
        "event": "batch.delivered",
        "segment": "vip",
        "members": 3,
        "seconds": 0.25,
    }


def test_standard_output_is_the_default(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Twelve-factor: whoever runs it decides where the stream goes."""
    log.configure(format="json")
    log.get_logger().info("worker.started")

    assert json.loads(capsysbinary.readouterr().out)["event"] == "worker.started"


def test_a_logger_keeps_what_it_was_given(stream: io.TextIOWrapper) -> None:
    """A part of the program names itself once."""
    log.configure(stream=stream)
    log.get_logger(part="source").info("partitions.assigned")

    assert _lines(stream)[0]["part"] == "source"


def test_context_variables_are_on_every_line(stream: io.TextIOWrapper) -> None:
    """What is bound to a task shows in all its lines."""
    log.configure(stream=stream)
    with structlog.contextvars.bound_contextvars(attempt=7):
        log.get_logger().info("batch.retry")

    assert _lines(stream)[0]["attempt"] == 7


@pytest.mark.parametrize(
    ("level", "events"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
@pytest.mark.parametrize("make", [log.get_logger, lambda: logging.getLogger("some.library")])
def test_the_level_is_the_lowest_that_is_written(
    stream: io.TextIOWrapper, level: log.Level, events: list[str], make: Callable[[], Any]
) -> None:
    """Ours and those of libraries are measured alike."""
    log.configure(level, stream=stream)
    logger = make()
    for each in ("debug", "info", "warning", "error"):
        getattr(logger, each)(each)

    assert [line["event"] for line in _lines(stream)] == events


@pytest.mark.parametrize(
    ("library", "level", "written"),
    [
        pytest.param("aiokafka.consumer", "info", ["warning", "error"], id="narration is hidden"),
        pytest.param("aiohttp.client", "error", ["error"], id="not louder than asked"),
        pytest.param("aiokafka.consumer", "error", [], id="aiokafka goes on after its errors"),
        pytest.param(
            "aiokafka.conn", "debug", ["info", "warning", "error"], id="raw records never"
        ),
        pytest.param("aiohttp.server", "info", ["warning", "error"], id="aiohttp"),
        pytest.param("asyncio", "debug", ["debug", "info", "warning", "error"], id="asyncio"),
    ],
)
def test_libraries_are_tamed(
    stream: io.TextIOWrapper, library: str, level: log.Level, written: list[str]
) -> None:
    """They speak up when something is wrong; the rest is for those who ask for it."""
    log.configure(level, stream=stream)
    for each in ("debug", "info", "warning", "error"):
        getattr(logging.getLogger(library), each)(each)

    assert [line["event"] for line in _lines(stream)] == written


@pytest.mark.parametrize(
    ("library", "error", "level"),
    [
        pytest.param("aiokafka.client", None, "warning", id="aiokafka tries again by itself"),
        pytest.param("aiokafka", ValueError("?"), "error", id="what aiokafka did not expect"),
        pytest.param("aiokafkaesque", None, "error", id="another library with a like name"),
        pytest.param("asyncio", None, "error", id="asyncio"),
    ],
)
def test_errors_are_what_somebody_has_to_look_at(
    stream: io.TextIOWrapper, library: str, error: Exception | None, level: str
) -> None:
    """What is over by itself is a warning: the level can be alerted on."""
    log.configure("info", stream=stream)
    logging.getLogger(library).error("Request failed", exc_info=error)

    assert [line["level"] for line in _lines(stream)] == [level]


def test_lines_of_libraries_look_like_ours(stream: io.TextIOWrapper) -> None:
    """One stream in one form, in the order in which things happened."""
    log.configure(stream=stream)
    log.get_logger().info("first")
    logging.getLogger("aiokafka").warning("Heartbeat %s for %s", "failed", "group")
    log.get_logger().info("third")

    first, second, third = _lines(stream)
    assert (first["event"], third["event"]) == ("first", "third")
    assert second["timestamp"].endswith("Z")
    assert (second["level"], second["logger"], second["event"]) == (
        "warning",
        "aiokafka",
        "Heartbeat failed for group",
    )
    assert set(second) == {"timestamp", "level", "event", "logger"}


def test_a_library_that_repeats_itself_is_cut_short(stream: io.TextIOWrapper) -> None:
    """An outage makes aiokafka say the same of every broker, many times a second."""
    log.configure("info", "json", stream=stream)
    library = logging.getLogger("aiokafka.client")

    for node in range(3):
        library.error("Unable to reach node %s", node)
    library.error("Unable to update metadata")

    assert [line["event"] for line in _lines(stream)] == [
        "Unable to reach node 0",
        "Unable to update metadata",
    ]


def test_what_was_cut_short_is_counted_on_the_next_line() -> None:
    """Ten seconds later one more line, which says how many there were."""
    now = 100.0
    repetition = log.Repetition(clock=lambda: now)

    def says(text: str) -> str | None:
        record = logging.LogRecord("aiokafka", logging.ERROR, "", 0, text, ("x",), None)
        return record.getMessage() if repetition.filter(record) else None

    assert [says("no %s"), says("no %s"), says("no %s")] == ["no x", None, None]
    now += log.LIBRARY_INTERVAL_SECONDS
    assert says("no %s") == "no x (and 2 more like this)"
    now += log.LIBRARY_INTERVAL_SECONDS
    assert says("no %s") == "no x"


@pytest.mark.parametrize(
    ("format_", "terminal", "console"),
    [
        pytest.param("auto", True, True, id="auto in a terminal"),
        pytest.param("auto", False, False, id="auto elsewhere"),
        pytest.param("json", True, False, id="json in a terminal"),
        pytest.param("console", False, True, id="console elsewhere"),
    ],
)
def test_the_format_fits_the_reader(format_: log.Format, terminal: bool, console: bool) -> None:
    """Readable in a terminal, JSON elsewhere, unless told otherwise."""
    kind = Terminal if terminal else io.TextIOWrapper
    stream = kind(io.BytesIO(), encoding="utf-8")
    log.configure("info", format_, stream=stream)
    log.get_logger().info("batch.delivered", segment="vip")
    logging.getLogger("aiohttp").warning("oops")

    ours, theirs = _text(stream).splitlines()
    assert ours.startswith("{") is not console
    assert theirs.startswith("{") is not console
    assert "batch.delivered" in ours
    assert "vip" in ours
    assert "oops" in theirs
    assert ("\x1b[" in ours) is (console and terminal), "colours are for terminals"


def _fail(event: bytes) -> None:
    """Fail with `event` in a local variable and the token in the message."""
    raise ValueError(f"cannot send with {TOKEN}, {PASSWORD!r}")


@pytest.mark.parametrize("format_", ["json", "console"])
@pytest.mark.parametrize("make", [log.get_logger, lambda: logging.getLogger("some.library")])
def test_an_exception_shows_its_trace_but_no_secret_and_no_event(
    stream: io.TextIOWrapper, format_: log.Format, make: Callable[[], Any]
) -> None:
    """Where it happened is told; tokens in messages and raw events in local variables are not."""
    log.configure("info", format_, [TOKEN, PASSWORD], stream)
    try:
        _fail(str(10**20 + 7).encode())
    except ValueError as error:
        make().exception("worker.failed")
        log.get_logger().error("worker.failed", error=error, exc_info=error)
        log.get_logger().error("worker.failed", error=repr(error), reply=json.dumps(PASSWORD))

    text = _text(stream)
    assert "_fail" in text
    assert "ValueError" in text
    assert "cannot send with [redacted]" in text
    assert TOKEN not in text
    assert "hunter2" not in text
    assert str(10**20 + 7) not in text


def test_a_trace_is_data(stream: io.TextIOWrapper) -> None:
    """Machines need not parse a traceback."""
    log.configure(stream=stream)
    try:
        _fail(b"")
    except ValueError:
        log.get_logger().exception("worker.failed")

    (exception,) = _lines(stream)[0]["exception"]
    assert exception["exc_type"] == "ValueError"
    assert exception["frames"][-1]["name"] == "_fail"


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(f"Authorization: {TOKEN}", id="text"),
        pytest.param(f"bearer {TOKEN}".encode(), id="bytes"),
        pytest.param({"headers": [{"X-Forwarded": f"<{TOKEN}>"}]}, id="nested"),
        pytest.param((1, {TOKEN}), id="tuple and set"),
        pytest.param({TOKEN: 1}, id="key of a mapping"),
        pytest.param(ValueError(TOKEN), id="exception"),
        pytest.param(Path("/secrets") / TOKEN, id="other object"),
    ],
)
def test_a_secret_is_replaced_wherever_it_is(stream: io.TextIOWrapper, value: object) -> None:
    """Any depth, any type, any logger."""
    log.configure(secrets=[TOKEN], stream=stream)
    log.get_logger().warning("request.failed", detail=value)
    logging.getLogger("aiohttp").warning("request failed: %s", value)

    assert len(_lines(stream)) == 2
    assert TOKEN not in _text(stream)
    assert _text(stream).count(REDACTED) == 2


def test_a_secret_in_the_event_itself_is_replaced(stream: io.TextIOWrapper) -> None:
    """Nor does it matter which part of the line it is in."""
    log.configure(secrets=[TOKEN], stream=stream)
    log.get_logger().warning(f"token {TOKEN} refused")

    assert _lines(stream)[0]["event"] == "token [redacted] refused"


@pytest.mark.parametrize(
    "key",
    [
        "authorization",
        "Authorization",
        "Proxy-Authorization",
        "api_token",
        "token",
        "sasl_password",
        "ssl_key_password",
        "client_secret",
        "Set-Cookie",
        "sdk_key",
        "apiKey",
        "api-key",
    ],
)
def test_a_key_that_names_a_secret_hides_its_value(key: str) -> None:
    """Also secrets that are not ours: the configured ones are not the only ones in headers."""
    event = {"event": "e", key: "abc", "inner": {key: ["abc"]}}

    assert Redactor([])(None, "info", event) == {
        "event": "e",
        key: REDACTED,
        "inner": {key: REDACTED},
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("segment_key", "vip"),
        ("context_key", "user"),
        ("token_endpoint", "https://example.com"),
        ("token", True),
        ("token", None),
        ("tokens", "3 left"),
        ("monkey", "see"),
        ("secretary", "Ada"),
    ],
)
def test_other_keys_stay_readable(key: str, value: object) -> None:
    """A log that hides everything explains nothing."""
    assert Redactor([TOKEN])(None, "info", {key: value}) == {key: value}


def test_a_secret_that_contains_another_is_replaced_whole() -> None:
    """No tail of the longer one is left over."""
    redact = Redactor(["abc", "abcdef"])

    assert redact(None, "info", {"event": "x abcdef abc"}) == {"event": "x [redacted] [redacted]"}


@pytest.mark.parametrize("secret", [TOKEN, PASSWORD, "two\nlines", "Pässwörd", "a\"b'c", "$^.*["])
def test_a_secret_is_recognised_however_it_is_escaped(secret: str) -> None:
    """Replies come as JSON text, errors as reprs of messages that hold reprs."""
    texts = [secret, json.dumps(secret), repr(secret), repr(repr(secret)), repr(OSError([secret]))]
    redact = Redactor([secret])

    for text in (*texts, *map(repr, texts), *map(json.dumps, texts)):
        shown = redact(None, "info", {"event": f"<{text}>"})["event"]
        assert re.sub(r"\W", "", shown) in {"redacted", "OSErrorredacted"}, text


def test_a_secret_that_comes_later_is_hidden_from_then_on(stream: io.TextIOWrapper) -> None:
    """A token that was renewed; the old one stays hidden."""
    log.configure(secrets=["api-the-old-one"], stream=stream)
    logger = log.get_logger()
    logger.info("before api-the-new-one")
    log.hide("api-the-new-one")
    log.hide("")
    logger.info("after api-the-new-one and api-the-old-one")

    assert [line["event"] for line in _lines(stream)] == [
        "before api-the-new-one",
        f"after {REDACTED} and {REDACTED}",
    ]


@pytest.mark.parametrize("prefix", ["api", "sdk", "mob"])
def test_what_looks_like_a_credential_of_launchdarkly_is_replaced(prefix: str) -> None:
    """Nobody has to know the SDK keys that its replies carry; segments may begin like that."""
    credential = f"{prefix}-0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
    clean = Redactor([])(None, "info", {"event": f"got {credential}.", "segment": f"{prefix}-beta"})

    assert clean == {"event": f"got {REDACTED}.", "segment": f"{prefix}-beta"}


@pytest.mark.parametrize("secrets", [[], [""]], ids=["none", "empty"])
def test_without_secrets_nothing_is_replaced(secrets: list[str]) -> None:
    """A password that is not set must not turn up between all letters."""
    assert Redactor(secrets)(None, "info", {"event": "plain"}) == {"event": "plain"}


@pytest.mark.parametrize("format_", ["json", "console"])
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param(2**70, str(2**70), id="an integer of more than 64 bits"),
        pytest.param("half \ud83d pair", "half", id="half a surrogate pair"),
        pytest.param({1: object}, "object", id="keys and values that JSON does not have"),
        pytest.param(float("nan"), "event", id="not a number"),
    ],
)
def test_no_value_can_break_a_line(
    stream: io.TextIOWrapper, format_: log.Format, value: object, shown: str
) -> None:
    """A log line must never be what stops the program."""
    log.configure("info", format_, stream=stream)
    log.get_logger().info("event", value=value)

    (line,) = _text(stream).splitlines()
    assert shown in line


def test_tests_can_capture_what_is_logged(stream: io.TextIOWrapper) -> None:
    """The helper of structlog works with this configuration."""
    log.configure(stream=stream)
    logger = log.get_logger()
    with structlog.testing.capture_logs() as captured:
        logger.info("batch.delivered", members=3)

    assert captured == [{"event": "batch.delivered", "members": 3, "log_level": "info"}]
    assert _text(stream) == ""


def test_a_debug_line_that_is_not_written_costs_next_to_nothing(stream: io.TextIOWrapper) -> None:
    """Filtered calls end at the logger, before any processor."""
    log.configure("info", stream=stream)
    logger = log.get_logger().bind()
    calls: list[object] = []

    class Costly:
        def __str__(self) -> str:
            calls.append(self)
            return "costly"

    logger.debug("event", value=Costly())
    assert calls == []
    logger.info("event", value=Costly())
    assert len(calls) == 1
