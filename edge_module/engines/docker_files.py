"""What the engine ``docker`` keeps in the module's folder: layers on their way to the daemon, what it knows of images.

A daemon gives no config and no single layer, only whole archives. So configs are kept here once they are seen, which is
checked by their digest, and a layer that is made waits here, durable, until its image is loaded. All of it may be lost:
then an archive is read once more, or a layer made once more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from contextlib import suppress

from edge_module.damage import read_own
from edge_module.engines.base import LayerWriter
from edge_module.engines.port_reader import PortReader
from edge_module.files import Files, FileWriter, move_durably, read_bounded, remove_durably, write_atomically
from edge_module.scratch_file import SCRATCH
from imagedelta.archives.model import hex_of, sha256_id
from imagedelta.limits import DEFAULT_LIMITS, MIB

FOLDER = "docker"
_CONFIGS, _LAYERS, _INGEST, _LOADING = (f"{FOLDER}/{name}" for name in ("configs", "layers", "ingest", "loading"))
_KNOWN = f"{FOLDER}/known.json"
_MOST_KNOWN = MIB
_SAVED = f"{SCRATCH}/saved-"


class DockerFiles:
    def __init__(self, files: Files) -> None:
        self._files = files
        self._writers: dict[str, FileWriter] = {}
        for folder in (FOLDER, _CONFIGS, _LAYERS, _INGEST, _LOADING, SCRATCH):
            files.make_folders(folder)

    @property
    def files(self) -> Files:
        return self._files

    # Configs.

    def config(self, image_id: str) -> bytes | None:
        data = read_bounded(self._files, f"{_CONFIGS}/{hex_of(image_id)}", DEFAULT_LIMITS.max_config_bytes)
        return data if data is not None and sha256_id(data) == image_id else None

    def keep_config(self, config: bytes) -> None:
        if self.config(sha256_id(config)) is None:
            write_atomically(self._files, f"{_CONFIGS}/{hex_of(sha256_id(config))}", config)

    def keep_only(self, image_ids: Iterable[str]) -> None:
        """Forget the configs of images that are gone."""
        wanted = set(map(hex_of, image_ids))
        for name in self._files.list(_CONFIGS):
            if name not in wanted:
                self._files.remove(f"{_CONFIGS}/{name}")

    # Layers that were made.

    def size(self, diff_id: str) -> int | None:
        return self._files.size(_layer(diff_id))

    def is_sound(self, diff_id: str) -> bool:
        """Read a layer that is here; one with other bytes is dropped."""
        digest = hashlib.sha256()
        with self._files.open(_layer(diff_id)) as stream:
            while piece := stream.read(MIB):
                digest.update(piece)
        if "sha256:" + digest.hexdigest() == diff_id:
            return True
        self._files.remove(_layer(diff_id))
        return False

    def begin(self, diff_id: str) -> LayerWriter:
        writer = self._files.create(_ingest(diff_id))
        self._writers[diff_id] = writer
        return writer

    def commit(self, diff_id: str) -> None:
        writer = self._writers.pop(diff_id)
        try:
            writer.sync()
        finally:
            writer.close()
        move_durably(self._files, _ingest(diff_id), _layer(diff_id))

    def abort(self, diff_id: str) -> None:
        writer = self._writers.pop(diff_id, None)
        if writer is not None:
            writer.close()
        self._files.remove(_ingest(diff_id))

    def abort_all(self) -> None:
        for diff_id in list(self._writers):
            self.abort(diff_id)

    def path_of(self, diff_id: str) -> str:
        return _layer(diff_id)

    def layers(self) -> list[str]:
        """diff_ids of the layers that were made and are not loaded yet."""
        return [f"sha256:{name}" for name in self._files.list(_LAYERS) if not name.endswith(".tmp")]

    def drop_layers(self, diff_ids: Iterable[str]) -> int:
        """Remove these of the made layers; returns their bytes."""
        freed = 0
        for diff_id in sorted(set(diff_ids) & set(self.layers())):
            freed += self._files.size(_layer(diff_id)) or 0
            self._files.remove(_layer(diff_id))
        if freed:
            self._files.sync_folder(_LAYERS)
        return freed

    def clean(self) -> None:
        for folder in (FOLDER, _CONFIGS, _LAYERS, _INGEST, _LOADING):
            for name in self._files.list(folder):
                if folder == _INGEST or name.endswith(".tmp"):
                    self._files.remove(f"{folder}/{name}")
        for name in self._files.list(SCRATCH):
            if f"{SCRATCH}/{name}".startswith(_SAVED):
                self._files.remove(f"{SCRATCH}/{name}")

    # Marks of images that are being loaded: a daemon notes an image durably before its files are on the disk.

    def mark_loading(self, image_id: str) -> None:
        write_atomically(self._files, _mark(image_id), b"")

    def is_loading(self, image_id: str) -> bool:
        return self._files.size(_mark(image_id)) is not None

    def loading(self) -> list[str]:
        """IDs of the images that are marked."""
        return [f"sha256:{name}" for name in self._files.list(_LOADING) if not name.endswith(".tmp")]

    def unmark_loading(self, image_id: str) -> None:
        remove_durably(self._files, _mark(image_id))

    # What was found out about images of the daemon, by the daemon's own IDs.

    def known(self) -> dict[str, str]:
        """Daemon's ID -> image ID; "" for an image that was found damaged."""
        with suppress(ValueError, RecursionError):
            found = json.loads(read_own(self._files, _KNOWN, _MOST_KNOWN) or b"{}")
            if isinstance(found, dict):
                return {key: value for key, value in found.items() if isinstance(value, str)}
        return {}

    def remember(self, known: dict[str, str]) -> None:
        if known != self.known():
            write_atomically(self._files, _KNOWN, json.dumps(known, sort_keys=True).encode())


class SavedLayers:
    """Source layers of a session, as archives bring them; worth nothing after it, so never synced. A LayerKeeper."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._readers: dict[str, PortReader] = {}
        self._writer: FileWriter | None = None
        self.wanted: set[str] = set()
        """Of what comes by, these are kept."""

    def get(self, diff_id: str) -> PortReader | None:
        return self._readers.get(diff_id)

    def begin(self) -> Callable[[bytes], object]:
        self._writer = self._files.create(f"{_SAVED}next")
        return self._writer.write

    def end(self, digest: str, *, wanted: bool) -> None:
        self._close()
        if not wanted or digest not in self.wanted or digest in self._readers:
            self._files.remove(f"{_SAVED}next")
            return
        name = f"{_SAVED}{hex_of(digest)}"
        self._files.rename(f"{_SAVED}next", name)
        self._readers[digest] = PortReader(self._files, name)

    def abort(self) -> None:
        self._close()
        self._files.remove(f"{_SAVED}next")

    def close(self) -> None:
        while self._readers:
            diff_id, reader = self._readers.popitem()
            reader.close()
            self._files.remove(f"{_SAVED}{hex_of(diff_id)}")

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _layer(diff_id: str) -> str:
    return f"{_LAYERS}/{hex_of(diff_id)}"


def _mark(image_id: str) -> str:
    return f"{_LOADING}/{hex_of(image_id)}"


def _ingest(diff_id: str) -> str:
    return f"{_INGEST}/{hex_of(diff_id)}"
