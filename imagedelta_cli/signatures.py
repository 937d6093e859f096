"""Signatures from arguments: a signature file is read, an image is read once and signed."""

from __future__ import annotations

from pathlib import Path

from imagedelta.limits import DEFAULT_LIMITS
from imagedelta.signatures import LayerIndex, Signature, index_layer, sign
from imagedelta.signatures.signature_codec import MAGIC
from imagedelta_cli.files import scratch_folder
from imagedelta_cli.images import local_file, open_image
from imagedelta_cli.output import Counter, progress


def is_signature(path: Path) -> bool:
    """Tell a signature file by its first bytes."""
    with path.open("rb") as stream:
        return stream.read(len(MAGIC)) == MAGIC


def read_signature(path: Path) -> Signature:
    """Read a signature file, bounded."""
    with path.open("rb") as stream:
        return Signature.from_bytes(stream.read(DEFAULT_LIMITS.max_signature_bytes + 1))


def signature_of(argument: str, scratch: Path | None) -> Signature:
    """Return the signature of an image argument, or the one a file holds."""
    path = local_file(argument)
    if path and is_signature(path):
        return read_signature(path)
    with (
        scratch_folder(scratch) as folder,
        open_image(argument, folder) as (source, image),
        progress(f"Reading {argument}") as report,
    ):
        count = Counter(report)
        indexes: dict[str, LayerIndex] = {}
        for position, diff_id in enumerate(image.diff_ids):
            if diff_id not in indexes:
                with source.open_layer(image, position) as stream:
                    indexes[diff_id] = index_layer(stream, tee=lambda piece: count.add(len(piece)))
        return sign(image, [indexes[diff_id] for diff_id in image.diff_ids])
