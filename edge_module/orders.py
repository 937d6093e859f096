"""What a bundle asks for: an image for a transfer, of which the cloud hears, or an image that somebody carried here.

Both know what to do when the image is made, when its source is lost, when it waits and when it is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from edge_module.engines import PresentImage
from edge_module.intake import Intake
from edge_module.journal import Job
from edge_module.reporting import Reporter
from edge_module.verdict import DONE, Refused, Verdict, Wait, error_of
from imagedelta.bundles import BundleHead
from imagedelta.errors import ContentError, ImageDeltaError, SourceMissing

log = logging.getLogger("imagedelta.orders")


class Order(Protocol):
    @property
    def head(self) -> BundleHead: ...

    def begun(self) -> None:
        """Everything is found fit; the first byte of the image is about to be written."""

    def made(self, image: PresentImage) -> None:
        """The image is whole: name it and tell."""

    def source_lost(self, lost: Sequence[str], error: SourceMissing) -> Verdict: ...

    def waits(self, wait: Wait) -> None: ...

    def refused(self, error: ImageDeltaError) -> None: ...


class TransferOrder:
    """Everything is journaled and reported."""

    def __init__(self, job: Job, head: BundleHead, reporter: Reporter, intake: Intake) -> None:
        self.head = head
        self._job = job
        self._reporter = reporter
        self._intake = intake

    def begun(self) -> None:
        self._reporter.move(self._latest, "applying")

    def made(self, image: PresentImage) -> None:
        self._intake.finish(self._latest, self.head, self._intake.name(image, self.head))

    def source_lost(self, lost: Sequence[str], error: SourceMissing) -> Verdict:
        """The cloud plans anew: it is told which source is lost."""
        if not self.head.source_image_ids:
            return Refused(ContentError(f"a full bundle that needs a source: {error}"))
        self._intake.source_missing(self._latest, (*lost, *self.head.source_image_ids)[0], error)
        return DONE

    def waits(self, wait: Wait) -> None:
        self._reporter.fail(self._latest, error_of(wait), "blocked")

    def refused(self, error: ImageDeltaError) -> None:
        self._reporter.fail(self._latest, error)

    @property
    def _latest(self) -> Job:
        return self._reporter.latest(self._job)
