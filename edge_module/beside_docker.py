"""What a Docker socket is used for where the local registry keeps the images: adoption into it, last pulls out of it.

Both are done when nothing else is to do, never beside a rebuild, and fail without holding anything up. Without a socket
there is none of it: then modules name the local registry in their manifest, and whoever starts them pulls from there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from edge_module.adoption import Adoption
from edge_module.last_pull import LastPulls

ADOPT_EVERY_SECONDS = 3600.0
"""How soon an image is found that a person has loaded, or that somebody else has pulled."""
PULL_AGAIN_SECONDS = 300.0
log = logging.getLogger("imagedelta.docker")


@dataclass(frozen=True)
class DockerStore:
    """The store behind the socket."""

    adoption: Adoption
    pulls: LastPulls


class BesideDocker:
    def __init__(
        self,
        store: DockerStore,
        made: Callable[[], Sequence[str]],
        changed: Callable[[], None],
        monotonic: Callable[[], float],
    ) -> None:
        """Args:
        made: IDs of the images that bundles have brought, newest last.
        changed: Called when the local registry has images that the last inventory did not tell of.
        """
        self._store = store
        self._made = made
        self._changed = changed
        self._monotonic = monotonic
        self._next_adoption = 0.0
        self._adopting: Iterator[str | None] = iter(())
        self._next_pull = 0.0
        self._pulled: set[str] = set()

    def step(self) -> None:
        """One image at most, so that a bundle that arrives does not wait for all of them."""
        self._pull()
        if self._monotonic() >= self._next_adoption:
            self._next_adoption = self._monotonic() + ADOPT_EVERY_SECONDS
            self._adopting = self._store.adoption.adopt_all()
        if next(self._adopting, None) is not None:
            self._changed()

    def _pull(self) -> None:
        made = self._made()
        waiting = [image_id for image_id in made if image_id not in self._pulled]
        if not waiting or self._monotonic() < self._next_pull:
            return
        self._next_pull = self._monotonic() + PULL_AGAIN_SECONDS
        self._pulled |= self._store.pulls.pull(made)
        if self._pulled.issuperset(made):
            self._next_pull = 0.0
