"""Engine ``docker``: the device's images in a Docker daemon, and from there in its local registry.

As the architecture describes it: the base is pulled from the local registry by digest and saved, the new image loaded,
tagged and pushed. Without a local registry, names are tags in the Docker store and nobody can pull by digest.

The daemon notes an image durably before the files of its layers are on the disk; after a power cut it goes on claiming
that it has them. So a mark of ours goes before each load, and away after everything is on the disk.
Source: moby/moby issues 49784, 18723 and 47065; docs/formats/device-store.md.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence

from edge_module.engines.base import (
    ENGINE_DISK,
    MODULE_DISK,
    EngineDamaged,
    ImageName,
    LayersGone,
    Need,
    PresentImage,
)
from edge_module.engines.docker_archive import LoadedImage, NoKeeper, archive_of
from edge_module.engines.docker_daemon import Daemon, DaemonImage, DaemonSays
from edge_module.engines.docker_disk import free_on_docker_disk
from edge_module.engines.docker_files import DockerFiles
from edge_module.engines.docker_images import INSTALLATION, KEPT, OURS, DaemonImages
from edge_module.engines.docker_registry import LocalRegistry
from edge_module.engines.docker_work import DockerTask, DockerWork, Finished, same_start
from edge_module.engines.registry_names import locate, own_tag
from edge_module.engines.unpacked import DEVICE_LIMITS
from edge_module.files import Files
from imagedelta.archives.model import hex_of, image_from_config, sha256_id
from imagedelta.errors import DependencyError, RequestError
from imagedelta.limits import Limits
from imagedelta.names import archive_name

_TAG_DIGITS = 32
_MARKER = b'{"architecture":"amd64","config":{},"os":"linux","rootfs":{"diff_ids":[],"type":"layers"}}'
"""Config of the image without layers whose tag is the installation's ID; the same on every platform."""
_NO_FILE = "no such file or directory"
"""What a daemon says of a layer that the archive leaves out and that it has not."""
log = logging.getLogger("imagedelta.docker")


class DockerEngine:
    name = "docker"

    def __init__(
        self,
        files: Files,
        daemon: Daemon,
        registry: LocalRegistry | None = None,
        *,
        limits: Limits = DEVICE_LIMITS,
        new_id: Callable[[], str] = lambda: secrets.token_hex(16),
        flush: Callable[[], None] = os.sync,
        free: Callable[[str], int | None] = free_on_docker_disk,
    ) -> None:
        """Args:
        flush: Returns when everything this machine has written is on its disks: the daemon does not see to it.
        free: Free bytes on the disk of the daemon's root; see ``free_on_docker_disk``.
        """
        self._daemon = daemon
        self._registry = registry
        self._limits = limits
        self._new_id = new_id
        self._flush = flush
        self._free = free
        self._files = DockerFiles(files)
        self._store = DaemonImages(daemon, self._files, limits)

    # What is here.

    def images(self) -> list[PresentImage]:
        """Of the Docker store and the local registry. With a registry, names are its names: what is only tagged in the
        Docker store cannot be pulled by whoever starts modules."""
        found = {image_id: self._present(image_id, image) for image_id, image in self._store.listed().items()}
        for image in self._registry.images() if self._registry else ():
            found[image.image_id] = image
        return [found[image_id] for image_id in sorted(found)]

    def installation_id(self) -> str:
        if self._registry is not None:
            return self._registry.installation_id()
        tags = sorted(
            tag for image in self._daemon.images() for tag in image.tags if tag.startswith(f"{INSTALLATION}:")
        )
        return tags[0].removeprefix(f"{INSTALLATION}:") if tags else self._install(self._new_id())

    def needs(self, target: str, sizes: Mapping[str, int], sources: Sequence[str]) -> list[Need]:
        """While it works the daemon writes a whole archive beside what it keeps: of a source, then of the new layers.

        containerd's store keeps each layer twice, as it came and unpacked.
        """
        facts, here = self._daemon.facts(), self._store.listed()
        pulled = (
            sum(self._registry.unpacked_size(each) for each in sources if each not in here) if self._registry else 0
        )
        read = sum(here[each].size for each in sources if each in here) + pulled
        starts = [len(same_start(tuple(sizes), image.diff_ids)) for image in here.values()]
        new = sum(list(sizes.values())[0 if facts.containerd else max(starts, default=0) :])
        made = sum(self._files.size(diff_id) or 0 for diff_id in sizes)
        free = self._files.files.free_bytes()
        return [
            Need(MODULE_DISK, max(0, new - made) + read, free),
            Need(ENGINE_DISK, pulled + max(read, 2 * new), self._free(facts.root)),
        ]

    def free_bytes(self) -> int | None:
        return self._free(self._daemon.facts().root)

    # What is done.

    def begin(self, target: str, reference: str, sizes: Mapping[str, int], sources: Sequence[str]) -> DockerWork:
        if sizes:
            self._files.drop_layers(set(self._files.layers()) - set(sizes))
        containerd = self._daemon.facts().containerd
        task = DockerTask(
            target, reference, sizes, sources, containerd,
            self._store.listed, self._source, self._config, self._finish,
        )  # fmt: skip
        return DockerWork(self._files, self._store, task)

    def name_image(self, image_id: str, reference: str) -> PresentImage:
        here = self._store.listed().get(image_id)
        if self._registry is None:
            if here is None:
                raise _unknown(image_id)
            self._tag(here, *_split(reference))
            self._flush()
            self._files.drop_layers(here.diff_ids)
            return self._find(image_id)
        place = locate(reference)
        if self._registry.where(image_id) is None:
            if here is None:
                raise _unknown(image_id)
            self._push(self._registry, image_id, here, reference)
        named = self._registry.name_image(image_id, reference)
        if here is not None:  # so that whoever starts the module by this name pulls nothing
            self._tag(here, f"{self._registry.pull_address}/{place.repository}", place.tag)
        self._flush()
        self._files.drop_layers(named.diff_ids)  # a kill may have come between loading and that
        return named

    def drop_damaged(self, diff_ids: Iterable[str]) -> tuple[str, ...]:
        """A daemon that fails at one layer gives none of an image: those count as damaged that no other one proves."""
        wanted, damaged, sound = set(diff_ids), set[str](), set[str]()
        for image in self._store.listed().values() if wanted else ():
            if wanted & set(image.diff_ids):
                saved = self._store.read(image, NoKeeper())
                sound |= set(saved.sizes)
                if lacking := saved.lacks(image.diff_ids):
                    damaged |= wanted & set(lacking)
                    self._store.forget(image)
        damaged -= sound
        damaged |= set(self._registry.drop_damaged(wanted) if self._registry else ())
        return tuple(sorted(damaged))

    def remove_image(self, image_id: str) -> None:
        here = self._store.listed().get(image_id)
        there = self._registry is not None and any(each.image_id == image_id for each in self._registry.images())
        if here is None and not there:
            raise _unknown(image_id)
        if here is not None and not self._store.remove(here):
            raise DependencyError(f"a container is made of image {image_id}", code="engine.image_in_use")
        if self._registry is not None and there:
            self._registry.remove_image(image_id)

    def collect(self) -> int:
        for image_id in self._files.loading():
            self._remove_half_loaded(image_id)
            self._files.unmark_loading(image_id)
        self._files.keep_only(image.image_id for image in self.images())
        return self._files.drop_layers(self._files.layers())

    def clean(self) -> None:
        self._files.clean()
        self._store.forget_damage()

    # Inside.

    def _present(self, image_id: str, image: DaemonImage) -> PresentImage:
        names = () if self._registry else [name for tag in image.tags if (name := _friendly(tag))]
        return PresentImage(image_id, image.diff_ids, tuple(ImageName(name, None) for name in sorted(set(names))))

    def _find(self, image_id: str) -> PresentImage:
        for image in self.images():
            if image.image_id == image_id:
                return image
        raise EngineDamaged(f"image {image_id} is in the Docker store no more")

    def _source(self, image_id: str) -> DaemonImage | None:
        here = self._store.listed()
        if image_id not in here and self._registry is not None:
            place = self._registry.where(image_id)
            if place is not None:
                self._pull(self._registry, *place)
                here = self._store.listed()
        return here.get(image_id)

    def _pull(self, registry: LocalRegistry, repository: str, digest: str) -> None:
        log.info("pulling %s@%s from the local registry", repository, digest)
        name = f"{registry.pull_address}/{repository}"
        self._daemon.pull(name, digest)
        pulled = self._daemon.find(f"{name}@{digest}")
        if pulled is not None:
            self._daemon.tag(pulled.id, KEPT, hex_of(pulled.id)[:_TAG_DIGITS])  # else `docker image prune` may take it

    def _config(self, image_id: str) -> bytes | None:
        config = self._files.config(image_id)
        if config is None and self._registry is not None:
            config = self._registry.config(image_id)
        if config is None:
            here = self._source(image_id)
            config = None if here is None else self._store.config(image_id, here)
        if config is None or sha256_id(config) != image_id:
            return None
        self._files.keep_config(config)
        return config

    def _finish(self, finished: Finished) -> PresentImage:
        image_id = finished.image.image_id
        if self._files.is_loading(image_id):
            self._remove_half_loaded(image_id)
        for damaged in finished.damaged:
            self._store.forget(damaged)
        self._files.mark_loading(image_id)
        loaded = self._load(finished)
        if finished.damaged and self._store.read(loaded, NoKeeper()).lacks(loaded.diff_ids):
            self._store.forget(loaded)
            raise EngineDamaged(f"layers of image {image_id} are damaged in the Docker store, and containers use them")
        self._files.keep_config(finished.image.config)
        self._store.learn(loaded, image_id)
        self._flush()
        self._files.unmark_loading(image_id)
        if self._registry is not None:
            self._push(self._registry, image_id, loaded, finished.reference)
            self._flush()
        self._files.drop_layers(loaded.diff_ids)
        return self._find(image_id)

    def _load(self, finished: Finished) -> DaemonImage:
        """Raises:
        LayersGone: A layer that was not sent is in the daemon no more.
        EngineDamaged: The daemon has made another image of it, which it does without a word.
        """
        tag = f"{KEPT}:{hex_of(finished.image.image_id)[:_TAG_DIGITS]}"
        given = LoadedImage(finished.image, finished.sizes, f"docker.io/{tag}")
        try:
            self._daemon.load(archive_of(given, finished.layers))
        except DaemonSays as error:
            if len(finished.layers) < len(set(finished.image.diff_ids)) and _NO_FILE in str(error):
                raise LayersGone(str(error)) from error
            raise
        found = self._daemon.find(tag)
        if found is None or found.id not in (finished.image.image_id, sha256_id(given.manifest)):
            raise EngineDamaged(f"Docker loaded {found.id if found else 'nothing'} as {finished.image.image_id}")
        if found.diff_ids != finished.image.diff_ids:
            raise EngineDamaged(f"Docker loaded {finished.image.image_id} with other layers")
        return found

    def _remove_half_loaded(self, image_id: str) -> None:
        """The power went while it was loaded: what the daemon claims to have of it is not believed."""
        found = self._daemon.find(f"{KEPT}:{hex_of(image_id)[:_TAG_DIGITS]}")
        if found is not None:
            self._store.remove(found)

    def _push(self, registry: LocalRegistry, image_id: str, image: DaemonImage, reference: str) -> None:
        """Push under the tag of our own in the repository of ``reference``; the registry's engine moves names."""
        name, tag = f"{registry.pull_address}/{locate(reference).repository}", own_tag(image_id)
        self._daemon.tag(image.id, name, tag)
        with registry.no_collection():
            digest = self._daemon.push(name, tag)
        log.info("pushed image %s to %s as %s", image_id, name, digest)

    def _tag(self, image: DaemonImage, name: str, tag: str) -> None:
        former = self._daemon.find(f"{name}:{tag}")
        if former is not None and former.id != image.id and len(former.tags) == 1:
            self._daemon.tag(former.id, KEPT, hex_of(former.id)[:_TAG_DIGITS])  # it stays, though its name goes
        self._daemon.tag(image.id, name, tag)

    def _install(self, new_id: str) -> str:
        marker = LoadedImage(image_from_config(_MARKER), {}, f"docker.io/{INSTALLATION}:{new_id}")
        self._daemon.load(archive_of(marker, {}))
        self._flush()
        return new_id


def _friendly(tag: str) -> str:
    name = archive_name(tag)
    return "" if name is None or name.startswith(f"{OURS}/") else name


def _split(reference: str) -> tuple[str, str]:
    name = archive_name(reference)
    if name is None or name.startswith(f"{OURS}/") or "@" in name:
        raise RequestError(f"{reference!r} is no name:tag for an image here", code="request.image_name")
    path, _, tag = name.rpartition(":")
    return path, tag


def _unknown(image_id: str) -> RequestError:
    return RequestError(f"image {image_id} is not here", code="device.unknown_image")
