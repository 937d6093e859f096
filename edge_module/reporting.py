"""Moves of a job and the reports that tell them: journal first, then outbox, so that neither is lost or doubled."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import Any

from contracts.messages import LastResult, Report, ReportedState, to_json
from edge_module.hub import Envelope
from edge_module.journal import FINAL, Job, Journal
from edge_module.outbox import Outbox
from imagedelta.errors import ImageDeltaError

_MAX_DETAIL = 2000
log = logging.getLogger("imagedelta.reports")


class Reporter:
    def __init__(self, journal: Journal, outbox: Outbox) -> None:
        self._journal = journal
        self._outbox = outbox
        self._lock = threading.RLock()

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
            cleared = {"code": None, "detail": None, "missing_source": None} | changes
            job = replace(job, state=state, sequence=sequence, announced=False, **cleared)
            log.info("%s attempt %d: %s%s", job.transfer_id, job.attempt, state, f" ({job.code})" if job.code else "")
            job = self.announce(self._journal.write(job))
            if job.state in FINAL:
                self._journal.forget_oldest()
            return job

    def fail(self, job: Job, error: ImageDeltaError, state: ReportedState = "failed", **changes: Any) -> Job:
        """Bring a job into ``failed``, ``blocked`` or ``source_missing`` with the error's code and sentence."""
        return self.move(job, state, code=error.code, detail=str(error)[:_MAX_DETAIL], **changes)

    def announce(self, job: Job) -> Job:
        """Put the report of the job's present state into the outbox, again if need be: same message id.

        One that the disk does not take goes out from memory, and is announced again once the disk does.
        """
        report = report_of(job)
        with self._lock:
            safe = self._outbox.put(Envelope(report.message_id, "report", to_json(report)))
            return self._journal.write(replace(job, announced=True)) if safe and not job.announced else job

    def latest(self, job: Job) -> Job:
        """The job as the journal has it now."""
        return self._journal.find(job.transfer_id, job.attempt) or job

    def announce_pending(self) -> None:
        """After a restart: reports that may not have reached the outbox before the power went."""
        for job in self._journal.jobs():
            if not job.announced:
                self.announce(job)

    def last_results(self, limit: int) -> list[LastResult]:
        """Outcomes of the newest finished attempts, for the inventory."""
        finished = [job for job in self._journal.jobs() if job.state in FINAL]
        return [_result_of(job) for job in finished[-limit:]]


def report_of(job: Job) -> Report:
    return Report.model_validate(
        {
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
    )


def _result_of(job: Job) -> LastResult:
    return LastResult.model_validate(
        {
            "transferId": job.transfer_id,
            "attempt": job.attempt,
            "sequence": job.sequence,
            "state": job.state,
            "imageId": job.image_id,
            "code": job.code,
            "detail": (job.detail or "")[:256] or None,
        }
    )
