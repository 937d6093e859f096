"""The answer of a dry run: what a deployment set would move, before anything is stored or sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from planning.guard import Limits, costs_of, needs_approval
from planning.plan import PlannedDevice, PlannedImage


def plan_answer(plan: Sequence[PlannedDevice], limits: Limits) -> Mapping[str, Any]:
    """The JSON of POST /api/deployment-sets?dryRun=true (docs/api.md)."""
    reasons = needs_approval(costs_of(plan), limits)
    return {
        "devices": [_device(planned) for planned in plan],
        "totalBytes": sum(planned.spending.bytes for planned in plan),
        "needsApproval": bool(reasons),
        "reasons": list(reasons),
    }


def _device(planned: PlannedDevice) -> dict[str, Any]:
    spending = planned.spending
    return {
        "deviceId": planned.device.device_id,
        "state": planned.state,
        "code": planned.code,
        "detail": planned.detail,
        "images": [_image(image) for image in planned.images],
        "estimatedBytes": spending.bytes,
        "hoursOnLink": spending.hours_on_link,
        "money": spending.money,
    }


def _image(image: PlannedImage) -> dict[str, Any]:
    return {
        "reference": image.reference,
        "imageId": image.image_id,
        "alreadyPresent": image.already_present,
        "source": image.sources[0] if image.sources else None,
        "sourceReferences": list(image.source_references),
        "unregistered": list(image.unregistered),
        "estimatedBytes": image.estimated_bytes,
        "fullBytes": image.full_bytes,
    }
