"""Take layers out of their hubs that no device stands in any more: a hub has room for a hundred."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from activities.due_work import SERVICE_PAUSE, Run, Subject, pause_of
from contracts import work
from imagedelta.errors import DependencyError
from services.deps import Deps

_LEASE = timedelta(minutes=10)
"""Longer than any request to a hub may take: one that was sent is over before a device may be put into the layer."""
_PAUSE = timedelta(hours=1)

Item = tuple[str, str]


class TidyLayers:
    """Items are a hub and a layer in it."""

    name = work.TIDY
    is_remote = True

    def due(self, deps: Deps, at: datetime, limit: int) -> Sequence[Item]:
        return deps.store.releases.layers.due(at, limit)

    def do(self, run: Run, item: Item) -> None:
        deps, (hub_name, layer_id) = run.deps, item
        layers = deps.store.releases.layers
        if not layers.claim_leaving(hub_name, layer_id, _LEASE, deps.now()):
            return
        hub = deps.hubs.get(hub_name)
        try:
            if hub is not None:  # else nobody reaches it any more
                hub.delete_deployment(layer_id)
        except DependencyError as error:
            layers.put_off(hub_name, layer_id, deps.now() + max(pause_of(error, SERVICE_PAUSE), _LEASE))
        else:
            layers.gone(hub_name, layer_id)

    def put_off(self, deps: Deps, item: Item, until: datetime) -> None:
        deps.store.releases.layers.put_off(*item, until + _PAUSE)

    def subject(self, item: Item) -> Subject:
        return Subject(ids={"hub": item[0]})
