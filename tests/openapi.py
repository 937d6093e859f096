"""Holds an answer of the HTTP interface against the OpenAPI document; used by every test that calls it.

check_answer("GET", "/api/devices/boat-1", 200, body, document=served_document)
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from triggers.http_openapi import describe
from triggers.table import ALL

_BASE = "urn:openapi"
_PROBLEM = "application/problem+json"


def check_answer(
    method: str,
    path: str,
    status: int,
    body: bytes | str | Mapping[str, Any],
    document: Mapping[str, Any] | None = None,
) -> Any:
    """The parsed body, when the document describes this answer and the body fits it.

    Args:
        path: Of the URL, from /api on; a query is ignored.
        document: As served; the one made from the code when absent.

    Raises: AssertionError that says what does not fit.
    """
    document = document or own_document()
    parsed = _parsed(body)
    schema = _schema(document, method, urlsplit(path).path, status, parsed)
    registry = Registry().with_resource(_BASE, Resource(contents=document, specification=DRAFT202012))
    validator = Draft202012Validator({"$ref": f"{_BASE}#{schema}"}, registry=registry)
    problems = [f"{'/'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(parsed)]
    assert not problems, f"{method} {path} {status} does not fit the OpenAPI document: {problems[:5]}"
    return parsed


def _parsed(body: bytes | str | Mapping[str, Any]) -> Any:
    """A page for people is a text."""
    if isinstance(body, Mapping):
        return body
    text = body.decode() if isinstance(body, bytes) else body
    return text if text.startswith("<!doctype html>") else json.loads(text)


@cache
def own_document() -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads(json.dumps(describe(ALL)))
    return document


def _schema(document: Mapping[str, Any], method: str, path: str, status: int, parsed: Any) -> str:
    """JSON pointer of the schema of the answer."""
    template = _template(document, path)
    if template is None or method.lower() not in document["paths"][template]:
        assert status in (404, 405), f"{method} {path} is not described, but was answered {status}"
        return "/components/schemas/Problem"
    responses = document["paths"][template][method.lower()]["responses"]
    assert str(status) in responses, f"{method} {template} does not describe the status {status}"
    content = responses[str(status)]["content"]
    media_type = _PROBLEM if _PROBLEM in content and "remedy" in parsed else next(iter(content))
    parts = ("paths", template, method.lower(), "responses", str(status), "content", media_type, "schema")
    return "/" + "/".join(part.replace("~", "~0").replace("/", "~1") for part in parts)


def _template(document: Mapping[str, Any], path: str) -> str | None:
    def fits(template: str) -> bool:
        return re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template)), path) is not None

    return min(
        (template for template in document["paths"] if fits(template)), key=lambda text: text.count("{"), default=None
    )
