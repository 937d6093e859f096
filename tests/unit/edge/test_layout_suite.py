"""The engine ``layout`` does what every engine does, in memory and on a real disk."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from edge_module.engines.layout import LayoutEngine
from edge_module.files import DiskFiles, Files, parent
from imagedelta.archives import open_archive
from imagedelta.limits import MIB
from tests.engines.place import Place, Pulled
from tests.engines.suite import EngineSuite
from tests.images import BuiltImage, Pack, oci_files, plain
from tests.simulators.files import FileSystemSimulator


class LayoutPlace:
    """A folder behind the file port; ``counting`` adds what is read to what the simulator counts."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.reads = 0

    def engine(self) -> LayoutEngine:
        return LayoutEngine(self.files)

    def put(self, image: BuiltImage, pack: Pack = plain) -> None:
        self.engine().clean()  # makes the folder
        files = oci_files(image, pack=pack)
        entries = json.loads(self._read("images/index.json"))["manifests"]
        index = json.loads(files["index.json"])
        files["index.json"] = json.dumps({**index, "manifests": [*entries, *index["manifests"]]}).encode()
        for name, data in files.items():
            self._write(f"images/{name}", data)

    def damage(self, diff_id: str, data: bytes | None) -> None:
        name = f"images/blobs/sha256/{diff_id[7:]}"
        if data is None:
            self.files.remove(name)
        else:
            self._write(name, data)

    def leftovers(self) -> list[str]:
        found = [f"{folder}/{name}" for folder in ("scratch", "images/ingest") for name in self.files.list(folder)]
        blobs = [name for name in self.files.list("images/blobs/sha256") if len(name) != 64]
        return found + blobs + [name for name in self.files.list("images") if name.endswith(".tmp")]

    def _read(self, name: str) -> bytes:
        with self.files.open(name) as stream:
            return stream.read()

    def _write(self, name: str, data: bytes) -> None:
        self.files.make_folders(parent(name))
        writer = self.files.create(name)
        writer.write(data)
        writer.close()


def read_image(folder: Path, reference: str) -> Pulled:
    """By the readers that every other part of the project uses."""
    with open_archive(folder) as archive:
        (image,) = (each for each in archive.images if reference in each.references)
        layers = []
        for position in range(len(image.diff_ids)):
            with archive.open_layer(image, position) as layer:
                layers.append(b"".join(iter(lambda: layer.read(MIB), b"")))
        return Pulled(image.config, tuple(layers))


class DiskPlace(LayoutPlace):
    def __init__(self, root: Path) -> None:
        super().__init__(DiskFiles(root))
        self._root = root

    def pull(self, reference: str, digest: str | None) -> Pulled:
        assert digest is not None
        return read_image(self._root / "images", reference)

    def cost(self) -> int:
        return 0


class MemoryPlace(LayoutPlace):
    def __init__(self, copy_to: Path) -> None:
        self.disk = CountingFiles()
        super().__init__(self.disk)
        self._copy_to = copy_to
        self._copies = 0

    def pull(self, reference: str, digest: str | None) -> Pulled:
        assert digest is not None
        self._copies += 1
        for name, data in self.disk.files().items():
            path = self._copy_to / str(self._copies) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return read_image(self._copy_to / str(self._copies) / "images", reference)

    def cost(self) -> int:
        return self.disk.operations + self.disk.opened


class CountingFiles(FileSystemSimulator):
    """Counts files that are opened beside operations that change something."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = 0

    def open(self, name: str) -> io.BufferedIOBase:
        self.opened += 1
        return super().open(name)


class TestLayoutInMemory(EngineSuite):
    MANY = 200
    COST_PER_IMAGE = 12
    """Two small files, the manifest and the config, each time that images are listed."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        return MemoryPlace(tmp_path)


class TestLayoutOnDisk(EngineSuite):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        return DiskPlace(tmp_path)
