"""Show what a bundle, patch, image or signature holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import click

from imagedelta.archives import Archive
from imagedelta.bundles import BundleHead, read_bundle
from imagedelta.delta import PatchHeader, read_patch_header
from imagedelta.delta.format.coders import coder
from imagedelta.delta.format.header import MAGIC as PATCH_MAGIC
from imagedelta.delta.format.header import RebuiltLayer, WholeLayer
from imagedelta_cli.cells import field, image_text, size
from imagedelta_cli.files import scratch_folder
from imagedelta_cli.images import local_file, open_image
from imagedelta_cli.options import image_options, json_option, trust_option, trusted_of
from imagedelta_cli.output import emit
from imagedelta_cli.seals import say_seal, seal_fields
from imagedelta_cli.signatures import is_signature, read_signature
from imagedelta_cli.tables import Cell, Column, Fit

_TABLES: dict[str, tuple[Column, ...]] = {
    "layers": (
        ("LAYER", Cell(lambda layer: _layer_text(layer), Fit.WHOLE)),
        ("SIZE", size("bytes")),
    ),
    "streams": (
        ("STREAM", field("stream")),
        ("CODER", field("coder")),
        ("RAW", size("rawBytes")),
        ("CODED", size("codedBytes")),
        ("MEMORY", size("memoryBytes")),
    ),
}


@click.command(help=__doc__)
@click.argument("file")
@trust_option
@image_options
@json_option
def command(file: str, trust_file: Path | None, scratch: Path | None, as_json: bool) -> None:
    path = local_file(file)
    found = (path and _file(path, trust_file)) or _image(file, scratch)
    emit(found, as_json, _TABLES if found["kind"] in ("bundle", "patch") else {})


def _file(path: Path, trust_file: Path | None) -> dict[str, Any] | None:
    """What a bundle, patch or signature holds; ``None`` for any other file."""
    with path.open("rb") as stream:
        start = stream.read(len(PATCH_MAGIC))
        stream.seek(0)
        if start.startswith(PATCH_MAGIC):
            return {"kind": "patch", **_patch(stream)}
    if start.startswith(b"PK"):
        return _bundle(path, trust_file)
    return _signature(path) if is_signature(path) else None


def _bundle(path: Path, trust_file: Path | None) -> dict[str, Any]:
    with path.open("rb") as stream:
        opened = read_bundle(stream, trusted_of(trust_file))
        patch = _patch(opened.patch)
    say_seal(opened, trust_file)
    return {"kind": "bundle", "bundleBytes": path.stat().st_size, **seal_fields(opened)} | {
        **_head(opened.head),
        **patch,
    }


def _head(head: BundleHead) -> dict[str, Any]:
    return {
        "bundleId": head.bundle_id,
        "deviceId": head.device_id,
        "transferId": head.transfer_id,
        "attempt": head.attempt,
        "number": head.number,
        "floor": head.floor,
        "reference": head.reference,
        "patchBytes": head.patch_bytes,
        "patchSha256": head.patch_sha256,
        "priority": head.priority,
    }


def _patch(stream: BinaryIO) -> dict[str, Any]:
    header = read_patch_header(stream)
    return {
        "profile": header.profile,
        "platform": header.platform,
        "targetImageId": header.target_image_id,
        "sourceImageIds": list(header.source_image_ids),
        "fullBytes": header.full_bytes,
        "memoryBytes": header.memory_bytes,
        "scratchBytes": header.scratch_bytes,
        "layers": _layers(header),
        "streams": _streams(header),
    }


def _layers(header: PatchHeader) -> list[dict[str, Any]]:
    return [
        {"diffId": layer.diff_id, "bytes": layer.size, "rebuilt": True}
        if isinstance(layer, RebuiltLayer)
        else {**_place(header, layer), "bytes": layer.size, "rebuilt": False}
        for layer in header.layers
    ]


def _place(header: PatchHeader, layer: WholeLayer) -> dict[str, Any]:
    place = header.source_layers[layer.source_layer]
    return {"sourceImageId": header.source_image_ids[place.source], "sourceLayer": place.position}


def _streams(header: PatchHeader) -> list[dict[str, Any]]:
    return [
        {
            "stream": stream.role.name.lower().replace("_", "-"),
            "coder": coder(stream.coder).name,
            "rawBytes": stream.raw_bytes,
            "codedBytes": stream.coded_bytes,
            "memoryBytes": stream.memory_bytes,
        }
        for stream in header.streams
    ]


def _layer_text(layer: Mapping[str, Any]) -> str:
    if layer["rebuilt"]:
        return f"{image_text(layer['diffId'])} is rebuilt"
    return f"layer {layer['sourceLayer'] + 1} of {image_text(layer['sourceImageId'])} as it is"


def _signature(path: Path) -> dict[str, Any]:
    signature = read_signature(path)
    return {
        "kind": "signature",
        "imageId": signature.image_id,
        "platform": signature.platform,
        "fullBytes": signature.full_bytes,
        "signatureBytes": path.stat().st_size,
        "layers": len(signature.layers),
        "sampled": signature.threshold > 0,
    }


def _image(argument: str, scratch: Path | None) -> dict[str, Any]:
    with (
        scratch_folder(scratch) as folder,
        open_image(argument, folder) as (source, image),
    ):
        return {
            "kind": "image",
            "imageId": image.image_id,
            "platform": image.platform or None,
            "references": list(image.references),
            "labels": list(image.labels),
            "passedOver": [str(over) for over in source.passed_over] if isinstance(source, Archive) else [],
            "diffIds": list(image.diff_ids),
            "configBytes": len(image.config),
        }
