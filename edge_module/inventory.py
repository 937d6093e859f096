"""Everything the device has, whole, as one message: it heals whatever got lost on the way."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from contracts.messages import DesiredProperties, Inventory, LastResult, to_json
from contracts.messages import PresentImage as ListedImage
from edge_module.admission import Rules
from edge_module.engines import Engine, PresentImage
from edge_module.hub import Envelope
from edge_module.journal import Journal
from edge_module.outbox import Outbox
from edge_module.reporting import Reporter
from imagedelta.bundles import PublicKey
from imagedelta.delta.decode.opening import PROCESS_BYTES
from imagedelta.delta.deflate.self_test import deflate_is_zlib
from imagedelta.delta.format.mixing import native_is_there
from imagedelta.delta.format.profiles import PROFILES
from imagedelta.errors import LimitExceeded

MAX_RESULTS = 200
_MAX_REFERENCES = 64
log = logging.getLogger("imagedelta.inventory")


class Inventories:
    """When an inventory is due, and putting it into the outbox."""

    def __init__(
        self,
        journal: Journal,
        reporter: Reporter,
        engine: Engine,
        rules: Rules,
        trusted: Mapping[str, PublicKey],
        bundle_forms: Sequence[str],
        monotonic: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._reporter = reporter
        self._engine = engine
        self._rules = rules
        self._trusted = trusted
        self._bundle_forms = bundle_forms
        self._monotonic = monotonic
        self._changed = threading.Event()
        self._changed.set()
        self._next = 0.0

    def make_due(self) -> None:
        """The cloud's picture of the images here turned out wrong or old."""
        self._changed.set()

    def is_due(self, desired: DesiredProperties) -> bool:
        asked_for = desired.resync != self._journal.counters.resync
        return self._changed.is_set() or asked_for or self._monotonic() >= self._next

    def put_if_due(self, outbox: Outbox, desired: DesiredProperties) -> None:
        if not self.is_due(desired):
            return
        self._changed.clear()  # before it is made: what changes meanwhile makes the next one due
        try:
            outbox.put(self._make(desired))
        except BaseException:
            self._changed.set()
            raise
        self._next = self._monotonic() + desired.inventory_every_seconds
        if desired.resync != self._journal.counters.resync:
            self._journal.see_resync(desired.resync)

    def _make(self, desired: DesiredProperties) -> Envelope:
        memory_bytes = min(self._rules.memory_bytes, desired.memory_bytes)
        results = self._reporter.last_results(MAX_RESULTS)
        platforms = self._rules.platforms
        next_sequence = self._journal.next_inventory
        forms = self._bundle_forms
        return make_inventory(self._engine, next_sequence, platforms, memory_bytes, self._trusted, forms, results)


def readable_profiles(memory_bytes: int) -> list[str]:
    """Names of the patch profiles this device has the memory, the zlib and the native coder for, largest first."""
    fitting = [
        each
        for each in PROFILES.values()
        if each.decoder_bytes + PROCESS_BYTES <= memory_bytes
        and (deflate_is_zlib() or not each.folds)
        and (native_is_there() or not each.mixes)
    ]
    return [each.name for each in sorted(fitting, key=lambda each: (-each.decoder_bytes, each.name))]


def make_inventory(
    engine: Engine,
    next_sequence: Callable[[], int],
    platforms: Sequence[str],
    memory_bytes: int,
    key_ids: Iterable[str],
    bundle_forms: Sequence[str],
    results: Sequence[LastResult],
) -> Envelope:
    """The next inventory; its sequence is used up even if the message is never sent.

    Raises: LimitExceeded when the images alone do not fit one message (some 5,000 do).
    """
    images = [_listed(image) for image in engine.images()]
    installation_id = engine.installation_id()
    sequence = next_sequence()
    inventory = Inventory.model_validate(
        {
            "installationId": installation_id,
            "sequence": sequence,
            "platform": platforms[0],
            "alsoRuns": list(platforms[1:]) or None,
            "profiles": readable_profiles(memory_bytes),
            "trustedKeys": sorted(key_ids)[:32],
            "bundleForms": list(bundle_forms) or None,
            "freeDiskBytes": engine.free_bytes() or 0,
            "images": images,
            "results": list(results[-MAX_RESULTS:]),
        }
    )
    message_id = f"inventory:{installation_id}:{sequence}"
    return Envelope(message_id, "inventory", _to_wire(inventory), content_encoding="gzip")


def _to_wire(inventory: Inventory) -> bytes:
    """Under the message limit: old results are left out before anything else is."""
    while True:
        try:
            return inventory.to_wire()
        except LimitExceeded:
            if not inventory.results:
                raise
            keep = len(inventory.results) // 2
            newest = inventory.results[len(inventory.results) - keep :]
            log.warning("inventory of %d bytes: only %d results fit", len(to_json(inventory)), keep)
            inventory = inventory.model_copy(update={"results": newest})


def _listed(image: PresentImage) -> ListedImage:
    return ListedImage.model_validate(
        {
            "imageId": image.image_id,
            "references": [name for name in image.references if len(name) <= 256][:_MAX_REFERENCES],
            "localDigest": image.digest_of(""),
        }
    )
