"""What must hold at the end of the demo. The run succeeds only if every check does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from demo.record import RunRecord, TransferFact

PATCH_SHARE = 0.05
"""Of full, at most, for an app from its previous release."""
FIRST_SHARE = 0.40
"""Of full, at most, for an image that the device has no earlier release of."""


MAILS = ("has arrived", "is complete")
"""What the subjects of the owner's mails say."""


@dataclass(frozen=True)
class Check:
    claim: str
    held: bool
    seen: str


@dataclass(frozen=True)
class Expected:
    """What the run set out to do."""

    transfers: tuple[tuple[str, str], ...]
    """(device, image) of every transfer."""
    hubs: tuple[tuple[str, str], ...]
    """(device, hub) of every device."""
    already_present: tuple[str, ...]
    owner_email: str
    patched_images: tuple[tuple[str, str], ...]
    """(image, its previous release): bound by ``PATCH_SHARE`` when it is the source."""


def check_run(record: RunRecord, expected: Expected) -> tuple[Check, ...]:
    """Judge the facts; nothing here asks or changes anything."""
    return (
        Check("The set is complete", record.state == "completed", f"state {record.state}"),
        *_transfer_checks(record, expected),
        *_size_checks(record.transfers, expected),
        _untouched(record, expected),
        _mails(record, expected),
        *_release_checks(record, expected),
        *_kill_checks(record),
    )


def _transfer_checks(record: RunRecord, expected: Expected) -> Iterator[Check]:
    rows = Counter((fact.device, fact.image) for fact in record.transfers)
    yield Check(
        f"Exactly {len(expected.transfers)} transfers, one row each",
        rows == Counter(expected.transfers),
        _listing(
            f"{image} to {device}" + (f" ×{count}" if count > 1 else "") for (device, image), count in rows.items()
        ),
    )
    unfinished = [
        f"{fact.image} on {fact.device}: {fact.state}" for fact in record.transfers if fact.state != "succeeded"
    ]
    yield Check("Every transfer succeeded", bool(rows) and not unfinished, _listing(unfinished) or "all succeeded")
    unverified = [f"{fact.image} on {fact.device}" for fact in record.transfers if not fact.verified]
    yield Check(
        "Every image in a device's store has its image ID and layer digests",
        bool(rows) and not unverified,
        f"not so: {_listing(unverified)}" if unverified else "hashed again on each device at the end",
    )
    used = {fact.patch_id for fact in record.transfers}
    blobs = set(record.patches.values())
    yield Check(
        "One patch blob per patch",
        None not in used and used == set(record.patches) and blobs <= {1},
        f"{len(record.patches)} patches, {sum(record.patches.values())} blobs",
    )


def _size_checks(transfers: tuple[TransferFact, ...], expected: Expected) -> Iterator[Check]:
    for fact in transfers:
        patched = (fact.image, fact.source) in expected.patched_images
        bound = PATCH_SHARE if patched else FIRST_SHARE
        yield Check(
            f"{fact.image} to {fact.device} is at most {bound:.0%} of full",
            fact.share <= bound,
            f"{fact.share:.2%} from {fact.source or 'nothing'}",
        )
    larger = [f"{fact.image} to {fact.device}" for fact in transfers if fact.bundle_bytes >= fact.pull_bytes]
    pulled, sent = sum(fact.pull_bytes for fact in transfers), sum(fact.bundle_bytes for fact in transfers)
    yield Check(
        "Every bundle is smaller than what docker pull would have moved",
        bool(transfers) and not larger,
        f"not so: {_listing(larger)}" if larger else f"{sent:,} bytes sent, {pulled:,} pulled",
    )


def _untouched(record: RunRecord, expected: Expected) -> Check:
    bytes_of = {fact.device: fact.bundle_bytes for fact in record.devices}
    held = record.already_present == expected.already_present and not any(
        bytes_of.get(device, 1) for device in expected.already_present
    )
    return Check(
        f"{_listing(expected.already_present)} had everything and got no bytes",
        held,
        _listing(f"{device}: {bytes_of.get(device)} bundle bytes" for device in expected.already_present),
    )


def _mails(record: RunRecord, expected: Expected) -> Check:
    told = [mail.subject for mail in record.mails if expected.owner_email in mail.recipient]
    once = [sum(news in subject for subject in told) for news in MAILS]
    held = len(record.mails) == len(told) == len(MAILS) and once == [1] * len(MAILS)
    claim = "The owner is told once that all has arrived and once that it runs"
    return Check(claim, held, _listing(told) or "told nothing")


def _release_checks(record: RunRecord, expected: Expected) -> Iterator[Check]:
    released = tuple(sorted((fact.device, fact.hub) for fact in record.releases))
    yield Check(
        "The manifest is set on every device, in its own hub",
        released == tuple(sorted(expected.hubs)),
        _listing(f"{device} in {hub}" for device, hub in released) or "nowhere",
    )
    times = {fact.device: fact.times_set for fact in record.releases}
    yield Check(
        "It was set exactly once on each",
        set(times.values()) == {1},
        _listing(f"{device} ×{count}" for device, count in times.items()),
    )
    loose = [
        f"{fact.device}: {image}"
        for fact in record.releases
        for image in fact.images.values()
        if "@sha256:" not in image
    ]
    yield Check(
        "Its images point at the device's own registry and are pinned by digest",
        bool(record.releases) and not loose,
        _listing(loose) or "all pinned",
    )


def _kill_checks(record: RunRecord) -> Iterator[Check]:
    host, device = record.kills.get("host", 0), record.kills.get("device", 0)
    yield Check("The host was killed once while the orchestration ran", host == 1, f"{host} SIGKILL")
    yield Check("A device was killed once while it applied a patch", device == 1, f"{device} SIGKILL")


def _listing(texts: Iterable[str]) -> str:
    return ", ".join(texts)
