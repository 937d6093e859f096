"""The last step where there is a Docker socket: what the local registry has, the Docker store gets under the same name.

Then a module starts without waiting for a pull. It is a comfort, not a condition: the image is reported as soon as the
registry has it, and whoever starts the module pulls it from there if this has not happened yet.

The names are those that a manifest uses: ``REGISTRY/path@sha256:…`` where it pins, ``REGISTRY/path:tag`` where not.

A daemon notes an image before the files of its layers are on the disk, and does not look again: after a power cut a
module would be started with empty files, and another pull would change nothing. So a mark of ours goes before each
pull, and an image that still has it is removed and pulled anew.
Source: moby/moby issue 49784.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence

from edge_module.engines.base import Engine, ImageName
from edge_module.engines.docker_files import DockerFiles
from edge_module.engines.docker_images import DaemonImages
from edge_module.engines.registry_names import locate
from imagedelta.errors import ImageDeltaError

log = logging.getLogger("imagedelta.last_pull")


class LastPulls:
    def __init__(
        self,
        store: DaemonImages,
        files: DockerFiles,
        engine: Engine,
        pull_address: str,
        flush: Callable[[], None] = os.sync,
    ) -> None:
        """Args:
        engine: Keeps images in the local registry.
        pull_address: ``HOST[:PORT]`` by which manifests name the registry, and the daemon knows it.
        flush: Returns when everything this machine has written is on its disks.
        """
        self._store = store
        self._files = files
        self._engine = engine
        self._pull_address = pull_address
        self._flush = flush

    def pull(self, image_ids: Sequence[str]) -> set[str]:
        """Of these images, newest last, pull those that are the newest of a repository: older ones are not started.

        Returns: IDs of the images that need no pull any more; one that fails does not stop the others.
        """
        names: dict[str, tuple[int, str, ImageName]] = {}
        order = {image_id: number for number, image_id in enumerate(image_ids)}
        for image in self._engine.images() if image_ids else ():
            for name in image.names if image.image_id in order else ():
                entry = order[image.image_id], image.image_id, name
                repository = locate(name.reference).repository
                names[repository] = max(names.get(repository, entry), entry, key=lambda each: each[0])
        failed = set()
        for _, image_id, name in names.values():
            try:
                self._pull(image_id, name)
            except ImageDeltaError as error:
                log.warning("image %s is not in the Docker store yet: %s", image_id, error)
                failed.add(image_id)
        return set(image_ids) - failed

    def _pull(self, image_id: str, wanted: ImageName) -> None:
        if wanted.digest is None:
            return
        place = locate(wanted.reference)
        name = f"{self._pull_address}/{place.repository}"
        found = self._store.daemon.find(f"{name}@{wanted.digest}")
        if found is not None and self._files.is_loading(image_id) and self._store.remove(found):
            found = None
        if found is None:
            self._files.mark_loading(image_id)
            self._store.daemon.pull(name, wanted.digest)
            self._flush()
            found = self._store.daemon.find(f"{name}@{wanted.digest}")
        if found is not None and f"{name}:{place.tag}" not in found.tags:
            self._store.daemon.tag(found.id, name, place.tag)
        self._files.unmark_loading(image_id)
