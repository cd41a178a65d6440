"""Operations on segments: list, get, create, patch, delete (launchdarkly-api contract 3 and 4)."""

import re
from collections.abc import Callable

import orjson

from ldsync.demo.simulator import json_patch, patches
from ldsync.demo.simulator.calls import Call, Reply, Route, Write, json_reply, page
from ldsync.demo.simulator.membership import Change
from ldsync.demo.simulator.refusal import Refusal
from ldsync.demo.simulator.segment import Segment, valid_key, valid_kind, valid_name, valid_tags
from ldsync.demo.simulator.world import World

_SEMANTIC = "launchdarkly.semanticpatch"
_CONDITION = re.compile(r"(tags) anyOf (\[[^]]*\])|(unbounded) equals (true|false)")
_ORDERS: dict[str, Callable[[Segment], str | int]] = {
    "creationDate": lambda segment: segment.created_ms,
    "name": lambda segment: segment.name,
    "lastModified": lambda segment: segment.modified_ms,
}


def list_segments(world: World, call: Call) -> Reply:
    """Segments of an environment, page by page; filters on `tags` and `unbounded` are simulated."""
    environment = call.environment(world)
    wanted = _condition(call.query.get("filter", ""))
    found = [segment for segment in environment.segments.values() if wanted(segment)]
    order = call.query.get("sort", "")
    if order:
        if order.lstrip("-") not in _ORDERS:
            raise Refusal(400, f"cannot sort by {order!r}")
        found.sort(key=_ORDERS[order.lstrip("-")], reverse=order.startswith("-"))
    path = f"/api/v2/segments/{environment.project_key}/{environment.key}"
    return page(call, path, found, Segment.document)


def get_segment(world: World, call: Call) -> Reply:
    """One segment with all its targets; only here with the flags that use it."""
    segment = call.environment(world).segment(call.params["segmentKey"])
    return json_reply(segment.document() | {"_flags": []})


def create_segment(world: World, call: Call) -> Reply:
    """Create a segment. Membership in the body is ignored without a word: create, then patch."""
    environment, fields = call.environment(world), call.fields()
    key, name = valid_key(fields.get("key")), valid_name(fields.get("name"))
    tags = valid_tags(fields.get("tags", []))
    description, unbounded = fields.get("description"), fields.get("unbounded", False)
    if description is not None and not isinstance(description, str):
        raise Refusal(400, "description must be a string")
    if not isinstance(unbounded, bool):
        raise Refusal(400, "unbounded must be a boolean")
    kind = valid_kind(fields.get("unboundedContextKind", "user")) if unbounded else "user"
    segment = environment.create_segment(key, name, call.now_ms)
    segment.description, segment.tags = description, tags
    segment.unbounded, segment.kind = unbounded, kind
    return Reply(201, segment.body())


def patch_segment(world: World, call: Call) -> Reply:
    """Change a segment: a semantic patch if the content type says so, else a JSON patch.

    With required approvals a change of targets is refused with the message clients look for;
    creating segments and changing names and tags is not (launchdarkly-api contract 1.4 and 3.2).
    """
    environment = call.environment(world)
    segment = environment.segment(call.params["segmentKey"])
    document = call.document()
    target = segment.preview() if call.query.get("dryRun") == "true" else segment
    if call.media_type()[1].get("domain-model") != _SEMANTIC:
        json_patch.apply(target, document, call.now_ms)
        return Reply(200, target.body())
    instructions = patches.parse(document, environment.key)
    if environment.approvals_required and any(
        isinstance(item, patches.Targets) for item in instructions
    ):
        raise Refusal(403, "approval is required")
    patches.apply(target, instructions, call.now_ms)
    return Reply(200, target.body())


def delete_segment(world: World, call: Call) -> Reply:
    """Delete a segment."""
    call.environment(world).delete_segment(call.params["segmentKey"])
    return Reply(204)


def created(_: World, call: Call) -> tuple[Write, ...]:
    """The segment a create call names."""
    return (Write(str(call.fields().get("key", ""))),)


def deleted(_: World, call: Call) -> tuple[Write, ...]:
    """The segment a delete call names."""
    return (Write(call.params["segmentKey"]),)


def patched(world: World, call: Call) -> tuple[Write, ...]:
    """What a patch would write; nothing, if it is a dry run or its instructions are invalid."""
    if call.query.get("dryRun") == "true":
        return ()
    key = call.params["segmentKey"]
    document = call.document()
    instructions = document.get("instructions") if isinstance(document, dict) else None
    changes: list[Change] = []
    for instruction in instructions if isinstance(instructions, list) else []:
        try:
            item = patches.parse_one(instruction)
        except Refusal:
            continue
        if isinstance(item, patches.Targets):
            kind = item.change.kind or call.environment(world).segment(key).kind
            changes.append(Change(item.change.action, kind, item.change.keys))
    return (Write(key, tuple(changes)),)


def _condition(text: str) -> Callable[[Segment], bool]:
    if not text:
        return lambda _: True
    parsed = _CONDITION.fullmatch(text)
    if parsed is None:
        raise Refusal(400, f"the simulator does not know the filter {text!r}")
    tags, listed, _, unbounded = parsed.groups()
    if not tags:
        return lambda segment: segment.unbounded == (unbounded == "true")
    try:
        wanted = set(orjson.loads(listed))
    except (orjson.JSONDecodeError, TypeError):
        raise Refusal(400, f"the tags of the filter are no array of strings: {listed}") from None
    return lambda segment: not wanted.isdisjoint(segment.tags)


_ENVIRONMENT = "/api/v2/segments/{projectKey}/{environmentKey}"
_SEGMENT = f"{_ENVIRONMENT}/{{segmentKey}}"

ROUTES = (
    Route("list_segments", "GET", _ENVIRONMENT, list_segments),
    Route("create_segment", "POST", _ENVIRONMENT, create_segment, created),
    Route("get_segment", "GET", _SEGMENT, get_segment),
    Route("patch_segment", "PATCH", _SEGMENT, patch_segment, patched),
    Route("delete_segment", "DELETE", _SEGMENT, delete_segment, deleted),
)
