"""Which devices may not have an image because of where it came from: e.g. from the registry of developers alone.

An image that came from several places may go wherever one of them may feed. One from a place that the settings name no
more may go nowhere, as long as there are rules at all: taking a registry out of the settings opens nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from services.deps import Deps


def forbidden(deps: Deps, image_ids: Collection[str], device_ids: Collection[str]) -> Mapping[str, frozenset[str]]:
    """Image ID -> devices that may not have it; without images that may go to all of them."""
    rules = deps.settings.intake.rules
    if not rules:
        return {}
    fed = {origin: _fed_by(deps, query, device_ids) for origin, query in rules.items()}
    found = {}
    for image_id, origins in deps.store.images.origins(image_ids).items():
        refused = frozenset(device_ids).difference(*(fed.get(origin, frozenset()) for origin in origins))
        if refused:
            found[image_id] = refused
    return found


def _fed_by(deps: Deps, query: str, device_ids: Collection[str]) -> frozenset[str]:
    return deps.store.devices.matching(query, device_ids) if query else frozenset(device_ids)
