"""Bundles for any device, which people carry here: on a stick, by a file transfer of their own.

They belong to no transfer, so nothing is reported of them; the inventory shows the image. Having no number either, they
are under rules of their own: they bring an image, and never move a name that another image has or had.

Source: docs/formats/bundle.md, section 3.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from contracts.messages import DesiredProperties
from edge_module.admission import Rules, check_fit
from edge_module.apply import lost_sources, task_of
from edge_module.engines import Engine, PresentImage
from edge_module.intake import Intake
from edge_module.rebuilds import Rebuilds
from imagedelta.bundles import BundleHead, OpenedBundle
from imagedelta.errors import SourceMissing

log = logging.getLogger("imagedelta.carried")


class Carried:
    def __init__(
        self, rebuilds: Rebuilds, engine: Engine, intake: Intake, rules: Rules, changed: Callable[[], None]
    ) -> None:
        """Args:
        changed: Called when the images here are others than the last inventory said.
        """
        self._engine = engine
        self._rebuilds = rebuilds
        self._intake = intake
        self._rules = rules
        self._changed = changed

    def apply(
        self,
        path: str,
        head: BundleHead,
        open_bundle: Callable[[], OpenedBundle],
        desired: DesiredProperties,
        *,
        verify: bool,
    ) -> None:
        """Return when the image is here, whole.

        Args:
            path: The bundle's file.
            head: Sealed by a trusted key, for any device.
            open_bundle: Checks that the file is whole.

        Raises:
            ContentError: Refused as it is; SourceMissing among them.
            DependencyError: The disk is full or failing; the bundle is good.
        """
        check_fit(head, self._rules, desired)
        present = {image.image_id: image for image in self._engine.images()}
        if image := present.get(head.target_image_id):
            self._name(image, head)
        else:
            bundle = open_bundle()
            if verify:
                bundle.verify_patch_digest()
            self._name(self._rebuild(path, head, desired), head)
        log.info("image %s, carried here, is complete", head.target_image_id)
        self._changed()

    def _rebuild(self, path: str, head: BundleHead, desired: DesiredProperties) -> PresentImage:
        task = task_of(path, head, self._rules, desired)
        try:
            return self._rebuilds.rebuild(
                task, lambda: log.info("rebuilding image %s, carried here", head.target_image_id)
            )
        except SourceMissing as error:
            lost = lost_sources(self._engine, head)
            self._changed()
            raise SourceMissing(f"the bundle starts from {', '.join(lost)}, not here: {error}") from error

    def _name(self, image: PresentImage, head: BundleHead) -> None:
        name = self._name_for(head)
        if name and name not in image.references:
            self._engine.name_image(image.image_id, name)

    def _name_for(self, head: BundleHead) -> str:
        """The name, if it is free here and the cloud has given it to no other image."""
        for image in self._engine.images():
            if head.reference in image.references and image.image_id != head.target_image_id:
                log.info("%s stays at the image that has it", head.reference)
                return ""
        return self._intake.reference_for(head)
