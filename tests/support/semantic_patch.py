"""LaunchDarkly's semantic patch of a segment as a JSON Schema.

The OpenAPI document has only the JSON patch; the semantic form is prose there (launchdarkly-api
contract 4.1). Only the instructions that `ldsync` uses; fields the API does not name are refused.
"""

from typing import Any

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["environmentKey", "instructions"],
    "additionalProperties": False,
    "properties": {
        "environmentKey": {"type": "string", "minLength": 1},
        "comment": {"type": "string"},
        "instructions": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["kind", "contextKind", "values"],
                "additionalProperties": False,
                "properties": {
                    "kind": {
                        "enum": [
                            "addIncludedTargets",
                            "removeIncludedTargets",
                            "addExcludedTargets",
                            "removeExcludedTargets",
                        ]
                    },
                    "contextKind": {"type": "string", "pattern": "^[A-Za-z0-9._-]+$"},
                    "values": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": 1_500,
                        "uniqueItems": True,
                        "items": {"type": "string", "minLength": 1},
                    },
                },
            },
        },
    },
}
