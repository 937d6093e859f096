"""Bundles for any device, which people carry here: on a stick, by a file transfer of their own.

They belong to no transfer, so nothing is reported of them; the inventory shows the image. Having no number either, they
are under rules of their own: they bring an image, and never move a name that another image has or had.

Source: docs/formats/bundle.md, section 3.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from contracts.messages import DesiredProperties
from edge_module.admission import Rules, check_fit
from edge_module.engines import Engine, PresentImage
from edge_module.intake import Intake
from edge_module.logs import facts
from edge_module.verdict import DONE, Done, Refused, Verdict, Wait
from imagedelta.bundles import BundleHead
from imagedelta.errors import ContentError, ImageDeltaError, SourceMissing

log = logging.getLogger("imagedelta.carried")


class Carried:
    def __init__(self, engine: Engine, intake: Intake, rules: Rules, changed: Callable[[], None]) -> None:
        """Args:
        changed: Called when the images here are others than the last inventory said.
        """
        self._engine = engine
        self._intake = intake
        self._rules = rules
        self._changed = changed

    def admit(self, file: str, head: BundleHead, desired: DesiredProperties) -> CarriedOrder | Done | Refused:
        """The order to go on with; done when the image is here already, its bytes held against their digests.

        Args:
            file: Name to tell people.
            head: Sealed by a trusted key, for any device.
        """
        order = CarriedOrder(file, head, self)
        try:
            check_fit(head, self._rules, desired)
        except ContentError as error:
            order.refused(error)
            return Refused(error)
        image = self._intake.whole_image(head.target_image_id)
        if image is None:
            return order
        order.made(image)
        return DONE

    def made(self, image: PresentImage, head: BundleHead) -> None:
        name = self._name_for(head)
        if name and name not in image.references:
            self._engine.name_image(image.image_id, name)
        log.info("an image carried here is complete", extra=facts(image=head.target_image_id, name=name or None))
        self._changed()

    def source_lost(self) -> None:
        self._changed()

    def refused(self, file: str, error: ImageDeltaError) -> None:
        self._intake.note_refusal(file, error)

    def _name_for(self, head: BundleHead) -> str:
        """The name, if it is free here and the cloud has given it to no other image."""
        for image in self._engine.images():
            if head.reference in image.references and image.image_id != head.target_image_id:
                log.info("%s stays at the image that has it", head.reference)
                return ""
        return self._intake.reference_for(head)


class CarriedOrder:
    """Nobody waits for a report; what is refused is told by its file."""

    def __init__(self, file: str, head: BundleHead, carried: Carried) -> None:
        self.head = head
        self._file = file
        self._carried = carried

    def begun(self) -> None:
        log.info("rebuilding image %s, carried here", self.head.target_image_id)

    def made(self, image: PresentImage) -> None:
        self._carried.made(image, self.head)

    def source_lost(self, lost: Sequence[str], error: SourceMissing) -> Verdict:
        self._carried.source_lost()
        starts = ", ".join(lost or self.head.source_image_ids)
        return Refused(SourceMissing(f"the bundle starts from {starts}, not here: {error}"))

    def waits(self, wait: Wait) -> None:
        """The reported properties say so."""

    def refused(self, error: ImageDeltaError) -> None:
        self._carried.refused(self._file, error)
