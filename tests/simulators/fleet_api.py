"""The HTTP interface without a server: a request finds its handler as in the host, behind the real wrapper."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from contracts.responses import View
from services.deps import Deps
from triggers.gate import KeyGate
from triggers.http import Answer, Request
from triggers.operations import Resource
from triggers.serving import answer_to
from triggers.table import ALL


@dataclass(frozen=True)
class FleetApi:
    """What a pipeline and a person ask for; the orchestrations that an answer names are the caller's to start."""

    deps: Deps

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Raises: AssertionError with the answer's body when it is a refusal."""
        resource, params = _route(path)
        headers = {**(headers or {}), "content-type": "application/json"}
        data = b"" if body is None else json.dumps(body).encode()
        request = Request(method, f"/api/{path}", params, query or {}, headers, data)
        answer = answer_to(resource, request, lambda: self.deps, KeyGate())
        if answer.status >= 400:
            raise AssertionError(f"{method} {path}: {answer.status} {document(answer)}")
        return answer

    def get(self, path: str, **query: str) -> Any:
        return document(self.ask("GET", path, query=query))

    def every(self, path: str, **query: str) -> Iterator[Any]:
        """The items of all pages."""
        after: str | None = None
        while True:
            page = self.get(path, limit="500", **query, **({"after": after} if after else {}))
            yield from page["items"]
            after = page.get("next")
            if not after:
                return


def size_of(answer: Answer) -> int:
    """Bytes of the body as it is sent."""
    return len(_bytes(answer))


def document(answer: Answer) -> Any:
    return json.loads(_bytes(answer))


def _bytes(answer: Answer) -> bytes:
    return answer.body.to_json() if isinstance(answer.body, View) else json.dumps(answer.body).encode()


def _route(path: str) -> tuple[Resource, dict[str, str]]:
    for resource in sorted(ALL, key=lambda one: one.name):
        params = _match(resource.path.split("/"), path.split("/"))
        if params is not None:
            return resource, params
    raise AssertionError(f"no endpoint answers to {path}")


def _match(template: list[str], path: list[str]) -> dict[str, str] | None:
    if len(template) != len(path):
        return None
    params = {}
    for part, given in zip(template, path, strict=True):
        if part.startswith("{"):
            params[part.strip("{}")] = given
        elif part != given:
            return None
    return params
