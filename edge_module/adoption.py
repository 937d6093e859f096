"""Images that are only in the Docker store, taken into the local registry without a byte on the link.

They are read from the daemon and stored as the engine stores its own: layers uncompressed, so the digest of the
manifest follows from the image and is the same on every device. Pushed by the daemon, it would be packed and have
another.

An archive is read twice, because an upload begins with the digest that the daemon tells only by the bytes: once to
learn what comes in which order, once to store it. Nothing goes to the module's own disk.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping

from edge_module.engines.base import Engine, Work
from edge_module.engines.docker_archive import SavedImage
from edge_module.engines.docker_daemon import DaemonImage
from edge_module.engines.docker_images import OURS, DaemonImages
from edge_module.engines.registry_names import locate
from imagedelta.errors import DependencyError, ImageDeltaError, RequestError

log = logging.getLogger("imagedelta.adoption")


class Adoption:
    def __init__(self, store: DaemonImages, engine: Engine, pull_address: str, reserve_bytes: int) -> None:
        """Args:
        engine: Keeps images in the local registry.
        pull_address: ``HOST[:PORT]`` by which the daemon knows that registry: no part of a name.
        reserve_bytes: Disk that stays free.
        """
        self._store = store
        self._engine = engine
        self._pull_address = pull_address
        self._reserve_bytes = reserve_bytes
        self._begun = False

    def adopt_all(self) -> Iterator[str | None]:
        """Take every image that has a name and is not there yet, one with each item that is asked for.

        Yields: Its ID; None when it could not be taken, which does not stop the others.
        """
        if not self._begun:
            self._store.forget_damage()
            self._begun = True
        for image_id, image in self._waiting().items():
            try:
                self._adopt(image_id, image)
            except ImageDeltaError as error:
                log.warning("image %s (%s) is not adopted: %s", image_id, " ".join(image.tags), error)
                yield None
            else:
                yield image_id

    def _waiting(self) -> dict[str, DaemonImage]:
        known = {image.image_id for image in self._engine.images()}
        return {
            image_id: image
            for image_id, image in self._store.listed().items()
            if image_id not in known and self._names(image)
        }

    def _adopt(self, image_id: str, image: DaemonImage) -> None:
        order = _Order()
        learned = self._store.read(image, order)
        if learned.config is None or learned.image_id != image_id or learned.lacks(image.diff_ids):
            self._store.forget(image)
            raise DependencyError(f"image {image_id} is damaged in the Docker store", code="engine.damaged")
        self._check_room(image_id, learned.sizes)
        names = self._names(image)
        with self._engine.begin(image_id, names[0], learned.sizes, ()) as work:
            self._store.read(image, _Upload(work, order, learned))
            work.finish(learned.config)
        for name in self._free_of(names):
            self._engine.name_image(image_id, name)
        log.info("image %s (%s) is adopted", image_id, " ".join(names))

    def _check_room(self, image_id: str, sizes: Mapping[str, int]) -> None:
        for need in self._engine.needs(image_id, sizes, ()):
            if need.free is not None and need.free < need.bytes + self._reserve_bytes:
                raise DependencyError(f"{need.bytes} bytes needed, {need.free} are free", code="disk.full")

    def _free_of(self, names: list[str]) -> list[str]:
        """Names that another image has in the registry stay with it: only a bundle moves a name."""
        taken = {locate(name) for image in self._engine.images() for name in image.references}
        return [name for name in names if locate(name) not in taken]

    def _names(self, image: DaemonImage) -> list[str]:
        """Its names that the local registry can give it."""
        names = [tag.removeprefix(f"{self._pull_address}/") for tag in image.tags]
        return [name for name in names if not name.startswith(f"{OURS}/") and _can_be_given(name)]


class _Order:
    """A LayerKeeper that keeps nothing but what came in which order."""

    def __init__(self) -> None:
        self.digests: list[str] = []
        """diff_id, or "" for what is no layer of the image."""

    def begin(self) -> Callable[[bytes], object]:
        return len

    def end(self, digest: str, *, wanted: bool) -> None:
        self.digests.append(digest if wanted else "")

    def abort(self) -> None:
        self.digests.append("")


class _Upload:
    """A LayerKeeper that stores each layer as it comes, since it is known by now which one it will be."""

    def __init__(self, work: Work, order: _Order, learned: SavedImage) -> None:
        self._work = work
        self._expected: Iterator[str] = iter(order.digests)
        self._sizes = learned.sizes
        self._current = ""

    def begin(self) -> Callable[[bytes], object]:
        expected = next(self._expected, "")
        self._current = "" if not expected or self._work.has(expected) else expected
        return self._work.begin(self._current, self._sizes[self._current]).write if self._current else len

    def end(self, digest: str, *, wanted: bool) -> None:
        current, self._current = self._current, ""
        if current and digest != current:
            self._work.abort(current)
            raise DependencyError(f"Docker gave {digest} where it gave {current} before", code="engine.daemon")
        if current:
            self._work.commit(current)

    def abort(self) -> None:
        current, self._current = self._current, ""
        if current:
            self._work.abort(current)


def _can_be_given(name: str) -> bool:
    try:
        return bool(locate(name).tag)
    except RequestError:
        return False
