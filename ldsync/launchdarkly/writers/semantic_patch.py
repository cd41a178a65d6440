"""Semantic patches of a standard segment: building them, and believing the reply. Pure.

The rules are those of launchdarkly-api contract 4: at most 1,500 target operations in one request,
all or nothing, no key in two instructions.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from ldsync.launchdarkly.reply import MAX_BODY, Reply
from ldsync.launchdarkly.request import SEGMENT_ROUTE, SEMANTIC_PATCH, Request
from ldsync.launchdarkly.writers.sides import CONTROL_KEY, ByKind, Change, ExitAction, sides
from ldsync.sync.change import Segment

#: Target operations in one request, all instructions together.
MAX_OPERATIONS: Final = 1_500

# Context keys that every JSON encoder writes as they are.
_PLAIN = re.compile(r"[A-Za-z0-9_.:@-]+")


def patch_requests(
    project_key: str,
    environment_key: str,
    segment: Segment,
    changes: Sequence[Change],
    exit_action: ExitAction = ExitAction.REMOVE,
) -> tuple[Request, ...]:
    """Return the requests that these changes take, in the order in which they must succeed.

    No key is in two instructions of one request, and each request has as many target operations as
    there are changes.

    Args:
        project_key: Key of the project.
        environment_key: Key of the environment in it.
        segment: Its audience is named in the comment, which the audit log shows.
        changes: Member and stamp; at least one and at most `MAX_OPERATIONS`, each member once.
        exit_action: What leaving means.
    """
    joins, leaves = sides(changes)
    added = sum(map(len, joins.values()))
    left = len(changes) - added
    comment = f"ldsync: audience {segment.audience_id}, {added} added, "
    if exit_action is ExitAction.REMOVE:
        # Leavers first: they make room for those who join.
        parts = [
            (
                f"{comment}{left} removed",
                [("removeIncludedTargets", leaves), ("addIncludedTargets", joins)],
            )
        ]
    else:
        parts = [
            (
                f"{comment}{left} excluded (1 of 2: out of the other list)",
                [("removeIncludedTargets", leaves), ("removeExcludedTargets", joins)],
            ),
            (
                f"{comment}{left} excluded (2 of 2)",
                [("addExcludedTargets", leaves), ("addIncludedTargets", joins)],
            ),
        ]
    names = {
        "projectKey": project_key,
        "environmentKey": environment_key,
        "segmentKey": segment.key,
    }
    return tuple(
        Request("PATCH", SEGMENT_ROUTE, names, _body(environment_key, *part), SEMANTIC_PATCH)
        for part in parts
    )


def _body(
    environment_key: str, comment: str, instructions: Sequence[tuple[str, ByKind]]
) -> dict[str, Any]:
    """One instruction per direction and context kind."""
    return {
        "environmentKey": environment_key,  # in the path, too, but documented as required here
        "comment": comment,
        "instructions": [
            {"kind": instruction, "contextKind": kind, "values": keys}
            for instruction, side in instructions
            for kind, keys in side.items()
        ],
    }


def control_patch(refused: Request) -> Request:
    """Return a patch of the sort of one that was refused, for a context that nobody has.

    LaunchDarkly checks it and changes nothing (`dryRun`). If it is accepted, what was refused are
    the members; if it is refused as well, it is the patch.
    """
    body = dict(refused.body or {})
    body["comment"] = "ldsync: control, changes nothing"
    body["instructions"] = [
        {**body["instructions"][0], "contextKind": "user", "values": [CONTROL_KEY]}
    ]
    return replace(refused, route=f"{refused.route}?dryRun=true", body=body)


def doubt(reply: Reply, request: Request) -> str:
    """What is wrong with a reply that says a patch was applied; empty if nothing is.

    The API ignores fields it does not know and still reports success, and what lies in between may
    answer for it. The reply shows the whole segment: it must have a version, and must contain one
    member that was added. Searched as bytes, which takes a fraction of the time parsing would.
    """
    if len(reply.raw) > MAX_BODY:  # cut short
        return ""
    if b'"version":' not in reply.raw:
        return "it does not show the segment"
    added = next(_added(request), None)
    if added is None or f'"{added}"'.encode() in reply.raw:
        return ""
    return "the segment it shows lacks a member that was added"


def _added(request: Request) -> Iterator[str]:
    """Yield the keys that a patch adds to a list, as far as they look the same in any JSON."""
    for instruction in (request.body or {})["instructions"]:
        if instruction["kind"].startswith("add"):
            yield from filter(_PLAIN.fullmatch, instruction["values"])
