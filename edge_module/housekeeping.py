"""Keeping the disk tidy for years: what nobody needs any more goes, a little at a time, when there is nothing to do.

Scratch that a rebuild left behind when it was killed; chunk lists without their bundle; layers of work that was given
up; and, where the settings say so, images that the cloud no longer wants (edge_module.old_images). It is done by the
part that makes images, so never beside a rebuild. Not here: unfinished and refused files, which give way when room is
needed (edge_module.inbox, edge_module.refused).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from edge_module.engines import Engine
from edge_module.fetching import INBOX
from edge_module.files import Files, Stamp, remove_durably
from edge_module.inbox import SUFFIXES
from edge_module.journal import Journal
from edge_module.old_images import Facts, Grace, dispensable
from edge_module.scratch_file import SCRATCH
from edge_module.twin import DesiredState
from imagedelta.bundles import HEAD_BYTES, parse_head
from imagedelta.errors import ContentError

EVERY_SECONDS = 600.0
COLLECT_SECONDS = 86_400.0
"""Between two collections: some registries stand still for theirs."""
STRAY_SECONDS = 7 * 86_400.0
"""A chunk list that waits for its bundle has not changed for so long before it goes."""
_CHUNKS = ".chunks"
log = logging.getLogger("imagedelta.housekeeping")


@dataclass(frozen=True)
class Surroundings:
    """What the housekeeper asks the other parts."""

    on_the_way: Callable[[], set[str] | None]
    """Targets and sources of the bundles still to be fetched; None when they are not all known."""
    changed: Callable[[], None]
    """Called when images have gone, so that an inventory tells it."""
    monotonic: Callable[[], float]


class Housekeeper:
    def __init__(
        self,
        files: Files,
        engine: Engine,
        journal: Journal,
        desired: DesiredState,
        around: Surroundings,
        *,
        remove_images: bool,
    ) -> None:
        self._files = files
        self._engine = engine
        self._journal = journal
        self._desired = desired
        self._around = around
        self._remove_images = remove_images
        self._grace = Grace(around.monotonic)
        self._strays: dict[str, tuple[Stamp, float]] = {}
        self._heads: dict[tuple[str, Stamp], set[str] | None] = {}
        """What bundles of the inbox name, as long as nobody touches them."""
        self._next = self._next_collection = 0.0

    def step(self) -> None:
        """Look around if it is time. Only while no image is being made."""
        now = self._around.monotonic()
        if now < self._next:
            return
        self._next = now + EVERY_SECONDS
        self._sweep_scratch()
        self._remove_strays(now)
        on_the_way = self._around.on_the_way()
        if on_the_way == set() and not self._bundles() and now >= self._next_collection:
            self._collect()
            self._next_collection = now + COLLECT_SECONDS
        if self._remove_images:
            self._remove_old_images(self._needed(on_the_way))

    def _sweep_scratch(self) -> None:
        for name in self._files.list(SCRATCH):
            log.info("%s/%s is left of a rebuild that did not end, and goes", SCRATCH, name)
            self._files.remove(f"{SCRATCH}/{name}")

    def _remove_strays(self, now: float) -> None:
        names = set(self._files.list(INBOX))
        strays = {name for name in names if name.endswith(_CHUNKS) and name.removesuffix(_CHUNKS) not in names}
        seen: dict[str, tuple[Stamp, float]] = {}
        for name in strays:
            stamp = self._files.stamp(f"{INBOX}/{name}")
            if stamp is None:
                continue
            known = self._strays.get(name)
            seen[name] = known if known is not None and known[0] == stamp else (stamp, now)
            if now - seen[name][1] >= STRAY_SECONDS:
                log.info("%s/%s has waited for its bundle for a week, and goes", INBOX, name)
                remove_durably(self._files, f"{INBOX}/{name}")
        self._strays = seen

    def _collect(self) -> None:
        freed = self._engine.collect()
        if freed:
            log.info("%d bytes of layers that no image needs have gone", freed)

    def _remove_old_images(self, needed: set[str] | None) -> None:
        facts = Facts(self._engine.images(), self._journal.jobs(), self._keep(), needed)
        names = {image.image_id: image.references for image in facts.images}
        for image_id in self._grace.over(dispensable(facts), self._desired.fetches):
            log.warning("image %s %s is no longer wanted, and goes", image_id, " ".join(names[image_id]))
            self._around.changed()
            self._next_collection = 0.0  # what this leaves behind, should it fail halfway
            self._engine.remove_image(image_id)

    def _keep(self) -> frozenset[str]:
        """Empty, so that nothing goes, until the hub has answered in this run."""
        return frozenset(self._desired.current.keep_images) if self._desired.fetches else frozenset()

    def _bundles(self) -> dict[str, Stamp]:
        names = [name for name in self._files.list(INBOX) if name.endswith(SUFFIXES)]
        return {name: stamp for name in names if (stamp := self._files.stamp(f"{INBOX}/{name}")) is not None}

    def _needed(self, on_the_way: set[str] | None) -> set[str] | None:
        """Targets and sources of all bundles that are here or on their way; None when they are not all known."""
        known, bundles = self._heads, self._bundles().items()
        self._heads = {each: known[each] if each in known else self._images_of(each[0]) for each in bundles}
        needed = set(on_the_way or ())
        for images in self._heads.values():
            if images is None:
                return None
            needed |= images
        return None if on_the_way is None else needed

    def _images_of(self, name: str) -> set[str] | None:
        """Its seal does not count here: a bundle that nobody trusts only keeps more than it need."""
        try:
            with self._files.open(f"{INBOX}/{name}") as stream:
                head, _ = parse_head(stream.read(HEAD_BYTES), None)
        except (ContentError, FileNotFoundError):
            return None
        return {head.target_image_id, *head.source_image_ids}
