"""One image in the making for a Docker daemon: its sources come out of archives, its new layers go into one.

An archive is read at most once for each source, when its first byte is asked for; by then it is known which layers the
patch names, and only those are kept. Layers at the start of the image that another one has in the same places are not
made and not sent: the classic store has them already, and knows them by their chain. Their bytes are read once, too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from edge_module.engines.base import LayersGone, LayerWriter, PresentImage
from edge_module.engines.docker_archive import SavedImage
from edge_module.engines.docker_daemon import DaemonImage
from edge_module.engines.docker_files import DockerFiles, SavedLayers
from edge_module.engines.docker_images import DaemonImages
from edge_module.engines.port_reader import PortReader
from imagedelta.archives.model import Image, image_from_config
from imagedelta.delta.content import LayerReader
from imagedelta.errors import DigestMismatch, SourceMissing

log = logging.getLogger("imagedelta.docker")


@dataclass(frozen=True)
class DockerTask:
    """What a session is for."""

    target: str
    reference: str
    sizes: Mapping[str, int]
    sources: Sequence[str]
    containerd: bool
    here: Callable[[], Mapping[str, DaemonImage]]
    """The images of the Docker store by image ID."""
    source: Callable[[str], DaemonImage | None]
    """A source image in the daemon, which pulls it from the local registry when it is only there."""
    config: Callable[[str], bytes | None]
    finish: Callable[[Finished], PresentImage]


@dataclass(frozen=True)
class Finished:
    """An image whose layers are all at hand."""

    image: Image
    reference: str
    sizes: Mapping[str, int]
    layers: Mapping[str, LayerReader]
    """The layers to send."""
    damaged: Sequence[DaemonImage]
    """Images that share layers with it and turned out damaged."""


class DockerWork:
    def __init__(self, files: DockerFiles, store: DaemonImages, task: DockerTask) -> None:
        self._files = files
        self._store = store
        self._task = task
        self._configs: dict[str, Image | None] = {}
        self._saved = SavedLayers(files.files)
        self._passes: dict[str, SavedImage] = {}
        self._damaged: dict[str, DaemonImage] = {}
        self._sound: dict[str, bool] = {}
        self._made: dict[str, PortReader] = {}
        self._shared: Sequence[str] | None = None

    # What it starts from.

    def config(self, image_id: str) -> bytes:
        image = self._source(image_id)
        if image is None:
            raise KeyError(image_id)
        return image.config

    def find(self, diff_id: str) -> LayerReader:
        """Nothing is read before the reader is: until then it is only noted which layers are wanted."""
        if self._owner(diff_id) is None:
            raise KeyError(diff_id)
        self._saved.wanted.add(diff_id)
        return _LateReader(self, diff_id)

    def open_saved(self, diff_id: str) -> PortReader:
        """Raises: SourceMissing."""
        reader = self._saved.get(diff_id)
        if reader is None:
            self._saved.wanted.add(diff_id)
            self._pass(str(self._owner(diff_id)), again=True)
            reader = self._saved.get(diff_id)
        if reader is None:
            raise SourceMissing(f"source layer {diff_id} is damaged in the Docker store", code="source.different")
        return reader

    # What is made.

    def has(self, diff_id: str) -> bool:
        if diff_id not in self._sound:
            self._sound[diff_id] = self._is_made(diff_id) or self._is_shared(diff_id)
        return self._sound[diff_id]

    def begin(self, diff_id: str, size: int) -> LayerWriter:
        return self._files.begin(diff_id)

    def commit(self, diff_id: str) -> None:
        self._files.commit(diff_id)
        self._sound[diff_id] = True

    def abort(self, diff_id: str) -> None:
        self._files.abort(diff_id)

    def finish(self, config: bytes) -> PresentImage:
        image = image_from_config(config)
        if image.image_id != self._task.target:
            raise DigestMismatch(f"the config of image {image.image_id} came out where {self._task.target} was to be")
        start = () if self._task.containerd else self._start()
        sent = image.diff_ids if start != image.diff_ids[: len(start)] else image.diff_ids[len(start) :]
        layers = {diff_id: self._at_hand(diff_id) for diff_id in dict.fromkeys(sent)}
        sizes = {**self._task.sizes, **{diff_id: reader.size for diff_id, reader in layers.items()}}
        shared = [each for each in self._damaged.values() if set(each.diff_ids) & set(image.diff_ids)]
        return self._task.finish(Finished(image, self._task.reference, sizes, layers, shared))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._made:
            self._made.popitem()[1].close()
        if error is None or isinstance(error, Exception):  # else the process ends, and leaves this to the next start
            self._files.abort_all()
            self._saved.close()

    # Inside.

    def _source(self, image_id: str) -> Image | None:
        if image_id not in self._configs:
            config = self._task.config(image_id) if image_id in self._task.sources else None
            self._configs[image_id] = None if config is None else image_from_config(config)
        return self._configs[image_id]

    def _owner(self, diff_id: str) -> str | None:
        """The source image to read a layer from."""
        for image_id in self._task.sources:
            image = self._source(image_id)
            if image is not None and diff_id in image.diff_ids:
                return image_id
        return None

    def _pass(self, image_id: str, *, again: bool = False) -> SavedImage:
        """Read the archive of a source; once, unless a layer is wanted that was not kept."""
        if image_id not in self._passes or again:
            if self._task.containerd:
                self._saved.wanted |= set(self._task.sizes)
            image = self._task.source(image_id)
            if image is None:
                raise SourceMissing(f"source image {image_id} is not in the Docker store")
            self._passes[image_id] = saved = self._store.read(image, self._saved)
            if saved.lacks(image.diff_ids):
                self._damaged[image_id] = image
        return self._passes[image_id]

    def _is_made(self, diff_id: str) -> bool:
        size = self._files.size(diff_id)
        if size is None:
            return False
        return size == self._task.sizes.get(diff_id, size) and self._files.is_sound(diff_id)

    def _is_shared(self, diff_id: str) -> bool:
        if not self._task.containerd:
            return diff_id in self._start()
        owner = self._owner(diff_id)
        return owner is not None and diff_id in self._pass(owner).sizes

    def _start(self) -> Sequence[str]:
        """Layers at the start of the target that a sound image has in the same places."""
        if self._shared is None:
            target, here = tuple(self._task.sizes), self._task.here()
            starts = {image_id: same_start(target, image.diff_ids) for image_id, image in here.items()}
            best_first = sorted(starts, key=lambda each: (-len(starts[each]), each not in self._task.sources, each))
            sound = (starts[each] for each in best_first if starts[each] and not self._pass(each).lacks(starts[each]))
            self._shared = next(sound, ())
        return self._shared

    def _at_hand(self, diff_id: str) -> PortReader:
        """A layer to send: made, or of a source where the image has it again, out of its place."""
        if diff_id not in self._made and self._files.size(diff_id) is not None:
            self._made[diff_id] = PortReader(self._files.files, self._files.path_of(diff_id))
        if diff_id in self._made:
            return self._made[diff_id]
        if self._owner(diff_id) is None:
            raise LayersGone(f"layer {diff_id} is here no more")
        return self.open_saved(diff_id)


class _LateReader:
    """A source layer whose archive is read when the first byte is asked for."""

    def __init__(self, work: DockerWork, diff_id: str) -> None:
        self._work = work
        self._diff_id = diff_id

    @property
    def size(self) -> int:
        return self._work.open_saved(self._diff_id).size

    def read_at(self, offset: int, length: int) -> bytes:
        return self._work.open_saved(self._diff_id).read_at(offset, length)


def same_start(target: Sequence[str], other: Sequence[str]) -> Sequence[str]:
    """The layers that both begin with."""
    length = 0
    while length < min(len(target), len(other)) and target[length] == other[length]:
        length += 1
    return target[:length]
