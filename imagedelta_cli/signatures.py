"""Signatures from arguments: a signature file is read, an image is read once and signed."""

from __future__ import annotations

import tempfile
from pathlib import Path

from imagedelta.limits import DEFAULT_LIMITS
from imagedelta.signatures import Signature, index_layer, sign
from imagedelta.signatures.signature_codec import MAGIC
from imagedelta_cli.images import open_image, split_argument
from imagedelta_cli.output import progress


def is_signature(path: Path) -> bool:
    """Tell a signature file by its first bytes."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(len(MAGIC)) == MAGIC


def read_signature(path: Path) -> Signature:
    """Read a signature file, bounded."""
    with path.open("rb") as stream:
        return Signature.from_bytes(stream.read(DEFAULT_LIMITS.max_signature_bytes + 1))


def signature_of(argument: str, scratch: Path | None) -> Signature:
    """Return the signature of an image argument, or the one a file holds."""
    path, _ = split_argument(argument)
    if is_signature(path):
        return read_signature(path)
    with (
        tempfile.TemporaryDirectory(prefix="imagedelta-", dir=scratch) as folder,
        open_image(argument, Path(folder)) as (archive, image),
        progress("Reading the image") as report,
    ):
        indexes = []
        for position in range(len(image.diff_ids)):
            with archive.open_layer(image, position) as stream:
                indexes.append(index_layer(stream))
            done = sum(index.size for index in indexes)
            report(done, done)
    return sign(image, indexes)
