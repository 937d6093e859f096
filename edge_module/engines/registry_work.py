"""One image in the making, straight in the local registry.

Layers that are not made anew are mounted into the target's repository. New ones are sent as they are made, in pieces,
uncompressed, so that the manifest follows from the image. The registry believes in the digests it knows: it keeps the
old bytes when a known blob is sent again, damaged or not. So every layer is read back once in a session and held
against its digest, the mounted ones and the new ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from types import TracebackType
from typing import Self

from edge_module.engines.base import LayersGone, LayerWriter, PresentImage
from edge_module.engines.registry_client import BlobsUnknown, Manifest, RegistryClient
from edge_module.engines.registry_contents import Blob, RegistryContents, present_images
from edge_module.engines.registry_damage import RegistryDamage, kept_damaged
from edge_module.engines.registry_names import Names, own_tag
from edge_module.engines.registry_record import SessionRecord, note_upload, write_record
from edge_module.engines.registry_shared import RegistryShared
from edge_module.engines.registry_sources import RegistrySources
from edge_module.engines.registry_upload import LayerUpload, put_blob
from edge_module.engines.unpacked import UnpackedLayers
from edge_module.files import Files
from imagedelta.archives.model import Image, image_from_config, sha256_id
from imagedelta.archives.oci import MANIFEST_TYPE
from imagedelta.archives.oci_json import manifest_bytes
from imagedelta.delta.content import LayerReader
from imagedelta.errors import DependencyError


@dataclass(frozen=True)
class RegistryTask:
    target: str
    repository: str
    sizes: Mapping[str, int]
    sources: Sequence[str]


class RegistryParts:
    """What the engine and its sessions work with."""

    def __init__(self, client: RegistryClient, files: Files, shared: RegistryShared) -> None:
        self.client = client
        self.files = files
        self.shared = shared
        self.contents = RegistryContents(client)
        self.names = Names(files)
        self.damage = RegistryDamage(client, shared)


class RegistryWork:
    def __init__(self, parts: RegistryParts, task: RegistryTask) -> None:
        self._parts = parts
        self._client = parts.client
        self._task = task
        self._held: set[str] = set()
        """Layers that are in the repository, read and found right."""
        self._uploads: dict[str, LayerUpload] = {}
        self._note = partial(note_upload, parts.files)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._open.enter_context(self._parts.shared.no_collection())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._open:
            if error is None or isinstance(error, Exception):  # else the power is gone: nothing runs any more
                for diff_id in list(self._uploads):
                    self.abort(diff_id)

    # Layers of the target.

    def has(self, diff_id: str) -> bool:
        if diff_id in self._held:
            return True
        size = self._size_of(diff_id) or (self._size_of(diff_id) if self._mount(diff_id) else None)
        if size is None:
            return False
        if not self._parts.damage.is_sound(self._task.repository, Blob(diff_id, size)):
            self._forget(diff_id)
        elif size == self._task.sizes[diff_id]:
            self._held.add(diff_id)
        return diff_id in self._held

    def begin(self, diff_id: str, size: int) -> LayerWriter:
        self.abort(diff_id)
        write_record(self._parts.files, SessionRecord(self._task.target, self._task.repository))
        upload = self._uploads[diff_id] = LayerUpload(
            self._client, self._task.repository, self._note, self._parts.shared.ask_upload_removal
        )
        return upload

    def commit(self, diff_id: str) -> None:
        try:
            self._uploads[diff_id].finish(diff_id)
        except DependencyError:
            if self._size_of(diff_id) is None:  # else only the answer was lost
                raise
        del self._uploads[diff_id]
        if not self._parts.damage.is_sound(self._task.repository, Blob(diff_id, self._task.sizes[diff_id])):
            raise kept_damaged(f"layer {diff_id}", self._forget(diff_id))
        self._held.add(diff_id)

    def abort(self, diff_id: str) -> None:
        upload = self._uploads.pop(diff_id, None)
        if upload is not None:
            upload.cancel()

    # Sources.

    def find(self, diff_id: str) -> LayerReader:
        return self._sources.find(diff_id)

    def config(self, image_id: str) -> bytes:
        return self._sources.config(image_id)

    # The image.

    def finish(self, config: bytes) -> PresentImage:
        image = image_from_config(config)
        data = manifest_bytes(image, [self._task.sizes[diff_id] for diff_id in image.diff_ids])
        self._put_config(image)
        repository, tag = self._task.repository, own_tag(image.image_id)
        self._put_manifest(tag, Manifest(sha256_id(data), MANIFEST_TYPE, data))
        places = self._parts.contents.whole(self._parts.contents.places_under(repository, tag))
        if not places:
            raise LayersGone(f"the registry lost a part of {image.image_id} as soon as it was complete")
        return present_images(places, self._parts.names.reader())[0]

    # Inside.

    @cached_property
    def _sources(self) -> RegistrySources:
        unpacked = self._open.enter_context(UnpackedLayers(self._parts.files))
        return RegistrySources(self._client, self._parts.contents, self._task.sources, unpacked)

    def _size_of(self, diff_id: str) -> int | None:
        return self._client.blob_size(self._task.repository, diff_id)

    def _mount(self, diff_id: str) -> bool:
        return any(self._client.mount(self._task.repository, diff_id, each) for each in self._holders(diff_id))

    def _forget(self, diff_id: str) -> bool:
        return self._parts.damage.forget(diff_id, [*self._holders(diff_id), self._task.repository])

    def _holders(self, diff_id: str) -> list[str]:
        """Repositories that may have the layer uncompressed."""
        places = self._parts.contents.recent()
        return sorted({place.repository for place in places if place.image.has_plain(diff_id)})

    def _put_config(self, image: Image) -> None:
        repository, image_id = self._task.repository, image.image_id
        if self._client.read_small(repository, image_id, len(image.config)) == image.config:
            return
        put_blob(self._client, repository, image_id, image.config, self._note)
        if self._client.read_small(repository, image_id, len(image.config)) != image.config:
            raise kept_damaged(f"config {image_id}", self._parts.damage.forget(image_id, [repository]))

    def _put_manifest(self, tag: str, manifest: Manifest) -> None:
        repository = self._task.repository
        try:
            self._client.put_manifest(repository, tag, manifest)
        except BlobsUnknown as error:
            raise LayersGone(f"the registry lost a part of {self._task.target}: {error}") from error
        if self._parts.contents.manifest(repository, tag) != manifest:
            removed = self._parts.damage.forget_manifest(manifest.digest, repository)
            raise kept_damaged(f"manifest {manifest.digest}", removed)
