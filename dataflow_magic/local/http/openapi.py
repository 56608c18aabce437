"""The OpenAPI 3.1 document of the local service, made from its operations. Pure; it knows no handler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import DictSchema

from dataflow_magic.local.http.operations import Operation
from dataflow_magic.local.http.responses import ID, GatewayResponse, RefusalResponse
from dataflow_magic.signing import ACCESS_KEY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER

__all__ = ["document"]

REFS = "#/components/schemas/{model}"
SIGNATURE = (TIMESTAMP_HEADER, ACCESS_KEY_HEADER, SIGNATURE_HEADER)
"""Headers of a signature of version 2; a request needs all three."""
PATH_PARAMETERS = ("jobId", "executionId")

Key = tuple[str, str]
"""An operation's name, or an empty one, and what of it a schema describes."""

WRONG_HOST = "The gateway: the Host header names no address of the service"


def document(operations: Sequence[Operation], title: str, version: str) -> dict[str, Any]:
    """Return the OpenAPI document of these operations."""
    bodies = {(each.name, "body"): each.body for each in operations if each.body}
    responses = {(each.name, "response"): each.response for each in operations}
    refusals = {("", "service"): RefusalResponse, ("", "gateway"): GatewayResponse}
    schemas, parts = _describe(bodies | responses | refusals)
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {
            "schemas": parts,
            "securitySchemes": {name: {"type": "apiKey", "in": "header", "name": name} for name in SIGNATURE},
        },
        "security": [{name: [] for name in SIGNATURE}],
    }


class _Schemas(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - overrides
        return False  # a title would only repeat the name

    def dict_schema(self, schema: DictSchema) -> JsonSchemaValue:
        described = super().dict_schema(schema)
        # Pydantic describes the values of names that match a pattern and allows others; the service refuses others.
        for pattern, values in described.pop("patternProperties", {}).items():
            names = {"minLength": 1, "pattern": pattern}
            described |= {"propertyNames": names, "additionalProperties": values}
        return described


def _describe(types: Mapping[Key, Any]) -> tuple[dict[Key, Any], dict[str, Any]]:
    """Return the schema of each type under its key, and the named schemas they refer to."""
    by_key, shared = TypeAdapter.json_schemas(
        [(key, "validation", TypeAdapter(kind)) for key, kind in types.items()],
        schema_generator=_Schemas,
        ref_template=REFS,
    )
    return {key: schema for (key, _), schema in by_key.items()}, shared.get("$defs", {})


def _operation(each: Operation, schemas: Mapping[Key, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": each.name,
        "responses": {"200": _content("Done", schemas[each.name, "response"])},
    }
    parameters = [
        *(
            _parameter("path", name, ID, required=True)
            for name in PATH_PARAMETERS
            if f"{{{name}}}" in each.path
        ),
        *(_parameter("query", name, schema) for name, schema in each.query.items()),
    ]
    if parameters:
        described["parameters"] = parameters
    if each.body:
        body = _content("", schemas[each.name, "body"])
        described["requestBody"] = {"required": each.body_required, **body}
    if not each.signed:
        described["responses"]["403"] = _content(WRONG_HOST, schemas["", "gateway"])
        described["responses"]["503"] = _content(
            "The gateway: the database cannot be used", schemas["", "gateway"]
        )
        return {**described, "security": []}
    described["responses"].update(_refusals(each, schemas["", "service"], schemas["", "gateway"]))
    return described


def _refusals(each: Operation, service: Any, gateway: Any) -> dict[str, Any]:
    found = {
        "401": _content("The gateway: the signature is missing or wrong", gateway),
        "403": _content(WRONG_HOST, gateway),
        "500": _content("The gateway: the service failed", gateway),
    }
    if each.body or each.query or each.method in {"POST", "DELETE"}:
        found["400"] = _content("The service: a value or a state does not allow it", service)
    if "{" in each.path:
        found["404"] = _content("The service: no such job or run", service)
    if each.body:
        found["413"] = _content("The gateway: the body is too large", gateway)
    if each.has_quota:
        found["429"] = _content("The gateway: too many runs wait", gateway)
    return dict(sorted(found.items()))


def _parameter(place: str, name: str, schema: Any, *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": place, "required": required, "schema": schema}


def _content(description: str, schema: Any) -> dict[str, Any]:
    content = {"content": {"application/json": {"schema": schema}}}
    return {"description": description, **content} if description else content
