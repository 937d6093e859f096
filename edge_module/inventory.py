"""Everything the device has, whole, as one message: it heals whatever got lost on the way."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from contracts.messages import Inventory, LastResult, to_json
from contracts.messages import PresentImage as ListedImage
from edge_module.engines import Engine, PresentImage
from edge_module.hub import Envelope
from imagedelta.delta.decode.opening import PROCESS_BYTES
from imagedelta.delta.deflate.self_test import deflate_is_zlib
from imagedelta.delta.format.profiles import PROFILES
from imagedelta.errors import LimitExceeded

MAX_RESULTS = 200
_MAX_REFERENCES = 64
log = logging.getLogger("imagedelta.inventory")


def readable_profiles(memory_bytes: int) -> list[str]:
    """Names of the patch profiles this device has the memory and the zlib for, largest first."""
    fitting = [
        each
        for each in PROFILES.values()
        if each.decoder_bytes + PROCESS_BYTES <= memory_bytes and (deflate_is_zlib() or not each.folds)
    ]
    return [each.name for each in sorted(fitting, key=lambda each: (-each.decoder_bytes, each.name))]


def make_inventory(
    engine: Engine,
    sequence: int,
    platforms: Sequence[str],
    memory_bytes: int,
    key_ids: Iterable[str],
    bundle_forms: Sequence[str],
    results: Sequence[LastResult],
) -> Envelope:
    """What is here, whole.

    Raises: LimitExceeded when the images alone do not fit one message (some 5,000 do).
    """
    images = [_listed(image) for image in engine.images()]
    installation_id = engine.installation_id()
    inventory = Inventory.model_validate(
        {
            "installationId": installation_id,
            "sequence": sequence,
            "platform": platforms[0],
            "alsoRuns": list(platforms[1:]) or None,
            "profiles": readable_profiles(memory_bytes),
            "trustedKeys": sorted(key_ids)[:32],
            "bundleForms": list(bundle_forms) or None,
            "freeDiskBytes": engine.free_bytes() or 0,
            "images": images,
            "results": list(results[-MAX_RESULTS:]),
        }
    )
    message_id = f"inventory:{installation_id}:{sequence}"
    return Envelope(message_id, "inventory", _to_wire(inventory), content_encoding="gzip")


def _to_wire(inventory: Inventory) -> bytes:
    """Under the message limit: old results are left out before anything else is."""
    while True:
        try:
            return inventory.to_wire()
        except LimitExceeded:
            if not inventory.results:
                raise
            keep = len(inventory.results) // 2
            newest = inventory.results[len(inventory.results) - keep :]
            log.warning("inventory of %d bytes: only %d results fit", len(to_json(inventory)), keep)
            inventory = inventory.model_copy(update={"results": newest})


def _listed(image: PresentImage) -> ListedImage:
    return ListedImage.model_validate(
        {
            "imageId": image.image_id,
            "references": [name for name in image.references if len(name) <= 256][:_MAX_REFERENCES],
            "localDigest": image.digest_of(""),
        }
    )
