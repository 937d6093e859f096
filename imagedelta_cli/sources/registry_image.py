"""One image of a registry as a source of layers: what an archive is for a file.

Documents are held against their digests before they are read; a layer is fetched when it is opened, into a scratch
file, held against its digest before it is unpacked, and against its diff_id while it is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from imagedelta.archives.layer_stream import verified_stream
from imagedelta.archives.model import Image, image_from_config, sha256_id
from imagedelta.archives.unpacking import Section, unpack
from imagedelta.errors import ContentError, DigestMismatch, LimitExceeded, RequestError
from imagedelta.limits import DEFAULT_LIMITS, Limits
from imagedelta.platforms import NOTHING_STATED, Stated, parse_platform, runs
from imagedelta_cli.sources.credentials import Login
from imagedelta_cli.sources.manifests import ACCEPT, Blob, Manifest, choose, read_manifest
from imagedelta_cli.sources.names import RegistryName
from imagedelta_cli.sources.registry_http import PartialBlob, Registry, Report

Progress = Callable[[str], AbstractContextManager[Report]]
"""Opens a progress bar with a title; its report takes (bytes done, bytes in all)."""

_MAX_NESTING = 3


@dataclass(frozen=True, slots=True)
class Access:
    """How registries are reached."""

    login_for: Callable[[str], Login]
    """Called with a host when its registry asks for a login."""
    may_be_plain: Callable[[str], bool]
    """Whether ``HOST[:PORT]`` is spoken to without TLS."""
    pause: float = 0.5
    """Seconds before a second try."""


@contextmanager
def open_registry_image(
    name: RegistryName, scratch: Path, access: Access, progress: Progress, limits: Limits = DEFAULT_LIMITS
) -> Iterator[tuple[RegistryImage, Image]]:
    """Find the image and yield it with the place its layers come from.

    Args:
        name: Which image, and for which platform.
        scratch: Folder for layers as they are stored, one at a time.
        access: Logins, and which registries have no TLS.
        progress: Shows each layer's way here.
        limits: Bounds for documents, layers and what they unpack to.

    Raises:
        RequestError: There is no such image, none for the platform, or it may not be read.
        ContentError: What the registry serves is not what its digest says, or no image.
        DependencyError: The registry does not answer.
    """
    with Registry(
        name.address, lambda: access.login_for(name.host), may_be_plain=access.may_be_plain, pause=access.pause
    ) as registry:
        reader = RegistryImage(registry, name, scratch, progress, limits)
        yield reader, reader.image


class RegistryImage:
    """An image whose layers are fetched one by one. Made by ``open_registry_image``."""

    def __init__(
        self, registry: Registry, name: RegistryName, scratch: Path, progress: Progress, limits: Limits
    ) -> None:
        self._registry = registry
        self._name = name
        self._scratch = scratch
        self._progress = progress
        self._limits = limits
        self._wanted = parse_platform(name.platform) if name.platform else ""
        self._chosen = ""
        self._manifest = self._find()
        self.image = self._read_config(self._manifest)

    def open_layer(self, image: Image, position: int) -> BinaryIO:
        """Fetch layer ``position`` of the image and return it as an uncompressed tar, to be read to its end.

        Raises:
            DigestMismatch: The stored bytes have not the manifest's digest, or unpacked not the diff_id.
            ContentError: Damaged, too large, or packed in an unknown way.
            DependencyError: The registry stopped answering.
        """
        blob = self._manifest.layers[position]
        stored = tempfile.TemporaryFile(dir=self._scratch)  # noqa: SIM115 - the stream that is returned closes it
        try:
            with self._progress(f"Fetching layer {position + 1} of {len(image.diff_ids)}") as report:
                self._fetch(blob, stored, report)
            packed = Section(stored, 0, blob.size, owned=True)
            return verified_stream(unpack(packed, self._limits), image.diff_ids[position], packed.close)
        except BaseException:
            stored.close()
            raise

    def _fetch(self, blob: Blob, out: BinaryIO, report: Report) -> None:
        partial = PartialBlob(out)
        self._registry.download(f"{self._name.repository}/blobs/{blob.digest}", blob.size, partial, report)
        if partial.digest != blob.digest:
            raise DigestMismatch(f"{self._name}: layer {blob.digest} arrived as {partial.digest}")

    def _find(self) -> Manifest:
        """Follow the name, through image indexes if need be, to a manifest."""
        reference, size = self._name.reference, None
        for _ in range(_MAX_NESTING + 1):
            found = read_manifest(self._read_manifest(reference, size), self._limits)
            if isinstance(found, Manifest):
                return found
            chosen = choose(found, self._wanted)
            self._chosen = chosen.platform
            reference, size = chosen.blob.digest, chosen.blob.size
        raise LimitExceeded(f"{self._name}: image indexes nested more than {_MAX_NESTING} deep")

    def _read_manifest(self, reference: str, size: int | None) -> bytes:
        path = f"{self._name.repository}/manifests/{reference}"
        data, headers = self._registry.document(path, self._limits.max_manifest_bytes, ACCEPT)
        promised = reference if reference.startswith("sha256:") else headers.get("docker-content-digest", "")
        if promised.startswith("sha256:") and sha256_id(data) != promised:
            raise DigestMismatch(f"{self._name}: manifest {promised} arrived as {sha256_id(data)}")
        if size is not None and len(data) != size:
            raise ContentError(f"{self._name}: manifest {reference} has {len(data)} bytes, its index says {size}")
        return data

    def _read_config(self, manifest: Manifest) -> Image:
        digest = manifest.config.digest
        if manifest.config.size > self._limits.max_config_bytes:
            raise LimitExceeded(f"{self._name}: a config of {manifest.config.size} bytes")
        data, _ = self._registry.document(f"{self._name.repository}/blobs/{digest}", manifest.config.size)
        if sha256_id(data) != digest:
            raise DigestMismatch(f"{self._name}: config {digest} arrived as {sha256_id(data)}")
        names = (self._name.tagged,) if self._name.tagged else ()
        descriptor = Stated(*self._chosen.split("/")) if self._chosen else NOTHING_STATED
        image = image_from_config(data, names, self._limits, descriptor)
        self._check_layers(image, manifest)
        return self._for_wanted(image)

    def _check_layers(self, image: Image, manifest: Manifest) -> None:
        if len(image.diff_ids) != len(manifest.layers):
            raise ContentError(
                f"{self._name}: the manifest has {len(manifest.layers)} layers, the config {len(image.diff_ids)}"
            )

    def _for_wanted(self, image: Image) -> Image:
        """What a person asks for and the index confirms, or nothing denies, outweighs the config."""
        if not self._wanted:
            return image
        if self._chosen or not image.platform:
            return replace(image, platform=self._chosen or self._wanted)
        if not runs([self._wanted], image.platform):
            raise RequestError(f"{self._name} is for {image.platform}, not {self._wanted}", code="request.no_image")
        return image
