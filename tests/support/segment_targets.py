"""The body of Segment's integration as a JSON Schema (launchdarkly-api contract 8.1).

No OpenAPI document has it. Every field that Segment's destination sends is required, though
LaunchDarkly could do without some; others are refused.
"""

from typing import Any

_TEXT = {"type": "string", "minLength": 1}

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["environmentId", "contextKind", "batch"],
    "additionalProperties": False,
    "properties": {
        "environmentId": _TEXT,
        "contextKind": {"type": "string", "pattern": "^[A-Za-z0-9._-]+$"},
        "batch": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["userId", "cohortName", "cohortId", "value"],
                "additionalProperties": False,
                "properties": {
                    "userId": _TEXT,
                    "cohortName": _TEXT,
                    "cohortId": _TEXT,
                    "value": {"type": "boolean"},
                },
            },
        },
    },
}
