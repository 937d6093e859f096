"""A hub as its own side sees it: what a test arranges there, and what it looks at behind the port."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from services.ports import Hub


class HubPlace(Protocol):
    @property
    def hub(self) -> Hub:
        """The adapter that is tried."""
        ...

    def add_device(self, device_id: str, modules_content: Mapping[str, Any], *others: str) -> None:
        """An edge device that runs ``modules_content``, and has ``others`` as modules without desired properties."""
        ...

    def tag(self, device_id: str, tags: Mapping[str, Any]) -> None: ...

    def report(self, device_id: str, module_id: str, reported: Mapping[str, Any]) -> None:
        """What the device says of a module."""
        ...

    def remove_device(self, device_id: str) -> None: ...
