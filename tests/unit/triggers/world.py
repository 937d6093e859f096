"""The HTTP interface without a host: real functions of the table, real store, blobs in a folder, hubs in memory."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure.functions as func

from services.blobs.folder import FolderBlobs
from services.deps import Deps
from services.ports import Hub
from services.settings import load_settings
from store.sql import SqlStore
from tests.openapi import check_answer
from tests.unit.triggers.durable import Durable
from triggers.gate import Gate, KeyGate
from triggers.operations import Resource
from triggers.serving import serve_read, serve_unknown, serve_work
from triggers.table import ALL

KEY = "a2V5"
START = datetime(2030, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def code(self) -> str:
        return str(self.body["code"])


@dataclass
class World:
    deps: Deps
    durable: Durable = field(default_factory=Durable)
    gate: Gate = field(default_factory=KeyGate)
    now: datetime = START

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        **query: str,
    ) -> Reply:
        """Call an endpoint as the host does; the answer is held against the OpenAPI document."""
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        kind = {"content-type": "application/json"} if content else {}
        resource, params = _route(path)
        request = func.HttpRequest(
            method,
            f"http://host{path}",
            headers={**kind, **(headers or {})},
            params=query,
            route_params=params,
            body=content,
        )
        response = self._run(resource, request)
        parsed = check_answer(method, path, response.status_code, response.get_body())
        wanted = "text/html" if isinstance(parsed, str) else "application/json"
        if response.status_code >= 400 and "checks" not in parsed:
            wanted = "application/problem+json"
        assert response.mimetype == wanted
        return Reply(response.status_code, dict(response.headers), parsed)

    def _run(self, resource: Resource | None, request: func.HttpRequest) -> func.HttpResponse:
        if resource is None:
            return serve_unknown(request)
        if not resource.starts_work:
            return serve_read(resource, self._deps, self.gate)(request)
        response: func.HttpResponse = asyncio.run(serve_work(resource, self._deps, self.gate)(request, self.durable))
        return response

    def _deps(self) -> Deps:
        return self.deps

    def forward(self, span: timedelta) -> None:
        self.now += span


def make_world(folder: Path, hubs: Mapping[str, Hub] | None = None) -> World:
    """A world whose database and blobs lie in ``folder``."""
    url = f"sqlite:///{folder / 'store.db'}"
    (folder / "store.db").write_bytes(_empty_database())
    store = SqlStore(url)
    environment = {"IMAGEDELTA_DATABASE_URL": url, "LOCAL_BLOBS_DIR": str(folder / "blobs"), "LOCAL_BLOBS_KEY": KEY}
    deps = Deps(
        settings=load_settings(environment),
        store=store,
        blobs=FolderBlobs(folder / "blobs", url="http://host/blobs", key=KEY, now=lambda: START),
        hubs=hubs or {},
        registries={},
        mailer=SimpleNamespace(send=None),
        sealers={},
        now=lambda: START,
    )
    world = World(deps)
    world.deps = replace(deps, now=lambda: world.now)
    return world


@cache
def _empty_database() -> bytes:
    """A migrated database; migrating one for each test would take most of the time."""
    with tempfile.TemporaryDirectory() as folder:
        store = SqlStore(f"sqlite:///{folder}/store.db")
        store.migrate()
        store.close()
        return (Path(folder) / "store.db").read_bytes()


def _route(path: str) -> tuple[Resource | None, dict[str, str]]:
    """As the host does: the first function, by name, whose route fits."""
    for resource in sorted(ALL, key=lambda item: item.name):
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(f"/api/{resource.path}"))
        found = re.fullmatch(pattern, path)
        if found:
            return resource, found.groupdict()
    return None, {}
