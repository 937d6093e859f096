"""Read back, at the end, what became of everything: SQL through the API, blobs, hubs, mail server, device stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from typing import Any

from demo.cloud import Cloud
from demo.device_store import holds, stored_images
from demo.fleet import Device
from demo.images import BuiltImage
from demo.mail_sink import MailSink
from demo.pulls import pulled_bytes
from demo.record import DeviceFact, Event, ReleaseFact, RunRecord, Span, TransferFact
from imagedelta_local.hub_service import HubService

_PRESENT = "already_present"
_SPANS = {"receiving": "fetch", "applying": "apply"}
"""State of a transfer -> what the device is busy with in it."""


@dataclass(frozen=True)
class Witnesses:
    """Whom to ask."""

    cloud: Cloud
    hubs: Mapping[str, HubService]
    devices: Mapping[str, Device]
    mail: MailSink
    blob_names: Callable[[str], list[str]]
    """Of a container, asked of the storage itself."""
    images: Mapping[str, BuiltImage]
    """By the name that the demo made it under."""

    @cached_property
    def references(self) -> Mapping[str, str]:
        """image ID -> reference."""
        return {image.image.image_id: reference for reference, image in self.images.items()}


@dataclass(frozen=True)
class Course:
    """What the demo itself did and saw on the way."""

    set_id: str
    started: float
    ended: float
    plan: Mapping[str, Any]
    kills: Mapping[str, int]
    events: tuple[Event, ...]
    downtimes: tuple[Span, ...]


def read_back(witnesses: Witnesses, course: Course) -> RunRecord:
    """Raises: httpx.HTTPError when the host does not answer, DependencyError when a hub does not."""
    path = f"deployment-sets/{course.set_id}"
    detail, releases = witnesses.cloud.get(path), witnesses.cloud.items(f"{path}/releases")
    rows = witnesses.cloud.items("transfers", set=course.set_id)
    moved = sorted((row for row in rows if row["state"] != _PRESENT), key=_device_and_image)
    pulls = _pulls(moved, witnesses)
    transfers = tuple(_transfer(row, pulls, witnesses) for row in moved)
    members = {member["deviceId"]: member["state"] for member in witnesses.cloud.items(f"{path}/members")}
    patched = {fact.patch_id for fact in transfers if fact.patch_id}
    return RunRecord(
        started=course.started,
        ordered=seconds(detail["createdAt"]),
        ended=course.ended,
        set_id=course.set_id,
        state=detail["state"],
        transfers=transfers,
        already_present=tuple(sorted(set(members) - {fact.device for fact in transfers})),
        patches=_patch_blobs(witnesses, patched),
        mails=tuple(witnesses.mail.mails()),
        releases=tuple(_releases(releases, witnesses)),
        devices=tuple(_device(device, members, witnesses) for device in witnesses.devices.values()),
        kills=course.kills,
        events=tuple(sorted((*course.events, *_cloud_events(detail, releases)), key=lambda event: event.at)),
        spans=(*_set_spans(course, witnesses.cloud), *_transfer_spans(moved, witnesses), *course.downtimes),
        plan=course.plan,
    )


def _device_and_image(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["deviceId"], row["reference"]


def _pulls(moved: Sequence[Mapping[str, Any]], witnesses: Witnesses) -> dict[tuple[str, str], int]:
    """(device, image) -> bytes, as if each device had pulled its images in this order."""
    found = {}
    for name, device in witnesses.devices.items():
        ordered = [row["reference"] for row in moved if row["deviceId"] == name]
        for image, count in pulled_bytes(witnesses.images, device.ship.images, ordered):
            found[name, image] = count
    return found


def _transfer(row: Mapping[str, Any], pulls: Mapping[tuple[str, str], int], witnesses: Witnesses) -> TransferFact:
    layout = witnesses.devices[row["deviceId"]].layout
    named = any(
        stored.image_id == row["imageId"] and stored.reference == row["reference"] for stored in stored_images(layout)
    )
    sources = row["sources"] or []
    return TransferFact(
        transfer_id=row["transferId"],
        device=row["deviceId"],
        image=row["reference"],
        image_id=row["imageId"],
        source=witnesses.references.get(sources[0], sources[0]) if sources else None,
        patch_id=row["patchId"],
        full_bytes=row["fullBytes"],
        pull_bytes=pulls[_device_and_image(row)],
        estimated_bytes=row["estimatedBytes"],
        bundle_bytes=row["bundleBytes"] or 0,
        seconds_on_link=row["secondsOnLink"],
        state=row["state"],
        verified=named and holds(layout, row["imageId"]),
    )


def _patch_blobs(witnesses: Witnesses, wanted: set[str]) -> dict[str, int]:
    """How many blobs each patch has. One that no patch names would be an orphan, counted under its own name."""
    names = [name for name in witnesses.blob_names("patches") if not name.endswith(".chunks")]
    counts = dict.fromkeys(wanted, 0)
    for patch in witnesses.cloud.items("patches"):
        blob = (patch["sha256"] or "").removeprefix("sha256:")
        counts[patch["patchId"]] = names.count(blob)
        names = [name for name in names if name != blob]
    return counts | dict.fromkeys(names, 1)


def _releases(rows: Sequence[Mapping[str, Any]], witnesses: Witnesses) -> Iterator[ReleaseFact]:
    """What each hub holds, wherever SQL says that a manifest was set."""
    for row in sorted(rows, key=lambda row: str(row["deviceId"])):
        device, hub = witnesses.devices[row["deviceId"]], witnesses.hubs[row["hub"]]
        agent = hub.twin(device.ship.device, "$edgeAgent")
        modules = agent.desired.get("modules", {})
        yield ReleaseFact(
            device=device.ship.device,
            hub=row["hub"],
            times_set=agent.version - device.agent_version_before,
            images={name: modules[name]["settings"]["image"] for name in row["modules"] if name in modules},
            content={"$edgeAgent": {"properties.desired": agent.desired}},
        )


def _device(device: Device, members: Mapping[str, str], witnesses: Witnesses) -> DeviceFact:
    traffic = device.link.traffic
    return DeviceFact(
        device=device.ship.device,
        hub=device.ship.hub,
        images_before=device.ship.images,
        images_after=tuple(stored.reference for stored in stored_images(device.layout)),
        member_state=members.get(device.ship.device, "unknown"),
        link_bytes=traffic.down,
        bundle_bytes=traffic.bundle_down,
        cuts=tuple(traffic.cuts),
        by_second=dict(traffic.by_second),
    )


def _cloud_events(detail: Mapping[str, Any], releases: Sequence[Mapping[str, Any]]) -> Iterator[Event]:
    for note in detail["notifications"]:
        if note["sentAt"]:
            yield Event(seconds(note["sentAt"]), "cloud", "mail", f"mail to {note['recipient']}: {note['subject']}")
    for release in releases:
        words = f"manifest set in hub {release['hub']}: {', '.join(release['modules'])}"
        yield Event(seconds(release["releasedAt"]), release["deviceId"], "release", words)


def _set_spans(course: Course, cloud: Cloud) -> Iterator[Span]:
    """From one state of the set to the next."""
    moves = [
        (seconds(event["at"]), str(event["new"]))
        for event in cloud.items(f"deployment-sets/{course.set_id}/events")
        if event["kind"] == "set" and event["new"]
    ]
    for (start, state), (end, _) in pairwise([*moves, (course.ended, "")]):
        yield Span(start, end, "cloud", state, state.replace("_", " "))


def _transfer_spans(rows: Sequence[Mapping[str, Any]], witnesses: Witnesses) -> Iterator[Span]:
    for row in rows:
        history = witnesses.cloud.get(f"transfers/{row['transferId']}/history")["items"]
        for event, following in pairwise(history):
            kind = _SPANS.get(event["new"])
            if kind:
                start, end = seconds(event["at"]), seconds(following["at"])
                yield Span(start, end, row["deviceId"], kind, row["reference"])


def seconds(moment: str) -> float:
    """An ISO 8601 time of the API as seconds since 1970."""
    return datetime.fromisoformat(moment).timestamp()
