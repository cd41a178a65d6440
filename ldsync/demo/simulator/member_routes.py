"""Membership of big segments: by segment key, and synced from an audience (contract 5, 7, 8)."""

from ldsync.demo.simulator.calls import Call, Reply, Route, Write, json_reply
from ldsync.demo.simulator.membership import Action, Change, Side
from ldsync.demo.simulator.refusal import Refusal
from ldsync.demo.simulator.segment import Segment, valid_key, valid_keys, valid_kind, valid_name
from ldsync.demo.simulator.world import Environment, World

#: The integration whose body is simulated (launchdarkly-api contract 8.1).
INTEGRATION = "segment-audiences"

_ACTIONS = {
    ("included", "add"): Action.INCLUDE,
    ("included", "remove"): Action.REMOVE,
    ("excluded", "add"): Action.EXCLUDE,
    ("excluded", "remove"): Action.UNEXCLUDE,
}


def update_contexts(world: World, call: Call) -> Reply:
    """Add and remove keys of a big segment.

    Keys in both lists, or added and removed in one call, are refused although the API does not
    document it: what is right under the strict reading is right under any.
    """
    segment = _big_segment(world, call)
    changes = _listed(call.fields(), segment.kind)
    for side in Side:
        keys = [key for change in changes if change.action.side is side for key in change.keys]
        if len(set(keys)) != len(keys):
            raise Refusal(400, f"a key is named twice in {side.value!r}")
    segment.write_members(changes, call.now_ms)
    return Reply(204)


def get_context(world: World, call: Call) -> Reply:
    """Whether one key is in the lists of a big segment; the field is `userKey` for every kind."""
    segment, key = _big_segment(world, call), call.params["contextKey"]
    return json_reply(
        {
            "userKey": key,
            "included": key in segment.membership.keys(Side.INCLUDED, segment.kind),
            "excluded": key in segment.membership.keys(Side.EXCLUDED, segment.kind),
        }
    )


def sync_targets(world: World, call: Call) -> Reply:
    """Write members of synced segments, which are created on first sight.

    Members may name a cohort of their own; those that do not belong to the first element's.
    """
    if call.params["integrationKey"] != INTEGRATION:
        raise Refusal(404)
    fields = call.fields()
    environment = world.by_client_side_id(str(fields.get("environmentId", "")))
    if environment is None:
        raise Refusal(400, "environmentId is not the client-side ID of an environment")
    kind = valid_kind(fields.get("contextKind", "user"))
    cohorts = _cohorts(fields, kind)
    for cohort, (_, changes) in cohorts.items():
        segment = environment.segments.get(valid_key(_segment_key(cohort)))
        if segment is not None:
            _require_same_source(segment, kind)
            segment.draft(changes)
    for cohort, (name, changes) in cohorts.items():
        _synced_segment(environment, cohort, name, kind, call.now_ms).write_members(
            changes, call.now_ms
        )
    return Reply(204)


def updated(world: World, call: Call) -> tuple[Write, ...]:
    """What a call on a big segment would write."""
    key = call.params["segmentKey"]
    kind = call.environment(world).segment(key).kind
    return (Write(key, tuple(_listed(call.fields(), kind))),)


def synced(_: World, call: Call) -> tuple[Write, ...]:
    """What a call of segment-targets would write, cohort by cohort."""
    fields = call.fields()
    cohorts = _cohorts(fields, valid_kind(fields.get("contextKind", "user")))
    return tuple(
        Write(_segment_key(cohort), tuple(changes)) for cohort, (_, changes) in cohorts.items()
    )


def _big_segment(world: World, call: Call) -> Segment:
    segment = call.environment(world).segment(call.params["segmentKey"])
    if not segment.unbounded:
        raise Refusal(400, "the segment is not a big segment")
    return segment


def _listed(fields: dict[str, object], kind: str) -> list[Change]:
    changes = []
    for (side, verb), action in _ACTIONS.items():
        part = fields.get(side) or {}
        if not isinstance(part, dict):
            raise Refusal(400, f"{side} must be an object")
        if part.get(verb):
            changes.append(Change(action, kind, valid_keys(part[verb])))
    return changes


def _cohorts(fields: dict[str, object], kind: str) -> dict[str, tuple[str, list[Change]]]:
    batch = fields.get("batch")
    if not isinstance(batch, list) or not batch or not isinstance(batch[0], dict):
        raise Refusal(400, "batch must be an array with at least one member")
    first_id = valid_name(batch[0].get("cohortId"))
    first_name = valid_name(batch[0].get("cohortName"))
    cohorts: dict[str, tuple[str, list[Change]]] = {}
    for member in batch:
        if not isinstance(member, dict) or not isinstance(member.get("value"), bool):
            raise Refusal(400, "a member must be an object with a boolean value")
        (key,) = valid_keys([member.get("userId")])
        cohort = valid_name(member.get("cohortId", first_id))
        name = valid_name(member.get("cohortName", first_name))
        action = Action.INCLUDE if member["value"] else Action.REMOVE
        cohorts.setdefault(cohort, (name, []))[1].append(Change(action, kind, (key,)))
    return cohorts


def _segment_key(cohort: str) -> str:
    return f"{INTEGRATION}-{cohort}"


def _require_same_source(segment: Segment, kind: str) -> None:
    if segment.external != INTEGRATION or segment.kind != kind:
        raise Refusal(409, "the segment has another source or context kind", code="conflict")


def _synced_segment(
    environment: Environment, cohort: str, name: str, kind: str, now_ms: int
) -> Segment:
    key = _segment_key(cohort)
    if key in environment.segments:
        return environment.segments[key]
    segment = environment.create_segment(key, name, now_ms)
    segment.unbounded, segment.kind, segment.external = True, kind, INTEGRATION
    return segment


_SEGMENT = "/api/v2/segments/{projectKey}/{environmentKey}/{segmentKey}"

ROUTES = (
    Route("update_contexts", "POST", f"{_SEGMENT}/contexts", update_contexts, updated),
    Route("get_context", "GET", f"{_SEGMENT}/contexts/{{contextKey}}", get_context),
    Route("update_users", "POST", f"{_SEGMENT}/users", update_contexts, updated),
    Route("get_user", "GET", f"{_SEGMENT}/users/{{contextKey}}", get_context),
    Route(
        "sync_targets",
        "POST",
        "/api/v2/segment-targets/{integrationKey}",
        sync_targets,
        synced,
        unauthorized=403,
    ),
)
