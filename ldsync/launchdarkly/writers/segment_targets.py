"""Requests that change the members of a synced segment (launchdarkly-api contract 8). Pure.

They are those of Segment's own destination, field by field and in the same order: LaunchDarkly
reads them with the rules of that integration, and creates the segment when it first hears of the
cohort.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from ldsync.launchdarkly.request import TARGETS_ROUTE, Request
from ldsync.launchdarkly.writers.sides import CONTROL_KEY, Change
from ldsync.sync.change import Segment, includes

INTEGRATION: Final = "segment-audiences"
"""The integration as which Segment's destination writes; others cannot be made up."""


def targets_requests(
    client_side_id: str, segment: Segment, changes: Sequence[Change]
) -> tuple[Request, ...]:
    """Return the one request that these changes take.

    Args:
        client_side_id: Of the environment; it stands for the project, too.
        segment: Its audience is the cohort: the id names it for ever, the name is for people.
        changes: Member and stamp; at least one, each member once, all of one context kind.
    """
    kind = changes[0][0].partition("/")[0]
    batch = [
        {
            "userId": member.partition("/")[2],
            "cohortName": segment.name,
            "cohortId": segment.audience_id,
            "value": includes(stamp),
        }
        for member, stamp in changes
    ]
    body = {"environmentId": client_side_id, "contextKind": kind, "batch": batch}
    return (Request("POST", TARGETS_ROUTE, {"integrationKey": INTEGRATION}, body),)


def control_call(refused: Request) -> Request:
    """Return a call that changes nothing: it removes a context that nobody has from the cohort.

    If it is accepted, what was refused are the members; if it is refused as well, it is the call.
    """
    body = dict(refused.body or {})
    body["batch"] = [{**body["batch"][0], "userId": CONTROL_KEY, "value": False}]
    return replace(refused, body=body)
