"""The signature of an image: a compact digest summary, small enough to compare hundreds of images.

It answers one question: about how many bytes would a patch from that image to this one have? For every
distinct file content it keeps a few hash bits, the size, and hashes of path and name, by which a changed
file finds its predecessor; of the larger files a sketch too, which tells a version that is nearly the same
from one that is not.

Not cryptography: that is a seal (imagedelta.bundles). Not what is left out of a large image's signature:
imagedelta.signatures.sampling. Not the estimate itself: imagedelta.ranking.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from imagedelta.archives.model import Image
from imagedelta.errors import RequestError
from imagedelta.limits import DEFAULT_LIMITS, KIB, Limits
from imagedelta.signatures import signature_codec
from imagedelta.signatures.file_kind import kind_of
from imagedelta.signatures.index import FileEntry, LayerIndex
from imagedelta.signatures.sampling import SketchedRow, sample
from imagedelta.signatures.size_code import encode_size
from imagedelta.signatures.summary import FileColumns, LayerSummary, Row
from imagedelta.signatures.variable_names import VARIABLE

SMALLEST_BOUND = 32 * KIB
_TAIL = 4
"""``node_modules/x/lib/index.js``: the package and its folder, wherever the application is."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What is known of an image without its files."""

    image_id: str
    platform: str
    full_bytes: int
    """Uncompressed layers and config together."""
    layers: tuple[LayerSummary, ...]
    threshold: float
    """Files of a lower or equal ``priority_of`` are left out; 0.0 when none had to be."""
    files: FileColumns

    def to_bytes(self) -> bytes:
        """Encode for storage: at most ``size_bound(full_bytes)`` bytes (docs/formats/signature.md)."""
        return signature_codec.encode(
            self.image_id, self.platform, self.full_bytes, self.layers, self.threshold, self.files
        )

    @staticmethod
    def from_bytes(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Signature:
        """Decode what ``to_bytes`` made.

        Raises:
            UnsupportedFormat: Another version.
            LimitExceeded: Larger than ``max_signature_bytes``, or too many layers.
            ContentError: Damaged: cut short, or longer than its header says.
        """
        return Signature(*signature_codec.decode(data, limits))


def sign(image: Image, indexes: Sequence[LayerIndex]) -> Signature:
    """Summarise an image from the file indexes of its layers; no file is read.

    Args:
        image: The image.
        indexes: One per layer, lowest first.

    Raises:
        RequestError: The indexes are not those of the image's layers.
    """
    if tuple(index.diff_id for index in indexes) != image.diff_ids:
        raise RequestError(f"the file indexes given are not those of the layers of {image.image_id}")
    full_bytes = len(image.config) + sum(index.size for index in indexes)
    layers = tuple(LayerSummary(index.diff_id, index.size, len(index.entries)) for index in indexes)
    room = size_bound(full_bytes) - signature_codec.fixed_size(image.platform, len(layers))
    threshold, files = sample(_distinct_files(indexes), room)
    return Signature(image.image_id, image.platform, full_bytes, layers, threshold, files)


def size_bound(full_bytes: int) -> int:
    """Return how many bytes the signature of an image of ``full_bytes`` may have: 0.1 %, at least 32 KiB."""
    return max(full_bytes // 1000, SMALLEST_BOUND)


def name_key(path: bytes) -> int:
    """Hash the last two parts of a path without what changes from version to version, to 32 bits.

    So ``2.1.30/System.Private.CoreLib.dll`` finds its predecessor in ``2.1.0/``, and ``libicudata.so.76.1``
    finds ``libicudata.so.72.1``, wherever the folder above has moved.
    """
    return _hash(VARIABLE.sub(b"", b"/".join(path.rsplit(b"/", 2)[-2:])), 4)


def form_hash(path: bytes) -> int:
    """Hash a whole path without what changes from version to version, to 64 bits."""
    return _hash(VARIABLE.sub(b"", path), 8)


def path_hash(path: bytes) -> int:
    """Hash a whole path to 64 bits."""
    return _hash(path, 8)


def tail_hash(path: bytes) -> int:
    """Hash the last four parts of a path without what changes from version to version, to 64 bits."""
    return _hash(VARIABLE.sub(b"", b"/".join(path.rsplit(b"/", _TAIL)[-_TAIL:])), 8)


def content_hash(entry: FileEntry) -> int:
    """Hash a file's content to 32 bits; a compiled Python file's without its time, which costs a patch nothing."""
    return int.from_bytes((entry.timeless or entry.digest)[:4], "little")


def row_of(entry: FileEntry) -> Row:
    """Return what an old version is found by, its hashes in full."""
    path = entry.path
    names = form_hash(path), path_hash(path), tail_hash(path)
    return Row(name_key(path), encode_size(entry.size), *names, content_hash(entry), kind_of(path))


def _distinct_files(indexes: Iterable[LayerIndex]) -> list[SketchedRow]:
    """One row per distinct content, under the path with the lowest key, whichever layer comes first."""
    lowest: dict[bytes, tuple[int, FileEntry]] = {}
    for index in indexes:
        for entry in index.entries:
            if entry.size:
                candidate = (name_key(entry.path), entry)
                content = entry.timeless or entry.digest
                known = lowest.get(content, candidate)
                lowest[content] = min(known, candidate, key=_key_and_path)
    return [_stored(row_of(entry), entry.sketch) for _, entry in lowest.values()]


def _key_and_path(found: tuple[int, FileEntry]) -> tuple[int, bytes]:
    return found[0], found[1].path


def _stored(row: Row, sketch: tuple[int, ...]) -> SketchedRow:
    """Shorten the hashes of whole paths to 16 bits: enough among files of one ``name_key``; those of sketches too."""
    stored = row._replace(form=row.form & 0xFFFF, path=row.path & 0xFFFF, tail=row.tail & 0xFF)
    return stored, tuple(value & 0xFFFF for value in sketch)


def _hash(data: bytes, size: int) -> int:
    return int.from_bytes(blake2b(data, digest_size=size).digest(), "little")
