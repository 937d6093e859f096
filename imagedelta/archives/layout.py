"""An OCI image layout folder: layers uncompressed, every file named by its content, images by reference.

Files appear complete or not at all, and an image is listed only after all its blobs are on disk, so the
folder is valid at any moment, also after a power cut. One writer at a time. ``open_archive`` reads it.
Not here: the JSON itself (imagedelta.archives.oci_json).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from imagedelta.archives.archive import open_archive
from imagedelta.archives.model import Image, hex_of, sha256_id
from imagedelta.archives.oci import INDEX_FILE, LAYOUT_FILE, blob_name
from imagedelta.archives.oci_json import index_with, layout_marker, manifest_bytes
from imagedelta.errors import ContentError, DigestMismatch
from imagedelta.limits import DEFAULT_LIMITS, Limits
from imagedelta.whole_files import make_folder, whole_file


class OciLayout:
    """A layout folder that images are added to; made when it does not exist."""

    def __init__(self, root: Path, limits: Limits = DEFAULT_LIMITS) -> None:
        self._root = root
        self._limits = limits

    def images(self) -> tuple[Image, ...]:
        """Return the images listed, none for a new folder; see ``open_archive`` for what it refuses."""
        if not self._index():
            return ()
        with open_archive(self._root, self._limits) as archive:
            return archive.images

    def has(self, digest: str) -> bool:
        """Tell whether the blob with this digest is complete."""
        return self.path_of(digest).is_file()

    def path_of(self, digest: str) -> Path:
        """Return where the blob with this digest is, or would be."""
        return self._root / blob_name(digest)

    def open_blob(self, digest: str) -> BinaryIO:
        """Open a blob for reading at random.

        Raises:
            KeyError: It is not there.
        """
        try:
            return self.path_of(digest).open("rb")
        except FileNotFoundError:
            raise KeyError(digest) from None

    def add_layer(self, diff_id: str, pieces: Iterable[bytes]) -> int:
        """Store an uncompressed layer unless it is there; return its size in bytes.

        Raises:
            DigestMismatch: The pieces are another layer; nothing is left of them.
        """
        if not self.has(diff_id):
            self._write(blob_name(diff_id), pieces, diff_id)
        return self.path_of(diff_id).stat().st_size

    def add_image(self, image: Image) -> str:
        """List an image whose layers are all stored, under its references, and return its manifest's digest.

        References that other images had move to this one.

        Raises:
            ContentError: ``content.blob_missing``: a layer is not stored.
        """
        manifest = manifest_bytes(image, self._layer_sizes(image.diff_ids))
        digest = sha256_id(manifest)
        self._write(blob_name(image.image_id), [image.config], image.image_id)
        self._write(blob_name(digest), [manifest], digest)
        self._write(LAYOUT_FILE, [layout_marker()])
        self._write(INDEX_FILE, [index_with(self._index(), manifest, image)])
        return digest

    def _layer_sizes(self, diff_ids: Sequence[str]) -> list[int]:
        for diff_id in diff_ids:
            if not self.has(diff_id):
                raise ContentError(f"layer {diff_id} is not stored yet", code="content.blob_missing")
        return [self.path_of(diff_id).stat().st_size for diff_id in diff_ids]

    def _index(self) -> bytes | None:
        path = self._root / INDEX_FILE
        return path.read_bytes() if path.is_file() else None

    def _write(self, name: str, pieces: Iterable[bytes], digest: str | None = None) -> None:
        """Write a file under another name, check it, and give it its own name once it is on disk."""
        path = self._root / name
        make_folder(path.parent)
        found = hashlib.sha256()
        with whole_file(path) as out:
            for piece in pieces:
                found.update(piece)
                out.write(piece)
            if digest and found.hexdigest() != hex_of(digest):
                raise DigestMismatch(f"{name} would have the bytes of sha256:{found.hexdigest()}")
