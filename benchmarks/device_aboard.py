"""A device for a benchmark: its folder, a real registry and a real dockerd, and what their logs say."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from benchmarks.device_figures import Traffic, traffic
from benchmarks.device_images import NEW, OLD, Update
from edge_module.engines.registry import RegistryEngine
from edge_module.engines.registry_client import RegistryClient
from edge_module.engines.registry_names import locate
from edge_module.files import DiskFiles
from edge_module.loading import load_archive
from tests.e2e.parts.dockerd_process import DockerDaemon
from tests.e2e.parts.registry_process import RegistryProcess
from tests.images import docker_save, oci_archive

_LOGGED = {"REGISTRY_LOG_ACCESSLOG_DISABLED": "false"}


class Aboard:
    """Everything is under ``root``; close it to end registry and daemon."""

    def __init__(self, root: Path, registry_data: Path | None = None) -> None:
        """Args:
        registry_data: What the registry holds from the start; it is copied.
        """
        self.root = root
        self.module = root / "module"
        (self.module / "inbox").mkdir(parents=True)
        (root / "docker").mkdir()
        if registry_data is not None:
            shutil.copytree(registry_data, root / "registry/data")
        self.registry = RegistryProcess(root / "registry", more=_LOGGED)
        try:
            self.dockerd = DockerDaemon(root / "docker", ["--debug"])
        except BaseException:
            self.registry.stop()
            raise
        self._logs_read = {self.registry.log: 0, self.dockerd.log: 0}

    def __enter__(self) -> Aboard:
        try:
            self.dockerd.wait_until_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.dockerd.stop()
        self.registry.stop()

    @property
    def environment(self) -> dict[str, str]:
        """Of the module, without its engine; settings of whoever runs the benchmark are not taken over."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("IMAGEDELTA_")}
        return {
            **inherited,
            "DOCKER_HOST": self.dockerd.host,
            "IMAGEDELTA_ROOT": str(self.module),
            "IMAGEDELTA_REGISTRY": self.registry.address,
            "IMAGEDELTA_PLATFORM": "linux/amd64",
            "IMAGEDELTA_LOG_LEVEL": "WARNING",
            "IMAGEDELTA_RESERVE_BYTES": "0",
        }

    def name_here(self, reference: str) -> str:
        """By which the daemon finds an image in the registry."""
        place = locate(reference)
        return f"{self.registry.address}/{place.repository}:{place.tag}"

    def pull(self, reference: str) -> None:
        self.dockerd.docker("pull", "-q", self.name_here(reference))

    def push(self, reference: str, archive: Path) -> None:
        self.dockerd.docker("load", "-q", "-i", archive)
        self.dockerd.docker("tag", reference, self.name_here(reference))
        self.dockerd.docker("push", "-q", self.name_here(reference))

    def new_traffic(self) -> Traffic:
        """Since this was asked the last time."""
        return traffic(self._new_in(self.registry.log), self._new_in(self.dockerd.log))

    def _new_in(self, log: Path) -> bytes:
        with log.open("rb") as stream:
            stream.seek(self._logs_read[log])
            found = stream.read()
        self._logs_read[log] += len(found)
        return found


class Stock:
    """What registries hold before an update, as folders of their data."""

    def __init__(self, root: Path, update: Update, tell: Callable[[str], None]) -> None:
        self.packed = root / "packed"
        """The old image as docker push stores it: gzip."""
        self.both = root / "both"
        """Old and new, both packed."""
        self.unpacked = root / "unpacked"
        """The old image as this module's engines store what they have made."""
        self.archive = root / "old.tar"
        self.archive.write_bytes(oci_archive(update.old))
        tell("docker pushes the images")
        self._push(root, update)
        tell("the base is stored unpacked")
        self._store(root)

    def _push(self, root: Path, update: Update) -> None:
        with Aboard(root / "yard") as yard:
            for reference, image, kept in ((OLD, update.old, self.packed), (NEW, update.new, self.both)):
                archive = root / "saved.tar"
                archive.write_bytes(docker_save(image))
                yard.push(reference, archive)
                shutil.copytree(yard.registry.storage, kept)
        shutil.rmtree(root / "yard", ignore_errors=True)
        archive.unlink()

    def _store(self, root: Path) -> None:
        with RegistryProcess(root / "store") as registry, closing(RegistryClient(registry.url)) as client:
            (root / "store/module").mkdir()
            engine = RegistryEngine(client, DiskFiles(root / "store/module"))
            engine.clean()
            load_archive(self.archive, engine)
            shutil.copytree(registry.storage, self.unpacked)
        shutil.rmtree(root / "store")
