"""The bundle of an order becomes an image, and whoever ordered it is told.

The image first (edge_module.rebuilds), then its name, then the journal, then the report in the outbox: whenever the
power goes, there is one result. Removing the bundle comes last and is the inbox's.
"""

from __future__ import annotations

from collections.abc import Callable

from contracts.messages import DesiredProperties
from edge_module.admission import Rules
from edge_module.engines import Engine
from edge_module.orders import Order
from edge_module.rebuilds import Rebuilds, RebuildTask
from edge_module.verdict import DONE, Verdict, Wait, verdict_of
from imagedelta.bundles import BundleHead
from imagedelta.errors import ContentError, SourceMissing


class Applier:
    def __init__(self, rebuilds: Rebuilds, engine: Engine, rules: Rules) -> None:
        self._rebuilds = rebuilds
        self._engine = engine
        self._rules = rules

    def apply(
        self,
        order: Order,
        path: str,
        desired: DesiredProperties,
        begun: Callable[[], None],
        prove: Callable[[], Wait | None],
    ) -> Verdict:
        """Rebuild and tell.

        Args:
            path: The bundle's file; its patch was held against its sealed digest.
            begun: Called when the first byte is about to be written.
            prove: Holds the patch against its digest once more: why it waits, None when it is still right.

        Raises: Whatever hinders this device.
        """
        memory_bytes = min(self._rules.memory_bytes, desired.memory_bytes)
        task = RebuildTask(path, order.head, order.head.reference, memory_bytes)
        try:
            image = self._rebuilds.rebuild(task, begun)
        except SourceMissing as error:
            return order.source_lost(lost_sources(self._engine, order.head), error)
        except ContentError as error:
            return prove() or verdict_of(error, "sealed")  # someone may have written to the file meanwhile
        order.made(image)
        return DONE


def lost_sources(engine: Engine, head: BundleHead) -> list[str]:
    """Which sources of ``head`` are not whole here; damaged layers are forgotten, so no inventory names them."""
    layers = {image.image_id: image.diff_ids for image in engine.images()}
    for source in head.source_image_ids:
        engine.drop_damaged(layers.get(source, ()))
    whole = {image.image_id for image in engine.images()}
    return [source for source in head.source_image_ids if source not in whole]
