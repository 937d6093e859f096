"""The device side of a local hub: telemetry and the module's own twin, with the module's own key.

Source: Azure IoT Hub REST reference (Send Device Event) and the twin documents of the device protocols.
A 204 means that the message or twin is on disk.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from imagedelta_local.iothub.answers import HubError, bounded_body, json_body
from imagedelta_local.iothub.documents import device_twin
from imagedelta_local.iothub.sas import Token, unauthorized
from imagedelta_local.iothub.store import HubStore, Identity
from imagedelta_local.iothub.stream import EventStream
from imagedelta_local.iothub.twins import MAX_PROPERTIES_BYTES, merge, own_properties, require_size

MAX_MESSAGE_BYTES = 256 << 10
_MAX_HEADERS = 100
_APPLICATION = "iothub-app-"
_SYSTEM = {
    "iothub-messageid": "message-id",
    "iothub-correlationid": "correlation-id",
    "iothub-userid": "user-id",
    "iothub-contenttype": "content-type",
    "iothub-contentencoding": "content-encoding",
    "iothub-creation-time-utc": "iothub-creation-time-utc",
}

Handler = Callable[[web.Request, Identity], Awaitable[web.StreamResponse]]


class DeviceApi:
    """Handlers over the store of all hubs."""

    def __init__(self, store: HubStore, stream: EventStream) -> None:
        self._store = store
        self._stream = stream

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve below ``/iothub/{hub}/devices/{device}``, for devices and for their modules."""
        device = "/iothub/{hub}/devices/{device}"
        for base in (device, f"{device}/modules/{{module}}"):
            router.add_route("POST", f"{base}/messages/events", self._guard(self._send))
            router.add_route("GET", f"{base}/twin", self._guard(self._get_twin))
            router.add_route("PATCH", f"{base}/twin/properties/reported", self._guard(self._report))

    def _guard(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request, self._authorize(request))
            except HubError as error:
                return error.response()

        return guarded

    def _authorize(self, request: web.Request) -> Identity:
        """The sender: only its own primary or secondary key opens its paths."""
        names = request.match_info
        token = Token.parse(request.headers.get("Authorization", ""))
        identity = self._store.identity(names["hub"], names["device"], names.get("module", ""))
        device = self._store.identity(names["hub"], names["device"])
        if identity is None or device is None or "disabled" in (identity.status, device.status):
            raise unauthorized("the device or module is not registered, or is disabled")
        own = ["", "iothub", names["hub"], "devices", names["device"]]
        own += ["modules", names["module"]] if identity.module else []
        try:
            token.require(identity.primary_key, "/".join(own))
        except HubError:
            token.require(identity.secondary_key, "/".join(own))
        return identity

    async def _send(self, request: web.Request, sender: Identity) -> web.StreamResponse:
        if len(request.headers) > _MAX_HEADERS:
            raise HubError("ArgumentInvalid", f"a message has at most {_MAX_HEADERS} headers", 400)
        body = await bounded_body(request, MAX_MESSAGE_BYTES)
        system, properties = {}, {}
        for name, value in request.headers.items():
            if not _is_text(value):
                raise HubError("ArgumentInvalid", f"the header {name} is not UTF-8", 400)
            if name.lower() in _SYSTEM:
                system[_SYSTEM[name.lower()]] = value
            elif name.lower().startswith(_APPLICATION):
                properties[name[len(_APPLICATION) :]] = value
        self._stream.append(sender, body, system, properties)
        return web.Response(status=204)

    async def _get_twin(self, request: web.Request, sender: Identity) -> web.StreamResponse:
        return web.json_response(device_twin(sender), headers={"ETag": f'"{sender.etag}"'})

    async def _report(self, request: web.Request, sender: Identity) -> web.StreamResponse:
        patch = own_properties(await json_body(request), "properties.reported")
        fresh = self._store.identity(sender.hub, sender.device, sender.module)
        if fresh is None:
            raise unauthorized("the device or module is not registered")
        merged = merge(fresh.reported, patch)
        require_size(merged, MAX_PROPERTIES_BYTES, "properties.reported")
        fresh.change_reported(merged, patch)
        with self._store.transaction():
            self._store.put(fresh)
        return web.Response(status=204)


def _is_text(value: str) -> bool:
    """Whether a header was UTF-8: aiohttp marks other bytes by halves of surrogate pairs."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
