"""The verdict on one file of the inbox: head, order, bytes, image; whatever goes wrong becomes a verdict here.

Bytes are judged by the seal and by sealed digests alone, never by the size or age of the file: a tool may preallocate
it, leave holes, write it in several streams and rest for days. So bytes that are not the sealed ones may still come.
One case cannot heal: every chunk is the sealed one and the patch is not, so the seal contradicts itself.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from contracts.messages import DesiredProperties
from edge_module.apply import Applier
from edge_module.backoff import Backoff
from edge_module.bundle_source import MAX_CHUNKS_BYTES
from edge_module.carried import Carried
from edge_module.files import Files, Stamp, read_bounded
from edge_module.intake import Intake
from edge_module.journal import Job
from edge_module.orders import Order, TransferOrder
from edge_module.reporting import Reporter
from edge_module.verdict import DONE, INCOMPLETE, Done, Refused, Verdict, Wait, verdict_of
from imagedelta.bundles import HEAD_BYTES, BundleHead, OpenedBundle, check_chunk_list, read_bundle
from imagedelta.errors import ContentError, DigestMismatch

log = logging.getLogger("imagedelta.judge")


@dataclass
class Case:
    """A file of the inbox, and what is known of it as long as it does not change."""

    path: str
    stamp: Stamp
    own: bool
    """Our own downloader has verified it, chunk by chunk, before it came here."""
    order: Order | None = None
    """What it asks for, once its sealed head has been read and found fit."""
    job: Job | None = None
    proven: bool = False
    """Its patch was held against the sealed digest."""
    answered: bool = False
    """Someone was told how it ended."""
    begun: bool = False
    """An image was begun before: that is told once, however often the disk fails afterwards."""


class Judge:
    def __init__(
        self, files: Files, intake: Intake, carried: Carried, applier: Applier, lost: LostDownloads, reporter: Reporter
    ) -> None:
        self._files = files
        self._intake = intake
        self._carried = carried
        self._applier = applier
        self._lost = lost
        self._reporter = reporter

    def judge(self, case: Case, desired: DesiredProperties) -> Verdict:
        """Raises nothing that an ``except Exception`` would catch."""
        try:
            with self._files.open(case.path) as stream:
                return self._judge(case, stream, desired)
        except Exception as error:
            verdict = verdict_of(error, "device")
            if isinstance(verdict, Wait) and verdict.code == "internal":
                log.exception("%s: failed in a way nobody foresaw", case.path)
            return verdict

    def is_whole(self, path: str) -> bool:
        """Whether the file begins and ends as a bundle: nobody writes on to it, except into holes."""
        try:
            with self._files.open(path) as stream:
                read_bundle(stream, None)
        except ContentError:
            return False
        return True

    def _judge(self, case: Case, stream: BinaryIO, desired: DesiredProperties) -> Verdict:
        found = self._intake.read_head(stream.read(HEAD_BYTES))
        if not isinstance(found, tuple):
            return found
        admitted = self._admit(case, found[0], desired)
        if isinstance(admitted, Done | Refused):
            return admitted
        case.order = admitted
        verdict = self._make(case, admitted, stream, desired)
        if isinstance(verdict, Refused):
            admitted.refused(verdict.error)
        return verdict

    def _make(self, case: Case, order: Order, stream: BinaryIO, desired: DesiredProperties) -> Verdict:
        lacking = None if case.proven else self._lacking(case, order, stream)
        if lacking is not None:
            return self._lost.found(case.job, lacking) if case.own and case.job else lacking
        case.proven = True
        return self._applier.apply(
            order, case.path, desired, lambda: _begin(case, order), lambda: self._changed_meanwhile(case, order)
        )

    def _admit(self, case: Case, head: BundleHead, desired: DesiredProperties) -> Order | Done | Refused:
        if head.is_for_any_device:
            return self._carried.admit(case.path.rpartition("/")[2], head, desired)
        job = self._intake.before_applying(head, desired, again=not (case.own or case.answered))
        if not isinstance(job, Job):
            return job
        case.job = job
        return TransferOrder(job, head, self._reporter, self._intake)

    def _lacking(self, case: Case, order: Order, stream: BinaryIO) -> Wait | Refused | None:
        """What the bytes lack to be the sealed ones; None: nothing."""
        try:
            bundle = read_bundle(stream, None)
            if bundle.head != order.head:
                raise ContentError("its head is another one than a moment ago")
            bundle.verify_patch_digest()
        except DigestMismatch as error:
            return self._against_chunks(case, bundle, error)
        except ContentError as error:
            return verdict_of(error, "bytes")
        return None

    def _against_chunks(self, case: Case, bundle: OpenedBundle, error: DigestMismatch) -> Wait | Refused:
        chunks = read_bounded(self._files, f"{case.path}.chunks", MAX_CHUNKS_BYTES) or b""
        try:
            check_chunk_list(bundle.head, chunks)
        except DigestMismatch:
            return verdict_of(error, "bytes")
        wrong, count = _wrong_chunks(bundle, chunks)
        if not wrong:
            return verdict_of(error, "sealed")
        return Wait(INCOMPLETE, f"{len(wrong)} of {count} chunks are not the sealed ones, the first is {wrong[0]}")

    def _changed_meanwhile(self, case: Case, order: Order) -> Wait | None:
        """Opened anew: a tool may have put another file in its place."""
        with self._files.open(case.path) as stream:
            lacking = self._lacking(case, order, stream)
        if lacking is None and self._files.stamp(case.path) == case.stamp:
            return None
        case.proven = False
        return lacking if isinstance(lacking, Wait) else Wait(INCOMPLETE, "somebody wrote to it while it was read")


class LostDownloads:
    """Bundles that were whole when our own downloader brought them, and of which this disk has lost bytes since.

    They are fetched again, at once for the first time and then after growing pauses: the link is paid for.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._pauses: dict[str, Backoff] = {}
        self._retry_at: dict[str, float] = {}

    def found(self, job: Job, lacking: Wait | Refused) -> Verdict:
        if isinstance(lacking, Refused):
            return lacking
        if self._monotonic() < self._retry_at.get(job.key, 0.0):
            return Wait("disk.failing", f"this disk lost bytes of the bundle again: {lacking.detail}")
        pause = self._pauses.setdefault(job.key, Backoff(3600.0, 7 * 86_400.0))
        self._retry_at[job.key] = self._monotonic() + pause.failed()
        log.error("%s is fetched again, this disk lost bytes of it: %s", job.key, lacking.detail)
        return DONE


def _begin(case: Case, order: Order) -> None:
    if not case.begun:
        case.begun = True
        order.begun()


def _wrong_chunks(bundle: OpenedBundle, chunks: bytes) -> tuple[list[int], int]:
    """Numbers of the chunks that differ from a list that the seal vouches for, and how many there are."""
    size = hashlib.sha256().digest_size
    count = len(chunks) // size
    bundle.patch.seek(0)
    wrong = []
    for number in range(count):
        data = bundle.patch.read(bundle.head.chunk_bytes)
        if hashlib.sha256(data).digest() != chunks[number * size : (number + 1) * size]:
            wrong.append(number)
    return wrong, count
