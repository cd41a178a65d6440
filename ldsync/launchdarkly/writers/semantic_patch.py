"""Semantic patches of a standard segment: building them, and believing the reply. Pure.

The rules are those of launchdarkly-api contract 4: at most 1,500 target operations in one request,
all or nothing, no key in two instructions.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from ldsync.launchdarkly.reply import MAX_BODY, Reply
from ldsync.sync.change import IN, Segment, includes

#: Target operations in one request, all instructions together.
MAX_OPERATIONS: Final = 1_500

# Context keys that every JSON encoder writes as they are.
_PLAIN = re.compile(r"[A-Za-z0-9_.:@-]+")

Change = tuple[str, str]
"""Member and stamp."""


def patch_body(environment_key: str, segment: Segment, changes: Sequence[Change]) -> dict[str, Any]:
    """A semantic patch of these changes. No key is in two instructions.

    Args:
        environment_key: In the path, too, but documented as required here.
        segment: Its audience is named in the comment, which the audit log shows.
        changes: Member and stamp; each member once.
    """
    joins: dict[str, list[str]] = {}
    leaves: dict[str, list[str]] = {}
    for member, stamp in changes:
        kind, _, key = member.partition("/")
        by_kind = joins if stamp[-1] == IN else leaves  # `includes` in line: runs for every change
        if kind in by_kind:
            by_kind[kind].append(key)
        else:
            by_kind[kind] = [key]
    instructions = [
        {"kind": instruction, "contextKind": kind, "values": keys}
        # Leavers first: they make room for those who join.
        for instruction, side in (("removeIncludedTargets", leaves), ("addIncludedTargets", joins))
        for kind, keys in side.items()
    ]
    added = sum(map(len, joins.values()))
    return {
        "environmentKey": environment_key,
        "comment": f"ldsync: audience {segment.audience_id}, {added} added, "
        f"{len(changes) - added} removed",
        "instructions": instructions,
    }


def doubt(reply: Reply, group: Sequence[Change]) -> str:
    """What is wrong with a reply that says a patch was applied; empty if nothing is.

    The API ignores fields it does not know and still reports success, and what lies in between may
    answer for it. The reply shows the whole segment: it must have a version, and must contain one
    member that was added. Searched as bytes, which takes a fraction of the time parsing would.
    """
    if len(reply.raw) > MAX_BODY:  # cut short
        return ""
    if b'"version":' not in reply.raw:
        return "it does not show the segment"
    for member, stamp in group:
        key = member.partition("/")[2]
        if includes(stamp) and _PLAIN.fullmatch(key):
            shown = f'"{key}"'.encode() in reply.raw
            return "" if shown else "the segment it shows lacks a member that was added"
    return ""
