"""Reading an OCI layout through the file port: a store for the archive readers, layers with random access."""

from __future__ import annotations

import io
from types import TracebackType
from typing import BinaryIO, Self

from edge_module.files import Files
from edge_module.scratch_file import SCRATCH
from imagedelta.archives.layer_stream import verified_stream
from imagedelta.archives.model import hex_of
from imagedelta.archives.oci import INDEX_FILE
from imagedelta.archives.stores import Store, missing, safe_name
from imagedelta.archives.unpacking import Section, unpack
from imagedelta.delta.content import LayerReader, check_range
from imagedelta.errors import Truncated
from imagedelta.limits import MIB, Limits


class LayoutStore(Store):
    """Files of the layout for imagedelta.archives.oci; ``index`` stands in for the folder's own."""

    def __init__(self, files: Files, folder: str, index: bytes) -> None:
        self._files = files
        self._folder = folder
        self._index = index

    def has(self, name: str) -> bool:
        return name == INDEX_FILE or self._files.size(self._path(name)) is not None

    def section(self, name: str) -> Section:
        if name == INDEX_FILE:
            return Section(io.BytesIO(self._index), 0, len(self._index), owned=True)
        size = self._files.size(self._path(name))
        if size is None:
            raise missing(name)
        return Section(self._files.open(self._path(name)), 0, size, owned=True)

    def layer(self, name: str, diff_id: str, limits: Limits) -> BinaryIO:
        """The uncompressed tar; at its end the digest is verified."""
        section = self.section(name)
        return verified_stream(unpack(section, limits), diff_id, section.close)

    def _path(self, name: str) -> str:
        return f"{self._folder}/{safe_name(name.encode())}"


class PortReader:
    """Random access to a file that is an uncompressed layer."""

    def __init__(self, files: Files, name: str) -> None:
        self._name = name
        self._stream = files.open(name)
        self._size = self._stream.seek(0, io.SEEK_END)

    @property
    def size(self) -> int:
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        """Raises: Truncated when the file became shorter; ContentError for bytes it does not have."""
        check_range(offset, length, self._size)
        self._stream.seek(offset)
        data = self._stream.read(length)
        if len(data) != length:
            raise Truncated(f"{self._name} ends {length - len(data)} bytes early")
        return data

    def close(self) -> None:
        self._stream.close()


class LayoutSources:
    """Source layers while an apply runs; packed ones are unpacked once into the scratch folder."""

    def __init__(
        self, files: Files, store: LayoutStore, names: dict[str, str], configs: dict[str, bytes], limits: Limits
    ) -> None:
        """Args:
        names: diff_id -> name of its blob in the layout.
        configs: Image ID -> config JSON.
        """
        self._files = files
        self._store = store
        self._names = names
        self._configs = configs
        self._limits = limits
        self._readers: dict[str, PortReader] = {}
        self._unpacked: list[str] = []

    def find(self, diff_id: str) -> LayerReader:
        """Raises: KeyError when no image here has the layer; ContentError when it does not unpack to it."""
        if diff_id not in self._readers:
            name = self._names[diff_id]
            path = self._unpack(diff_id, name) if is_packed(name, diff_id) else self._store._path(name)
            self._readers[diff_id] = PortReader(self._files, path)
        return self._readers[diff_id]

    def config(self, image_id: str) -> bytes:
        """Raises: KeyError when the image is not here."""
        return self._configs[image_id]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for reader in self._readers.values():
            reader.close()
        for path in self._unpacked if error is None or isinstance(error, Exception) else ():
            self._files.remove(path)

    def _unpack(self, diff_id: str, name: str) -> str:
        """Not synced: it is worth nothing after a restart, when the scratch folder is emptied."""
        path = f"{SCRATCH}/{hex_of(diff_id)}.tar"
        self._unpacked.append(path)
        writer = self._files.create(path)
        try:
            with self._store.layer(name, diff_id, self._limits) as layer:
                while piece := layer.read(MIB):
                    writer.write(piece)
        finally:
            writer.close()
        return path


def is_packed(name: str, diff_id: str) -> bool:
    """A blob that is named by another digest than the layer's own holds it gzip- or zstd-packed."""
    return not name.endswith(hex_of(diff_id))
