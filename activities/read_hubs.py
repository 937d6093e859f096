"""Read from the hubs which devices have our module and what their tags are, a page at a time.

New ones are enrolled where the settings say so; tags are taken; who is not there any more is told, never deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from activities.due_work import Run, Subject, pause_of
from contracts import work
from contracts.requests import MAX_TAGS, EnrolDevice, is_device_id, tag_of
from contracts.work import pause_after
from imagedelta.errors import DependencyError, ImageDeltaError, RequestError
from imagedelta.platforms import parse_platform
from services.deps import Deps
from services.ports import Hub
from services.store_port import HubDevice, ReadingClaim

log = logging.getLogger(__name__)

_LONGEST_PAUSE = timedelta(hours=1)


class ReadHubs:
    """Items are hubs; one of them is one page."""

    name = work.READ_HUBS
    is_remote = True

    def due(self, deps: Deps, at: datetime, limit: int) -> Sequence[str]:
        return deps.store.hubs.to_read(at)

    def do(self, run: Run, hub_name: str) -> None:
        deps = run.deps
        if hub_name not in (synced := kept_in_step(deps)):
            deps.store.hubs.expect(synced, deps.now())
            return
        hub = deps.hubs.get(hub_name)
        claim = deps.store.hubs.claim(hub_name, deps.settings.claim_lease, deps.now())
        if claim is None or hub is None:
            return
        try:
            _read_page(deps, hub, claim)
        except DependencyError as error:
            pause = pause_of(error, pause_after(claim.tries, longest=_LONGEST_PAUSE))
            deps.store.hubs.failed(claim, error.code, str(error), deps.now() + pause)
        except RequestError as error:
            _refused(deps, claim, error)

    def put_off(self, deps: Deps, hub_name: str, until: datetime) -> None:
        deps.store.hubs.put_off(hub_name, until)

    def subject(self, hub_name: str) -> Subject:
        return Subject(ids={"hub": hub_name})


def kept_in_step(deps: Deps) -> list[str]:
    """Hubs whose devices are read."""
    return [name for name, hub in deps.settings.hubs.items() if hub.sync != "off"]


def _read_page(deps: Deps, hub: Hub, claim: ReadingClaim) -> None:
    page = hub.devices_with(deps.settings.module_id, claim.after)
    seen = [HubDevice(device_id, _tags(tags)) for device_id, tags in sorted(page.devices.items())]
    found = deps.store.hubs.record(claim, seen, _orders(deps, claim.hub, seen), deps.now())
    for name in found.taken:
        log.warning("hub %s has %s, which is the id of another device: enrol it under another one", claim.hub, name)
    if page.next is not None:
        deps.store.hubs.go_on(claim, page.next, deps.now())
        return
    missing = deps.store.hubs.end(claim, deps.now() + deps.settings.read_hubs_every, deps.now())
    if missing:
        log.warning("hub %s does not know %d devices any more, or not their module", claim.hub, missing)


def _refused(deps: Deps, claim: ReadingClaim, error: ImageDeltaError) -> None:
    """In the middle it is the marker of the next page, which ends: the reading begins anew."""
    if claim.after is not None:
        deps.store.hubs.begin_anew(claim, deps.now())
    else:
        deps.store.hubs.failed(claim, error.code, str(error), deps.now() + _LONGEST_PAUSE)


def _orders(deps: Deps, hub: str, seen: Sequence[HubDevice]) -> Mapping[str, EnrolDevice]:
    """What new ones would be enrolled by."""
    rule = deps.settings.hubs[hub]
    if rule.sync != "enrol":
        return {}
    name, value = rule.enrol_tag or ("", "")
    wanted = [one for one in seen if not name or one.tags.get(name) == value]
    return {
        one.hub_device_id: EnrolDevice(hub=hub, platform=_platform(one.tags.get(deps.settings.platform_tag)))
        for one in wanted
        if is_device_id(one.hub_device_id)
    }


def _platform(text: str | None) -> str:
    """The first inventory says better."""
    try:
        return parse_platform(text) if text else "linux/amd64"
    except ImageDeltaError:
        return "linux/amd64"


def _tags(tags: Mapping[str, Any]) -> dict[str, str]:
    """Those that are texts, numbers or truths, in order of name; objects are left out."""
    found = {name: text for name, value in sorted(tags.items()) if (text := tag_of(name, value)) is not None}
    return dict(list(found.items())[:MAX_TAGS])
