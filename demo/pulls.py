"""What ``docker pull`` would have moved instead of a bundle: every compressed layer that the device lacks, whole.

A registry keeps layers as ``docker push`` made them, gzip at its usual level 6; a pull skips those whose diff_id the
device has. The config comes too; the few kilobytes of manifests and headers are left out, in the pull's favour.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path

from demo.images import BuiltImage

_PIECE = 1 << 20
_GZIP, _LEVEL = 16 + zlib.MAX_WBITS, 6


def pulled_bytes(
    images: Mapping[str, BuiltImage], before: Iterable[str], ordered: Sequence[str]
) -> Iterator[tuple[str, int]]:
    """(reference, bytes) for each image of ``ordered``, pulled one after the other by a device.

    Args:
        before: References of the images that the device has.
    """
    present = {layer.diff_id for reference in before for layer in images[reference].layers}
    for reference in ordered:
        image = images[reference]
        lacking = [layer for layer in image.layers if layer.diff_id not in present]
        yield reference, sum(compressed_bytes(layer.path) for layer in lacking) + len(image.image.config)
        present.update(layer.diff_id for layer in lacking)


@cache
def compressed_bytes(path: Path) -> int:
    """Size of a file after gzip; nothing is kept of it."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    with path.open("rb") as stream:
        packed = sum(len(packer.compress(piece)) for piece in iter(partial(stream.read, _PIECE), b""))
    return packed + len(packer.flush())
