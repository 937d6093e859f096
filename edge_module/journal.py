"""What the device remembers of its work: one small file per attempt of a transfer, one for the counters.

Each file is replaced atomically, so after power loss it is the old or the new one. A job whose last report
may not have reached the outbox is marked so and announced again at the next start: same sequence, same
message id.

Shared by the threads: who reads never waits for who writes, and sees what is on the disk.

Source: docs/formats/device-store.md.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter

from contracts.messages import MAX_FETCHED_BYTES, MAX_SEQUENCE, Code, ImageId, LongText, ReportedState, ShortText
from edge_module.clock import YEAR_2026
from edge_module.damage import DamageLog
from edge_module.files import Files
from edge_module.state_files import StateFiles
from imagedelta.bundles.head import MAX_ATTEMPT, TRANSFER_ID
from imagedelta.errors import DependencyError

FOLDER = "journal"
VERSION = 1
MAX_FINISHED = 4096
"""Finished attempts that are remembered one by one; older ones are covered by the floor."""
MAX_OPEN = 1024
"""Attempts that are remembered without a result: bundles that were withdrawn leave them behind."""
MAX_REFERENCES = 10_000
MAX_LOST = 256
RESERVED_SEQUENCES = 16
"""Inventories that may be sent before the counters are written again."""
SEQUENCE_AFTER_LOSS = 1000
"""More than the reports of an attempt whose file was lost, so that the cloud takes the next ones for newer."""
FINAL = frozenset({"succeeded", "failed", "source_missing"})
_MAX_JOB_BYTES = 64 * 1024
_MAX_COUNTER_BYTES = 8 * 1024 * 1024
_COUNTERS = "device.json"
_COPY = "device.copy"
_STRICT = ConfigDict(strict=True, revalidate_instances="always", allow_inf_nan=False)
_Number = Annotated[int, Field(ge=0, lt=2**63)]
log = logging.getLogger("imagedelta.journal")


@dataclass(frozen=True)
class Job:
    """One attempt of one transfer, as far as this device has come with it.

    The bounds are those of its report: what could not be told is not remembered either.
    """

    __pydantic_config__ = _STRICT

    transfer_id: Annotated[str, StringConstraints(pattern=f"^{TRANSFER_ID.pattern}$")]
    """It becomes part of a file name."""
    attempt: Annotated[int, Field(ge=1, le=MAX_ATTEMPT)]
    image_id: ImageId
    bundle_id: ShortText
    number: _Number
    state: ReportedState
    sequence: Annotated[int, Field(ge=0, le=MAX_SEQUENCE)] = 0
    """Of the last report."""
    announced: bool = False
    """The report of ``sequence`` has been put into the outbox."""
    sealed: bool = True
    """False: refused for its seal, so nothing it says is believed and the real bundle may still come."""
    bundle: ShortText = ""
    """File in the inbox that our own downloader has verified; "" before."""
    etag: ShortText = ""
    """Of the blob this was fetched or refused from."""
    code: Code | None = None
    detail: LongText | None = None
    missing_source: ImageId | None = None
    local_digest: ShortText | None = None
    bytes_fetched: Annotated[int, Field(ge=0, le=MAX_FETCHED_BYTES)] | None = None
    seconds_on_link: Annotated[float, Field(ge=0, le=1e12)] | None = None

    @property
    def key(self) -> str:
        return f"{self.transfer_id}-{self.attempt}"

    @property
    def done(self) -> bool:
        """Whether a bundle of this attempt is answered from memory instead of applied."""
        return self.sealed and self.state in FINAL


@dataclass(frozen=True)
class Counters:
    __pydantic_config__ = _STRICT

    version: Annotated[int, Field(ge=1)] = VERSION
    """Of the device's folder, as who wrote this last understands it."""
    highest_number: _Number = 0
    floor: Annotated[int, Field(ge=0, le=2**63)] = 0
    """Bundles with a lower number are refused."""
    references: dict[str, tuple[_Number, str]] = field(default_factory=dict)
    """name:tag -> number of the bundle that moved it last, and the image it moved it to."""
    resync: int = 0
    """Last value of the desired property that an inventory was sent for."""
    inventory_sequence: Annotated[int, Field(ge=0, le=2**31 - 2**20)] | None = None
    """No inventory with a higher one was sent; None when that is not known."""
    lost: dict[str, Annotated[int, Field(ge=0, le=MAX_SEQUENCE)]] = field(default_factory=dict)
    """Attempt whose file was damaged -> what its reports' sequence goes on from."""


class Journal:
    def __init__(self, files: Files, damage: DamageLog, now: Callable[[], float] = time.time) -> None:
        """Args:
        now: Seconds since 1970, as far as this device knows; asked only when the counters are lost.
        """
        self._damage = damage
        self._now = now
        self._lock = threading.RLock()
        self._job_files = StateFiles(files, FOLDER, TypeAdapter(Job), _MAX_JOB_BYTES, damage)
        self._counter_files = StateFiles(files, FOLDER, TypeAdapter(Counters), _MAX_COUNTER_BYTES, damage)
        self._known: dict[str, Job] | None = None
        self._ordered: tuple[dict[str, Job] | None, list[Job]] = (None, [])
        self._counts: Counters | None = None
        self._sequence = 0
        try:
            self._read()
        except DependencyError as error:
            log.error("the journal cannot be read yet: %s", error)

    # Jobs. Every method raises DependencyError while the disk does not let the journal be read.

    def jobs(self) -> list[Job]:
        """Every remembered attempt, in the order of the bundles' numbers."""
        known = self._jobs()
        of, ordered = self._ordered
        if of is not known:
            ordered = sorted(known.values(), key=lambda job: (job.number, job.key))
            self._ordered = (known, ordered)
        return list(ordered)

    def find(self, transfer_id: str, attempt: int) -> Job | None:
        return self._jobs().get(f"{transfer_id}-{attempt}")

    def find_bundle(self, bundle_id: str) -> Job | None:
        matches = (job for job in self._jobs().values() if job.sealed and job.bundle_id == bundle_id)
        return next(matches, None)

    def write(self, job: Job) -> Job:
        """Return when ``job`` is on the disk.

        Raises: ContentError when it holds what no report may say; nothing is written then.
        """
        with self._lock:
            known = self._jobs()
            self._job_files.write(_file_of(job), job)
            self._known = {**known, job.key: job}
        return job

    def next_sequence(self, job: Job) -> int:
        """Of the next report of an attempt: more than of any before, as far as is known."""
        known = self.find(job.transfer_id, job.attempt)
        lost = self.counters.lost.get(job.key, 0)
        return max(job.sequence, known.sequence if known else 0, lost) + 1

    def forget_oldest(self) -> None:
        """Keep the files bounded: what is forgotten one by one is refused by the floor from then on.

        Unsealed ones go first: their numbers are anybody's, and must not push real ones out.
        """
        with self._lock:
            finished = [job for job in self.jobs() if job.state in FINAL and job.announced]
            finished.sort(key=lambda job: (job.sealed, job.number))
            for job in finished[: max(0, len(finished) - MAX_FINISHED)]:
                if job.sealed:
                    self.see_number(job.number, job.number + 1)
                self._forget(job)
            unfinished = [job for job in self.jobs() if job.state not in FINAL]
            for job in unfinished[: max(0, len(unfinished) - MAX_OPEN)]:
                self._forget(job)

    # Counters.

    @property
    def counters(self) -> Counters:
        """Raises: DependencyError while they cannot be read."""
        if self._counts is None:
            self._read()
        assert self._counts is not None  # noqa: S101 -- read just now
        return self._counts

    def see_number(self, number: int, floor: int) -> None:
        """Remember the highest number and floor that sealed bundles named."""
        with self._lock:
            counters = self.counters
            highest, floor = max(number, counters.highest_number), max(floor, counters.floor)
            if (highest, floor) != (counters.highest_number, counters.floor):
                self._write_counters(replace(counters, highest_number=highest, floor=floor))

    def claim_reference(self, reference: str, number: int, image_id: str) -> bool:
        """Whether bundle ``number`` may move the name to ``image_id``; remembered before it is moved.

        A lower number than the last one may not: what it brings is older.
        """
        with self._lock:
            counters = self.counters
            held = counters.references.get(reference)
            if held == (number, image_id):
                return True
            if held is not None and number <= held[0]:
                return held[1] == image_id
            references = {**counters.references, reference: (number, image_id)}
            while len(references) > MAX_REFERENCES:
                del references[min(references, key=lambda name: references[name][0])]
            self._write_counters(replace(counters, references=references))
            return True

    def see_resync(self, value: int) -> None:
        with self._lock:
            self._write_counters(replace(self.counters, resync=value))

    def next_inventory(self) -> int:
        """The sequence of the next inventory; used up even if the message is never sent.

        Some are reserved on the disk at a time, so a disk that takes no writes mutes no inventory.
        """
        with self._lock:
            reserved = self.counters.inventory_sequence
            last = self._sequence or (self._start_of_sequences() if reserved is None else reserved)
            self._sequence = last + 1
            if reserved is None or self._sequence > reserved:
                self._reserve(self._sequence + RESERVED_SEQUENCES - 1)
            return self._sequence

    # Inside.

    def _jobs(self) -> dict[str, Job]:
        """Never changed in place, so it can be walked through while another thread writes."""
        known = self._known
        if known is None:
            self._read()
            known = self._known
        assert known is not None  # noqa: S101 -- read just now
        return known

    def _read(self) -> None:
        """Raises: DependencyError when the disk does not answer; nothing is taken for missing then."""
        with self._lock:
            if self._known is not None and self._counts is not None:
                return
            jobs, lost = self._read_jobs()
            self._counts = self._read_counters(jobs.values(), lost)
            self._known = jobs

    def _read_jobs(self) -> tuple[dict[str, Job], list[str]]:
        """What is there, and the attempts whose file was damaged."""
        jobs: dict[str, Job] = {}
        lost: list[str] = []
        for name in self._job_files.names():
            if name == _COUNTERS:
                continue
            job = self._job_files.read(name, without="its bundle counts as new")
            if job is None:
                lost.append(name.removesuffix(".json"))
            elif _file_of(job) == name:
                jobs[job.key] = job
            else:
                self._damage.set_aside(f"{FOLDER}/{name}", f"it is about {job.key}", "nothing, if that has its own")
        return jobs, lost

    def _read_counters(self, jobs: Collection[Job], lost: list[str]) -> Counters:
        """From both copies: what only rises is the higher one of each."""
        found = [
            counters
            for name in (_COUNTERS, _COPY)
            if (counters := self._counter_files.read(name, without="its copy or the jobs stand in")) is not None
        ]
        counters = reduce(_merged, found) if found else _rebuilt(jobs)
        if not found and any(job.sealed and job.state != "failed" for job in jobs):
            self._damage.note(
                f"{FOLDER}/{_COUNTERS}",
                "it is lost, and its copy too",
                f"by the jobs that are left the floor is {counters.floor}; any bundle may move a name",
            )
        if lost:
            kept = {**counters.lost, **{key: counters.lost.get(key, 0) + SEQUENCE_AFTER_LOSS for key in lost}}
            counters = replace(counters, lost=dict(list(kept.items())[-MAX_LOST:]))
        if counters != Counters() and (len(found) < 2 or any(each != counters for each in found)):
            self._write_if_possible(counters)
        return counters

    def _write_if_possible(self, counters: Counters) -> None:
        try:
            self._write_counters(counters)
        except DependencyError as error:
            log.error("the journal's counters cannot be written yet: %s", error)

    def _write_counters(self, counters: Counters) -> None:
        """Two files, one after the other: one damaged file costs nothing."""
        for name in (_COUNTERS, _COPY):
            self._counter_files.write(name, counters)
        self._counts = counters

    def _reserve(self, sequence: int) -> None:
        """Without a disk to note it on, a restart may use some again: the cloud ignores those, and takes later ones."""
        self._write_if_possible(replace(self.counters, inventory_sequence=sequence))

    def _start_of_sequences(self) -> int:
        """More than any that was used, as no second brought more than one, whatever was lost with the counters.

        Only here the clock is asked, and if it stands at 1970 nothing is lost but this: after the loss of both copies
        the cloud ignores inventories until they have caught up.
        """
        return min(max(0, int(self._now()) - YEAR_2026), 2**30)

    def _forget(self, job: Job) -> None:
        self._job_files.remove(_file_of(job))
        self._known = {key: each for key, each in self._jobs().items() if key != job.key}


def _file_of(job: Job) -> str:
    return f"{job.key}.json"


def _rebuilt(jobs: Iterable[Job]) -> Counters:
    """What the jobs prove: no number below the lowest of a full memory was left unforgotten."""
    numbers = sorted(job.number for job in jobs if job.done)
    floor = numbers[0] if len(numbers) >= MAX_FINISHED else 0
    return Counters(highest_number=numbers[-1] if numbers else 0, floor=floor)


def _merged(one: Counters, other: Counters) -> Counters:
    references = {**one.references}
    for name, held in other.references.items():
        references[name] = max(references.get(name, held), held)
    sequences = [each.inventory_sequence for each in (one, other) if each.inventory_sequence is not None]
    return Counters(
        highest_number=max(one.highest_number, other.highest_number),
        floor=max(one.floor, other.floor),
        references=references,
        resync=one.resync or other.resync,
        inventory_sequence=max(sequences, default=None),
        lost={**other.lost, **one.lost},
    )
