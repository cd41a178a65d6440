"""The two sides of a batch, who joins and who leaves, and what leaving means. Pure."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from ldsync.sync.change import IN

CONTROL_KEY: Final = "ldsync-control-nobody"
"""The context key of requests that must change nothing: nobody has it."""

Change = tuple[str, str]
"""Member and stamp."""

ByKind = dict[str, list[str]]
"""Context keys by context kind."""


class ExitAction(StrEnum):
    """What happens to a member that leaves an audience (`launchdarkly.exit_action`).

    `REMOVE`: it is taken out of the included members. `EXCLUDE`: it is put among the excluded ones
    as well, and taken out of these when it joins again: for segments that have rules of their own.
    One key in two instructions of one request is not documented, so that `EXCLUDE` takes two
    requests: what is removed first, what is added second.
    """

    REMOVE = "remove"
    EXCLUDE = "exclude"


def sides(changes: Sequence[Change]) -> tuple[ByKind, ByKind]:
    """Return who joins and who leaves, by context kind, in the order of `changes`."""
    joins: ByKind = {}
    leaves: ByKind = {}
    for member, stamp in changes:
        kind, _, key = member.partition("/")
        by_kind = joins if stamp[-1] == IN else leaves  # `includes` in line: runs for every change
        if kind in by_kind:
            by_kind[kind].append(key)
        else:
            by_kind[kind] = [key]
    return joins, leaves
