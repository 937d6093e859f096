"""A reconstruction on the engine ``docker`` as a process of its own, which may kill itself or its daemon on the way.

``python -m tests.e2e.device.docker_rebuild TASK.json``; exit code 0 done, 3 something did not answer.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from edge_module.engines.docker import DockerEngine
from edge_module.engines.docker_daemon import Daemon, Patience
from edge_module.engines.docker_registry import LocalRegistry
from edge_module.engines.registry import RegistryEngine
from edge_module.engines.registry_client import RegistryClient
from edge_module.files import DiskFiles
from imagedelta.delta.decode.apply import apply_patch
from imagedelta.delta.format.header import read_patch_header
from imagedelta.delta.format.source_images import name_layers
from imagedelta.errors import DependencyError


class FatalDaemon(Daemon):
    """Counts what passes between module and daemon; at the given count somebody is killed."""

    def __init__(self, address: str, patience: Patience, kill_at: int, victim: int) -> None:
        super().__init__(address, patience)
        self.events = 0
        self._kill_at = kill_at
        self._victim = victim

    def event(self) -> None:
        self.events += 1
        if self.events == self._kill_at:
            os.kill(self._victim or os.getpid(), signal.SIGKILL)

    @contextmanager
    def _request(self, *arguments: Any, **more: Any) -> Iterator[Any]:
        self.event()
        with super()._request(*arguments, **more) as response:
            self.event()
            yield response

    def load(self, archive: Iterator[bytes]) -> None:
        super().load(self._counted(archive))

    def save(self, name: str) -> Iterator[bytes]:
        yield from self._counted(super().save(name))

    def _counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for number, piece in enumerate(pieces):
            if number % 16 == 0:
                self.event()
            yield piece


@contextmanager
def engine_of(task: dict[str, Any], daemon: Daemon) -> Iterator[DockerEngine]:
    files = DiskFiles(Path(task["root"]))
    with closing(RegistryClient(task["registry"])) as client:
        address = task["registry"].removeprefix("http://")
        registry = LocalRegistry(RegistryEngine(client, files), client, address)
        yield DockerEngine(files, daemon, registry, flush=lambda: None)


def rebuild(engine: DockerEngine, patch_file: Path, reference: str) -> None:
    engine.clean()
    with patch_file.open("rb") as patch:
        header = read_patch_header(patch)
        target = header.target_image_id
        if all(image.image_id != target for image in engine.images()):
            with engine.begin(target, "", {}, header.source_image_ids) as work:
                names = name_layers(header, work.config)
            sizes = {diff_id: layer.size for diff_id, layer in zip(names.target, header.layers, strict=True)}
            patch.seek(0)
            with engine.begin(target, reference, sizes, header.source_image_ids) as work:
                for diff_id in names.sources:
                    work.find(diff_id)
                made = apply_patch(patch, work.find, work.config, work)
                work.finish(made.config)
    engine.name_image(target, reference)


def peak_bytes() -> int:
    """Resident memory at the highest since this program began; what ``wait4`` tells counts its parent's as well."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def main() -> int:
    task = json.loads(Path(sys.argv[1]).read_text())
    patience = Patience(ask=20, silence=60, work=300)
    daemon = FatalDaemon(task["daemon"], patience, task.get("kill_at", 0), task.get("victim", 0))
    try:
        with engine_of(task, daemon) as engine:
            rebuild(engine, Path(task["patch"]), task["reference"])
    except DependencyError as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        return 3
    finally:
        sys.stdout.write(f"{daemon.events} {peak_bytes()}\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
