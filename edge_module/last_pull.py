"""The last step where there is a Docker socket: what the local registry has, the Docker store gets under the same name.

Then a module starts without waiting for a pull. It is a comfort, not a condition: the image is reported as soon as the
registry has it, and whoever starts the module pulls it from there if this has not happened yet.

The names are those that a manifest uses: ``REGISTRY/path@sha256:…`` where it pins, ``REGISTRY/path:tag`` where not.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from edge_module.engines.base import Engine
from edge_module.engines.docker_daemon import Daemon
from edge_module.engines.registry_names import locate
from imagedelta.errors import ImageDeltaError

log = logging.getLogger("imagedelta.last_pull")


class LastPulls:
    def __init__(self, daemon: Daemon, engine: Engine, pull_address: str) -> None:
        """Args:
        engine: Keeps images in the local registry.
        pull_address: ``HOST[:PORT]`` by which manifests name the registry, and the daemon knows it.
        """
        self._daemon = daemon
        self._engine = engine
        self._pull_address = pull_address

    def pull(self, image_ids: Iterable[str]) -> list[str]:
        """Pull these images under all their names; one that fails does not stop the others.

        Returns: IDs of the images that the Docker store has now.
        """
        wanted, pulled = set(image_ids), []
        for image in self._engine.images() if wanted else ():
            if image.image_id not in wanted:
                continue
            try:
                for name in image.names:
                    if name.digest is not None:
                        self._pull(name.reference, name.digest)
            except ImageDeltaError as error:
                log.warning("image %s is not in the Docker store yet: %s", image.image_id, error)
            else:
                pulled.append(image.image_id)
        return pulled

    def _pull(self, reference: str, digest: str) -> None:
        place = locate(reference)
        name = f"{self._pull_address}/{place.repository}"
        found = self._daemon.find(f"{name}@{digest}")
        if found is None:
            self._daemon.pull(name, digest)
            found = self._daemon.find(f"{name}@{digest}")
        if found is not None and f"{name}:{place.tag}" not in found.tags:
            self._daemon.tag(found.id, name, place.tag)
