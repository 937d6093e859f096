"""Engine ``registry``: straight through the HTTP API of the device's own registry, without a Docker socket.

An image is whole in one repository: every blob is linked there, so that it is pulled from there. What makes an image
visible is the tag that is put last: one of ours, then the name that people know.

Source: docs/registry.md; OCI distribution-spec 1.1.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from edge_module.engines.base import ENGINE_DISK, MODULE_DISK, LayersGone, Need, PresentImage
from edge_module.engines.registry_client import BlobsUnknown, RegistryClient
from edge_module.engines.registry_contents import Blob, HeldLayer, Place, present_images
from edge_module.engines.registry_installation import installation_of
from edge_module.engines.registry_names import Location, locate, own_tag
from edge_module.engines.registry_record import note_upload, read_record, read_upload
from edge_module.engines.registry_shared import RegistryShared
from edge_module.engines.registry_sources import hinted_size
from edge_module.engines.registry_work import RegistryParts, RegistryTask, RegistryWork
from edge_module.files import Files
from edge_module.scratch_file import SCRATCH
from imagedelta.errors import RequestError

_RECORDS_BYTES = 64 * 1024
"""Config, manifest and links of an image."""
log = logging.getLogger("imagedelta.registry")


class RegistryEngine:
    name = "registry"

    def __init__(
        self,
        client: RegistryClient,
        files: Files,
        shared: RegistryShared | None = None,
        new_id: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        """Args:
        files: For scratch and the record of a session.
        """
        self._client = client
        self._files = files
        self._shared = shared or RegistryShared(None)
        self._parts = RegistryParts(client, files, self._shared)
        self._contents = self._parts.contents
        self._new_id = new_id
        files.make_folders(SCRATCH)

    # What is here.

    def images(self) -> list[PresentImage]:
        return self._present(self._contents.places())

    def installation_id(self) -> str:
        return installation_of(self._client, self._files, self._new_id)

    def needs(self, target: str, sizes: Mapping[str, int], sources: Sequence[str]) -> list[Need]:
        places = self._contents.places()
        present = {layer.diff_id for place in self._contents.whole(places) for layer in place.image.layers}
        plain = {layer.blob.digest for place in places for layer in place.image.layers if not layer.is_packed}
        new = {diff_id: size for diff_id, size in sizes.items() if diff_id not in present & plain}
        kept = self._kept(target, new)
        missing = sum(size for each, size in new.items() if each not in kept)
        packed = {
            layer.diff_id: hinted_size(self._client, place.repository, layer)
            for place in places
            if place.image.image_id in sources
            for layer in place.image.layers
            if layer.is_packed and layer.diff_id not in plain
        }
        return [
            Need(ENGINE_DISK, _RECORDS_BYTES + missing, self.free_bytes()),
            Need(MODULE_DISK, sum(packed.values()), self._files.free_bytes()),
        ]

    def free_bytes(self) -> int | None:
        return self._shared.free_bytes()

    # Changes.

    def begin(self, target: str, reference: str, sizes: Mapping[str, int], sources: Sequence[str]) -> RegistryWork:
        return RegistryWork(self._parts, RegistryTask(target, locate(reference).repository, sizes, sources))

    def name_image(self, image_id: str, reference: str) -> PresentImage:
        where, places = locate(reference), self._contents.places()
        whole = self._whole(places, image_id)
        place = next((each for each in whole if each.repository == where.repository), whole[0])
        self._keep_holder(where, image_id)
        if place.repository != where.repository:
            self._carry(place, where.repository)
        self._tag(place, where.repository, own_tag(image_id))
        self._tag(place, where.repository, where.tag)
        named = replace(place, repository=where.repository, tag=where.tag, top=place.image.manifest)
        self._parts.names.give(reference, [(each.repository, each.tag) for each in places])
        return self._present([*whole, named])[0]

    def drop_damaged(self, diff_ids: Iterable[str]) -> tuple[str, ...]:
        """What lies in a registry under one digest is the same in all repositories: it is read in one.

        A layer that is sound, but not what its image claims, stays: others may have it. The image goes.
        """
        damaged = set()
        for layer, places in self._layers(set(diff_ids)).items():
            repositories = sorted({place.repository for place in places})
            if self._is_damaged(layer, repositories):
                self._parts.damage.forget(layer.blob.digest, repositories)
                damaged.add(layer.diff_id)
            elif layer.is_packed and not self._unpacks(layer, repositories):
                for place in places:
                    self._client.delete_manifest(place.repository, place.image.manifest)
                damaged.add(layer.diff_id)
        return tuple(sorted(damaged))

    def remove_image(self, image_id: str) -> None:
        places = self._contents.places()
        gone = [place for place in places if place.image.image_id == image_id]
        if not gone:
            raise RequestError(f"image {image_id} is not here", code="device.unknown_image")
        for place in gone:
            if place.top != place.image.manifest:
                self._leave_index(place, places)
        for repository, manifest in sorted({(place.repository, place.image.manifest) for place in gone}):
            self._client.delete_manifest(repository, manifest)
        self._shared.ask_collection()

    def collect(self) -> int:
        """Left to what runs the registry: it does it when no session is open."""
        self._shared.ask_collection()
        return 0

    def clean(self) -> None:
        upload = read_upload(self._files)
        if upload:
            if not self._client.cancel_upload(upload):
                self._shared.ask_upload_removal(upload)
            note_upload(self._files, "")
        for name in self._files.list(SCRATCH):
            self._files.remove(f"{SCRATCH}/{name}")

    # Inside.

    def _kept(self, target: str, sizes: Mapping[str, int]) -> set[str]:
        """Which layers an interrupted session for the same target has left."""
        record = read_record(self._files)
        if record.target != target or not record.repository:
            return set()
        return {each for each, size in sizes.items() if self._client.blob_size(record.repository, each) == size}

    def _present(self, places: list[Place]) -> list[PresentImage]:
        return present_images(self._contents.whole(places), self._parts.names.reader())

    def _whole(self, places: list[Place], image_id: str) -> list[Place]:
        whole = self._contents.whole([place for place in places if place.image.image_id == image_id])
        if not whole:
            raise RequestError(f"image {image_id} is not here", code="device.unknown_image")
        return whole

    def _keep_holder(self, where: Location, image_id: str) -> None:
        """What has the name keeps a tag of ours when the name moves."""
        for holder in self._contents.places_under(where.repository, where.tag):
            if holder.image.image_id != image_id:
                self._tag(holder, where.repository, own_tag(holder.image.image_id))

    def _carry(self, place: Place, repository: str) -> None:
        """Give all blobs of an image to another repository."""
        for blob in place.image.blobs:
            if self._client.blob_size(repository, blob.digest) != blob.size and not self._client.mount(
                repository, blob.digest, place.repository
            ):
                raise LayersGone(f"blob {blob.digest} cannot be mounted from {place.repository}")

    def _tag(self, place: Place, repository: str, tag: str) -> None:
        if self._contents.digest(repository, tag) == place.image.manifest:
            return
        manifest = self._contents.manifest(place.repository, place.image.manifest)
        if manifest is None:
            raise LayersGone(f"manifest {place.image.manifest} left {place.repository}")
        try:
            self._client.put_manifest(repository, tag, manifest)
        except BlobsUnknown as error:
            raise LayersGone(str(error)) from error

    def _leave_index(self, place: Place, places: Sequence[Place]) -> None:
        """An index that leads to an image goes with it; the other images it leads to keep a tag of ours."""
        index = place.repository, place.top
        others = [each for each in places if (each.repository, each.top) == index and each.image != place.image]
        for other in self._contents.whole(others):
            self._tag(other, other.repository, own_tag(other.image.image_id))
        self._client.delete_manifest(place.repository, place.top)

    def _layers(self, diff_ids: set[str]) -> dict[HeldLayer, list[Place]]:
        """Layers of images, and where these images are."""
        found: dict[HeldLayer, list[Place]] = {}
        for place in self._contents.places():
            for layer in place.image.layers:
                if layer.diff_id in diff_ids:
                    found.setdefault(layer, []).append(place)
        return found

    def _is_damaged(self, layer: HeldLayer, repositories: Sequence[str]) -> bool:
        """Of one that is here; one that is gone is not damaged."""
        for repository in repositories:
            size = self._client.blob_size(repository, layer.blob.digest)
            if size is not None:
                return not self._parts.damage.is_sound(repository, Blob(layer.blob.digest, size))
        return False

    def _unpacks(self, layer: HeldLayer, repositories: Sequence[str]) -> bool:
        holders = (each for each in repositories if self._client.blob_size(each, layer.blob.digest) == layer.blob.size)
        holder = next(holders, None)
        return holder is None or self._parts.damage.unpacks(holder, layer)
