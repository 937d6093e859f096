"""What an update would cost the devices that a deployment has, each from the nearest version that it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagedelta.errors import ImageDeltaError, RequestError
from imagedelta.names import spelled
from imagedelta_cli import exits
from imagedelta_cli.api_client import Api, segment
from imagedelta_cli.cells import field, image, size
from imagedelta_cli.output import say_table
from imagedelta_cli.tables import Column
from imagedelta_cli.terminal import say, say_json

_PLATFORMS = 50
_COLUMNS: tuple[Column, ...] = (
    ("FROM", field("reference")),
    ("IMAGE", image()),
    ("DEVICES", field("devices")),
    ("ABOUT", size("estimatedBytes")),
    ("WHOLE", size("fullBytes")),
)


class OverLimit(ImageDeltaError):
    """The update is dearer than a build may make it."""

    code = "cli.over_limit"
    exit_code = exits.OVER_LIMIT


def is_over(dearest: int, max_bytes: int | None) -> bool:
    return max_bytes is not None and dearest > max_bytes


def advise_fleet(api: Api, reference: str, max_bytes: int | None, as_json: bool) -> int:
    """Show what ``reference`` would cost; returns the bytes of the dearest update.

    Raises: RequestError ``cli.not_registered``.
    """
    name = spelled(reference)
    targets = [item["imageId"] for item in api.pages("images", most=_PLATFORMS, reference=name)]
    if not targets:
        raise RequestError(f"{name} is not registered", code="cli.not_registered")
    answers = [api.get(f"images/{segment(image_id)}/update-costs") for image_id in targets]
    versions = [_version(item, answer) for answer in answers for item in answer["items"]]
    dearest = max((version["estimatedBytes"] for version in versions), default=0)
    not_measured = sum(answer["devicesNotMeasured"] for answer in answers)
    if as_json:
        say_json(
            {
                "targetImageIds": targets,
                "versions": versions,
                "dearestBytes": dearest,
                "devicesNotMeasured": not_measured,
                "maxBytes": max_bytes,
                "overLimit": is_over(dearest, max_bytes),
            }
        )
        return dearest
    if versions:
        say_table(versions, _COLUMNS)
    else:
        say(f"No device has another version of {name}: nothing to measure against.")
    if not_measured:
        say(f"{not_measured:,} devices have only versions that could not be looked at.")
    return dearest


def _version(item: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "reference": next(iter(item["references"]), None),
        "imageId": item["imageId"],
        "devices": item["devices"],
        "estimatedBytes": item["estimatedBytes"],
        "fullBytes": answer["fullBytes"],
    }
