"""A Docker store, and maybe a local registry, as a place that keeps images: for the suite that all engines share."""

from __future__ import annotations

import json
from pathlib import Path

from edge_module.engines.docker import DockerEngine
from edge_module.engines.docker_daemon import Daemon
from edge_module.engines.docker_registry import LocalRegistry
from edge_module.engines.registry import RegistryEngine
from edge_module.engines.registry_client import RegistryClient
from edge_module.engines.registry_names import locate
from edge_module.files import DiskFiles
from imagedelta.archives import open_archive
from tests.e2e.parts.dockerd_process import DockerDaemon
from tests.e2e.parts.registry_process import RegistryProcess
from tests.engines.place import Pulled
from tests.images import BuiltImage, Pack, docker_save, plain


class CountingDaemon(Daemon):
    """Counts requests; all of them begin by asking for a client."""

    requests = 0

    def _request(self, *arguments, **more):
        type(self).requests += 1
        return super()._request(*arguments, **more)


class DockerPlace:
    """The Docker store alone: names are tags, nothing can be pulled by digest."""

    def __init__(self, dockerd: DockerDaemon, root: Path) -> None:
        self._dockerd = dockerd
        self._root = root
        remove_all(dockerd)

    def engine(self) -> DockerEngine:
        return DockerEngine(DiskFiles(self._root), CountingDaemon(self._dockerd.host), flush=lambda: None)

    def put(self, image: BuiltImage, pack: Pack = plain) -> None:
        self._dockerd.docker("load", stdin=docker_save(image, pack=pack))

    def damage(self, diff_id: str, data: bytes | None) -> None:
        """A layer that waits to be loaded is a file of ours; one that is loaded is a folder of the daemon's."""
        waiting = self._root / "docker/layers" / diff_id.removeprefix("sha256:")
        if not waiting.exists():
            damage_loaded(self._dockerd, diff_id)
        elif data is None:
            waiting.unlink()
        else:
            waiting.write_bytes(data)

    def remove_all(self) -> None:
        """Somebody empties the Docker store."""
        remove_all(self._dockerd)

    def pull(self, reference: str, digest: str | None) -> Pulled:
        assert digest is None
        return saved(self._dockerd, reference, self._root / "pulled.tar")

    def leftovers(self) -> list[str]:
        folders = ("docker/ingest", "docker/loading", "scratch")
        return [str(path) for folder in folders for path in (self._root / folder).glob("*")]

    def cost(self) -> int:
        return CountingDaemon.requests


class DockerAndRegistryPlace(DockerPlace):
    """With a local registry beside it: names and digests are the registry's."""

    def __init__(self, dockerd: DockerDaemon, registry: RegistryProcess, root: Path) -> None:
        super().__init__(dockerd, root)
        self._registry = registry
        self._clients: list[RegistryClient] = []

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def engine(self) -> DockerEngine:
        files = DiskFiles(self._root)
        client = RegistryClient(self._registry.url)
        self._clients.append(client)
        local = LocalRegistry(RegistryEngine(client, files), client, self._registry.address)
        return DockerEngine(files, CountingDaemon(self._dockerd.host), local, flush=lambda: None)

    def put(self, image: BuiltImage, pack: Pack = plain) -> None:
        """Pushed by another tool, and not in the Docker store."""
        super().put(image, pack)
        for reference in image.image.references:
            place = locate(reference)
            name = f"{self._registry.address}/{place.repository}:{place.tag}"
            self._dockerd.docker("tag", reference, name)
            self._dockerd.docker("push", "-q", name)
        remove_all(self._dockerd)

    def pull(self, reference: str, digest: str | None) -> Pulled:
        """By digest and with nothing in the Docker store, so that every byte comes from the registry."""
        assert digest is not None
        remove_all(self._dockerd)
        name = f"{self._registry.address}/{locate(reference).repository}@{digest}"
        self._dockerd.docker("pull", "-q", name)
        pulled = saved(self._dockerd, name, self._root / "pulled.tar")
        remove_all(self._dockerd)
        return pulled


def saved(dockerd: DockerDaemon, name: str, path: Path) -> Pulled:
    """An image as ``docker save`` gives it."""
    dockerd.docker("save", "-o", path, name)
    with open_archive(path) as archive:
        (image,) = archive.images
        layers = tuple(archive.open_layer(image, position).read() for position in range(len(image.diff_ids)))
    path.unlink()
    return Pulled(image.config, layers)


def remove_all(dockerd: DockerDaemon) -> None:
    """Every container and image, so that tests that share a daemon do not meet."""
    containers = dockerd.docker("ps", "-aq").split()
    if containers:
        dockerd.docker("rm", "-f", *containers)
    dockerd.docker("image", "prune", "--all", "--force")


def damage_loaded(dockerd: DockerDaemon, diff_id: str) -> int:
    """Empty all files of a layer in the store, as a power cut does that came too early; returns how many."""
    emptied = 0
    for described in (dockerd.data / "image/overlay2/layerdb/sha256").iterdir():
        if (described / "diff").read_text() == diff_id:
            folder = dockerd.data / "overlay2" / (described / "cache-id").read_text() / "diff"
            for path in folder.rglob("*"):
                if path.is_file() and not path.is_symlink():
                    path.write_bytes(b"")
                    emptied += 1
    assert emptied, f"no file of {diff_id} in the Docker store"
    return emptied


def inspected(dockerd: DockerDaemon, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(dockerd.docker("image", "inspect", name))[0]
    return found
