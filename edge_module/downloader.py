"""Our own resumable downloader: the outbox container's bundles into the inbox, best first, byte by byte once.

One ``step`` is at most one chunk or about a second, so that reports, the twin and other bundles get their
turn between. A broken link costs nothing but the wait; what was verified is never fetched again.
Not here: where the bytes come from (edge_module.bundle_source) and go to (edge_module.part_file), whose turn it is
(edge_module.turns), what is accepted (edge_module.intake).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from contracts.messages import DesiredProperties
from edge_module.backoff import Backoff
from edge_module.bundle_source import Shore, Source, open_source, parts_of
from edge_module.files import Files, move_durably, open_folder
from edge_module.intake import Intake
from edge_module.journal import Job, Journal
from edge_module.part_file import FOLDER, PartFile, forget_part
from edge_module.refused import RefusedFiles
from edge_module.reporting import Reporter
from edge_module.turns import Turns
from edge_module.verdict import Refused, Wait
from imagedelta.bundles import BundleHead, check_chunk_list
from imagedelta.errors import ContentError, DependencyError, DigestMismatch
from services.blobs_http import BlobChanged
from services.ports import BlobInfo

INBOX = "inbox"
_STEP_SECONDS = 1.0
log = logging.getLogger("imagedelta.downloads")


@dataclass
class _Download:
    name: str
    blob: BlobInfo
    """What stands for it in the outbox."""
    priority: str
    key: tuple[str, int]
    """Transfer and attempt, as the name says."""
    source: Source | None = None
    part: PartFile | None = None
    job: Job | None = None
    retry_at: float = 0.0
    denied: bool = False
    """It waits for another grant of its patch."""
    backoff: Backoff = field(default_factory=lambda: Backoff(5.0, 300.0))


@dataclass
class _Stream:
    name: str
    pieces: Iterator[bytes]


class Downloader:
    def __init__(
        self,
        files: Files,
        journal: Journal,
        reporter: Reporter,
        intake: Intake,
        refused: RefusedFiles,
        monotonic: Callable[[], float],
        reserve_bytes: int,
    ) -> None:
        self._files = files
        self._journal = journal
        self._reporter = reporter
        self._intake = intake
        self._refused = refused
        self._monotonic = monotonic
        self._reserve_bytes = reserve_bytes
        self._turns = Turns()
        self._backoff = Backoff(1.0, 120.0)
        self._next_try = 0.0
        self._downloads: dict[str, _Download] = {}
        self._answered: set[tuple[str, str]] = set()
        self._shore: Shore | None = None
        self._current: _Download | None = None
        self._stream: _Stream | None = None
        open_folder(files, FOLDER)
        files.make_folders(INBOX)

    def refresh(self, shore: Shore) -> None:
        """List the outbox: new bundles join, withdrawn ones are forgotten with what was fetched of them.

        Raises: DependencyError when the outbox does not answer.
        """
        listed = shore.bundles()
        self._next_try = 0.0  # the link is up
        if shore is not self._shore:
            self._shore = shore
            self._try_denied_again()
        for name, download in list(self._downloads.items()):
            if name not in listed or listed[name].etag != download.blob.etag:
                self._leave(download)
        for name, blob in listed.items():
            if name not in self._downloads and self._is_wanted(name, blob):
                priority, transfer_id, attempt = parts_of(name)
                self._downloads[name] = _Download(name, blob, priority, (transfer_id, attempt))
        self._clean(set(listed))

    @property
    def waiting(self) -> int:
        """Bundles that are listed and not yet in the inbox."""
        return len(self._downloads)

    def progress(self) -> dict[str, object] | None:
        """The bundle that is being fetched, for the reported properties."""
        current = self._current
        if current is None or current.part is None or current.name not in self._downloads:
            return None
        transfer_id, attempt = current.key
        size = {"bytes": current.part.size, "ofBytes": current.part.blob.size}
        return {"transferId": transfer_id, "attempt": attempt, **size}

    def step(self, shore: Shore, desired: DesiredProperties) -> bool:
        """Do a little work; returns whether there was any to do now."""
        if self._monotonic() < self._next_try:
            return False
        download = self._choose()
        if download is None:
            return False
        try:
            self._advance(download, shore, desired)
        except DependencyError as error:
            self._interrupted(download, error)
        except BlobChanged as error:
            log.warning("%s", error)
            self._leave(download)
        except ContentError as error:
            self._refuse(download, error)
        return True

    def pause(self) -> None:
        """Close the link and keep what has arrived."""
        self._close_stream()
        for download in self._downloads.values():
            if download.part is not None:
                download.part.pause()

    def _choose(self) -> _Download | None:
        """The current bundle until its next chunk border, then whoever's turn it is."""
        now = self._monotonic()
        ready = [each for each in self._downloads.values() if each.retry_at <= now]
        if not ready:
            return None
        current = self._current
        if current is not None and current in ready and current.part is not None and not current.part.at_border:
            return current
        priority = self._turns.choose(each.priority for each in ready)
        chosen = min((each for each in ready if each.priority == priority), key=lambda each: each.name)
        if current is not None and current is not chosen:
            self._close_stream()
            if current.part is not None:
                current.part.pause()
        self._current = chosen
        return chosen

    def _advance(self, download: _Download, shore: Shore, desired: DesiredProperties) -> None:
        known = self._journal.find(*download.key)
        if known is not None and known.done:  # it came another way meanwhile
            self._answer(download)
            return
        if download.source is None:
            download.source = open_source(shore, download.name, download.blob)
        if download.part is None:
            download.part = PartFile(self._files, download.source.blob, download.source.head_bytes)
        source, part = download.source, download.part
        if part.head is not None and part.head.bundle_id in desired.revoked_bundles:
            self._intake.before_fetching(part.head, desired, download.blob.etag)
            self._answer(download)
        elif part.complete:
            self._finish(download, part)
        elif part.prefix is not None:
            self._judge(download, source, part, shore, desired)
        else:
            self._fetch(download, source, part, shore)

    def _fetch(self, download: _Download, source: Source, part: PartFile, shore: Shore) -> None:
        """Read for about a second, at most to the next border."""
        if part.head is not None:
            self._make_sure_it_fits(download, part)
        started, before, border = self._monotonic(), part.verified, part.border()
        pieces = self._pieces(download, source, part, shore)
        fetched = 0
        try:
            while part.size < border and self._monotonic() - started < _STEP_SECONDS:
                piece = next(pieces, b"")
                expected = part.size + len(piece)
                fetched += len(piece)
                if piece:
                    part.add(piece)
                if not piece or part.size != expected:
                    self._close_stream()  # the range ended, or a wrong chunk was cut off
                    break
        finally:
            part.spend(fetched, self._monotonic() - started)
            if fetched:
                self._backoff.succeeded()
        if part.verified > before:
            self._turns.serve(download.priority)

    def _pieces(self, download: _Download, source: Source, part: PartFile, shore: Shore) -> Iterator[bytes]:
        name = download.name
        if self._stream is None or self._stream.name != name:
            self._close_stream()
            end = part.border(self._turns.run_length(download.priority))
            self._stream = _Stream(name, source.stream(shore, part.head, part.size, end))
        return self._stream.pieces

    def _judge(
        self, download: _Download, source: Source, part: PartFile, shore: Shore, desired: DesiredProperties
    ) -> None:
        self._close_stream()
        prefix = part.prefix or b""
        if not part.fresh and not self._intake.trusts(prefix):
            part.start_anew()
            return
        found = self._intake.read_head(prefix, download.blob.etag)
        if isinstance(found, Refused):
            self._answer(download)
            return
        if isinstance(found, Wait):
            part.start_anew()
            raise DependencyError(f"the head of {download.name}: {found.detail}")
        head, patch_offset = found
        job = self._intake.before_fetching(head, desired, download.blob.etag)
        if isinstance(job, Wait):
            download.retry_at = self._monotonic() + 1.0
            return
        if not isinstance(job, Job):
            self._answer(download)
            return
        download.job = job
        saved = part.saved_chunks()
        chunks = saved if saved is not None and _fits(head, saved) else source.chunk_list(shore, head)
        part.accept(head, patch_offset, chunks)
        if not part.complete:
            self._make_sure_it_fits(download, part)

    def _make_sure_it_fits(self, download: _Download, part: PartFile) -> None:
        """Raises: DependencyError ``disk.full`` before the first byte that would not fit."""
        needed = part.blob.size - part.size + self._reserve_bytes
        free = self._refused.make_room(needed, self._files.free_bytes)
        if free < needed:
            raise DependencyError(f"{needed} bytes of disk needed, {free} are free", code="disk.full")
        if download.job is not None and (download.job.state != "receiving" or not download.job.sequence):
            download.job = self._reporter.move(download.job, "receiving")

    def _finish(self, download: _Download, part: PartFile) -> None:
        """The journal first: if the power goes before the file is in the inbox, it is moved at the next start.

        The chunk list goes along: it tells bytes that this disk has lost from a seal that contradicts itself.
        """
        self._close_stream()
        part.pause()
        name = download.name
        if download.job is not None:
            download.job = self._reporter.move(
                download.job,
                "received",
                bundle=name,
                bytes_fetched=part.cost.bytes_fetched,
                seconds_on_link=round(part.cost.seconds, 3),
            )
        move_durably(self._files, part.chunks_path, f"{INBOX}/{name}.chunks")
        move_durably(self._files, part.path, f"{INBOX}/{name}")
        part.discard()
        self._downloads.pop(name, None)

    def _interrupted(self, download: _Download, error: DependencyError) -> None:
        self._close_stream()
        if error.code.startswith("disk."):
            if download.part is not None:
                download.part.release()
            download.retry_at = self._monotonic() + download.backoff.failed()
            if download.job is not None:
                download.job = self._reporter.fail(download.job, error, "blocked")
            log.warning("%s waits: %s", download.name, error)
            return
        if download.part is not None:
            download.part.pause()
        if error.code.startswith("patch."):  # neither the link nor another bundle is to blame
            download.denied = error.code == "patch.denied"
            download.retry_at = self._monotonic() + download.backoff.failed()
            log.warning("%s waits: %s", download.name, error)
            return
        pause = self._backoff.failed()
        self._next_try = self._monotonic() + pause
        log.warning("link broken, next try in %.1f s: %s", pause, error)

    def _refuse(self, download: _Download, error: ContentError) -> None:
        if error.code == "content.missing":  # withdrawn between list and fetch
            self._leave(download)
            return
        if download.job is not None:
            self._reporter.fail(download.job, error)
        else:
            self._intake.note_refusal(download.name, error)
        self._answer(download)

    def _answer(self, download: _Download) -> None:
        """Nothing more to fetch of this blob, as long as it is the same one."""
        self._answered.add((download.blob.name, download.blob.etag))
        self._leave(download)

    def _leave(self, download: _Download) -> None:
        self._close_stream()
        self._downloads.pop(download.name, None)
        if download.part is not None:
            download.part.discard()
        else:
            forget_part(self._files, download.name)

    def _try_denied_again(self) -> None:
        """The twin has brought other grants."""
        for download in self._downloads.values():
            if download.denied:
                download.denied, download.retry_at = False, 0.0

    def _is_wanted(self, name: str, blob: BlobInfo) -> bool:
        if (blob.name, blob.etag) in self._answered:
            return False
        if self._files.size(f"{INBOX}/{name}") is not None:
            return False
        _, transfer_id, attempt = parts_of(name)
        job = self._journal.find(transfer_id, attempt)
        if job is None:
            return True
        return not (job.done or (not job.sealed and job.etag == blob.etag))

    def _clean(self, listed: set[str]) -> None:
        """Remove what belongs to bundles that are not in the outbox any more, or done."""
        for file in self._files.list(FOLDER):
            name = file.removesuffix(".tmp").rpartition(".")[0]
            if name not in self._downloads or name not in listed:
                self._files.remove(f"{FOLDER}/{file}")

    def _close_stream(self) -> None:
        if self._stream is not None:
            close = getattr(self._stream.pieces, "close", None)
            self._stream = None
            if close is not None:
                close()


def _fits(head: BundleHead, chunks: bytes) -> bool:
    try:
        check_chunk_list(head, chunks)
    except DigestMismatch:
        return False
    return True
