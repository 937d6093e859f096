"""The cost guard: whether a plan may be carried out, or a person must approve it first.

It reads what each device costs and nothing else: of a recorded plan that is what the API and the mails read too, of a
dry run what was planned a moment ago.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from contracts.records import Cost, FullBundle
from planning.plan import PlannedDevice

NAMED = 5
"""Devices named one by one for one reason; the others are counted."""


class Limits(Protocol):
    """Of an order; a stored set has them too."""

    @property
    def allow_full_bundles(self) -> bool: ...
    @property
    def max_bytes_per_device(self) -> int | None: ...
    @property
    def max_bytes(self) -> int | None: ...


def guards(limits: Limits) -> bool:
    """Whether there is anything to hold the costs against."""
    most = (limits.max_bytes_per_device, limits.max_bytes)
    return not limits.allow_full_bundles or any(limit is not None for limit in most)


def needs_approval(costs: Sequence[Cost], limits: Limits, spent: int = 0) -> tuple[str, ...]:
    """The reasons, in plain words, why a person must approve first; none when nothing is against it.

    Args:
        spent: Bytes that the set sends to other devices than those of ``costs``.
    """
    return (*_devices_over(costs, limits), *_full_bundles(costs, limits), *_total_over(costs, limits, spent))


def held_back(costs: Iterable[Cost], limits: Limits, spent: int) -> Mapping[str, str]:
    """Devices that need approval in a set that is on its way, and why, so that a person decides on them alone.

    Args:
        spent: As for ``needs_approval``; devices that are not held back add to it.
    """
    held = {}
    for cost in costs:
        reasons = needs_approval([cost], limits, spent)
        if reasons:
            held[cost.device_id] = "; ".join(reasons)
        else:
            spent += cost.bytes
    return held


def costs_of(plan: Iterable[PlannedDevice]) -> list[Cost]:
    return [
        Cost(
            planned.device.device_id,
            planned.spending.bytes,
            tuple(FullBundle(image.reference, image.unregistered) for image in planned.images if image.is_full),
        )
        for planned in plan
    ]


def _devices_over(costs: Sequence[Cost], limits: Limits) -> list[str]:
    most = limits.max_bytes_per_device
    over = [cost for cost in costs if most is not None and cost.bytes > most]
    named = [
        f"{cost.device_id} would get {cost.bytes} bytes, over maxBytesPerDevice of {most}" for cost in over[:NAMED]
    ]
    return named + _others(over, f"would get more than maxBytesPerDevice of {most}")


def _full_bundles(costs: Sequence[Cost], limits: Limits) -> list[str]:
    full = [cost for cost in costs if cost.full and not limits.allow_full_bundles]
    named = [
        f"{cost.device_id} has no source for {', '.join(image.reference for image in cost.full)}: "
        f"only a full bundle is left{_unregistered(cost.full)}"
        for cost in full[:NAMED]
    ]
    return named + _others(full, "would get a full bundle")


def _others(costs: Sequence[Cost], what: str) -> list[str]:
    more = len(costs) - NAMED
    return [f"{more} more device{'s' if more > 1 else ''} {what}"] if more > 0 else []


def _unregistered(full: Sequence[FullBundle]) -> str:
    names = sorted({name for image in full for name in image.unregistered})
    return f" (it has {', '.join(names)}, not registered)" if names else ""


def _total_over(costs: Sequence[Cost], limits: Limits, spent: int) -> list[str]:
    total = spent + sum(cost.bytes for cost in costs)
    if limits.max_bytes is None or total <= limits.max_bytes:
        return []
    return [f"the set would send {total} bytes, over maxBytes of {limits.max_bytes}"]
