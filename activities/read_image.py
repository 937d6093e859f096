"""Register images: read each layer that is not known once, keep it with its file index, sign the images.

Where they come from makes no difference here (activities.image_sources). Blobs come before the rows that name them, so
that a crash leaves at most blobs nobody names; a second run finds the layers that the first one finished and does not
read them again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from activities.failures import final_failure
from activities.image_sources import open_source
from activities.layer_upload import store_layer
from activities.registered_images import chosen_images
from activities.stored_images import read_index
from contracts.records import ImageRecord, LayerRecord, Registration
from imagedelta.archives import Image, sha256_id
from imagedelta.signatures import LayerIndex, sign
from services.deps import Deps
from services.ports import ImageSource

_MAX_DETAIL = 2000


def read_image(deps: Deps, payload: Mapping[str, Any]) -> dict[str, Any]:
    """``{"registrationId"}`` -> ``{"images": {platform: image ID}}``.

    A registration that cannot succeed ends as failed with the error's code; that is an answer, not an error.
    """
    registration_id = payload["registrationId"]
    registration = deps.store.images.start_registration(registration_id)
    if registration.state in ("registered", "failed"):
        _drop_upload(deps, registration)
        return {"images": dict(registration.images), "code": registration.code}
    try:
        images, passed_over = _read(deps, registration)
    except Exception as error:
        code, detail = final_failure(error)
        deps.store.images.fail_registration(registration_id, code, detail)
        _drop_upload(deps, registration)
        return {"images": {}, "code": code}
    deps.store.images.finish_registration(registration_id, images, deps.now(), passed_over)
    _drop_upload(deps, registration)
    return {"images": images, "code": None}


def _drop_upload(deps: Deps, registration: Registration) -> None:
    """An upload is ours and has served; other blobs are the caller's."""
    if "upload" in registration.origin:
        deps.blobs.delete("intake", registration.origin["upload"])


def _read(deps: Deps, registration: Registration) -> tuple[dict[str, str], str | None]:
    """What is registered, by platform, and in words what was there and could not be read."""
    with open_source(deps, registration) as (source, origin):
        images = chosen_images(source.images, registration, deps.store.images.images)
        for image in images:
            _keep_image(deps, source, image, origin, registration.requested_at)
        unreadable = [str(over) for over in source.passed_over if over.error]
    detail = f"passed over: {'; '.join(unreadable)}"[:_MAX_DETAIL] if unreadable else None
    return {image.platform: image.image_id for image in images}, detail


def _keep_image(deps: Deps, source: ImageSource, image: Image, origin: str, asked_at: datetime) -> None:
    known = dict(deps.store.images.known_layers(image.diff_ids))
    indexes = []
    for position, diff_id in enumerate(image.diff_ids):
        if diff_id not in known:
            known[diff_id], index = _keep_layer(deps, source, image, position)
        else:
            index = read_index(deps, known[diff_id])
        indexes.append(index)
    record = ImageRecord(
        image_id=image.image_id,
        platform=image.platform,
        config=image.config,
        diff_ids=image.diff_ids,
        full_bytes=len(image.config) + sum(index.size for index in indexes),
        signature=_put_named_by_content(deps, "signatures", sign(image, indexes).to_bytes()),
        references=image.references,
        registered_at=deps.now(),
    )
    deps.store.images.add_image(record, origin, asked_at)


def _keep_layer(deps: Deps, source: ImageSource, image: Image, position: int) -> tuple[LayerRecord, LayerIndex]:
    with source.open_layer(image, position) as layer:
        index = store_layer(deps.blobs, layer, image.diff_ids[position])
    record = LayerRecord(index.diff_id, index.size, _put_named_by_content(deps, "indexes", index.to_bytes()))
    deps.store.images.add_layer(record)
    return record, index


def _put_named_by_content(deps: Deps, container: str, data: bytes) -> str:
    digest = sha256_id(data)
    deps.blobs.put_if_absent(container, digest.removeprefix("sha256:"), [data])
    return digest
