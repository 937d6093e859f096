"""Devices: enrolling them, what is on them, retiring, replacing, asking for an inventory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from contracts.callers import DEPLOY, ENROL
from contracts.parameters import PAGING, Flag, Parameter, TagFilter, one_of
from contracts.records import Device
from contracts.requests import EnrolDevice, RebindDevice
from contracts.responses import DeviceExport, DeviceImageList, DeviceImageView, DeviceView, page_of
from contracts.states import DEVICE_STATES
from imagedelta.errors import RequestError
from services.deps import Deps
from triggers import audit
from triggers.device_export import export_of
from triggers.http import ATTEND, Answer, Handler, Request, not_found
from triggers.operations import Operation, Resource
from triggers.paging import page_answer


def enrol(request: Request, deps: Deps) -> Answer:
    device_id = request.params["deviceId"]
    order = request.parse(EnrolDevice)
    _require_hub(order.hub, deps)

    def do() -> audit.Done:
        _, new = deps.store.devices.enrol(device_id, order, request.who, deps.now())
        return audit.Done(device_id, {"hub": order.hub, "new": new})

    def show(done: audit.Done) -> Answer:
        return Answer(201 if done.detail["new"] else 200, DeviceView.of(_known(request, deps)), start=(ATTEND,))

    return audit.change(request, deps, "device.enrol", do, show)


def rebind(request: Request, deps: Deps) -> Answer:
    device = _known(request, deps)
    order = request.parse(RebindDevice)
    _require_hub(order.hub, deps)
    hub_device_id = order.hub_device_id or device.hub_device_id

    def do() -> audit.Done:
        deps.store.devices.rebind(device.device_id, order.hub, hub_device_id, request.who, deps.now())
        old, new = "/".join(device.binding), f"{order.hub}/{hub_device_id}"
        return audit.Done(device.device_id, {"old": old, "new": new})

    def show(_done: audit.Done) -> Answer:
        return Answer(200, DeviceView.of(_known(request, deps)), start=(ATTEND,))

    return audit.change(request, deps, "device.rebind", do, show)


def get_device(request: Request, deps: Deps) -> Answer:
    return Answer(200, DeviceView.of(_known(request, deps)))


def list_devices(request: Request, deps: Deps) -> Answer:
    page = deps.store.devices.list_devices(
        state=request.query.get("state"),
        hub=request.query.get("hub"),
        tag=_tag(request),
        silent=_flag(request, "silent"),
        missing=_flag(request, "missing"),
        **request.page(),
    )
    return page_answer(DeviceView, page)


def images_on(request: Request, deps: Deps) -> Answer:
    device = _known(request, deps)
    images = deps.store.devices.images_on(device.device_id)
    registered = deps.store.images.names([image.image_id for image in images])
    items = [
        DeviceImageView.model_validate(vars(image) | {"registered": image.image_id in registered}) for image in images
    ]
    return Answer(200, DeviceImageList(items=items))


def export(request: Request, deps: Deps) -> Answer:
    """In the audit log: what it answers opens the device's bundles to who asked."""
    device = _known(request, deps)
    noted = audit.change(
        request, deps, "device.export", lambda: audit.Done(device.device_id), lambda _: Answer(200, {})
    )
    return replace(noted, body=export_of(device.device_id, deps))  # not within its transaction: the storage is asked


def change(name: str) -> Handler:
    """The handler of POST devices/{deviceId}/``name``."""

    def handler(request: Request, deps: Deps) -> Answer:
        device_id = request.params["deviceId"]
        changes: dict[str, Callable[..., Device]] = {
            "retire": deps.store.devices.retire,
            "replace": deps.store.devices.replace,
            "resync": deps.store.devices.resync,
        }

        def do() -> audit.Done:
            changes[name](device_id, request.who, deps.now())
            return audit.Done(device_id)

        def show(_done: audit.Done) -> Answer:
            return Answer(200, DeviceView.of(_known(request, deps)), start=(ATTEND,))

        return audit.change(request, deps, f"device.{name}", do, show)

    return handler


def _require_hub(hub: str, deps: Deps) -> None:
    if hub not in deps.hubs:
        known = ", ".join(sorted(deps.hubs)) or "none is configured"
        raise RequestError(f"there is no hub {hub}; known: {known}", code="request.unknown_hub")


def _known(request: Request, deps: Deps) -> Device:
    device = deps.store.devices.device(request.params["deviceId"])
    if device is None:
        raise not_found("device", request.params["deviceId"])
    return device


def _flag(request: Request, name: str) -> bool | None:
    given = request.query.get(name)
    return None if given is None else given == "true"


def _tag(request: Request) -> tuple[str, str] | None:
    name, given, value = request.query.get("tag", "").partition("=")
    return (name, value) if given else None


def _action(name: str, summary: str) -> Resource:
    return Resource(
        name=f"api_devices_one_{name}",
        path=f"devices/{{deviceId}}/{name}",
        operations=(Operation("POST", change(name), summary, {200: DeviceView}, errors=(404, 409), role=ENROL),),
    )


RESOURCES = (
    Resource(
        name="api_devices",
        path="devices",
        operations=(
            Operation(
                "GET",
                list_devices,
                "Enrolled devices.",
                {200: page_of(DeviceView)},
                query=(
                    *PAGING,
                    Parameter("state", "Only devices in this state.", one_of(sorted(DEVICE_STATES.states))),
                    Parameter("hub", "Only devices of this hub."),
                    Parameter("tag", "Only devices with this tag, as name=value.", TagFilter),
                    Parameter("silent", "Only devices that are not heard from as they should, or only others.", Flag),
                    Parameter("missing", "Only devices that their hub does not know, or only others.", Flag),
                ),
            ),
        ),
    ),
    Resource(
        name="api_devices_one",
        path="devices/{deviceId}",
        operations=(
            Operation("GET", get_device, "One device.", {200: DeviceView}, errors=(404,)),
            Operation(
                "PUT",
                enrol,
                "Enrol a device, or change what is known of it.",
                {200: DeviceView, 201: DeviceView},
                errors=(409,),
                body=EnrolDevice,
                role=ENROL,
            ),
        ),
    ),
    Resource(
        name="api_devices_one_images",
        path="devices/{deviceId}/images",
        operations=(
            Operation(
                "GET", images_on, "Images on the device, by its inventory.", {200: DeviceImageList}, errors=(404,)
            ),
        ),
    ),
    Resource(
        name="api_devices_one_rebind",
        path="devices/{deviceId}/rebind",
        operations=(
            Operation(
                "POST",
                rebind,
                "Give the device another identity, of another hub or of its own. It keeps its id, images and history.",
                {200: DeviceView},
                errors=(404, 409),
                body=RebindDevice,
                role=ENROL,
            ),
        ),
    ),
    Resource(
        name="api_devices_one_export",
        path="devices/{deviceId}/export",
        operations=(
            Operation(
                "POST",
                export,
                "Where the device's bundles can be read, to carry them to it by hand.",
                {200: DeviceExport},
                errors=(404,),
                role=DEPLOY,
            ),
        ),
    ),
    _action("retire", "Retire the device: its grant is revoked, its outbox emptied, its members excluded."),
    _action("replace", "The hardware was replaced: what was believed of its images is dropped and sent again."),
    _action("resync", "Ask the device for an inventory now; releases a held device."),
)
