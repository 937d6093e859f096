"""GET /api/openapi.json: the OpenAPI 3.1 document, made from the table of endpoints and their models."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core.core_schema import DictSchema

from contracts.callers import ROLES
from contracts.parameters import PATH, Parameter
from contracts.responses import Problem
from imagedelta import __version__
from services.deps import Deps
from triggers.http import MAX_BODY_BYTES, Answer, Request
from triggers.operations import Operation, Resource

_REFS = "#/components/schemas/{model}"
_PARAMETER = re.compile(r"\{(\w+)\}")
_ANY_TIME = (400, 413, 500, 503)
"""Problems that every operation may answer with."""
_UNKNOWN_CALLER = (
    "The caller is not known. Of a key that is missing or wrong the host itself says so, without a body; of a token "
    "the platform does, or this app with a problem."
)
_ABOUT = f"""Moves container images to IoT Edge devices over thin, broken links.

Every error is `application/problem+json` with a stable `code` and a `remedy`: 400 for a request that does not
fit this document, 422 for one that fits it and still cannot be done, 405 for a method that is not here.
Bodies are bounded at {MAX_BODY_BYTES} bytes. Lists are paged in stable order: give `next` as `after`. A POST with
an `Idempotency-Key` is done once: repeated, it is answered as before. An empty query parameter counts as absent."""


def resources(described: Sequence[Resource]) -> tuple[Resource, ...]:
    """The endpoint that serves the document of ``described`` and of itself."""

    @cache
    def document() -> Mapping[str, Any]:
        return describe((*described, own))

    def handler(request: Request, deps: Deps) -> Answer:
        return Answer(200, document())

    own = Resource(
        name="api_openapi",
        path="openapi.json",
        anonymous=True,
        operations=(Operation("GET", handler, "This document.", {200: None}),),
    )
    return (own,)


def describe(described: Sequence[Resource]) -> Mapping[str, Any]:
    """The OpenAPI document of these resources."""
    models, definitions = _schemas(described)
    return {
        "openapi": "3.1.0",
        "info": {"title": "imagedelta", "version": __version__, "description": _ABOUT, "license": {"name": "MIT"}},
        "servers": [{"url": "/"}],
        "paths": {f"/api/{resource.path}": _path_item(resource, models) for resource in described},
        "components": {
            "schemas": definitions,
            "securitySchemes": {
                "functionKey": {"type": "apiKey", "in": "header", "name": "x-functions-key"},
                "functionKeyInQuery": {"type": "apiKey", "in": "query", "name": "code"},
                "entra": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "With platform authentication, instead of keys: a token of Microsoft Entra ID for "
                    f"this app, with an app role. The roles are {', '.join(sorted(ROLES))}; each of them reads, too.",
                },
            },
        },
    }


_Models = Mapping[tuple[Any, Any], Mapping[str, Any]]
"""(model, mode) -> reference to its schema."""


def _schemas(described: Iterable[Resource]) -> tuple[_Models, Mapping[str, Any]]:
    operations = [operation for resource in described for operation in resource.operations]
    answers = {model for operation in operations for model in operation.answers.values() if model is not None}
    bodies = {operation.body for operation in operations if operation.body is not None}
    wanted: list[tuple[type[BaseModel], Any]] = [(Problem, "serialization")]
    wanted += [(model, "serialization") for model in answers]
    wanted += [(model, "validation") for model in bodies]
    wanted.sort(key=lambda entry: entry[0].__name__)
    models, document = models_json_schema(wanted, ref_template=_REFS, schema_generator=_Schemas)
    return models, dict(_named(document["$defs"]))


def _named(definitions: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Variants of a body under names of their own: generated clients call their classes so."""
    for name, schema in definitions.items():
        variants = schema.get("oneOf", ())
        yield from ((variant["title"], variant) for variant in variants)
        references = [{"$ref": _REFS.format(model=variant["title"])} for variant in variants]
        yield name, {**schema, "oneOf": references} if references else schema


class _Schemas(GenerateJsonSchema):
    """Pydantic's schemas without made-up titles, and with keys bounded as pydantic itself bounds them."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def dict_schema(self, schema: DictSchema) -> JsonSchemaValue:
        made = super().dict_schema(schema)
        for pattern, values in made.pop("patternProperties", {}).items():
            made |= {"propertyNames": {"pattern": pattern}, "additionalProperties": values}
        return made


def _path_item(resource: Resource, models: _Models) -> dict[str, Any]:
    item: dict[str, Any] = {
        operation.method.lower(): _operation(resource, operation, models) for operation in resource.operations
    }
    names = _PARAMETER.findall(resource.path)
    if names:
        item["parameters"] = [_parameter(PATH[name], "path") | {"required": True} for name in names]
    return item


def _operation(resource: Resource, operation: Operation, models: _Models) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": f"{operation.method.lower()}_{resource.name.removeprefix('api_')}",
        "summary": operation.summary,
        "tags": [resource.path.partition("/")[0]],
        "parameters": [
            *(_parameter(parameter, "query") | {"allowEmptyValue": True} for parameter in operation.query),
            *(_parameter(parameter, "header") for parameter in operation.headers),
        ],
        "responses": _responses(operation, models),
    }
    described["security"] = [] if resource.anonymous else _security(operation)
    if not resource.anonymous:
        described["responses"]["401"] = _problem(models) | {"description": _UNKNOWN_CALLER}
        described["responses"]["403"] = _problem(models) | {"description": "The caller lacks a role."}
    if operation.body is not None:
        schema = models[(operation.body, "validation")]
        described["requestBody"] = {
            "required": operation.body_required,
            "content": {"application/json": {"schema": schema}},
        }
    return described


def _parameter(parameter: Parameter, place: str) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": place,
        "description": parameter.description,
        "schema": parameter.schema,
    }


def _responses(operation: Operation, models: _Models) -> dict[str, Any]:
    answers = {str(status): _answer(operation, status, models) for status in operation.answers}
    problem = _problem(models)["content"]
    for status in sorted({*_ANY_TIME, *_of_request(operation), *operation.errors}):
        answer = answers.setdefault(str(status), {"description": "A problem, with its code and remedy."})
        answer["content"] = {**answer.get("content", {}), **problem}
    return answers


def _security(operation: Operation) -> list[dict[str, Any]]:
    """Any of these. OpenAPI 3.1 lets a requirement name roles, whatever the scheme."""
    return [{"functionKey": []}, {"functionKeyInQuery": []}, {"entra": [operation.role]}]


def _problem(models: _Models) -> dict[str, Any]:
    return {"content": {"application/problem+json": {"schema": models[(Problem, "serialization")]}}}


def _of_request(operation: Operation) -> Iterator[int]:
    """Problems that come of what the operation takes."""
    if operation.query or operation.body is not None:
        yield 422
    if operation.body is not None:
        yield 415
    if operation.method == "POST":
        yield from (409, 422)


def _answer(operation: Operation, status: int, models: _Models) -> dict[str, Any]:
    model, is_json = operation.answers[status], operation.media_type == "application/json"
    schema: Mapping[str, Any] = {"type": "object" if is_json else "string"}
    schema = schema if model is None else models[(model, "serialization")]
    described: dict[str, Any] = {
        "description": (model.__doc__ or model.__name__).partition("\n")[0] if model else operation.summary,
        "content": {operation.media_type: {"schema": schema}},
    }
    if status == 202:
        described["headers"] = {
            "Location": {"description": "Where to look how it goes.", "schema": {"type": "string"}, "required": True}
        }
    return described
