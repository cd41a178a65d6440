"""`ldsync explain` and `ldsync check-events` on files: what they print, and how they exit."""

import json
import os
import pty
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ldsync.cli import app
from tests.support.commands import call, start
from tests.support.configs import TOKEN, write
from tests.support.engage_events import ABSENT, cases, encode, identify, track

LINES = b"\n".join(
    [
        encode(identify()),
        b'{"type": ',
        b"",
        encode([identify(), track(False, userId="u_2"), 5]),
        encode(identify(userId=ABSENT)),
        encode({"type": "page"}),
    ]
)
KEYS = {
    *("mapping", "segment_key", "segment_name", "audience_id", "audience_key"),
    *("context_kind", "context_key", "action", "version"),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of JSON Lines with something of every kind."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(LINES)
    return path


def documents(result: Result) -> list[dict[str, Any]]:
    """The lines that were printed, each of which is JSON."""
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_each_event_is_one_line_of_json(file: Path) -> None:
    """Outcome, reason and changes, for broken and nested ones as well."""
    found = documents(call("explain", "--json", str(file)))

    assert [(one["outcome"], one["reason"], len(one["changes"])) for one in found] == [
        ("change", None, 1),
        ("invalid", "bad_json", 0),
        ("change", None, 2),
        ("skipped", "no_context_key", 0),
        ("ignored", "type_not_audience", 0),
    ]
    assert [one["origin"]["line"] for one in found] == [1, 2, 4, 5, 6]
    assert found[2]["beside"] == "not_an_object"
    assert found[1]["words"] == "not JSON in UTF-8"


def test_a_change_has_what_the_interface_promises(file: Path) -> None:
    """These names and values are an interface."""
    first = documents(call("explain", "--json", str(file)))[0]

    (change,) = first["changes"]
    assert change.keys() >= KEYS
    assert change == {
        "mapping": "Sync Engage Audience to LaunchDarkly",
        "segment_key": "first_time_shopper",
        "segment_name": "First time shopper",
        "audience_id": "aud_2zJkeVoLkrirhXup2uAPEsDLq4N",
        "audience_key": "first_time_shopper",
        "context_kind": "user",
        "context_key": "u_1",
        "action": "add",
        "version": "2026-03-04T10:15:30.123Z2026-03-04T10:15:41.877Z",
        "time": "2026-03-04T10:15:30.123Z",
        "received_at": "2026-03-04T10:15:41.877Z",
    }
    assert {one["write_path"] for one in first["requests"]} == {"standard", "big", "synced"}
    (mapping,) = first["events"][0]["mappings"]
    assert next(step["name"] for step in mapping["steps"]) == "trigger"


@pytest.mark.parametrize("arguments", [["-"], []], ids=["a dash", "no file"])
def test_events_come_from_standard_input(arguments: list[str]) -> None:
    """As bytes, whatever they are."""
    result = CliRunner().invoke(app, ["explain", "--json", *arguments], input=LINES + b"\n\xff\n")

    assert [one["outcome"] for one in documents(result)][-1] == "invalid"
    assert len(documents(result)) == 6


def test_the_known_events_are_explained_as_a_process() -> None:
    """All shapes that are documented, in one input, with the results that are expected of them."""
    lines = b"\n".join(encode(case["event"]) for case in cases("events.jsonl"))
    expected = list(cases("expected.jsonl"))

    result = CliRunner().invoke(app, ["explain", "--json"], input=lines)

    for one, case in zip(documents(result), expected, strict=True):
        if "segment" not in case:
            assert (one["outcome"], one["reason"]) == (case["outcome"], case["reason"])
            continue
        (change,) = one["changes"]
        assert change["segment_key"] == case["segment"]
        assert f"{change['context_kind']}/{change['context_key']}" == case["member"]
        assert (change["action"] == "add") is case["in"]


def test_people_get_text_without_colours_in_a_pipe(file: Path) -> None:
    """A real process: the steps in words, the requests with the token hidden."""
    result = start("explain", str(file))

    assert (result.returncode, result.stderr) == (0, "")
    assert "\x1b" not in result.stdout
    assert result.stdout.startswith("line 1: change\n")
    assert 'ok context key   u_1\n                       userId is "u_1": taken' in result.stdout
    assert "line 2: invalid: bad_json: not JSON in UTF-8" in result.stdout
    assert "3 events in one record" in result.stdout
    assert "user/u_2 leaves segment first_time_shopper" in result.stdout
    assert "beside them: invalid: not_an_object" in result.stdout
    assert "Authorization: <token>" in result.stdout


def test_what_is_in_an_event_cannot_play_with_the_terminal() -> None:
    """Control characters are written out."""
    event = identify(userId="u\x1b[2J\u202e", event="\x07")

    result = CliRunner().invoke(app, ["explain"], input=encode(event))

    assert "\x1b" not in result.stdout
    assert "\x07" not in result.stdout
    assert "user/u\\x1b[2J\\u202e goes into" in result.stdout


def test_a_configuration_applies_as_far_as_it_is_needed(tmp_path: Path, file: Path) -> None:
    """Mappings, mode, naming and the place to write to; no token is needed, none is shown."""
    config = write(
        tmp_path,
        {
            "launchdarkly.api_token": "",
            "membership_mode": '"segment"',
            "naming.segment_key": '"e-{audience_id}"',
            "launchdarkly.base_url": '"https://ld.example.com"',
        },
    )

    found = documents(call("explain", "--json", str(file), "--config", str(config)))
    by_variable = call("explain", "--json", str(file), environ={"LDSYNC_CONFIG": str(config)})

    assert found[0]["changes"][0]["segment_key"] == "e-aud_2zJkeVoLkrirhXup2uAPEsDLq4N"
    assert found == documents(by_variable)
    assert found[0]["requests"][0]["url"].startswith(
        "https://ld.example.com/api/v2/segments/web-shop/production/"
    )


def test_requests_go_to_the_instance_that_is_named(tmp_path: Path, file: Path) -> None:
    """Its address need not be given."""
    config = write(tmp_path, {"launchdarkly.instance": '"eu"'})

    found = documents(call("explain", "--json", str(file), "--config", str(config)))

    assert found[0]["requests"][0]["url"].startswith("https://app.eu.launchdarkly.com/")


@pytest.mark.parametrize("command", ["explain", "check-events"])
def test_a_broken_configuration_is_listed_and_exits_with_78(
    tmp_path: Path, file: Path, command: str
) -> None:
    """Every problem of what is needed; the token is not repeated."""
    config = write(tmp_path, {"membership_mode": '"lax"', "naming.segment_kye": '"x"'})
    environ = {"LDSYNC_LAUNCHDARKLY__API_TOKEN": f"{TOKEN} {TOKEN}"}

    result = call(command, str(file), "--config", str(config), environ=environ)

    assert (result.exit_code, result.stdout) == (78, "")
    assert "has 2 problems" in result.stderr
    assert "membership_mode" in result.stderr
    assert "naming.segment_kye" in result.stderr
    assert TOKEN not in result.stderr


@pytest.mark.parametrize("command", ["explain", "check-events"])
@pytest.mark.parametrize("name", ["nowhere.jsonl", "."], ids=["missing", "a directory"])
def test_a_file_that_cannot_be_read_exits_with_1(tmp_path: Path, command: str, name: str) -> None:
    """In a sentence."""
    result = call(command, str(tmp_path / name))

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"ldsync: {tmp_path / name} cannot be read: ")


@pytest.mark.parametrize("command", ["explain", "check-events"])
def test_without_a_file_a_terminal_is_not_waited_for(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody should sit before a silent command; a dash says that it is meant."""
    master, slave = pty.openpty()
    with os.fdopen(master, "rb"), os.fdopen(slave, "r") as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        with pytest.raises(SystemExit) as exit_:
            app([command], prog_name="ldsync")

    assert exit_.value.code == 2


def test_the_time_of_records_can_be_given() -> None:
    """Then times from the future are found, as on a topic."""
    event = encode(identify(timestamp="2027-01-01T00:00:00.000Z"))

    without = CliRunner().invoke(app, ["explain", "--json"], input=event)
    given = CliRunner().invoke(
        app, ["explain", "--json", "--record-time", "2026-03-04T11:15:45+01:00"], input=event
    )

    assert documents(without)[0]["changes"][0]["time"] == "2027-01-01T00:00:00.000Z"
    assert documents(given)[0]["changes"][0]["time"] == "2026-03-04T10:15:45.000Z"


def test_events_are_summed_up_for_people(file: Path) -> None:
    """A real process: outcomes in words, segments and members."""
    result = start("check-events", str(file))

    assert (result.returncode, result.stderr) == (0, "")
    assert "\x1b" not in result.stdout
    assert result.stdout.startswith("5 records, events from 2026-03-04T10:15:30.123Z")
    for words in ("not JSON in UTF-8", "1 segment: 2 times in, 1 time out", "not_an_object"):
        assert words in result.stdout


def test_events_are_summed_up_as_json() -> None:
    """From standard input, as one document."""
    result = CliRunner().invoke(app, ["check-events", "--json"], input=LINES)

    (found,) = documents(result)
    assert (found["records"], found["adds"], found["removes"]) == (5, 2, 1)
    assert found["segments"] == [
        {
            "key": "first_time_shopper",
            "name": "First time shopper",
            "audience_id": "aud_2zJkeVoLkrirhXup2uAPEsDLq4N",
            "audience_key": "first_time_shopper",
            "adds": 2,
            "removes": 1,
            "members": 1,
            "removed": 1,
        }
    ]


@pytest.mark.parametrize(("ratio", "code"), [("0.2", 0), ("0.19", 1), ("0", 1)])
def test_too_many_invalid_records_exit_with_1(file: Path, ratio: str, code: int) -> None:
    """Only if a limit is given, and after the report."""
    result = call("check-events", str(file), "--max-invalid-ratio", ratio)

    assert result.exit_code == code
    assert result.stdout.startswith("5 records")
    assert ("20.00% of the records are invalid" in result.stderr) is bool(code)


def test_remarks_say_what_an_operator_should_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times that are missing, keys that collide, segments that are too large or too many."""
    monkeypatch.setattr("ldsync.cli.surveyed.MAX_TARGETS", 0)
    monkeypatch.setattr("ldsync.cli.surveyed._MOST_SEGMENTS", 1)
    monkeypatch.setattr("ldsync.explain.survey.MOST_SEGMENTS", 2)
    events = [identify(timestamp=ABSENT)]
    for number, key in enumerate(["First_time_shopper", "first_time_shopper", "x"]):
        event = identify()
        personas = event["context"]["personas"]
        event["context"] = {
            "personas": personas | {"computation_id": f"aud_{number}", "computation_key": key}
        }
        events.append(event | {"traits": {key: True}})

    result = CliRunner().invoke(app, ["check-events"], input=b"\n".join(map(encode, events)))

    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    for remark in (
        "Not shown: 1 segment, which --json lists.",
        "Not counted: 1 change of further segments.",
        "More than the 0 members that a standard segment can have: first_time_shopper.",
        "Not ordered by their timestamp: 1 event, missing_timestamp.",
        (
            "One segment key, first_time_shopper, for two audiences: "
            "aud_2zJkeVoLkrirhXup2uAPEsDLq4N and aud_1; both write to it."
        ),
        (
            "Two segment keys that only their case tells apart: first_time_shopper "
            "(aud_2zJkeVoLkrirhXup2uAPEsDLq4N) and First_time_shopper (aud_0)."
        ),
    ):
        assert remark in text
