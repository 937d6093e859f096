"""Every endpoint of the HTTP interface."""

from __future__ import annotations

from triggers import (
    http_admin,
    http_dashboard,
    http_devices,
    http_health,
    http_hooks,
    http_images,
    http_openapi,
    http_sets,
    http_transfers,
)
from triggers.operations import Resource

RESOURCES: tuple[Resource, ...] = (
    *http_images.RESOURCES,
    *http_hooks.RESOURCES,
    *http_devices.RESOURCES,
    *http_sets.RESOURCES,
    *http_transfers.RESOURCES,
    *http_admin.RESOURCES,
    *http_health.RESOURCES,
    *http_dashboard.RESOURCES,
)
"""http_openapi describes this table, and itself."""

ALL: tuple[Resource, ...] = (*RESOURCES, *http_openapi.resources(RESOURCES))
