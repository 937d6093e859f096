"""The images of a Docker daemon by their image IDs, and passes over their archives.

With the classic store the daemon's own ID is the image ID. With containerd's it is the digest of a manifest or an
index, and only an archive tells the config, so each image is read once and then known. An image that the daemon cannot
give although it answers otherwise, or gives with other bytes than its digests say, is damaged: it is left out until the
module starts again.
"""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import replace

from edge_module.engines.base import LayersGone
from edge_module.engines.docker_archive import LayerKeeper, NoKeeper, SavedImage, read_saved
from edge_module.engines.docker_daemon import Daemon, DaemonImage, DaemonSays
from edge_module.engines.docker_files import DockerFiles
from imagedelta.limits import Limits

OURS = "imagedelta"
"""First part of the names that are the module's own."""
KEPT, INSTALLATION = f"{OURS}/kept", f"{OURS}/installation"
_DAMAGED = ""
log = logging.getLogger("imagedelta.docker")


class DaemonImages:
    def __init__(self, daemon: Daemon, files: DockerFiles, limits: Limits) -> None:
        self.daemon = daemon
        self._files = files
        self._limits = limits

    def listed(self) -> dict[str, DaemonImage]:
        """Every whole image by image ID. What was being loaded when the power went is not known to be whole."""
        known = self._files.known()
        containerd = self.daemon.facts().containerd
        seen: dict[str, str] = {}
        found: dict[str, DaemonImage] = {}
        for image in self.daemon.images():
            if any(tag.startswith(f"{INSTALLATION}:") for tag in image.tags):
                continue
            image_id = known.get(image.id)
            if image_id is None:
                image_id = self._identify(image) if containerd else image.id
            if containerd or image_id == _DAMAGED:
                seen[image.id] = image_id  # else it is what the daemon says
            if image_id != _DAMAGED and not self._files.is_loading(image_id):
                found[image_id] = _joined(found.get(image_id), image)
        self._files.remember(seen)
        return found

    def config(self, image_id: str, image: DaemonImage) -> bytes | None:
        """The config JSON; None when the daemon does not give it."""
        config = self._files.config(image_id)
        if config is None:
            config = self.read(image, NoKeeper()).config
        return config

    def read(self, image: DaemonImage, keeper: LayerKeeper) -> SavedImage:
        """One pass over the archive of an image: what is sound is in the answer, and with ``keeper``.

        Raises: LayersGone: the image is there no more.
        """
        saved = self._read(image, keeper)
        if saved is None:
            log.warning("Docker cannot give image %s: once more", image.id)
            saved = self._read(image, keeper) or SavedImage(None, {})
        if saved.config is not None:
            self._files.keep_config(saved.config)
        return saved

    def learn(self, image: DaemonImage, image_id: str) -> None:
        """An image of ours was loaded and found right."""
        self._files.remember({**self._files.known(), image.id: image_id})

    def forget_damage(self) -> None:
        """What the daemon could not give may have been a passing trouble: it is tried once more."""
        self._files.remember({own: image_id for own, image_id in self._files.known().items() if image_id != _DAMAGED})

    def forget(self, image: DaemonImage) -> bool:
        """Leave a damaged image out from now on, and remove it unless a container is made of it; whether it is gone."""
        log.error("image %s (%s) is damaged in the Docker store", image.id, " ".join(image.tags) or "no name")
        self._files.remember({**self._files.known(), image.id: _DAMAGED})
        return self.remove(image)

    def remove(self, image: DaemonImage) -> bool:
        """Remove an image with all its names, unless a container is made of it; whether it is gone."""
        if image.id in self.daemon.used_images():
            return False
        self.daemon.remove(image.id, force=True)
        return self.daemon.find(image.id) is None

    def _identify(self, image: DaemonImage) -> str:
        saved = self.read(image, NoKeeper())
        if saved.image_id is None or saved.lacks(image.diff_ids):
            log.error("image %s (%s) cannot be read from the Docker store", image.id, " ".join(image.tags))
            return _DAMAGED
        return saved.image_id

    def _read(self, image: DaemonImage, keeper: LayerKeeper) -> SavedImage | None:
        """None: the daemon says that it cannot."""
        try:
            with closing(self.daemon.save(image.id)) as pieces:
                return read_saved(pieces, image.diff_ids, keeper, self._limits)
        except DaemonSays as error:
            if error.code == "disk.full":
                raise
            if self.daemon.find(image.id) is None:
                raise LayersGone(f"image {image.id} is in the Docker store no more") from error
            log.warning("%s", error)
            return None


def _joined(known: DaemonImage | None, image: DaemonImage) -> DaemonImage:
    """containerd's store may have an image twice: under its manifest, and under an index that leads to it."""
    if known is None:
        return image
    return replace(known, tags=(*known.tags, *image.tags), digests=(*known.digests, *image.digests))
