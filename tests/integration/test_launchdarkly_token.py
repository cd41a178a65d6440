"""A token from a file: taken up when it changes, without a restart and without blocking."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ldsync.demo.simulator import Simulator
from ldsync.launchdarkly import token as token_module
from ldsync.launchdarkly.connection import _token_in
from ldsync.launchdarkly.token import Token
from tests.support.eventually import eventually
from tests.support.standard_writer import Desk, ins

OLD = "api-33333333-old"
NEW = "api-44444444-new"


def replace(file: Path, content: str) -> None:
    """Write a file as Kubernetes and careful people do: the new one takes the old one's place."""
    fresh = file.with_suffix(".new")
    fresh.write_text(content, encoding="utf-8")
    fresh.replace(file)


def remove(file: Path) -> None:
    """Take the file away."""
    file.unlink()


def make_directory(file: Path) -> None:
    """Put something there that is no file."""
    file.mkdir()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with the old token."""
    file = tmp_path / "token"
    file.write_text(OLD + "\n", encoding="utf-8")
    return file


def from_file(file: Path, seen: list[str] | None = None) -> Token:
    """The token as the connection makes it."""
    return Token(OLD, file, _token_in, (seen if seen is not None else []).append)


async def test_a_token_without_a_file_stays(file: Path) -> None:
    """There is nothing to look at, and the task that would do so ends at once."""
    token = Token(OLD)
    await token.watch()
    assert not await token.differs_from(OLD)
    assert await token.differs_from(NEW)
    assert OLD not in repr(token)


async def test_a_new_token_is_announced_before_it_is_used(file: Path) -> None:
    """So that the log hides it before anything can show it; writing it again changes nothing."""
    seen: list[str] = []
    token = from_file(file, seen)
    await token.refresh()
    assert (token.value, seen) == (OLD, [])
    replace(file, f"{NEW}\r\n")
    with capture_logs() as logs:
        await token.refresh()
        await token.refresh()
        replace(file, f"{NEW}\n\n")
        await token.refresh()
    assert (token.value, seen) == (NEW, [NEW])
    (line,) = logs
    assert line["event"] == "launchdarkly.token_renewed"
    assert NEW not in repr(line) + repr(token)


async def test_a_file_is_watched(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every few seconds; here more often."""
    monkeypatch.setattr(token_module, "CHECK_SECONDS", 0.01)
    token = from_file(file)
    watching = asyncio.create_task(token.watch())
    replace(file, NEW)
    await eventually(lambda: token.value == NEW, "the token is renewed")
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


@pytest.mark.parametrize(
    "content", ["", "two words", "sdk-1234", "\x00", "ü"], ids=["empty", "two", "SDK", "NUL", "ü"]
)
async def test_what_is_no_token_is_said_once_and_the_old_one_kept(file: Path, content: str) -> None:
    """A file that is written in two steps must not stop anything; nothing of it is shown."""
    token = from_file(file)
    await token.refresh()
    replace(file, content)
    with capture_logs() as logs:
        await token.refresh()
        await token.refresh()
    assert token.value == OLD
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("launchdarkly.token_unusable", "error")
    assert not content or content not in line["detail"]
    replace(file, NEW)
    await token.refresh()
    assert token.value == NEW


async def test_a_file_that_is_gone_or_cannot_be_read_changes_nothing(file: Path) -> None:
    """It may be about to be replaced."""
    token = from_file(file)
    await token.refresh()
    remove(file)
    with capture_logs() as logs:
        await token.refresh()
        assert logs == []
        make_directory(file)
        await token.refresh()
    assert token.value == OLD
    assert "Is a directory" in logs[0]["detail"]


async def test_a_401_after_the_token_was_changed_is_tried_once_more_with_the_new_one(
    file: Path,
) -> None:
    """The write goes through, and nobody has to wait or to restart anything."""
    async with Simulator(project="p", environment="e", token=OLD) as sim:
        desk = Desk(sim, token=from_file(file))
        async with desk.client:
            await desk.write(ins("a"))
            sim.token = NEW
            replace(file, NEW)
            await desk.write(ins("b"))
        assert sim.included("vip") == {"a", "b"}
        assert [each.status for each in sim.requests][-2:] == [401, 200]


async def test_a_401_with_the_only_token_there_is_is_final(file: Path) -> None:
    """One request more would only be refused again."""
    async with Simulator(project="p", environment="e", token=NEW) as sim:
        desk = Desk(sim, token=from_file(file))
        async with desk.client:
            outcome = await desk.waits(ins("a"))
        assert [each.status for each in sim.requests] == [401]
    assert OLD not in repr(outcome)
