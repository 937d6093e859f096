"""The images that a name in a registry stands for, as a source of layers: what an archive is for a file.

Documents are held against their digests before they are read. A layer is unpacked while it comes: nothing of it is
kept here, and the end of its stream is reached only if the stored bytes have the manifest's digest and the unpacked
ones the diff_id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO

from imagedelta.archives.digest_aside import DigestAside
from imagedelta.archives.findings import PassedOver
from imagedelta.archives.layer_stream import verified_stream
from imagedelta.archives.model import Image, image_from_config, sha256_id
from imagedelta.archives.unpacking import unpack
from imagedelta.errors import ContentError, DigestMismatch, LimitExceeded
from imagedelta.limits import DEFAULT_LIMITS, Limits
from imagedelta.platforms import NOTHING_STATED, Stated
from imagedelta_registry.client import Registry
from imagedelta_registry.manifests import ACCEPT, Blob, Choice, Manifest, read_manifest
from imagedelta_registry.names import RegistryName

Choose = Callable[[Sequence[Choice]], Sequence[Choice]]
"""Which entries of an image index are taken. Raises RequestError when none fits."""

_MAX_NESTING = 3
_MAX_MANIFESTS = 200
"""Manifests and indexes that are read for one name: each costs a request, and indexes may name indexes."""


class RegistryImages:
    """Images of a registry whose layers are fetched one by one."""

    def __init__(self, registry: Registry, name: RegistryName, choose: Choose, limits: Limits = DEFAULT_LIMITS) -> None:
        """Find the images.

        Raises:
            RequestError: There is no such image, none that fits, or it may not be read.
            ContentError: What the registry serves is not what its digest says, or no image.
            DependencyError: The registry does not answer.
        """
        self._registry = registry
        self._name = name
        self._choose = choose
        self._limits = limits
        self._manifests_read = 0
        self._layers: dict[str, tuple[Blob, ...]] = {}
        """Image ID -> blobs, lowest first."""
        found: dict[str, Image] = {}
        for manifest, platform in self._manifests(name.reference, None, "", _MAX_NESTING):
            image = self._read_config(manifest, platform)
            found.setdefault(image.image_id, image)
            self._layers.setdefault(image.image_id, manifest.layers)
        self.images = tuple(found.values())
        """An image that an index names twice is there once, for the platform named first."""
        self.passed_over: tuple[PassedOver, ...] = ()

    def open_layer(self, image: Image, position: int) -> BinaryIO:
        """Return layer ``position`` of the image as an uncompressed tar, to be read to its end.

        Raises (also while it is read):
            DigestMismatch: The stored bytes have not the manifest's digest, or unpacked not the diff_id.
            ContentError: Damaged, too large, or packed in an unknown way.
            DependencyError: The registry stopped answering.
        """
        blob = self._layers[image.image_id][position]
        path = f"{self._name.repository}/blobs/{blob.digest}"
        packed = _Arriving(self._registry.pieces(path, blob.size), blob.digest, f"{self._name}: layer")
        return verified_stream(unpack(packed, self._limits), image.diff_ids[position], packed.close)

    def _manifests(self, reference: str, size: int | None, platform: str, deep: int) -> Iterator[tuple[Manifest, str]]:
        """Follow a reference, through image indexes if need be, to manifests and what the indexes say they are for."""
        found = read_manifest(self._read_manifest(reference, size), self._limits)
        if isinstance(found, Manifest):
            yield found, platform
        elif not deep:
            raise LimitExceeded(f"{self._name}: image indexes nested more than {_MAX_NESTING} deep")
        else:
            for choice in self._choose(found):
                yield from self._manifests(choice.blob.digest, choice.blob.size, choice.platform or platform, deep - 1)

    def _read_manifest(self, reference: str, size: int | None) -> bytes:
        self._manifests_read += 1
        if self._manifests_read > _MAX_MANIFESTS:
            raise LimitExceeded(f"{self._name}: its image indexes name more than {_MAX_MANIFESTS} manifests")
        path = f"{self._name.repository}/manifests/{reference}"
        data, headers = self._registry.document(path, self._limits.max_manifest_bytes, ACCEPT)
        promised = reference if reference.startswith("sha256:") else headers.get("docker-content-digest", "")
        if promised.startswith("sha256:") and sha256_id(data) != promised:
            raise DigestMismatch(f"{self._name}: manifest {promised} arrived as {sha256_id(data)}")
        if size is not None and len(data) != size:
            raise ContentError(f"{self._name}: manifest {reference} has {len(data)} bytes, its index says {size}")
        return data

    def _read_config(self, manifest: Manifest, platform: str) -> Image:
        """An image is for what the index says that led to it: by that every puller chooses (iotedge#951 has arm
        images whose config says amd64)."""
        digest = manifest.config.digest
        if manifest.config.size > self._limits.max_config_bytes:
            raise LimitExceeded(f"{self._name}: a config of {manifest.config.size} bytes")
        data, _ = self._registry.document(f"{self._name.repository}/blobs/{digest}", manifest.config.size)
        if sha256_id(data) != digest:
            raise DigestMismatch(f"{self._name}: config {digest} arrived as {sha256_id(data)}")
        names = (self._name.tagged,) if self._name.tagged else ()
        descriptor = Stated(*platform.split("/")) if platform else NOTHING_STATED
        image = image_from_config(data, names, self._limits, descriptor)
        if len(image.diff_ids) != len(manifest.layers):
            raise ContentError(
                f"{self._name}: the manifest has {len(manifest.layers)} layers, the config {len(image.diff_ids)}"
            )
        return replace(image, platform=platform or image.platform)


class _Arriving:
    """Pieces on their way here as a stream that ends only with the promised digest."""

    def __init__(self, pieces: Iterator[bytes], digest: str, what: str) -> None:
        self._pieces = pieces
        self._promised = digest
        self._what = what
        self._digest = DigestAside()
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        """Raises: DigestMismatch instead of an end that would be none."""
        if not self._rest:
            self._rest = next(self._pieces, b"")
            if not self._rest:
                self._check()
            self._digest.update(self._rest)
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def close(self) -> None:
        self._digest.close()
        if close := getattr(self._pieces, "close", None):
            close()

    def _check(self) -> None:
        if (found := "sha256:" + self._digest.hexdigest()) != self._promised:
            raise DigestMismatch(f"{self._what} {self._promised} arrived as {found}")
