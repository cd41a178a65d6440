"""LaunchDarkly's OpenAPI document as a judge of requests and replies.

It is stricter than the document: fields that an object's schema does not name are refused too, for
a simulator that invents fields would let a client come to rely on them. Error bodies may have the
`id` that LaunchDarkly's prose adds.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from openapi_schema_validator import OAS30Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

PATH = Path(__file__).parents[1] / "data" / "launchdarkly-openapi.json"

_URI = "urn:launchdarkly"


class Operation(NamedTuple):
    """One verb on one path template."""

    method: str
    template: str


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document, with unknown fields forbidden."""
    loaded: dict[str, Any] = json.loads(PATH.read_text())
    for name, schema in loaded["components"]["schemas"].items():
        if name.endswith("ErrorRep"):
            schema["properties"]["id"] = {"type": "string"}
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return loaded


def operations() -> Iterator[Operation]:
    """Every operation of the document."""
    for template, item in document()["paths"].items():
        for method in item:
            yield Operation(method.upper(), template)


def statuses(operation: Operation) -> list[int]:
    """The statuses that an operation documents."""
    return sorted(map(int, _described(operation)["responses"]))


def check_reply(operation: Operation, status: int, content_type: str, body: bytes) -> None:
    """Hold a reply against the document.

    Raises:
        AssertionError: The status is not documented, or there is a body where none belongs.
        jsonschema.ValidationError: The body is not of the documented form.
    """
    responses = _described(operation)["responses"]
    assert str(status) in responses, f"{operation} documents no {status}"
    content = responses[str(status)].get("content")
    if content is None:
        assert body == b"", f"{operation} {status} has no body"
        return
    media_type = content_type.partition(";")[0]
    assert media_type in content
    _check(content[media_type]["schema"], json.loads(body))


def check_request(operation: Operation, content_type: str, body: bytes) -> None:
    """Hold a request body against the document; not for semantic patches, which it lacks.

    Raises:
        AssertionError: The content type is not documented.
        jsonschema.ValidationError: The body is not of the documented form.
    """
    content = _described(operation)["requestBody"]["content"]
    media_type = content_type.partition(";")[0]
    assert media_type in content
    _check(content[media_type]["schema"], json.loads(body))


def _described(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = document()["paths"][operation.template][operation.method.lower()]
    return described


@cache
def _registry() -> Registry[Any]:
    # OpenAPI 3.0 schemas resolve references as draft 4 does.
    resource = Resource.from_contents(document(), default_specification=DRAFT4)
    registry: Registry[Any] = Registry().with_resource(_URI, resource)
    return registry


def _check(schema: dict[str, Any], instance: object) -> None:
    absolute = {"$ref": _URI + schema["$ref"]} if "$ref" in schema else schema
    OAS30Validator(absolute, registry=_registry()).validate(instance)
