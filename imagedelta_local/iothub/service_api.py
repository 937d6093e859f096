"""The service side of a local hub: identities, twins, deployments and queries, for the policy iothubowner.

Source: Azure IoT Hub REST reference, API version 2021-04-12.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from imagedelta_local.iothub.answers import HubError, device_missing, invalid, json_body, module_missing
from imagedelta_local.iothub.deployment_api import DeploymentApi, deploy
from imagedelta_local.iothub.documents import identity_document, twin_document
from imagedelta_local.iothub.query import parse
from imagedelta_local.iothub.sas import Token, unauthorized
from imagedelta_local.iothub.store import HubStore, Identity
from imagedelta_local.iothub.twins import (
    MAX_PROPERTIES_BYTES,
    MAX_TAGS_BYTES,
    Properties,
    merge,
    own_properties,
    require_size,
)

POLICY = "iothubowner"
_BASE = "/iothub/{hub}"
_EDGE_MODULES = ("$edgeAgent", "$edgeHub")
_MAX_PAGE = 100
_MAX_MODULES = 50
_MAX_DIGITS = 15
_KEY_BYTES = range(16, 65)
_ID_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-:.+%_#*?!(),=@;$'")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ServiceApi:
    """Handlers over the store of all hubs."""

    def __init__(self, store: HubStore) -> None:
        self._store = store
        self._deployments = DeploymentApi(store)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve below ``/iothub/{hub}``."""
        device, module = f"{_BASE}/devices/{{device}}", f"{_BASE}/devices/{{device}}/modules/{{module}}"
        for method, path, handler in (
            ("PUT", device, self._put_device),
            ("GET", device, self._get_identity),
            ("DELETE", device, self._delete),
            ("GET", f"{device}/modules", self._list_modules),
            ("PUT", module, self._put_module),
            ("GET", module, self._get_identity),
            ("DELETE", module, self._delete),
            ("GET", f"{_BASE}/twins/{{device}}", self._get_twin),
            ("PATCH", f"{_BASE}/twins/{{device}}", self._patch_twin),
            ("GET", f"{_BASE}/twins/{{device}}/modules/{{module}}", self._get_twin),
            ("PATCH", f"{_BASE}/twins/{{device}}/modules/{{module}}", self._patch_twin),
            ("POST", f"{device}/applyConfigurationContent", self._apply),
            ("GET", f"{_BASE}/configurations", self._deployments.all),
            ("GET", f"{_BASE}/configurations/", self._deployments.all),
            ("PUT", f"{_BASE}/configurations/{{deployment}}", self._deployments.put),
            ("GET", f"{_BASE}/configurations/{{deployment}}", self._deployments.get),
            ("DELETE", f"{_BASE}/configurations/{{deployment}}", self._deployments.delete),
        ):
            router.add_route(method, path, self._guard(handler))
        router.add_route("POST", f"{_BASE}/devices/query", self._guard(self._query))

    def _guard(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                self._authorize(request)
                return await handler(request)
            except HubError as error:
                return error.response()

        return guarded

    def _authorize(self, request: web.Request) -> None:
        key = self._store.hub_key(request.match_info["hub"])
        token = Token.parse(request.headers.get("Authorization", ""))
        if key is None or token.policy != POLICY:
            raise unauthorized("unknown hub or policy")
        token.require(key, request.path)

    # Identities

    async def _put_device(self, request: web.Request) -> web.StreamResponse:
        hub, device = request.match_info["hub"], _id(request, "device")
        body = await json_body(request)
        old = self._store.identity(hub, device)
        if old is not None:
            return self._update_identity(request, old, body, "DeviceAlreadyExists")
        edge = bool(_object(body, "capabilities").get("iotEdge"))
        new = _with_keys(Identity.new(hub, device, edge=edge), body)
        with self._store.transaction():
            self._store.put(new)
            for module in _EDGE_MODULES if edge else ():
                self._store.put(Identity.new(hub, device, module, edge=True))
            self._deployments.give(new)
        return _identity_response(new)

    async def _put_module(self, request: web.Request) -> web.StreamResponse:
        hub, device, module = request.match_info["hub"], _id(request, "device"), _id(request, "module")
        body = await json_body(request)
        if self._store.identity(hub, device) is None:
            raise device_missing(device)
        old = self._store.identity(hub, device, module)
        if old is not None:
            return self._update_identity(request, old, body, "ModuleAlreadyExistsOnDevice")
        if len(self._store.modules(hub, [device])) >= _MAX_MODULES:
            raise HubError("TooManyModulesOnDevice", f"a device has at most {_MAX_MODULES} modules", 403)
        new = _with_keys(Identity.new(hub, device, module), body)
        with self._store.transaction():
            self._store.put(new)
        return _identity_response(new)

    def _update_identity(
        self, request: web.Request, old: Identity, body: dict[str, Any], exists: str
    ) -> web.StreamResponse:
        if "If-Match" not in request.headers:
            raise HubError(exists, f"{old.device}/{old.module} is registered already".rstrip("/"), 409)
        _require_match(request, old)
        changed = _with_keys(old, body)
        changed.status = str(body.get("status") or old.status)
        changed.touch()
        with self._store.transaction():
            self._store.put(changed)
        return _identity_response(changed)

    async def _get_identity(self, request: web.Request) -> web.StreamResponse:
        return _identity_response(self._require(request))

    async def _list_modules(self, request: web.Request) -> web.StreamResponse:
        self._require(request)
        modules = self._store.modules(request.match_info["hub"], [request.match_info["device"]])
        return web.json_response([identity_document(module) for module in modules])

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        identity = self._require(request)
        _require_match(request, identity)
        with self._store.transaction():
            if identity.module:
                self._store.delete_module(identity.hub, identity.device, identity.module)
            else:
                self._store.delete_device(identity.hub, identity.device)
        return web.Response(status=204)

    # Twins

    async def _get_twin(self, request: web.Request) -> web.StreamResponse:
        return self._twin_response(self._require(request))

    async def _patch_twin(self, request: web.Request) -> web.StreamResponse:
        body = await json_body(request)
        identity = self._require(request)
        _require_match(request, identity)
        desired = _object(body, "properties").get("desired")
        if desired is not None:
            merged = merge(identity.desired, own_properties(desired, "properties.desired"))
            require_size(merged, MAX_PROPERTIES_BYTES, "properties.desired")
            identity.change_desired(merged)
        if body.get("tags") is not None:
            if identity.module:
                raise invalid("a module twin has no tags")
            identity.tags = merge(identity.tags, own_properties(body["tags"], "tags"))
            require_size(identity.tags, MAX_TAGS_BYTES, "tags")
            identity.touch()
        with self._store.transaction():
            self._store.put(identity)
            if body.get("tags") is not None:
                self._deployments.give(identity)
        return self._twin_response(identity)

    async def _apply(self, request: web.Request) -> web.StreamResponse:
        """Replace the desired properties of the named modules, all or nothing."""
        content = _object(await json_body(request), "modulesContent")
        device = self._require(request)
        if "$edgeAgent" not in content:
            raise invalid("modulesContent must hold $edgeAgent")
        desired = {module: _deployed(module, value) for module, value in content.items()}
        agent = desired["$edgeAgent"]
        named = [*_object(agent, "modules"), *(module for module in desired if module not in _EDGE_MODULES)]
        with self._store.transaction():
            deploy(self._store, device, [*_EDGE_MODULES, *named], desired)
        return web.Response(status=204)

    async def _query(self, request: web.Request) -> web.StreamResponse:
        text = str((await json_body(request)).get("query", ""))
        query, hub = parse(text), request.match_info["hub"]
        rows = self._store.devices(hub) if query.source == "devices" else self._store.modules(hub, query.devices)
        found = [row for row in rows if query.accepts(twin_document(row))]
        size = _whole(request, "x-ms-max-item-count", _MAX_PAGE)
        offset = _whole(request, "x-ms-continuation", 0)
        size = max(1, min(size, _MAX_PAGE))
        headers = {"x-ms-item-type": "Twin" if query.names is None else "Raw"}
        if offset + size < len(found):
            headers["x-ms-continuation"] = str(offset + size)
        page = [query.shown(self._deployments.shown(row)) for row in found[offset : offset + size]]
        return web.json_response(page, headers=headers)

    def _twin_response(self, identity: Identity) -> web.Response:
        return web.json_response(self._deployments.shown(identity), headers={"ETag": f'"{identity.etag}"'})

    def _require(self, request: web.Request) -> Identity:
        hub, device = request.match_info["hub"], request.match_info["device"]
        module = request.match_info.get("module", "")
        if self._store.identity(hub, device) is None:
            raise device_missing(device)
        identity = self._store.identity(hub, device, module)
        if identity is None:
            raise module_missing(device, module)
        return identity


def _id(request: web.Request, kind: str) -> str:
    value = request.match_info[kind]
    if len(value) > 128 or not _ID_LETTERS.issuperset(value):
        raise invalid(f"{value!r} is no {kind} id: at most 128 of the letters the hub allows")
    return value


def _object(parent: dict[str, Any], name: str) -> dict[str, Any]:
    value = parent.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(f"{name} must be a JSON object")
    return value


def _with_keys(identity: Identity, body: dict[str, Any]) -> Identity:
    """Take over keys the caller chose."""
    keys = _object(_object(body, "authentication"), "symmetricKey")
    identity.primary_key = _key(keys.get("primaryKey") or identity.primary_key)
    identity.secondary_key = _key(keys.get("secondaryKey") or identity.secondary_key)
    return identity


def _key(value: object) -> str:
    try:
        size = len(base64.b64decode(str(value), validate=True))
    except ValueError as error:
        raise invalid("a symmetric key must be base64") from error
    if size not in _KEY_BYTES:
        raise invalid("a symmetric key has 16 to 64 bytes")
    return str(value)


def _deployed(module: str, value: object) -> Properties:
    if not isinstance(value, dict) or set(value) != {"properties.desired"}:
        raise invalid(f'the content of {module} must hold "properties.desired" and nothing else')
    desired = own_properties(value["properties.desired"], f"{module}.properties.desired")
    require_size(desired, MAX_PROPERTIES_BYTES, f"{module}.properties.desired")
    return desired


def _require_match(request: web.Request, identity: Identity) -> None:
    wanted = request.headers.get("If-Match", "*").strip().strip('"')
    if wanted not in ("*", identity.etag):
        raise HubError("PreconditionFailed", "the etag is not that of the present version", 412)


def _whole(request: web.Request, header: str, default: int) -> int:
    text = request.headers.get(header) or str(default)
    if not text.isdecimal() or len(text) > _MAX_DIGITS:
        raise invalid(f"the header {header} must be a whole number")
    return int(text)


def _identity_response(identity: Identity) -> web.Response:
    return web.json_response(identity_document(identity), headers={"ETag": f'"{identity.etag}"'})
