"""Uploads and images: intake, registration, and who has an image."""

from __future__ import annotations

import uuid
from datetime import timedelta

from contracts.callers import DEPLOY
from contracts.messages import Platform
from contracts.parameters import PAGING, Parameter
from contracts.records import Registration
from contracts.requests import Reference, RegisterImage
from contracts.responses import DeviceView, ImageView, RegistrationView, UpdateCosts, Upload, page_of
from imagedelta.errors import RequestError
from services.deps import Deps
from triggers import audit
from triggers.http import Answer, Request, not_found, register_image
from triggers.image_ids import known_image_id
from triggers.operations import Operation, Resource
from triggers.paging import page_answer
from triggers.update_costs import update_costs

UPLOAD_LIFETIME = timedelta(hours=24)
"""Long enough for a 60 GB archive over a slow office link."""
UPLOAD_BLOCK_BYTES = 8 << 20
"""64 GiB are 8,192 blocks, of 50,000 that a blob may have; the most that a link which breaks costs."""


_FINDING = (404, 409)
"""There is no such image, or the digits are those of several."""


def create_upload(request: Request, deps: Deps) -> Answer:
    """A repeated request gets a fresh URL for the same upload."""
    return audit.change(
        request,
        deps,
        "upload.create",
        lambda: audit.Done(f"upload-{uuid.uuid4().hex}"),
        lambda done: Answer(201, _upload(done.subject, deps)),
    )


def _upload(upload_id: str, deps: Deps) -> Upload:
    return Upload(
        upload_id=upload_id,
        url=deps.blobs.write_url("intake", upload_id, UPLOAD_LIFETIME),
        headers={"x-ms-blob-type": "BlockBlob"},
        expires_at=deps.now() + UPLOAD_LIFETIME,
        max_bytes=deps.settings.max_upload_bytes,
        block_bytes=UPLOAD_BLOCK_BYTES,
    )


def register(request: Request, deps: Deps) -> Answer:
    order = request.parse(RegisterImage)
    if not audit.made_before(request, deps):
        _check_origin(order, deps)

    def do() -> audit.Done:
        registration = deps.store.images.request_registration(order, request.who, deps.now())
        return audit.Done(registration.registration_id, dict(registration.origin))

    def show(done: audit.Done) -> Answer:
        return Answer(
            202,
            RegistrationView.of(_registration(done.subject, deps)),
            {"Location": f"/api/images/registrations/{done.subject}", "Retry-After": "2"},
            start=(register_image(done.subject),),
        )

    return audit.change(request, deps, "image.register", do, show)


def get_registration(request: Request, deps: Deps) -> Answer:
    return Answer(200, RegistrationView.of(_registration(request.params["registrationId"], deps)))


def _registration(registration_id: str, deps: Deps) -> Registration:
    registration = deps.store.images.registration(registration_id)
    if registration is None:
        raise not_found("registration", registration_id)
    return registration


def list_images(request: Request, deps: Deps) -> Answer:
    page = deps.store.images.list_images(
        reference=request.query.get("reference"), platform=request.query.get("platform"), **request.page()
    )
    return page_answer(ImageView, page)


def get_image(request: Request, deps: Deps) -> Answer:
    image_id = known_image_id(request.params["imageId"], deps)
    image = deps.store.images.image(image_id)
    if image is None:
        raise not_found("image", image_id)
    return Answer(200, ImageView.of(image))


def devices_with(request: Request, deps: Deps) -> Answer:
    image_id = known_image_id(request.params["imageId"], deps)
    return page_answer(DeviceView, deps.store.images.devices_with(image_id, **request.page()))


def costs_of_update(request: Request, deps: Deps) -> Answer:
    image_id = known_image_id(request.params["imageId"], deps)
    image = deps.store.images.image(image_id)
    if image is None:
        raise not_found("image", image_id)
    return Answer(200, update_costs(image, deps))


def _check_origin(order: RegisterImage, deps: Deps) -> None:
    """Refuse what read_image could only fail on later."""
    if order.registry is not None:
        deps.settings.intake.registry_of(order.registry)
        return
    container, _, name = (order.blob or f"intake/{order.upload}").partition("/")
    if name and container not in deps.settings.image_containers:
        raise RequestError(f"images are not registered from the container {container}", code="request.blob_container")
    info = deps.blobs.info(container, name) if name else None
    if info is None:
        what = f"upload {order.upload}" if order.upload else f"blob {order.blob}"
        raise RequestError(f"there is no {what}: send the archive first", code="request.unknown_upload")
    if info.size > deps.settings.max_upload_bytes:
        raise RequestError(
            f"the archive of {info.size} bytes is over the limit of {deps.settings.max_upload_bytes}",
            code="request.too_large",
            status=413,
        )


RESOURCES = (
    Resource(
        name="api_uploads",
        path="uploads",
        operations=(Operation("POST", create_upload, "A URL to send an archive to.", {201: Upload}, role=DEPLOY),),
    ),
    Resource(
        name="api_images",
        path="images",
        operations=(
            Operation(
                "POST",
                register,
                "Register an image: the cloud reads what it does not know of it, once.",
                {202: RegistrationView},
                errors=(413,),
                body=RegisterImage,
                role=DEPLOY,
            ),
            Operation(
                "GET",
                list_images,
                "Registered images.",
                {200: page_of(ImageView)},
                query=(
                    *PAGING,
                    Parameter("reference", "Only this name:tag.", Reference),
                    Parameter("platform", "E.g. linux/amd64.", Platform),
                ),
            ),
        ),
    ),
    Resource(
        name="api_images_a_registration",
        path="images/registrations/{registrationId}",
        operations=(
            Operation("GET", get_registration, "How a registration is going.", {200: RegistrationView}, errors=(404,)),
        ),
    ),
    Resource(
        name="api_images_one",
        path="images/{imageId}",
        operations=(
            Operation(
                "GET", get_image, "One image, by its ID or 12 digits of it.", {200: ImageView}, errors=(404, 409)
            ),
        ),
    ),
    Resource(
        name="api_images_one_devices",
        path="images/{imageId}/devices",
        operations=(
            Operation(
                "GET",
                devices_with,
                "Devices whose inventory confirmed the image.",
                {200: page_of(DeviceView)},
                errors=_FINDING,
                query=PAGING,
            ),
        ),
    ),
    Resource(
        name="api_images_one_update_costs",
        path="images/{imageId}/update-costs",
        operations=(
            Operation(
                "GET",
                costs_of_update,
                "What an update to the image would cost the devices that have another version of it.",
                {200: UpdateCosts},
                errors=_FINDING,
            ),
        ),
    ),
)
