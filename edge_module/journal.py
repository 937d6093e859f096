"""What the device remembers of its work: one small file per attempt of a transfer, one for the counters.

Each file is replaced atomically, so after power loss it is the old or the new one. A job whose last report
may not have reached the outbox is marked so and announced again at the next start: same sequence, same
message id.

Source: docs/formats/device-store.md.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from edge_module.files import Files, open_folder, read_bounded, remove_durably, write_atomically
from imagedelta.errors import ContentError

FOLDER = "journal"
MAX_FINISHED = 4096
"""Finished attempts that are remembered one by one; older ones are covered by the floor."""
MAX_REFERENCES = 10_000
_MAX_FILE_BYTES = 4 * 1024 * 1024
_COUNTERS = "device.json"
_TRANSFER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
FINAL = frozenset({"succeeded", "failed", "source_missing"})
log = logging.getLogger("imagedelta.journal")


@dataclass(frozen=True)
class Job:
    """One attempt of one transfer, as far as this device has come with it."""

    transfer_id: str
    attempt: int
    image_id: str
    bundle_id: str
    number: int
    state: str
    """A state of contracts.messages.ReportedState."""
    sequence: int = 0
    """Of the last report."""
    announced: bool = False
    """The report of ``sequence`` has been put into the outbox."""
    sealed: bool = True
    """False: refused for its seal, so nothing it says is believed and the real bundle may still come."""
    bundle: str = ""
    """File in the inbox that our own downloader has verified; "" before."""
    etag: str = ""
    """Of the blob this was fetched or refused from."""
    code: str | None = None
    detail: str | None = None
    missing_source: str | None = None
    local_digest: str | None = None
    bytes_fetched: int | None = None
    seconds_on_link: float | None = None

    @property
    def key(self) -> str:
        return f"{self.transfer_id}-{self.attempt}"

    @property
    def done(self) -> bool:
        """Whether a bundle of this attempt is answered from memory instead of applied."""
        return self.sealed and self.state in FINAL


@dataclass(frozen=True)
class Counters:
    highest_number: int = 0
    floor: int = 0
    """Bundles with a lower number are refused."""
    references: dict[str, tuple[int, str]] = field(default_factory=dict)
    """name:tag -> number of the bundle that moved it last, and the image it moved it to."""
    resync: int = 0
    """Last value of the desired property that an inventory was sent for."""
    inventories: int = 0
    """Sequence of the last inventory."""


class Journal:
    def __init__(self, files: Files) -> None:
        self._files = files
        open_folder(files, FOLDER)
        self._jobs = {job.key: job for name in self._job_names() if (job := self._read_job(name))}
        self._counters = self._read_counters()

    @property
    def counters(self) -> Counters:
        return self._counters

    def jobs(self) -> list[Job]:
        """Every remembered attempt, in the order of the bundles' numbers."""
        return sorted(self._jobs.values(), key=lambda job: (job.number, job.key))

    def find(self, transfer_id: str, attempt: int) -> Job | None:
        return self._jobs.get(f"{transfer_id}-{attempt}")

    def find_bundle(self, bundle_id: str) -> Job | None:
        matches = (job for job in self._jobs.values() if job.sealed and job.bundle_id == bundle_id)
        return next(matches, None)

    def write(self, job: Job) -> Job:
        """Return when ``job`` is on the disk.

        Raises: ContentError when its transfer id is no plain name (it becomes part of a file name).
        """
        if not _TRANSFER_ID.fullmatch(job.transfer_id):
            raise ContentError(f"transfer id {job.transfer_id[:80]!r} is not a plain name")
        write_atomically(self._files, f"{FOLDER}/{job.key}.json", json.dumps(asdict(job)).encode())
        self._jobs[job.key] = job
        return job

    def see_number(self, number: int, floor: int) -> None:
        """Remember the highest number and floor that sealed bundles named."""
        highest = max(number, self._counters.highest_number)
        floor = max(floor, self._counters.floor)
        if (highest, floor) != (self._counters.highest_number, self._counters.floor):
            self._write_counters(replace(self._counters, highest_number=highest, floor=floor))

    def claim_reference(self, reference: str, number: int, image_id: str) -> bool:
        """Whether bundle ``number`` may move the name to ``image_id``; remembered before it is moved.

        A lower number than the last one may not: what it brings is older.
        """
        held = self._counters.references.get(reference)
        if held == (number, image_id):
            return True
        if held is not None and number <= held[0]:
            return held[1] == image_id
        references = self._counters.references | {reference: (number, image_id)}
        while len(references) > MAX_REFERENCES:
            del references[min(references, key=lambda name: references[name][0])]
        self._write_counters(replace(self._counters, references=references))
        return True

    def next_inventory(self) -> int:
        """A sequence that no inventory had yet; it is used up even if none is sent."""
        self._write_counters(replace(self._counters, inventories=self._counters.inventories + 1))
        return self._counters.inventories

    def see_resync(self, value: int) -> None:
        self._write_counters(replace(self._counters, resync=value))

    def forget_oldest(self) -> None:
        """Keep the files bounded: what is forgotten one by one is refused by the floor from then on.

        Unsealed ones go first: their numbers are anybody's, and must not push real ones out.
        """
        finished = [job for job in self.jobs() if job.state in FINAL and job.announced]
        finished.sort(key=lambda job: (job.sealed, job.number))
        for job in finished[: max(0, len(finished) - MAX_FINISHED)]:
            self.see_number(job.number, job.number + 1 if job.sealed else 0)
            remove_durably(self._files, f"{FOLDER}/{job.key}.json")
            del self._jobs[job.key]

    def _job_names(self) -> list[str]:
        return [name for name in self._files.list(FOLDER) if name.endswith(".json") and name != _COUNTERS]

    def _read_job(self, name: str) -> Job | None:
        try:
            return Job(**self._read_object(name))
        except (ValueError, TypeError) as error:
            log.error("journal file %s cannot be read, ignored: %s", name, error)
            return None

    def _read_counters(self) -> Counters:
        if self._files.size(f"{FOLDER}/{_COUNTERS}") is None:
            return Counters()
        try:
            values = self._read_object(_COUNTERS)
            references = {name: (held[0], held[1]) for name, held in values.pop("references").items()}
            return Counters(references=references, **values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            # Only a failing disk does this; refusing to start would help nobody at sea.
            log.error("journal counters cannot be read, the floor is rebuilt: %s", error)
            highest = max((job.number for job in self._jobs.values() if job.done), default=0)
            return Counters(highest_number=highest)

    def _read_object(self, name: str) -> dict[str, Any]:
        data = read_bounded(self._files, f"{FOLDER}/{name}", _MAX_FILE_BYTES)
        value = json.loads(data or b"")
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")
        return value

    def _write_counters(self, counters: Counters) -> None:
        write_atomically(self._files, f"{FOLDER}/{_COUNTERS}", json.dumps(asdict(counters)).encode())
        self._counters = counters
