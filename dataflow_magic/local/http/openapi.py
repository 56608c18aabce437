"""The local service described as OpenAPI 3.1, made from the models that check bodies and those of the answers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import DictSchema, NullableSchema, WithDefaultSchema

from dataflow_magic.local.http import requests, responses
from dataflow_magic.local.http.contract import PAGE_LIMIT
from dataflow_magic.local.http.faults import FaultPlan
from dataflow_magic.local.options import Contract
from dataflow_magic.signing import ACCESS_KEY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER

__all__ = ["Operation", "document", "operations"]

REFS = "#/components/schemas/{model}"
PAGING = {
    "page": {"type": "integer", "minimum": 0, "maximum": 999_999_999, "default": 0},
    "limit": {"type": "integer", "minimum": 0, "maximum": PAGE_LIMIT, "default": PAGE_LIMIT},
}
TEXT = {"type": "string"}
SIGNATURE = (TIMESTAMP_HEADER, ACCESS_KEY_HEADER, SIGNATURE_HEADER)
"""Of version 2: all three headers together."""
PATH_PARAMETERS = ("jobId", "executionId")

JobList = responses.ListAnswer[responses.JobAnswer]
RunList = responses.ListAnswer[responses.ExecutionAnswer]

JOBS = "/api/v1/jobs"
JOB = f"{JOBS}/{{jobId}}"
RUNS = f"{JOB}/executions"
RUN = f"{RUNS}/{{executionId}}"
PROGRESS = "/local/v1/jobs/{jobId}/executions/{executionId}/progress"
FAULTS = "/local/v1/faults"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one address.

    Attributes
    ----------
    name
        The vendor's, where it is the vendor's operation.
    answer, body
        Types pydantic can describe; no body is None.
    query
        JSON schema of each parameter.
    signed
        Whether the gateway asks for a signature.
    """

    method: str
    path: str
    name: str
    answer: Any
    body: Any = None
    body_required: bool = True
    query: Mapping[str, Any] = field(default_factory=dict)
    signed: bool = True


def operations(contract: Contract) -> list[Operation]:
    """Return all the service answers under a contract."""
    by_page = contract == Contract.EXECUTE_JOB
    return [
        Operation("GET", JOBS, "getJobs", JobList, query={"name": TEXT, **PAGING}),
        Operation("POST", JOBS, "createJob", responses.JobAnswer, requests.JobCreation),
        Operation("GET", JOB, "getJob", responses.JobAnswer),
        Operation("PATCH", JOB, "updateJob", responses.JobAnswer, requests.JobUpdate),
        Operation("DELETE", JOB, "deleteJob", Literal[True]),
        Operation("PUT", RUNS, "updateJobExecutionConfig", responses.JobAnswer, requests.ExecutionConfig),
        Operation(
            "POST",
            RUNS,
            "executeJob" if by_page else "createJobExecution",
            responses.StartedAnswer,
            requests.PageExecution if by_page else requests.SettingsExecution,
            body_required=by_page,
            query={"triggerId": TEXT, "workflowId": TEXT},
        ),
        Operation("GET", RUNS, "getJobExecutions", RunList, query=PAGING),
        Operation("GET", RUN, "getJobExecution", responses.ExecutionAnswer),
        Operation("POST", f"{RUN}/cancel", "cancelJobExecution", Literal[True]),
        Operation("GET", PROGRESS, "getProgress", responses.ProgressAnswer),
        Operation("GET", FAULTS, "getFaults", responses.FaultsAnswer),
        Operation("PUT", FAULTS, "setFaults", responses.FaultsAnswer, FaultPlan),
        Operation("DELETE", FAULTS, "clearFaults", Literal[True]),
        Operation("GET", "/local/v1/service", "describeService", responses.ServiceAnswer),
        Operation("GET", "/local/v1/health", "getHealth", responses.HealthAnswer, signed=False),
        Operation("GET", "/local/v1/openapi.json", "describeApi", dict[str, Any], signed=False),
    ]


def document(contract: Contract, version: str) -> dict[str, Any]:
    """Return the OpenAPI document of the service under a contract."""
    listed = operations(contract)
    taken, taken_parts = _describe({each.name: each.body for each in listed if each.body}, _BodySchema)
    refusals = {"refusal": responses.RefusalAnswer, "gateway": responses.GatewayAnswer}
    told, told_parts = _describe({each.name: each.answer for each in listed} | refusals, _AnswerSchema)
    paths: dict[str, dict[str, Any]] = {}
    for each in listed:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, taken.get(each.name), told)
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Data Flow, local service ({contract})", "version": version},
        "paths": paths,
        "components": {
            "schemas": taken_parts | told_parts,
            "securitySchemes": {name: {"type": "apiKey", "in": "header", "name": name} for name in SIGNATURE},
        },
        "security": [{name: [] for name in SIGNATURE}],
    }


class _BodySchema(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - overrides
        return False  # it would only be the name again

    def dict_schema(self, schema: DictSchema) -> JsonSchemaValue:
        described = super().dict_schema(schema)
        # Pydantic says what a name that fits the pattern may hold, and lets others be; here they are refused.
        for pattern, values in described.pop("patternProperties", {}).items():
            names = {"minLength": 1, "pattern": pattern}
            described |= {"propertyNames": names, "additionalProperties": values}
        return described


class _AnswerSchema(_BodySchema):
    """What is None is not told, so no answer holds a null."""

    def nullable_schema(self, schema: NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def _describe(
    types: Mapping[str, Any], generator: type[GenerateJsonSchema]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the schema of each type under its name, and those they refer to."""
    by_key, shared = TypeAdapter.json_schemas(
        [(name, "validation", TypeAdapter(kind)) for name, kind in types.items()],
        schema_generator=generator,
        ref_template=REFS,
    )
    return {name: schema for (name, _), schema in by_key.items()}, shared.get("$defs", {})


def _operation(each: Operation, body: Any, told: Mapping[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": each.name,
        "responses": {"200": _content("Done", told[each.name])},
    }
    parameters = [
        *(
            _parameter("path", name, responses.ID, required=True)
            for name in PATH_PARAMETERS
            if f"{{{name}}}" in each.path
        ),
        *(_parameter("query", name, schema) for name, schema in each.query.items()),
    ]
    if parameters:
        described["parameters"] = parameters
    if body:
        described["requestBody"] = {"required": each.body_required, **_content("", body)}
    if not each.signed:
        return {**described, "security": []}
    described["responses"].update(_refusals(each, told["refusal"], told["gateway"]))
    return described


def _refusals(each: Operation, refusal: Any, gateway: Any) -> dict[str, Any]:
    found = {
        "401": _content("The gateway: not signed, or not right", gateway),
        "500": _content("The gateway: a fault of the service", gateway),
    }
    if each.body or each.query or each.method in {"POST", "DELETE"}:
        found["400"] = _content("The service: a value or a state does not allow it", refusal)
    if "{" in each.path:
        found["404"] = _content("The service: no such job or run", refusal)
    if each.body:
        found["413"] = _content("The gateway: the body is too large", gateway)
    if each.path == RUNS and each.method == "POST":
        found["429"] = _content("The gateway: too many runs wait", gateway)
    return dict(sorted(found.items()))


def _parameter(place: str, name: str, schema: Any, *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": place, "required": required, "schema": schema}


def _content(description: str, schema: Any) -> dict[str, Any]:
    content = {"content": {"application/json": {"schema": schema}}}
    return {"description": description, **content} if description else content
