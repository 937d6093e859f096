"""The port behind which images are rebuilt: in this process, or in a child with low priority and a memory limit.

The parent judges the bundle first, and names the image afterwards; here its bytes only become an image.
Adapters: edge_module.rebuild (in this process: the child itself, and tests).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edge_module.engines import PresentImage
from imagedelta.bundles import BundleHead


@dataclass(frozen=True)
class RebuildTask:
    bundle: str
    """Name of the file behind the file port; the patch in it was held against its sealed digest."""
    head: BundleHead
    """As the seal vouches for it: the file has to begin with the same one."""
    reference: str
    """``name:tag`` that the image will get from the parent; "" for none. It says where its blobs live."""
    memory_bytes: int
    """The most the rebuild may take."""


class Rebuilds(Protocol):
    def rebuild(self, task: RebuildTask, begun: Callable[[], None]) -> PresentImage:
        """Return the image, whole and durable, not yet under its reference.

        Args:
            begun: Called once everything is found fit, before the first byte is written.

        Raises:
            SourceMissing: A layer the patch starts from is not here, or damaged.
            ContentError: The patch does not make the image that its head names.
            DependencyError: The disk is full or failing, the engine does not answer; ``rebuild.stopped`` after
                ``stop``, ``rebuild.died`` when the process that did it ended without a word.
        """

    def stop(self) -> None:
        """End a rebuild that runs, within seconds; what it has finished stays. May be called from any thread."""
