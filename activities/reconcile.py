"""After the database was restored from a backup: outboxes and twins tell what is true now, inventories the rest.

Not a step of a workflow: ``imagedelta db reconcile`` runs it beside the app or without it. Each batch of devices is one
transaction, and everything may be done twice: whoever is interrupted runs it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from contracts.outbox import outbox_container
from imagedelta.errors import ImageDeltaError, RequestError
from planning.restored import Verdict, judge, number_after
from services.deps import Deps
from services.ports import Twin
from services.store_port import Disbelieved, Remembered

BATCH = 50
"""Devices in one transaction."""
_ROWS = 1000
_NAMED = 20
"""Of what is named one by one."""
_YOUNG = timedelta(hours=1)
"""A blob so young may belong to a build that SQL learns of in a moment."""


@dataclass
class Found:
    """What was found and, but for a dry run, done; as counts and the first names."""

    begun_at: datetime
    newest_at: datetime | None
    """The last thing that the database knows of."""
    devices: int = 0
    given_up: int = 0
    """Transfers whose bundle does not lie in the outbox: planned anew."""
    removed_bundles: int = 0
    """Files in outboxes of transfers and attempts that SQL does not know, or knows to be over."""
    removed_on: list[str] = field(default_factory=list)
    manifests_since: list[str] = field(default_factory=list)
    """Devices whose deployment was changed since: releases that are forgotten, or somebody else's."""
    lost_patches: int = 0
    unknown_patches: int = 0
    lost_layers: int = 0
    unknown_layers: int = 0
    images_without_layers: list[str] = field(default_factory=list)
    silent_hubs: dict[str, str] = field(default_factory=dict)
    """Hubs that did not answer, and why."""

    def to_json(self, *, dry_run: bool) -> dict[str, Any]:
        return {
            "dryRun": dry_run,
            "newestKnown": self.newest_at.isoformat() if self.newest_at else None,
            "devicesAsked": self.devices,
            "transfersPlannedAnew": self.given_up,
            "bundlesRemoved": self.removed_bundles,
            "devicesWithBundlesRemoved": sorted(self.removed_on)[:_NAMED],
            "manifestsChangedSince": len(self.manifests_since),
            "devicesWithChangedManifests": sorted(self.manifests_since)[:_NAMED],
            "patchesToBuildAgain": self.lost_patches,
            "unknownPatchesRemoved": self.unknown_patches,
            "layersMissing": self.lost_layers,
            "imagesToRegisterAgain": self.images_without_layers[:_NAMED],
            "unknownLayers": self.unknown_layers,
            "hubsNotAsked": self.silent_hubs,
        }


def reconcile(deps: Deps, *, dry_run: bool = False, progress: Callable[[int], None] = lambda _: None) -> dict[str, Any]:
    """Args:
    dry_run: Look, and change nothing.
    progress: Called with the number of devices that are done.

    Raises: RequestError ``reconcile.no_device`` for a database without a device: it is not the fleet's, and
        all that lies in the storage would be taken for unknown.
    """
    found = Found(deps.now(), deps.store.restored.newest())
    if not dry_run:  # first: from here on the app may run beside it
        number = number_after(found.begun_at)
        deps.store.restored.stop(number, number, found.begun_at)
    with ThreadPoolExecutor(deps.settings.attend_threads) as pool:
        for batch in _batches(deps):
            _look_at(deps, found, batch, pool, dry_run)
            progress(found.devices)
    if not found.devices:
        raise RequestError("the database knows no device: it is not that of a fleet", code="reconcile.no_device")
    _look_at_patches(deps, found, dry_run)
    _look_at_layers(deps, found)
    result = found.to_json(dry_run=dry_run)
    if not dry_run:
        _note(deps, result)
    return result


def _batches(deps: Deps) -> Iterator[Sequence[Remembered]]:
    after = ""
    while batch := deps.store.restored.devices(after, BATCH):
        yield batch
        after = batch[-1].device_id


# ---------------------------------------------------------------- devices


def _look_at(deps: Deps, found: Found, batch: Sequence[Remembered], pool: ThreadPoolExecutor, dry_run: bool) -> None:
    """What is given up is written before blobs go: a run that dies in between finds them again."""
    verdicts = list(pool.map(lambda one: _judge(deps, one), batch))
    pairs = list(zip(batch, verdicts, strict=True))
    given_up = sum(len(verdict.given_up) for verdict in verdicts)
    if not dry_run:
        these = [Disbelieved(one.device_id, verdict.given_up, verdict.number) for one, verdict in pairs]
        given_up = deps.store.restored.disbelieve(these, deps.now())
        list(pool.map(lambda pair: _remove_unknown(deps, *pair), pairs))
    found.devices += len(batch)
    found.given_up += given_up
    found.removed_bundles += sum(len(verdict.unknown) for verdict in verdicts)
    found.removed_on += [one.device_id for one, verdict in pairs if verdict.unknown]
    _compare_twins(deps, found, batch)


def _judge(deps: Deps, one: Remembered) -> Verdict:
    return judge(one.underway, (blob.name for blob in deps.blobs.list(outbox_container(one.device_id))))


def _remove_unknown(deps: Deps, one: Remembered, verdict: Verdict) -> None:
    for name in verdict.unknown:
        deps.blobs.delete(outbox_container(one.device_id), name)


def _compare_twins(deps: Deps, found: Found, batch: Sequence[Remembered]) -> None:
    """A hub that does not answer is told, and asked no more: releases look at the twin by themselves."""
    by_hub: dict[str, list[Remembered]] = {}
    for one in batch:
        by_hub.setdefault(one.hub, []).append(one)
    for name, its in sorted(by_hub.items()):
        if name in found.silent_hubs:
            continue
        hub = deps.hubs.get(name)
        try:
            agents = hub.agents([one.hub_device_id for one in its]) if hub is not None else None
        except ImageDeltaError as error:
            found.silent_hubs[name] = error.code
            continue
        if agents is None:
            found.silent_hubs[name] = "request.unknown_hub"
            continue
        found.manifests_since += [one.device_id for one in its if _is_newer(agents.get(one.hub_device_id), one.version)]


def _is_newer(twin: Twin | None, version: int | None) -> bool:
    return twin is not None and version is not None and twin.version > version


# ---------------------------------------------------------------- blobs


def _look_at_patches(deps: Deps, found: Found, dry_run: bool) -> None:
    """A patch can be built again, so one that nobody knows is removed: nothing else would ever remove it."""
    unknown = {blob.name: blob.modified for blob in deps.blobs.list("patches")}
    after = ""
    while known := deps.store.restored.patches(after, _ROWS):
        lost = [patch_id for patch_id, blob in known.items() if blob not in unknown and not _is_there(deps, blob)]
        found.lost_patches += len(lost)
        if lost and not dry_run:
            deps.store.restored.lose_patches(lost, deps.now())
        for blob in known.values():
            unknown.pop(blob, None)
            unknown.pop(f"{blob}.chunks", None)
        after = max(known)
    old = [name for name, modified in unknown.items() if modified < found.begun_at - _YOUNG]
    found.unknown_patches = len(old)
    if not dry_run:
        for name in old:
            deps.blobs.delete("patches", name)


def _is_there(deps: Deps, blob: str) -> bool:
    """Two patches may have one blob, which the first took from those that are unknown."""
    return deps.blobs.info("patches", blob) is not None


def _look_at_layers(deps: Deps, found: Found) -> None:
    """Layers stay, known or not: an image that is registered again finds its own."""
    unknown = {blob.name for blob in deps.blobs.list("layers")}
    after, lost = "", []
    while known := deps.store.restored.layers(after, _ROWS):
        for diff_id in known:
            name = diff_id.removeprefix("sha256:")
            if name in unknown:
                unknown.remove(name)
            else:
                lost.append(diff_id)
        after = known[-1]
    found.lost_layers, found.unknown_layers = len(lost), len(unknown)
    if lost:
        found.images_without_layers = list(deps.store.restored.images_of(lost))


def _note(deps: Deps, result: Mapping[str, Any]) -> None:
    """In the audit log, a line for each run."""
    order = f"reconcile-{uuid4().hex}"
    deps.store.audit.record(
        order, "", who="operator", how="command", action="reconcile", subject="database", detail=result, at=deps.now()
    )
