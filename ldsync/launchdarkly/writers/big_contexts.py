"""Requests that change the members of a big segment (launchdarkly-api contract 5.1). Pure.

The body has no context kind: keys are of the one kind that the segment was created for. Neither a
limit of keys nor whether a request is applied whole is documented; that it may be sent again is
inferred from what it says, who is in and who is not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ldsync.launchdarkly.reply import Reply
from ldsync.launchdarkly.request import CONTEXTS_ROUTE, Request
from ldsync.launchdarkly.writers.sides import CONTROL_KEY, Change, ExitAction, sides
from ldsync.sync.change import Segment


def contexts_requests(
    project_key: str,
    environment_key: str,
    segment: Segment,
    changes: Sequence[Change],
    exit_action: ExitAction = ExitAction.REMOVE,
) -> tuple[Request, ...]:
    """Return the requests that these changes take, in the order in which they must succeed.

    Args:
        project_key: Key of the project.
        environment_key: Key of the environment in it.
        segment: The segment, which is a big one.
        changes: Member and stamp; at least one, each member once, all of one context kind.
        exit_action: What leaving means.
    """
    names = {
        "projectKey": project_key,
        "environmentKey": environment_key,
        "segmentKey": segment.key,
    }
    joins, leaves = ([key for keys in side.values() for key in keys] for side in sides(changes))
    if exit_action is ExitAction.REMOVE:
        bodies = [{"included": _listed(add=joins, remove=leaves)}]
    else:
        bodies = [
            {"included": _listed(remove=leaves), "excluded": _listed(remove=joins)},
            {"included": _listed(add=joins), "excluded": _listed(add=leaves)},
        ]
    return tuple(
        Request("POST", CONTEXTS_ROUTE, names, {side: part for side, part in body.items() if part})
        for body in bodies
    )


def control_call(refused: Request) -> Request:
    """Return a call that changes nothing: it removes a context that nobody has.

    There is no dry run here, so that nothing can be added. If it is accepted, what was refused are
    the members; if it is refused as well, it is the call.
    """
    return replace(refused, body={"included": {"remove": [CONTROL_KEY]}})


def doubt(reply: Reply, _request: Request) -> str:
    """What is wrong with a reply that claims success; empty if nothing is.

    It has no body. One that is not JSON was written by something between here and LaunchDarkly.
    """
    return "" if not reply.raw or reply.document() is not None else "it is not the API that speaks"


def _listed(**keys: Sequence[str]) -> Mapping[str, Any]:
    """Leave out what is empty: every level of the body is optional."""
    return {verb: listed for verb, listed in keys.items() if listed}
