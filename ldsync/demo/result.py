"""What a run of the demo came to: its figures, and the checks that decide its exit code."""

from __future__ import annotations

import bisect
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ldsync.demo.fold import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ldsync.demo.fold import Change, Fold
    from ldsync.demo.scrape import Reading
    from ldsync.demo.simulator import Exchange

__all__ = [
    "STALE",
    "Check",
    "Delays",
    "Figures",
    "check_offsets",
    "check_outcomes",
    "check_state",
    "failed",
]

STALE = "stale"
"""Reason of skipped records that said something older than what was written already."""

_WRITE = "patch_segment"
_SHOWN = 5


class Check(NamedTuple):
    """One thing that must hold; `detail` says what was found."""

    name: str
    holds: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Figures:
    """Traffic as the simulator saw it.

    Attributes:
        requests: all requests, look-ups and creations included.
        writes: writes of members that were accepted.
        members: members in them.
        delays: seconds from producing a record to the answer that confirmed its change, for the
            changes that were written, sorted.
    """

    requests: int
    writes: int
    members: int
    delays: tuple[float, ...]

    def quantile(self, share: float) -> float | None:
        """The delay that this share of the written changes stayed within; None without any."""
        if not self.delays:
            return None
        return self.delays[min(len(self.delays) - 1, int(len(self.delays) * share))]


class Delays:
    """Measures from outside how long changes took, by what was produced and what was written.

    A write that puts a member in or out confirms the newest change that said so and was produced
    before the write arrived. The first write counts: ldsync may repeat what it knows when something
    older comes late. Changes that newer ones replaced before they were written have no delay.
    """

    def __init__(self) -> None:
        self._said: defaultdict[tuple[str, str, bool], list[tuple[float, tuple[int, int]]]]
        self._said = defaultdict(list)
        self._confirmed: set[tuple[str, str, tuple[int, int]]] = set()

    def produced(self, change: Change, at: float) -> None:
        """Note a change, in the order of producing; `at` is monotonic seconds."""
        self._said[change.segment, change.user, change.included].append((at, change.version))

    def figures(self, exchanges: Iterable[Exchange]) -> Figures:
        """Sum up the simulator's journal."""
        requests = writes = members = 0
        delays: list[float] = []
        for exchange in exchanges:
            requests += 1
            if exchange.route != _WRITE or exchange.status is None or exchange.status >= 300:  # noqa: PLR2004 (not a success)
                continue
            writes += 1
            members += exchange.members
            delays.extend(self._confirm(exchange))
        return Figures(requests, writes, members, tuple(sorted(delays)))

    def _confirm(self, exchange: Exchange) -> Iterable[float]:
        if exchange.ended is None:
            return
        for write in exchange.writes:
            for action in write.changes:
                for user in action.keys:
                    said = self._said.get((write.segment, user, action.action == "include"), [])
                    before = said[: bisect.bisect_right(said, (exchange.arrived, ()))]
                    if not before:
                        continue
                    at, version = max(before, key=lambda each: (each[1], -each[0]))
                    if (write.segment, user, version) not in self._confirmed:
                        self._confirmed.add((write.segment, user, version))
                        yield exchange.ended - at


def check_outcomes(produced: int, fold: Fold, reading: Reading) -> list[Check]:
    """Does every record have one outcome, and as many of each as the fold says?"""
    verdicts, outcomes = fold.verdicts, reading.outcomes
    total = f"{produced:,} produced, {reading.consumed:,} consumed, {reading.settled:,} settled"
    expected = {
        "ignored": verdicts[Verdict.IGNORED],
        "skipped": verdicts[Verdict.SKIPPED],
        "invalid": verdicts[Verdict.INVALID],
        "delivered, coalesced or stale": verdicts[Verdict.CHANGE],
    }
    stale = reading.reasons["skipped", STALE]
    found = {
        "ignored": outcomes["ignored"],
        "skipped": outcomes["skipped"] - stale,
        "invalid": outcomes["invalid"],
        "delivered, coalesced or stale": outcomes["delivered"] + outcomes["coalesced"] + stale,
    }
    wrong = [
        f"{name}: {found[name]:,} instead of {count:,}"
        for name, count in expected.items()
        if found[name] != count
    ]
    return [
        Check(
            "every record has one outcome",
            produced == reading.consumed == reading.settled and reading.pending == 0,
            total,
        ),
        Check("outcomes are what the events say", not wrong, "; ".join(wrong) or "all four kinds"),
    ]


def check_state(
    fold: Fold, state: Mapping[str, Mapping[str, set[str]]], names: Mapping[str, str]
) -> list[Check]:
    """Does LaunchDarkly end in the state that the fold of all events gives?"""
    differences = fold.differences(state)
    members = sum(len(users) for users in fold.members.values())
    detail = f"{members:,} members of {len(fold.members)} segments"
    if differences:
        shown = "; ".join(map(str, differences[:_SHOWN]))
        detail = f"{len(differences):,} of {detail} differ: {shown}"
    misnamed = [
        f"{key} is {names[key]!r} instead of {name!r}"
        for key, name in fold.names.items()
        if key in names and names[key] != name
    ]
    return [
        Check("LaunchDarkly equals the fold of all events", not differences, detail),
        Check(
            "segments are named after their audiences",
            not misnamed,
            "; ".join(misnamed[:_SHOWN]) or f"{len(names)} segments",
        ),
    ]


def check_offsets(committed: Mapping[int, int], ends: Mapping[int, int]) -> Check:
    """Is everything committed, to the end of every partition that holds records?"""
    behind = [
        f"partition {partition}: {committed.get(partition, 0)} of {end}"
        for partition, end in sorted(ends.items())
        if committed.get(partition, 0) != end
    ]
    detail = "; ".join(behind) or f"{len(ends)} partitions"
    return Check("offsets are committed to the end of the log", not behind, detail)


def failed(checks: Sequence[Check]) -> bool:
    """Does any of them not hold?"""
    return not all(check.holds for check in checks)
