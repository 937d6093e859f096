"""The one door for bundles, whichever way they came: answer from memory, refuse, or open a job.

A head is judged as soon as it has arrived, so that nothing is downloaded in vain.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace

from contracts.messages import DesiredProperties
from edge_module.admission import Rules, check_head
from edge_module.engines import Engine, PresentImage
from edge_module.journal import Job, Journal
from edge_module.logs import facts
from edge_module.reporting import Reporter, is_reportable
from edge_module.verdict import DONE, Done, Refused, Wait, verdict_of
from imagedelta.bundles import BundleHead, PublicKey, parse_head, zip_layout
from imagedelta.errors import ContentError, ImageDeltaError, SealError, SourceMissing
from imagedelta.names import name_or_none

MAX_REFUSALS = 8
_LOOKED_AT = Wait("image.looked_at", "the image is listed here already: its bytes are held against their digests first")
log = logging.getLogger("imagedelta.intake")


class Intake:
    """Shared by the parts that fetch and apply. Only the one that applies changes images: the others ask it to."""

    def __init__(
        self,
        journal: Journal,
        reporter: Reporter,
        engine: Engine,
        rules: Rules,
        trusted: Mapping[str, PublicKey],
        changed: Callable[[], None],
    ) -> None:
        """Args:
        changed: Called when the cloud's picture of the images here turned out wrong or old.
        """
        self._journal = journal
        self._reporter = reporter
        self._engine = engine
        self._rules = rules
        self._trusted = trusted
        self._changed = changed
        self._lock = threading.Lock()
        self._refusals: deque[dict[str, str]] = deque(maxlen=MAX_REFUSALS)
        self._asked: dict[str, tuple[Job, BundleHead]] = {}

    @property
    def refusals(self) -> list[dict[str, str]]:
        """The last bundles refused without a transfer to report on, for the reported properties."""
        with self._lock:
            return list(self._refusals)

    def note_refusal(self, name: str, error: ImageDeltaError) -> None:
        log.error("bundle refused: %s", error, extra=facts(bundle=name[:120], code=error.code))
        with self._lock:
            self._refusals.append({"bundle": name[:120], "code": error.code})

    def trusts(self, prefix: bytes) -> bool:
        """Whether the head is whole and sealed by a trusted key; nothing is reported."""
        try:
            parse_head(prefix, self._trusted)
        except ContentError:
            return False
        return True

    def read_head(self, prefix: bytes, etag: str = "") -> tuple[BundleHead, int] | Wait | Refused:
        """Head and patch offset from a bundle's first 64 KiB.

        Waits while these bytes are no whole head: they may still be on their way. A head that is whole but not
        sealed by a trusted key, or that says nothing that this device knows, is refused, and that is told.
        """
        try:
            zip_layout.read_head(prefix)
        except ContentError as error:
            return verdict_of(error, "bytes")
        try:
            return parse_head(prefix, self._trusted)
        except SealError as error:
            self._refuse_unsealed(prefix, etag, error)
            return Refused(error)
        except ContentError as error:
            self.note_refusal("sealed for a newer version, or against the rules", error)
            return verdict_of(error, "sealed")

    def before_fetching(self, head: BundleHead, desired: DesiredProperties, etag: str) -> Job | Done | Wait | Refused:
        """The job to go on with, or a verdict, which is told.

        Waits while the image is held against its digests, because it is listed here already.
        """
        job = self._admit(head, desired, etag)
        if not isinstance(job, Job):
            return job
        present = self._present()
        if head.target_image_id in present:
            with self._lock:
                self._asked[job.key] = (job, head)
            return _LOOKED_AT
        return self._with_sources(job, head, present)

    def before_applying(self, head: BundleHead, desired: DesiredProperties, *, again: bool) -> Job | Done | Refused:
        """The job to go on with, or a verdict, which is told.

        Args:
            again: It was delivered anew, so a finished attempt is reported again.
        """
        job = self._admit(head, desired, again=again)
        if not isinstance(job, Job):
            return job
        if self._finish_with_present(job, head):
            return DONE
        return self._with_sources(job, head, self._present())

    def answer_asked(self) -> None:
        """Look at the images that the part that fetches has found listed.

        Raises: DependencyError: it asks again.
        """
        while self._asked:
            with self._lock:
                job, head = self._asked.pop(next(iter(self._asked)))
            self._finish_with_present(job, head)

    def finish(self, job: Job, head: BundleHead, image: PresentImage) -> Job:
        """The image is whole and named: the journal and the cloud learn it."""
        job = self._reporter.move(job, "succeeded", local_digest=image.digest_of(head.reference))
        self._changed()
        return job

    def name(self, image: PresentImage, head: BundleHead) -> PresentImage:
        """Give the image the name that the bundle brings, unless a newer bundle has given that to another one."""
        reference = self.reference_for(head)
        if reference and reference not in image.references:
            return self._engine.name_image(image.image_id, reference)
        return image

    def source_missing(self, job: Job, image_id: str, error: SourceMissing) -> None:
        """The cloud plans anew with the next source, after an inventory that shows what is here."""
        self._reporter.fail(job, error, "source_missing", missing_source=image_id)
        self._changed()

    def reference_for(self, head: BundleHead) -> str:
        """The name the bundle may give its image; "" when a newer bundle gave that name to another one.

        Remembered before the name is moved, so that an older bundle never moves it back.
        """
        name = name_or_none(head.reference)
        if name is None:
            return ""
        if self._journal.claim_reference(str(name), head.number, head.target_image_id):
            return str(name)
        log.info("%s stays at the image of a newer bundle", name)
        return ""

    def whole_image(self, image_id: str) -> PresentImage | None:
        """The image if it is here, its bytes held against their digests. Damaged layers are forgotten, and told."""
        image = self._present().get(image_id)
        if image is None:
            return None
        if self._engine.drop_damaged(image.diff_ids):
            self._changed()
            return None
        return image

    # Inside.

    def _present(self) -> dict[str, PresentImage]:
        return {image.image_id: image for image in self._engine.images()}

    def _finish_with_present(self, job: Job, head: BundleHead) -> bool:
        image = self.whole_image(head.target_image_id)
        if image is None:
            return False
        self.finish(self._reporter.latest(job), head, self.name(image, head))
        return True

    def _with_sources(self, job: Job, head: BundleHead, present: Mapping[str, PresentImage]) -> Job | Done:
        for source in head.source_image_ids:
            if source not in present:
                self.source_missing(job, source, SourceMissing(f"source image {source} is not on this device"))
                return DONE
        return job

    def _admit(
        self, head: BundleHead, desired: DesiredProperties, etag: str = "", *, again: bool = False
    ) -> Job | Done | Refused:
        known = self._journal.find(head.transfer_id, head.attempt)
        if known is not None and known.done:
            if again and known.announced:
                self._reporter.announce(known)
            failed = known.state == "failed"
            return Refused(ContentError(known.detail or "refused before", code=known.code)) if failed else DONE
        job = self._job_for(head, known, etag)
        try:
            check_head(head, self._rules, self._journal, desired)
        except ContentError as error:
            self._refuse(job, head, error)
            return Refused(error)
        self._journal.see_number(head.number, head.floor)
        return job

    def _job_for(self, head: BundleHead, known: Job | None, etag: str) -> Job:
        if known is not None and known.sealed:
            return known
        return Job(
            transfer_id=head.transfer_id,
            attempt=head.attempt,
            image_id=head.target_image_id,
            bundle_id=head.bundle_id,
            number=head.number,
            state="receiving",
            sequence=known.sequence if known else 0,
            etag=etag,
        )

    def _refuse(self, job: Job, head: BundleHead, error: ContentError) -> None:
        if head.device_id != self._rules.device_id:
            self.note_refusal(head.bundle_id, error)  # no transfer of this device to report on
            return
        self._reporter.fail(job, error)

    def _refuse_unsealed(self, prefix: bytes, etag: str, error: SealError) -> None:
        """Reported, but not remembered as done: the head is nobody's word, the real bundle may still come."""
        try:
            head, _ = parse_head(prefix, None)
        except ContentError:
            self.note_refusal("unsealed, and against the rules", error)
            return
        known = self._journal.find(head.transfer_id, head.attempt)
        job = replace(self._job_for(head, known, etag), sealed=False, etag=etag)
        of_ours = head.device_id == self._rules.device_id
        if not of_ours or (known is not None and known.sealed) or not is_reportable(job):
            self.note_refusal(head.bundle_id or "for any device", error)
            return
        self._reporter.fail(job, error)
