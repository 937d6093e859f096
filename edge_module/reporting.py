"""Moves of a job and the reports that tell them: journal first, then outbox, so that neither is lost or doubled."""

from __future__ import annotations

import logging
import re
import threading
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from contracts.messages import MAX_SEQUENCE, LastResult, Report, ReportedState, to_json
from contracts.refusals import first_problem
from edge_module.hub import Envelope
from edge_module.journal import FINAL, Job, Journal
from edge_module.logs import facts
from edge_module.outbox import Outbox
from imagedelta.errors import ContentError, DependencyError, ImageDeltaError

_MAX_DETAIL = 2000
_MALFORMED = "content.malformed_message"
_CODE = re.compile(r"[a-z][a-z0-9_.]{0,63}")
log = logging.getLogger("imagedelta.reports")


class Reporter:
    def __init__(self, journal: Journal, outbox: Outbox) -> None:
        self._journal = journal
        self._outbox = outbox
        self._lock = threading.RLock()
        self._safe: set[tuple[str, int]] = set()
        """Reports that need not be put into the outbox again, though the journal does not say so yet."""

    def move(self, job: Job, state: ReportedState, **changes: Any) -> Job:
        """Bring a job into ``state``; returns when its report is safe in the outbox.

        The same state with the same code again is no news and changes nothing. An attempt that is done stays so,
        whatever a slower part still has to say.
        """
        with self._lock:
            known = self._journal.find(job.transfer_id, job.attempt)
            if known == job and (job.state, job.code) == (state, changes.get("code")):
                return job
            if known is not None and known.done:
                return known
            sequence = self._journal.next_sequence(job)
            if sequence >= MAX_SEQUENCE and state not in FINAL:
                return job  # the last number is kept for the outcome
            cleared = {"code": None, "detail": None, "missing_source": None} | changes
            job = replace(job, state=state, sequence=sequence, announced=False, **cleared)
            report_of(job)  # valid before it is kept: what no report can carry would hinder every start
            log.info("transfer %s is %s", job.transfer_id, state, extra=_facts(job))
            job = self.announce(self._journal.write(job))
            if job.state in FINAL:
                self._journal.forget_oldest()
            return job

    def fail(self, job: Job, error: ImageDeltaError, state: ReportedState = "failed", **changes: Any) -> Job:
        """Bring a job into ``failed``, ``blocked`` or ``source_missing`` with the error's code and sentence."""
        return self.move(job, state, code=_code(error.code), detail=_sentence(error), **changes)

    def announce(self, job: Job) -> Job:
        """Put the report of the job's present state into the outbox, again if need be: same message id.

        One that the disk does not take goes out from memory, and is announced again once the disk does.
        """
        report = report_of(job)
        with self._lock:
            if not self._outbox.put(Envelope(report.message_id, "report", to_json(report))) or job.announced:
                return job
            self._safe.add((job.key, job.sequence))
            try:
                return self._note_announced(job)
            except DependencyError as error:
                log.warning("%s: its report is safe, the journal learns it later: %s", job.key, error)
                return job

    def _note_announced(self, job: Job) -> Job:
        job = self._journal.write(replace(job, announced=True))
        self._safe.discard((job.key, job.sequence))
        return job

    def latest(self, job: Job) -> Job:
        """The job as the journal has it now."""
        return self._journal.find(job.transfer_id, job.attempt) or job

    def announce_pending(self) -> None:
        """Reports that have not reached the outbox: the power went, or the disk was full.

        Raises: DependencyError: the disk is still full; every one was tried.
        """
        failed = None
        for job in self._journal.jobs():
            try:
                self._announce_if_pending(job)
            except DependencyError as error:
                failed = error
        if failed is not None:
            raise failed

    def _announce_if_pending(self, job: Job) -> None:
        if job.announced:
            return
        with self._lock:
            job = self.latest(job)
            if (job.key, job.sequence) in self._safe:
                self._note_announced(job)
            elif not job.announced and is_reportable(job):
                self.announce(job)

    def last_results(self, limit: int) -> list[LastResult]:
        """Outcomes of the newest finished attempts, for the inventory."""
        finished = [job for job in self._journal.jobs() if job.state in FINAL and is_reportable(job)]
        return [_result_of(job) for job in finished[-limit:]]

    def images_made(self) -> list[str]:
        """IDs of the images that bundles have brought, newest last."""
        return [job.image_id for job in self._journal.jobs() if job.state == "succeeded"]


def is_reportable(job: Job) -> bool:
    """Whether a report can carry what the job says; an unsealed head may say anything."""
    try:
        report_of(replace(job, sequence=max(job.sequence, 1)))
    except ContentError:
        return False
    return True


def report_of(job: Job) -> Report:
    """Raises: ContentError ``content.malformed_message``: a field is out of the contract's bounds."""
    try:
        return Report.model_validate(_fields(job))
    except ValidationError as error:
        where, problem = first_problem(error)
        raise ContentError(f"report of {job.key[:80]}: {where}: {problem}", code=_MALFORMED) from error


def _fields(job: Job) -> dict[str, Any]:
    return {
        "transferId": job.transfer_id,
        "attempt": job.attempt,
        "sequence": job.sequence,
        "state": job.state,
        "imageId": job.image_id,
        "code": job.code,
        "detail": job.detail,
        "missingSource": job.missing_source,
        "localDigest": job.local_digest,
        "bytesFetched": job.bytes_fetched,
        "secondsOnLink": job.seconds_on_link,
    }


def _code(code: str) -> str:
    return code if _CODE.fullmatch(code) else "internal"


def _facts(job: Job) -> dict[str, dict[str, object]]:
    return facts(
        transfer=job.transfer_id,
        attempt=job.attempt,
        bundle=job.bundle_id,
        image=job.image_id,
        state=job.state,
        code=job.code,
        detail=job.detail,
        bytes=job.bytes_fetched,
        seconds=job.seconds_on_link,
        digest=job.local_digest,
    )


def _sentence(error: ImageDeltaError) -> str:
    """As a report can carry it: bounded, and without the lone surrogates of file names."""
    return str(error).encode(errors="replace").decode(errors="replace")[:_MAX_DETAIL]


def _result_of(job: Job) -> LastResult:
    """What its report says, shorter; fields that a result has not are left out by the contract."""
    return LastResult.model_validate({**_fields(job), "detail": (job.detail or "")[:256] or None})
