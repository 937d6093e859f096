"""Open an image archive of any form and read its layers, each once and in order.

Docker writes other bytes for the same image in each version and for each way of naming it, so nothing
here depends on the archive's own bytes: what counts is each config and each uncompressed layer.
Not here: writing (imagedelta.archives.writing, imagedelta.archives.layout).
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from imagedelta.archives.docker_save import MANIFEST, read_docker_save
from imagedelta.archives.findings import Findings, PassedOver
from imagedelta.archives.layer_stream import verified_stream
from imagedelta.archives.model import Image
from imagedelta.archives.oci import INDEX_FILE, LAYOUT_FILE, read_oci
from imagedelta.archives.stores import FolderStore, Store, TarStore
from imagedelta.archives.tar_members import read_exactly
from imagedelta.archives.unpacking import MAGIC_BYTES, Section, packing_of, unpack
from imagedelta.errors import ContentError, RequestError, UnsupportedFormat
from imagedelta.limits import DEFAULT_LIMITS, Limits


class Archive:
    """The images of one archive. Made by ``open_archive``; a context manager."""

    def __init__(self, store: Store, limits: Limits, owned: BinaryIO | None) -> None:
        self._store = store
        self._limits = limits
        self._owned = owned
        findings = _read_images(store, limits)
        self._located = findings.merged()
        self.passed_over: tuple[PassedOver, ...] = tuple(findings.passed_over)
        """Entries that gave no image; when there is an image, they need not be an error."""

    @property
    def images(self) -> tuple[Image, ...]:
        """The images in the archive's order, each image ID once."""
        return tuple(located.image for located in self._located.values())

    def open_layer(self, image: Image, position: int) -> BinaryIO:
        """Return layer ``position`` (0 is the lowest) as an uncompressed tar, to be read once from the start.

        Layers of one archive share its stream: read them from one thread. At the end the bytes are known
        to have the diff_id; reading on to the end raises:

        Raises:
            DigestMismatch: The layer is not the one the config names.
            LimitExceeded: It unpacks to more than an image may be.
            ContentError: Damaged, or packed in a way that Docker does not read either.
        """
        located = self._located[image.image_id]
        packed = self._store.section(located.layers[position])
        return verified_stream(unpack(packed, self._limits), image.diff_ids[position], packed.close)

    def close(self) -> None:
        """Close what ``open_archive`` opened; a stream that it was given stays open."""
        if self._owned:
            self._owned.close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_archive(
    source: BinaryIO | Path, limits: Limits = DEFAULT_LIMITS, *, scratch: BinaryIO | None = None
) -> Archive:
    """Open a docker-save tar (any Docker version), an OCI archive, or an OCI layout folder.

    Args:
        source: A file or folder, or a seekable stream, which may fetch ranges from far away: it is asked for
            the headers of the archive's members and a few small files, layers only when they are opened.
        limits: Bounds for every size and count inside.
        scratch: Where a tar that is packed as a whole (``.tar.gz``, ``.tar.zst``) is unpacked to, once: an
            empty file open for reading and writing. Without it such a tar is refused.

    Raises:
        RequestError: ``request.no_image``: there is no such file.
        UnsupportedFormat: It is packed and there is no ``scratch``, or packed in an unknown way.
        ContentError: ``content.not_an_image``: no archive form known here; other codes and subclasses name
            what is wrong inside: missing blobs, duplicate or unsafe names, wrong digests, broken JSON.
        LimitExceeded: A size or count is over its limit.

    Entries that are no images, or cannot be read while others can, are in ``passed_over``.
    """
    if not isinstance(source, Path):
        return Archive(TarStore(_plain(source, limits, scratch), limits), limits, None)
    if source.is_dir():
        return Archive(FolderStore(source), limits, None)
    return _open_file(source, limits, scratch)


def _open_file(path: Path, limits: Limits, scratch: BinaryIO | None) -> Archive:
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        raise RequestError(f"there is no archive {path}", code="request.no_image") from None
    try:
        return Archive(TarStore(_plain(stream, limits, scratch), limits), limits, stream)
    except BaseException:
        stream.close()
        raise


def _plain(stream: BinaryIO, limits: Limits, scratch: BinaryIO | None) -> BinaryIO:
    """Return the archive as an uncompressed tar: itself, or unpacked into ``scratch``."""
    stream.seek(0)
    packing = packing_of(read_exactly(stream, MAGIC_BYTES))
    if packing is None:
        return stream
    if scratch is None:
        raise UnsupportedFormat(f"the archive is packed as a whole with {packing}", code="content.packed")
    if packing == "zip":
        raise ContentError("a zip file: images come as a tar (docker save)", code="content.not_an_image")
    for piece in unpack(Section(stream, 0, stream.seek(0, 2)), limits):
        scratch.write(piece)
    return scratch


def _read_images(store: Store, limits: Limits) -> Findings:
    """Read both forms where both are: ``manifest.json`` is complete, ``index.json`` has more platforms."""
    is_oci = store.has(INDEX_FILE) and store.has(LAYOUT_FILE)
    findings = Findings()
    if store.has(MANIFEST):
        read_docker_save(store, limits, findings)
    elif not is_oci:
        raise _no_archive(store)
    if is_oci:
        read_oci(store, limits, findings)
    if not findings.images:
        raise findings.nothing()
    return findings


def _no_archive(store: Store) -> ContentError:
    """Say what it looks like instead: people mix up export and save, or pack one folder too many."""
    problem = f"neither {MANIFEST} nor {INDEX_FILE} with {LAYOUT_FILE} is in it"
    names = store.names if isinstance(store, TarStore) else ()
    deeper = next(
        (name for name in names if name.count("/") == 1 and name.endswith((f"/{MANIFEST}", f"/{INDEX_FILE}"))), ""
    )
    if deeper:
        problem += f", but {deeper}: pack the content of that folder, not the folder (tar -C FOLDER -cf FILE .)"
    elif any(name.startswith(("etc/", "usr/", "bin/")) for name in names):
        problem += "; it looks like the files of a container (docker export): use docker save"
    return ContentError(problem, code="content.not_an_image")
