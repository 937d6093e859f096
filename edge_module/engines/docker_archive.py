"""The archives that a Docker daemon gives and takes, as streams: read once, front to back, and never whole anywhere.

Read is every form of ``docker save``: the classic one (a folder per layer), the layout of Docker 25 and later, and what
containerd's store writes (packed layers, other platforms). What a member is follows from its bytes, not from its name:
a layer is what has a wanted diff_id once it is unpacked, so the bytes are held against the digest in the same pass.
Written is one form that all of them load: an OCI layout with a ``manifest.json``, layers uncompressed.

Not here: archives in files (imagedelta.archives), which may be walked twice.
Source: moby image/tarexport; containerd images/archive; OCI image-spec 1.1, image-layout.md.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from edge_module.engines.docker_daemon import DaemonSays
from imagedelta.archives.docker_save import MANIFEST
from imagedelta.archives.json_reading import field_of
from imagedelta.archives.model import Image, image_from_config, sha256_id
from imagedelta.archives.oci import FULL_NAME_ANNOTATION, INDEX_FILE, INDEX_TYPE, LAYOUT_FILE, MANIFEST_TYPE, blob_name
from imagedelta.archives.oci_json import layout_marker, manifest_bytes
from imagedelta.archives.tar_headers import BLOCK
from imagedelta.archives.tar_members import TarMember, walk_tar
from imagedelta.archives.unpacking import unpack
from imagedelta.delta.content import LayerReader, read_pieces
from imagedelta.errors import ContentError, DependencyError
from imagedelta.limits import MIB, Limits

_MOST_DOCUMENTS = 16 * MIB
"""All JSON files of an archive together; a config has a few kilobytes."""
_WORDS = 500


class LayerKeeper(Protocol):
    """Takes the plain bytes of what may be a layer; which one it is comes out at its end."""

    def begin(self) -> Callable[[bytes], object]:
        """Return what takes the bytes."""

    def end(self, digest: str, *, wanted: bool) -> None:
        """They were those of ``digest``; what is not wanted is dropped."""

    def abort(self) -> None:
        """They came to no end."""


class NoKeeper:
    """For whoever only asks whether the bytes are right, or for the config."""

    def begin(self) -> Callable[[bytes], object]:
        return len

    def end(self, digest: str, *, wanted: bool) -> None:
        """Nothing was kept."""

    def abort(self) -> None:
        """Nothing was kept."""


@dataclass(frozen=True)
class SavedImage:
    """What a pass over an archive found of one image."""

    config: bytes | None
    sizes: Mapping[str, int]
    """diff_id -> bytes of the plain tar, of each of its layers that was there and is sound."""

    @property
    def image_id(self) -> str | None:
        return None if self.config is None else sha256_id(self.config)

    def lacks(self, diff_ids: Iterable[str]) -> list[str]:
        return [diff_id for diff_id in dict.fromkeys(diff_ids) if diff_id not in self.sizes]


def read_saved(pieces: Iterator[bytes], diff_ids: Sequence[str], keeper: LayerKeeper, limits: Limits) -> SavedImage:
    """Read what ``docker save`` gives of the image with these layers.

    Raises:
        DaemonSays: The daemon tells of an error in the middle of the archive, as it does once that has begun.
        DependencyError: ``engine.daemon``: what comes is no archive, or ends early.
    """
    reading = _Reading(pieces, diff_ids, keeper, limits)
    try:
        return reading.read()
    except ContentError as error:
        raise reading.explained(error) from error


class _Reading:
    def __init__(self, pieces: Iterator[bytes], diff_ids: Sequence[str], keeper: LayerKeeper, limits: Limits) -> None:
        self._tape = _StreamTape(pieces)
        self._diff_ids = tuple(diff_ids)
        self._keeper = keeper
        self._limits = limits
        self._documents: dict[str, bytes] = {}
        self._sizes: dict[str, int] = {}

    def read(self) -> SavedImage:
        members = walk_tar(self._tape, self._limits, strict=True, max_members=self._limits.max_archive_members)
        for member in members:
            if member.kind == "file":
                self._take(member)
        if not self._documents:
            raise DependencyError("what Docker saved holds no image", code="engine.daemon")
        return SavedImage(self._config(), self._sizes)

    def explained(self, error: ContentError) -> DependencyError:
        """Docker 20 writes its complaint behind what it has sent of the tar, and ends as if all were well."""
        said = self._tape.last[self._tape.last.find(b'{"error') :]
        if said.startswith(b'{"error'):
            return DaemonSays(f"Docker, while it saved: {said[:_WORDS].decode(errors='replace').rstrip(chr(0))}")
        return DependencyError(f"what Docker saved cannot be read: {error}", code="engine.daemon")

    def _take(self, member: TarMember) -> None:
        stream = _Member(self._tape, member.size)
        if member.size <= self._limits.max_config_bytes:
            data = stream.read_all()
            if data[:1] in (b"{", b"["):
                self._documents[member.path.decode(errors="replace")] = data
                self._check_documents()
            self._spool(iter([data]) if data[:1] in (b"{", b"[") else unpack(io.BytesIO(data), self._limits))
        else:
            self._spool(unpack(stream, self._limits))

    def _spool(self, plain: Iterator[bytes]) -> None:
        """A blob that does not unpack is no layer; the archive goes on behind it."""
        digest, size = hashlib.sha256(), 0
        write = self._keeper.begin()
        try:
            for piece in plain:
                digest.update(piece)
                size += len(piece)
                write(piece)
        except ContentError:
            self._keeper.abort()
            return
        except BaseException:
            self._keeper.abort()
            raise
        diff_id = "sha256:" + digest.hexdigest()
        wanted = diff_id in self._diff_ids
        self._keeper.end(diff_id, wanted=wanted)
        if wanted:
            self._sizes[diff_id] = size

    def _check_documents(self) -> None:
        if sum(map(len, self._documents.values())) > _MOST_DOCUMENTS:
            raise ContentError(f"more than {_MOST_DOCUMENTS} bytes of JSON")

    def _config(self) -> bytes | None:
        """The document that lists these layers; of several, the one that ``manifest.json`` names."""
        found = {name: data for name, data in self._documents.items() if self._lists_the_layers(data)}
        if len(set(found.values())) > 1:
            named = _config_names(self._documents.get(MANIFEST, b""))
            found = {name: data for name, data in found.items() if name in named} or found
        return next(iter(found.values()), None)

    def _lists_the_layers(self, data: bytes) -> bool:
        try:
            image = image_from_config(data, limits=self._limits)
        except ContentError:
            return False
        return image.diff_ids == self._diff_ids and b"rootfs" in data


def _config_names(manifest: bytes) -> set[str]:
    try:
        entries = json.loads(manifest)
    except (ValueError, RecursionError):
        return set()
    listed = entries if isinstance(entries, list) else []
    return {str(field_of(entry, "Config")) for entry in listed if isinstance(entry, dict)}


class _StreamTape:
    """A tape over pieces that come once. See imagedelta.archives.tar_members.Tape."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = b""
        self._at = 0
        self.position = 0
        self.last = b""
        """The end of what was read."""

    def read(self, size: int) -> bytes:
        found = b"".join(self._take(size))
        self.last = (self.last + found)[-2 * BLOCK :] if len(found) < BLOCK else found[-2 * BLOCK :]
        return found

    def skip(self, size: int) -> int:
        return sum(map(len, self._take(size)))

    def _take(self, size: int) -> Iterator[bytes]:
        while size:
            if self._at == len(self._piece):
                self._piece, self._at = next(self._pieces, b""), 0
                if not self._piece:
                    return
            taken = self._piece[self._at : self._at + size]
            self._at += len(taken)
            self.position += len(taken)
            size -= len(taken)
            yield taken


class _Member:
    """The data of one member as a stream; an archive that ends inside it is no fault of the member."""

    def __init__(self, tape: _StreamTape, size: int) -> None:
        self._tape = tape
        self._left = size

    def read(self, size: int, /) -> bytes:
        data = self._tape.read(min(size, self._left))
        self._left -= len(data)
        if self._left and not data and size:
            raise DependencyError("what Docker saved ends early", code="engine.daemon")
        return data

    def read_all(self) -> bytes:
        return b"".join(iter(lambda: self.read(MIB), b""))


# Writing.


@dataclass(frozen=True)
class LoadedImage:
    """An image as it goes into a daemon."""

    image: Image
    sizes: Mapping[str, int]
    """diff_id -> bytes, of every layer."""
    tag: str
    """``host/path:tag`` in full, as containerd notes names."""

    @property
    def manifest(self) -> bytes:
        return manifest_bytes(self.image, [self.sizes[diff_id] for diff_id in self.image.diff_ids])


def archive_of(loaded: LoadedImage, layers: Mapping[str, LayerReader]) -> Iterator[bytes]:
    """Yield the archive in pieces; layers that ``layers`` leaves out are in the daemon, in the same chain."""
    manifest = loaded.manifest
    yield from _file(LAYOUT_FILE, layout_marker())
    yield from _file(INDEX_FILE, _index(loaded, manifest))
    yield from _file(blob_name(sha256_id(manifest)), manifest)
    yield from _file(blob_name(loaded.image.image_id), loaded.image.config)
    for diff_id, reader in layers.items():
        yield _header(blob_name(diff_id), reader.size)
        yield from read_pieces(reader, 0, reader.size)
        yield bytes(-reader.size % BLOCK)
    yield from _file(MANIFEST, _manifest_json(loaded))
    yield bytes(2 * BLOCK)


def _index(loaded: LoadedImage, manifest: bytes) -> bytes:
    entry = {
        "mediaType": MANIFEST_TYPE,
        "digest": sha256_id(manifest),
        "size": len(manifest),
        "annotations": {FULL_NAME_ANNOTATION: loaded.tag},
    }
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [entry]}, sort_keys=True).encode()


def _manifest_json(loaded: LoadedImage) -> bytes:
    entry = {
        "Config": blob_name(loaded.image.image_id),
        "Layers": [blob_name(diff_id) for diff_id in loaded.image.diff_ids],
        "RepoTags": [loaded.tag],
    }
    return json.dumps([entry], sort_keys=True).encode()


def _file(name: str, content: bytes) -> Iterator[bytes]:
    yield _header(name, len(content))
    yield content + bytes(-len(content) % BLOCK)


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    return info.tobuf(tarfile.GNU_FORMAT)
