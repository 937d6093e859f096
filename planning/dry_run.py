"""The answer of a dry run: what a deployment set would move, before anything is stored or sent.

However many devices there are, it is of one size: sums, reasons and what is wanting, and a page of devices. The first
page comes with what is said of all of them; further pages are devices alone, and cost what those cost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from contracts.records import Device
from planning.guard import Limits, costs_of, needs_approval
from planning.plan import PlannedDevice, PlannedImage
from planning.sources import Spending

PAGE = 20
"""Devices of one answer."""
NAMED = 20
"""Images that could have been sources, had they been registered: so many are warned of."""


def page_of(devices: Sequence[Device], after: str | None) -> Sequence[Device]:
    """What has to be planned for the page behind the device ``after``; everything for the first page."""
    if after is None:
        return devices
    return [device for device in devices if device.device_id > after][: PAGE + 1]


def plan_answer(plan: Sequence[PlannedDevice], limits: Limits, after: str | None = None) -> Mapping[str, Any]:
    """The JSON of POST /api/deployment-sets?dryRun=true (docs/api.md).

    Args:
        plan: Of the devices that ``page_of`` gave, in order of id.
    """
    more = len(plan) > PAGE
    page = {
        "devices": [_device(planned) for planned in plan[:PAGE]],
        "next": plan[PAGE - 1].device.device_id if more else None,
    }
    return page if after is not None else {**page, **_overview(plan, limits)}


def _overview(plan: Sequence[PlannedDevice], limits: Limits) -> dict[str, Any]:
    reasons = needs_approval(costs_of(plan), limits)
    return {
        "deviceCount": len(plan),
        "states": dict(sorted(Counter(planned.state for planned in plan).items())),
        "totalBytes": sum(planned.spending.bytes for planned in plan),
        **_link_costs([planned.spending for planned in plan if planned.spending.bytes]),
        "needsApproval": bool(reasons),
        "reasons": list(reasons),
        "waiting": _waiting(plan),
        "warnings": _unregistered(plan),
    }


def _link_costs(spending: Sequence[Spending]) -> dict[str, Any]:
    """Of devices that are to get something."""
    hours = [one.hours_on_link for one in spending if one.hours_on_link is not None]
    money = [one.money for one in spending if one.money is not None]
    return {
        "longestHours": max(hours, default=None),
        "hoursUnknown": len(spending) - len(hours),
        "totalMoney": sum(money) if money else None,
        "moneyUnknown": len(spending) - len(money),
    }


def _waiting(plan: Sequence[PlannedDevice]) -> list[dict[str, Any]]:
    silent: dict[str, list[str]] = {}
    for planned in plan:
        if planned.state == "waiting_inventory" and planned.code is not None:
            silent.setdefault(planned.code, []).append(planned.device.device_id)
    return [
        {"code": code, "detail": None, "devices": len(ids), "example": ids[0]} for code, ids in sorted(silent.items())
    ]


def _unregistered(plan: Sequence[PlannedDevice]) -> list[dict[str, Any]]:
    found: dict[tuple[str, tuple[str, ...]], list[tuple[str, int]]] = {}
    for planned in plan:
        for image in planned.images:
            if image.unregistered:
                costs = found.setdefault((image.reference, image.unregistered), [])
                costs.append((planned.device.device_id, image.estimated_bytes))
    dearest = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        {
            "reference": reference,
            "held": held,
            "devices": len(costs),
            "example": costs[0][0],
            "estimated_bytes": sum(cost for _, cost in costs),
        }
        for (reference, held), costs in dearest[:NAMED]
    ]


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
