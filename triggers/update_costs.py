"""What an update to an image would cost: versions from SQL, their signatures from blobs, estimates from planning."""

from __future__ import annotations

from contracts.records import ImageRecord
from contracts.responses import UpdateCost, UpdateCosts
from imagedelta.errors import ContentError
from planning.update_costs import most_held, version_costs
from services.deps import Deps
from services.plan_facts import read_signatures

MOST_VERSIONS = 64
"""Of one answer: each is a signature to read, of up to some hundred kilobytes."""


def update_costs(image: ImageRecord, deps: Deps) -> UpdateCosts:
    """Raises: ContentError when the image's own signature cannot be read."""
    held = deps.store.images.fleet_versions(image.image_id)
    versions = deps.store.images.images(most_held(held, MOST_VERSIONS))
    signatures, unreadable = read_signatures(deps, [image, *versions.values()])
    if image.image_id in unreadable:
        trouble = unreadable[image.image_id]
        raise ContentError(trouble.detail, code=trouble.code)
    target = signatures.pop(image.image_id)
    costs, not_measured = version_costs(target, held, signatures, deps.settings.default_profile)
    return UpdateCosts(
        image_id=image.image_id,
        references=list(image.references),
        full_bytes=image.full_bytes,
        items=[UpdateCost(**vars(cost), references=list(versions[cost.image_id].references)) for cost in costs],
        devices_not_measured=not_measured,
    )
