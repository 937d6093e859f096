"""Make a bundle that turns images a device has into TARGET.

Sealed with --key, it is for any device that trusts the key and has the sources: put it into the device's inbox folder.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import click

from imagedelta.archives.model import Image, require_told
from imagedelta.bundles import BundleHead, FileSealer, compose
from imagedelta.delta import profile_named
from imagedelta.delta.encode import PatchSummary, build_verified_patch
from imagedelta.limits import MIB
from imagedelta_cli.images import UnpackedImage, unpacker
from imagedelta_cli.options import checked_platform, checked_reference, image_options, json_option, source_option
from imagedelta_cli.output import emit, peak_rss_bytes, progress, stages
from imagedelta_cli.outputs import Output, output_options
from imagedelta_cli.profile_option import profile_option


@click.command(help=__doc__)
@click.argument("target")
@source_option
@output_options()
@click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Private key that seals the bundle; without it no device takes it.",
)
@click.option("--reference", callback=checked_reference, help="name:tag the image gets; the target's own by default.")
@click.option(
    "--platform",
    callback=checked_platform,
    help="What the image is for, e.g. linux/arm/v7, where its config is wrong or does not say.",
)
@profile_option
@image_options
@json_option
def command(
    target: str,
    sources: tuple[str, ...],
    output: Output,
    key: Path | None,
    reference: str | None,
    platform: str | None,
    profile: str,
    scratch: Path | None,
    as_json: bool,
) -> None:
    started = time.monotonic()
    sealer = FileSealer(key) if key else None
    with unpacker(scratch) as unpacking, (unpacking.folder / "patch").open("w+b") as patch:
        made = unpacking.unpack(target)
        named = _named(made.image, reference, platform)
        given = [unpacking.unpack(source) for source in sources]
        summary = _build(made, given, patch, profile, unpacking.folder)
        head = _head(summary, named)
        before, after = compose(head, sealer, summary.crc32, summary.bytes)
        with progress(f"Writing {output.path}"), output.open() as bundle:
            bundle.write(before)
            _copy(patch, bundle)
            bundle.write(after)
    emit(
        {
            "targetImageId": summary.target_image_id,
            "reference": head.reference,
            "references": list(made.image.references),
            "platform": head.platform,
            "sources": list(summary.source_image_ids),
            "fullBytes": summary.full_bytes,
            "bundleBytes": len(before) + summary.bytes + len(after),
            "patchBytes": summary.bytes,
            "percentOfFull": round(100 * summary.bytes / summary.full_bytes, 4),
            "memoryBytes": summary.memory_bytes,
            "sealedBy": sealer.key_id if sealer else None,
            "peakRssBytes": peak_rss_bytes(),
            "seconds": round(time.monotonic() - started, 3),
            "bytesRead": summary.bytes_read,
        },
        as_json,
    )


def _build(
    target: UnpackedImage, sources: list[UnpackedImage], patch: BinaryIO, profile: str, scratch: Path
) -> PatchSummary:
    contents = [source.content for source in sources]
    with stages("Planning the patch") as report:
        return build_verified_patch(
            target.content, contents, patch, profile=profile_named(profile), scratch=scratch, progress=report
        )


def _named(image: Image, reference: str | None, platform: str | None) -> Image:
    """The image as the bundle describes it, under one name.

    Raises:
        RequestError: ``request.no_reference``, ``request.no_platform``: a person must say it, and before the build.
    """
    names = (reference,) if reference else image.references[:1]
    named = replace(image, references=names, platform=platform or image.platform)
    require_told(named)
    return named


def _head(summary: PatchSummary, target: Image) -> BundleHead:
    return BundleHead(
        target_image_id=summary.target_image_id,
        source_image_ids=summary.source_image_ids,
        reference=next(iter(target.references), ""),
        platform=target.platform,
        patch_sha256=summary.sha256,
        patch_bytes=summary.bytes,
        memory_bytes=summary.memory_bytes,
        full_bytes=summary.full_bytes,
    )


def _copy(source: BinaryIO, target: BinaryIO) -> None:
    while block := source.read(MIB):
        target.write(block)
