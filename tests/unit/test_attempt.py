"""One attempt at a batch: what is written, in which order, and what becomes of it (R6, R7)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from ldsync.attempt import MOST_ROUNDS, Attempt, attempt
from ldsync.launchdarkly.outcome import Delivered, Outcome, Rejected, Retry, RetryReason
from ldsync.versions.base import StoreTrouble, StoreUnavailable
from tests.support.core import finished, segment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ldsync.sync.change import Segment

VIP = segment("vip")
TIMEOUT = Retry(RetryReason.TIMEOUT, "no answer", ambiguous_since=5.0)
AWAY = StoreUnavailable(StoreTrouble.TIMEOUT, "Redis did not answer")


def rejected(*members: str) -> Rejected:
    """LaunchDarkly refused these members."""
    return Rejected("bad_request", dict.fromkeys(members, "no"))


@dataclass
class Others:
    """What other replicas do, in turn, and what LaunchDarkly answers; and a diary of all.

    `marked` has, for each time that marks are read, what is marked newer by then, or an error.
    """

    marked: list[dict[str, str] | StoreUnavailable]
    answers: list[Outcome] = field(default_factory=list)
    diary: list[str] = field(default_factory=list)

    async def merge(self, _segment: Segment, changes: dict[str, str], _now: float) -> set[str]:
        """Mark."""
        self.diary.append(f"mark {_words(changes)}")
        return set(self._newer(changes))

    async def write(self, _segment: Segment, changes: Mapping[str, str]) -> Outcome:
        """Write."""
        self.diary.append(f"write {_words(changes)}")
        return self.answers.pop(0) if self.answers else Delivered()

    async def confirm(self, _segment: Segment, changes: dict[str, str]) -> set[str]:
        """Read again."""
        self.diary.append(f"read {' '.join(changes)}")
        return set(self._newer(changes))

    def _newer(self, changes: dict[str, str]) -> dict[str, str]:
        found = self.marked.pop(0) if self.marked else {}
        if isinstance(found, StoreUnavailable):
            raise found
        newer = {member: one for member, one in found.items() if member in changes}
        changes.update(newer)
        return newer


@dataclass
class Batch:
    """What an attempt looks at of a batch."""

    changes: dict[str, str]
    segment: Segment = VIP


def _words(changes: Mapping[str, str]) -> str:
    return " ".join(f"{member}{one}" for member, one in changes.items())


def made(others: Others, changes: dict[str, str]) -> Attempt:
    """Make an attempt at a batch of these changes, in place."""
    both = cast("Any", others)
    return finished(attempt(cast("Any", Batch(changes)), both, both))


def test_a_batch_is_marked_then_written_then_read_again() -> None:
    """In this order: neither later nor earlier would do."""
    others = Others([])
    changes = {"a": "1+", "b": "2-"}
    assert made(others, changes) == Attempt(Delivered(), set())
    assert others.diary == ["mark a1+ b2-", "write a1+ b2-", "read a b"]


def test_what_was_known_to_be_newer_is_written_instead() -> None:
    """R6: and the batch carries it from then on."""
    others = Others([{"a": "5-"}])
    changes = {"a": "1+", "b": "2-"}
    assert made(others, changes) == Attempt(Delivered(), {"a"})
    assert others.diary[1] == "write a5- b2-"
    assert changes == {"a": "5-", "b": "2-"}


def test_what_is_marked_newer_meanwhile_is_written_again_until_nothing_is() -> None:
    """Only those members, and each time that is looked at once more."""
    others = Others([{}, {"a": "3-"}, {"a": "4+"}])
    changes = {"a": "1+", "b": "2-"}
    assert made(others, changes) == Attempt(Delivered(), set())
    assert others.diary[2:] == ["read a b", "write a3-", "read a", "write a4+", "read a"]
    assert changes == {"a": "4+", "b": "2-"}


def test_a_member_that_is_superseded_for_ever_does_not_keep_the_slot() -> None:
    """The batch is given back after some rounds, with the newest it knows."""
    others = Others([{}, *({"a": f"{version}+"} for version in range(10, 99))])
    changes = {"a": "01+"}
    outcome = made(others, changes).outcome
    assert isinstance(outcome, Retry)
    assert outcome.reason is RetryReason.VERSION_STORE
    assert "superseded" in outcome.detail
    assert sum(entry.startswith("write") for entry in others.diary) == MOST_ROUNDS
    assert changes == {"a": f"{9 + MOST_ROUNDS}+"}


@pytest.mark.parametrize(
    ("marked", "writes"),
    [
        pytest.param([AWAY], 0, id="before_the_write"),
        pytest.param([{}, AWAY], 1, id="after_the_answer"),
        pytest.param([{}, {"a": "3+"}, AWAY], 2, id="after_the_second_answer"),
    ],
)
def test_without_the_store_a_batch_is_given_back(
    marked: list[dict[str, str] | StoreUnavailable], writes: int
) -> None:
    """Nothing is written before it was marked, and nothing settled before it was read again."""
    others = Others(marked)
    outcome = made(others, {"a": "1+"}).outcome
    assert outcome == Retry(
        RetryReason.VERSION_STORE, "writing to segment vip: Redis did not answer"
    )
    assert sum(entry.startswith("write") for entry in others.diary) == writes


@pytest.mark.parametrize("before", [0, 1], ids=["first", "second"])
def test_a_write_that_fails_ends_the_attempt(before: int) -> None:
    """Whichever write it is; it is known to be ambiguous, and the marks are not read again (R1)."""
    others = Others([{}, {"a": "3+"}], [*[Delivered()] * before, TIMEOUT])
    assert made(others, {"a": "1+"}).outcome is TIMEOUT
    assert others.diary[-1].startswith("write")


def test_members_that_are_refused_are_not_written_again() -> None:
    """What LaunchDarkly refuses for itself it refuses when it is newer; the others go on."""
    others = Others([{}, {"a": "3+", "c": "3+"}], [rejected("a", "b")])
    changes = {"a": "1+", "b": "1+", "c": "1+"}
    assert made(others, changes).outcome == rejected("a", "b")
    assert others.diary[2:] == ["read c", "write c3+", "read c"]
    assert changes == {"a": "1+", "b": "1+", "c": "3+"}


def test_members_that_are_refused_in_any_round_are_told() -> None:
    """All of them, once the attempt is over."""
    others = Others([{}, {"b": "3+", "c": "3+"}], [rejected("a"), rejected("b")])
    assert made(others, {"a": "1+", "b": "1+", "c": "1+"}).outcome == rejected("a", "b")
