"""Reading an OCI layout through the file port: a store for the archive readers."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import BinaryIO, cast

from edge_module.files import Files
from imagedelta.archives.layer_stream import verified_stream
from imagedelta.archives.model import hex_of, sha256_id
from imagedelta.archives.oci import INDEX_FILE, blob_name
from imagedelta.archives.stores import Store, missing, safe_name
from imagedelta.archives.unpacking import Section, unpack
from imagedelta.limits import MIB, Limits

FOLDER = "images"
BLOBS = f"{FOLDER}/blobs/sha256"


class LayoutStore(Store):
    """Files of the layout for imagedelta.archives.oci; ``index`` stands in for the folder's own."""

    def __init__(self, files: Files, index: bytes = b"") -> None:
        self._files = files
        self._index = index

    def has(self, name: str) -> bool:
        return name == INDEX_FILE or self._files.size(path_of(name)) is not None

    def section(self, name: str) -> Section:
        if name == INDEX_FILE:
            return Section(io.BytesIO(self._index), 0, len(self._index), owned=True)
        size = self._files.size(path_of(name))
        if size is None:
            raise missing(name)
        return Section(self._files.open(path_of(name)), 0, size, owned=True)

    @contextmanager
    def layer(self, name: str, diff_id: str, limits: Limits) -> Iterator[BinaryIO]:
        """The uncompressed tar; at its end the digest is verified."""
        with (
            closing(self.section(name)) as section,
            verified_stream(unpack(section, limits), diff_id, lambda: None) as layer,
        ):
            yield layer

    def packed(self, name: str) -> BinaryIO:
        """A blob as it is, to be read once."""
        return cast(BinaryIO, self.section(name))  # read and close are all that unpacking calls


def path_of(name: str) -> str:
    """Of a file of the layout, for the file port."""
    return f"{FOLDER}/{safe_name(name.encode())}"


def blob_path(digest: str) -> str:
    return f"{FOLDER}/{blob_name(digest)}"


def is_packed(name: str, diff_id: str) -> bool:
    """A blob that is named by another digest than the layer's own holds it packed."""
    return not name.endswith(hex_of(diff_id))


def has_its_bytes(files: Files, digest: str) -> bool:
    """Whether the blob's bytes are those its name says. Raises: FileNotFoundError."""
    found = hashlib.sha256()
    with files.open(blob_path(digest)) as stream:
        while piece := stream.read(MIB):
            found.update(piece)
    return found.hexdigest() == hex_of(digest)


def read_blob(files: Files, digest: str, limit: int) -> bytes | None:
    """A small blob; None when it is not here, larger than ``limit`` or damaged."""
    size = files.size(blob_path(digest))
    if size is None or size > limit:
        return None
    with files.open(blob_path(digest)) as stream:
        data = stream.read(limit)
    return data if sha256_id(data) == digest else None
