"""Rebuild the image of BUNDLE from images that are there, as a device does."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import click

from imagedelta.archives import Image, image_from_config, write_docker_archive, write_oci_archive
from imagedelta.bundles import BundleHead, read_bundle
from imagedelta.delta import AppliedImage, apply_patch
from imagedelta.delta.decode.apply import LayerWriter
from imagedelta_cli.images import unpacker
from imagedelta_cli.options import (
    checked_reference,
    image_options,
    json_option,
    source_option,
    trust_option,
    trusted_of,
)
from imagedelta_cli.output import Counter, emit, peak_rss_bytes, progress
from imagedelta_cli.outputs import Output, output_options
from imagedelta_cli.seals import say_seal, seal_fields

_WRITERS = {"docker": write_docker_archive, "oci": write_oci_archive}


@click.command(help=__doc__)
@click.argument("bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@source_option
@output_options()
@click.option("--form", type=click.Choice(sorted(_WRITERS)), default="docker", show_default=True)
@click.option("--reference", callback=checked_reference, help="name:tag of the image; the bundle's own by default.")
@trust_option
@image_options
@json_option
def command(
    bundle: Path,
    sources: tuple[str, ...],
    output: Output,
    form: str,
    reference: str | None,
    trust_file: Path | None,
    scratch: Path | None,
    as_json: bool,
) -> None:
    started = time.monotonic()
    with unpacker(scratch) as unpacking, bundle.open("rb") as stream:
        with progress("Checking the bundle"):
            opened = read_bundle(stream, trusted_of(trust_file))
            opened.verify_patch_digest()
            opened.read_patch_head()
        given = [unpacking.unpack_plain(source) for source in sources]
        readers = {diff_id: reader for _, found in given for diff_id, reader in found.items()}
        configs = {image.image_id: image.config for image, _ in given}
        with progress("Rebuilding layers") as report:
            layers = _Layers(unpacking.folder, Counter(report, opened.head.full_bytes))
            applied = apply_patch(opened.patch, readers.__getitem__, configs.__getitem__, layers)
        image = _image(applied, opened.head, reference)
        with progress(f"Writing {output.path}"), output.open() as out:
            _WRITERS[form](out, image, layers.sizes(image), lambda position: layers.open(image.diff_ids[position]))
    say_seal(opened, trust_file)
    emit(
        {
            "imageId": applied.image_id,
            "verified": True,
            **seal_fields(opened),
            "references": list(image.references),
            "peakRssBytes": peak_rss_bytes(),
            "seconds": round(time.monotonic() - started, 3),
        },
        as_json,
    )


def _image(applied: AppliedImage, head: BundleHead, reference: str | None) -> Image:
    name = reference or head.reference
    image = image_from_config(applied.config, (name,) if name else ())
    return replace(image, platform=head.platform or image.platform)


class _Counted:
    """Writes a layer and moves the bar."""

    def __init__(self, out: BinaryIO, count: Counter) -> None:
        self._out = out
        self._count = count

    def write(self, data: bytes, /) -> None:
        self._out.write(data)
        self._count.add(len(data))


class _Layers:
    """Rebuilt layers as files of a scratch folder, next to the unpacked ones of the sources."""

    def __init__(self, folder: Path, count: Counter) -> None:
        self._folder = folder
        self._count = count
        self._out: BinaryIO | None = None

    def has(self, diff_id: str) -> bool:
        return self._path(diff_id).exists()

    def begin(self, diff_id: str, size: int) -> LayerWriter:
        self._out = self._part(diff_id).open("wb")
        return _Counted(self._out, self._count)

    def commit(self, diff_id: str) -> None:
        self._close()
        self._part(diff_id).replace(self._path(diff_id))

    def abort(self, diff_id: str) -> None:
        self._close()
        self._part(diff_id).unlink()

    def sizes(self, image: Image) -> list[int]:
        return [self._path(diff_id).stat().st_size for diff_id in image.diff_ids]

    def open(self, diff_id: str) -> BinaryIO:
        return self._path(diff_id).open("rb")

    def _close(self) -> None:
        if self._out:
            self._out.close()

    def _path(self, diff_id: str) -> Path:
        return self._folder / diff_id.removeprefix("sha256:")

    def _part(self, diff_id: str) -> Path:
        return self._folder / (diff_id.removeprefix("sha256:") + ".part")
