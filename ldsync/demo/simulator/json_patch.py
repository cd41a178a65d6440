"""JSON patches of a segment: what `application/json` means without the semantic content type.

Only the fields a worker has reason to change this way are simulated: name, description and tags,
and `test` on the version (launchdarkly-api contract 4.2 and 4.3).
"""

from ldsync.demo.simulator.refusal import Refusal
from ldsync.demo.simulator.segment import Segment, valid_name, valid_tags


def apply(segment: Segment, document: object, now_ms: int) -> None:
    """Apply a JSON patch: an array of operations, or an object with `patch` and `comment`.

    Raises:
        Refusal: It is not a JSON patch (400: so ends a semantic patch with the wrong content type),
            an operation is not simulated, or a `test` does not hold (409). Nothing is applied.
    """
    operations = document.get("patch") if isinstance(document, dict) else document
    if not isinstance(operations, list):
        raise Refusal(400, "the body is not a JSON patch; semantic patches have their own type")
    preview = segment.preview()
    for operation in operations:
        if not isinstance(operation, dict):
            raise Refusal(400, "an operation must be an object")
        _apply_one(preview, operation)
    before = (segment.name, segment.description, segment.tags)
    after = (preview.name, preview.description, preview.tags)
    if before != after:
        segment.name, segment.description, segment.tags = after
        segment.touch(now_ms)


def _apply_one(segment: Segment, operation: dict[str, object]) -> None:
    op, path, value = operation.get("op"), operation.get("path"), operation.get("value")
    match (op, path):
        case ("test", "/version"):
            if value != segment.version:
                raise Refusal(409)
        case ("add" | "replace", "/name"):
            segment.name = valid_name(value)
        case ("add" | "replace", "/description"):
            if not isinstance(value, str):
                raise Refusal(400, "description must be a string")
            segment.description = value
        case ("remove", "/description"):
            segment.description = None
        case ("add" | "replace", "/tags"):
            segment.tags = valid_tags(value)
        case ("add", "/tags/-"):
            segment.tags = valid_tags([*segment.tags, value])
        case _:
            raise Refusal(400, f"operation {op!r} on {path!r} is not valid here")
