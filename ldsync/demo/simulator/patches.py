"""Semantic patches of a segment (launchdarkly-api contract 4): read strictly, applied whole."""

from dataclasses import dataclass

from ldsync.demo.simulator.membership import Action, Change
from ldsync.demo.simulator.refusal import Refusal
from ldsync.demo.simulator.segment import Segment, valid_keys, valid_kind, valid_name, valid_tags

#: Target operations in one request, all instructions together: the safe reading of "number of
#: operations on targets exceeds the batch limit" (launchdarkly-api contract 4.3).
MAX_OPERATIONS = 1_500

_VERBS = {
    "addIncluded": Action.INCLUDE,
    "removeIncluded": Action.REMOVE,
    "addExcluded": Action.EXCLUDE,
    "removeExcluded": Action.UNEXCLUDE,
}
_TARGETS = {f"{verb}Targets": action for verb, action in _VERBS.items()}
_USERS = {f"{verb}Users": action for verb, action in _VERBS.items()}
_BIG = {
    "addBigSegmentIncludedTargets": Action.INCLUDE,
    "removeBigSegmentIncludedTargets": Action.REMOVE,
    "addBigSegmentExcludedTargets": Action.EXCLUDE,
    "removeBigSegmentExcludedTargets": Action.UNEXCLUDE,
}


@dataclass(frozen=True, slots=True)
class Targets:
    """An instruction about members; those of a big segment have the segment's own kind."""

    change: Change
    big: bool


@dataclass(frozen=True, slots=True)
class Tags:
    """`addTags` or `removeTags`."""

    tags: list[str]
    adds: bool


@dataclass(frozen=True, slots=True)
class Name:
    """`updateName`."""

    name: str


Instruction = Targets | Tags | Name


def parse(document: object, environment_key: str) -> list[Instruction]:
    """Read the body of a semantic patch.

    Args:
        document: The decoded body. Fields it does not know are ignored, as the API does.
        environment_key: Environment of the path; the body's own, where given, must be the same.

    Raises:
        Refusal: It is not a valid patch, or has more than 1,500 target operations.
    """
    if not isinstance(document, dict):
        raise Refusal(400, "a semantic patch must be an object with instructions")
    if document.get("environmentKey", environment_key) != environment_key:
        raise Refusal(400, "environmentKey does not match the environment of the path")
    instructions = document.get("instructions")
    if not isinstance(instructions, list) or not instructions:
        raise Refusal(400, "instructions must be an array with at least one instruction")
    parsed = [parse_one(instruction) for instruction in instructions]
    operations = sum(len(item.change.keys) for item in parsed if isinstance(item, Targets))
    if operations > MAX_OPERATIONS and not all(
        item.big for item in parsed if isinstance(item, Targets)
    ):
        raise Refusal(
            400,
            f"number of operations on targets exceeds the batch limit of {MAX_OPERATIONS}",
        )
    return parsed


def parse_one(instruction: object) -> Instruction:
    """Read one instruction.

    Raises:
        Refusal: Its kind is unknown (or not simulated), or a field of it is missing or wrong.
    """
    if not isinstance(instruction, dict):
        raise Refusal(400, "an instruction must be an object")
    kind = instruction.get("kind")
    values = instruction.get("values")
    if kind in _TARGETS:
        context_kind = valid_kind(instruction.get("contextKind"))
        return Targets(Change(_TARGETS[kind], context_kind, valid_keys(values)), big=False)
    if kind in _USERS:
        return Targets(Change(_USERS[kind], "user", valid_keys(values)), big=False)
    if kind in _BIG:
        return Targets(Change(_BIG[kind], "", valid_keys(values)), big=True)
    if kind in ("addTags", "removeTags"):
        return Tags(valid_tags(values), adds=kind == "addTags")
    if kind == "updateName":
        return Name(valid_name(instruction.get("value")))
    raise Refusal(400, f"unknown instruction kind {kind!r}")


def apply(segment: Segment, instructions: list[Instruction], now_ms: int) -> None:
    """Apply a patch to a segment: all of it, or nothing.

    Instructions that are satisfied already succeed and leave the version as it is.

    Raises:
        Refusal: An instruction does not fit the segment; nothing is applied.
    """
    draft = segment.draft(
        fitted(segment, item) for item in instructions if isinstance(item, Targets)
    )
    name, tags = segment.name, list(segment.tags)
    for item in instructions:
        if isinstance(item, Name):
            name = item.name
        elif isinstance(item, Tags):
            rest = [tag for tag in tags if tag not in item.tags]
            tags = [*tags, *(tag for tag in item.tags if tag not in tags)] if item.adds else rest
    members_change = draft.changes_anything
    if members_change and segment.unbounded:
        segment.membership_version += 1
    if members_change or name != segment.name or tags != segment.tags:
        draft.apply()
        segment.name, segment.tags = name, tags
        segment.touch(now_ms)


def fitted(segment: Segment, item: Targets) -> Change:
    """The change of an instruction, with the segment's own context kind where it is big.

    Raises:
        Refusal: The instruction is for the other sort of segment, or the segment is synced.
    """
    if item.big != segment.unbounded:
        wanted = "larger list-based" if item.big else "standard"
        raise Refusal(400, f"this instruction is for {wanted} segments only")
    if segment.external is not None:
        raise Refusal(400, "the targets of a synced segment are managed by its source")
    if not item.big:
        return item.change
    return Change(item.change.action, segment.kind, item.change.keys)
