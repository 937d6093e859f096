"""One bundle of the outbox, brought piece by piece.

First its opening, judged at once, so that nothing is fetched in vain; then its chunk list and its patch. When whole,
it goes into the inbox.

Each call of ``advance`` reads for about a second, at most to the next chunk border. It raises whatever stopped it: what
has arrived is kept, and the same call goes on from there. Not here: whose turn it is, and what an error means for it
(edge_module.downloader); where bytes come from (edge_module.bundle_source) and go to (edge_module.part_file).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from contracts.messages import DesiredProperties
from edge_module.allowance import Allowance
from edge_module.backoff import Backoff
from edge_module.bundle_source import Opening, Shore, Source, chunk_list_bytes
from edge_module.files import Files, move_durably, write_atomically
from edge_module.intake import Intake
from edge_module.journal import Job
from edge_module.kept_bytes import KeptBytes
from edge_module.part_file import FOLDER, Announced, LinkCost, PartFile, room_needed
from edge_module.reporting import Reporter
from edge_module.verdict import DONE, Refused, Verdict
from imagedelta.bundles import BundleHead, check_chunk_list
from imagedelta.errors import ContentError, DependencyError, DigestMismatch
from services.ports import BlobInfo

INBOX = "inbox"
_STEP_SECONDS = 1.0
log = logging.getLogger("imagedelta.downloads")


@dataclass(eq=False)
class Download:
    name: str
    blob: BlobInfo
    """What stands for it in the outbox."""
    priority: str
    key: tuple[str, int]
    """Transfer and attempt, as the name says."""
    source: Source
    opening: KeptBytes
    found: Opening | None = None
    head: BundleHead | None = None
    """Once it is sealed and wanted."""
    chunk_list: KeptBytes | None = None
    part: PartFile | None = None
    job: Job | None = None
    cost_before: LinkCost = field(default_factory=LinkCost)
    """What it cost before there was a part to write it down for."""
    most: int = 0
    """The most bytes that have been here."""
    retry_at: float = 0.0
    denied: bool = False
    """It waits for another grant of its patch."""
    idle_since: float | None = None
    """When its tries began to bring nothing."""
    takes_whole: bool = False
    """Range is ignored: the next try takes the whole blob."""
    range_ignored: bool = False
    backoff: Backoff = field(default_factory=lambda: Backoff(5.0, 300.0))
    whole_backoff: Backoff = field(default_factory=lambda: Backoff(6 * 3600.0, 24 * 3600.0))

    @property
    def patch(self) -> str:
        """Digest of its patch; "" before the head is judged."""
        return self.head.patch_sha256 if self.head else ""

    @property
    def size(self) -> int:
        """Bytes that are here, of all that is fetched for it."""
        parts = (self.opening, self.chunk_list, self.part)
        return sum(each.size for each in parts if each is not None)

    def put_down(self) -> None:
        """Bring onto the disk what has arrived. Where that fails it is still in memory, and the next try tells."""
        try:
            self.opening.save()
            if self.chunk_list is not None:
                self.chunk_list.save()
            if self.part is not None:
                self.part.pause()
        except DependencyError as error:
            log.warning("%s: %s", self.name, error)


@dataclass(frozen=True)
class Turn:
    """What a bundle may do when it is its turn."""

    chunks: int
    """So many may be asked for in one request."""
    make_room: Callable[[int], None]
    """Raises DependencyError ``disk.full`` when so many bytes cannot be made free."""


@dataclass
class _Stream:
    of: tuple[str, str]
    """Bundle, and what of it."""
    pieces: Iterator[bytes]
    whole: bool = False
    """Of a server that ignores Range: what is not taken now would be paid for again."""


class Fetching:
    def __init__(
        self,
        files: Files,
        intake: Intake,
        reporter: Reporter,
        allowance: Allowance,
        monotonic: Callable[[], float],
    ) -> None:
        self._files = files
        self._intake = intake
        self._reporter = reporter
        self.allowance = allowance
        self.monotonic = monotonic
        self._stream: _Stream | None = None

    def is_bound_to(self, download: Download) -> bool:
        """Whether another one would have to wait: until a chunk is whole, or a server that ignores Range is done."""
        whole = self._stream is not None and self._stream.whole and self._stream.of[0] == download.name
        return whole or (download.part is not None and not download.part.at_border)

    def advance(self, download: Download, shore: Shore, desired: DesiredProperties, turn: Turn) -> Verdict | None:
        """Bring a little more of it; a verdict when there is nothing more to bring, or something here comes first.

        Raises:
            DependencyError: The link broke, the disk failed, or what came was not what was asked for: go on later.
            ContentError: It is held like this in the outbox, and no transfer was found to report it on.
        """
        if download.head is None or download.found is None:
            return self._bring_opening(download, shore, desired)
        if download.head.bundle_id in desired.revoked_bundles:
            verdict = self._intake.before_fetching(download.head, desired, download.blob.etag)
            return None if isinstance(verdict, Job) else verdict
        try:
            if download.part is None:
                self._bring_chunk_list(download, download.head, download.found, shore, turn)
            elif not download.part.complete:
                self._bring_patch(download, download.head, download.found, download.part, shore, turn)
            else:
                self._finish(download, download.part)
                return DONE
        except ContentError as error:
            if download.job is None:
                raise
            self._reporter.fail(download.job, error)
            return Refused(error)
        return None

    def block(self, download: Download, error: DependencyError) -> None:
        """Tell the cloud that it waits, and for what."""
        if download.job is None:
            return
        try:
            download.job = self._reporter.fail(download.job, error, "blocked")
        except DependencyError as untold:  # a disk so full that it takes no report: the reported properties tell
            log.warning("%s: %s", download.name, untold)

    def close_stream(self) -> None:
        if self._stream is not None:
            close = getattr(self._stream.pieces, "close", None)
            self._stream = None
            if close is not None:
                close()

    # The opening.

    def _bring_opening(self, download: Download, shore: Shore, desired: DesiredProperties) -> Verdict | None:
        kept, source = download.opening, download.source
        if not self._bring_small(download, "opening", kept, shore, source.blob, source.opening_bytes):
            return None
        try:
            opening = source.read_opening(kept.data)
            if opening is None:
                return None
            if kept.inherited and not self._intake.trusts(opening.before):
                kept.reject(f"{kept.path} was spoilt by the disk")
        except ContentError as error:
            _reject(kept, f"{download.blob.name} is no bundle: {error}", error.code)
        found = self._intake.read_head(opening.before, download.blob.etag)
        if not isinstance(found, tuple):
            return found
        head, _ = found
        job = self._intake.before_fetching(head, desired, download.blob.etag)
        if not isinstance(job, Job):
            return job
        download.job, download.head, download.found = job, head, opening
        return None

    # The chunk list.

    def _bring_chunk_list(self, download: Download, head: BundleHead, found: Opening, shore: Shore, turn: Turn) -> None:
        """With it, what is here of the patch is found again."""
        kept = download.opening
        chunks = found.chunks
        if chunks is None:
            kept = download.chunk_list or self._kept_chunk_list(download, head)
            blob = download.source.chunk_list(head)
            if not self._bring_small(download, "chunks", kept, shore, blob, blob.size):
                return
            chunks = kept.data
        try:
            check_chunk_list(head, chunks)
        except DigestMismatch as error:
            if kept is download.opening:
                download.head, download.found = None, None
            _reject(kept, f"{download.name}: {error}", error.code)
        bundle = Announced(head, found.before, chunks)
        turn.make_room(room_needed(self._files, bundle))
        self._tell_receiving(download)
        part = PartFile(self._files, bundle)
        part.settle()
        download.part = part
        part.spend(download.cost_before)
        download.cost_before = LinkCost()
        if not part.size:
            part.add(found.surplus[: head.patch_bytes])

    def _kept_chunk_list(self, download: Download, head: BundleHead) -> KeptBytes:
        path = f"{FOLDER}/{download.name}.chunks"
        download.chunk_list = KeptBytes(self._files, path, head.chunks_sha256, chunk_list_bytes(head))
        return download.chunk_list

    # The patch.

    def _bring_patch(
        self, download: Download, head: BundleHead, found: Opening, part: PartFile, shore: Shore, turn: Turn
    ) -> None:
        part.settle()
        turn.make_room(room_needed(self._files, part.bundle))
        whole, download.takes_whole = download.takes_whole, False

        def open_stream() -> Iterator[bytes]:
            end = head.patch_bytes if whole else part.border(turn.chunks)
            return download.source.patch(shore, head, len(found.before), part.size, end, skip=whole)

        started, border, fetched = self.monotonic(), part.border(), 0
        pieces = self._pieces(download, "patch", open_stream, whole=whole)
        try:
            while part.size < border and self._may_go_on(started):
                piece = next(pieces, b"")
                if not piece:
                    self.close_stream()
                    break
                fetched += len(piece)
                self._came(download, len(piece))
                part.add(piece)
        finally:
            part.spend(LinkCost(fetched, self.monotonic() - started))

    def _finish(self, download: Download, part: PartFile) -> None:
        """The journal first: if the power goes before the file is in the inbox, it is moved at the next start."""
        self.close_stream()
        if download.job is not None:
            download.job = self._reporter.move(
                download.job,
                "received",
                bundle=download.name,
                bytes_fetched=part.cost.bytes_fetched,
                seconds_on_link=round(part.cost.seconds, 3),
            )
        # The list tells bytes that this disk loses later from a seal that contradicts itself.
        chunk_list = f"{FOLDER}/{part.bundle.head.patch_sha256}.list"
        write_atomically(self._files, chunk_list, part.bundle.chunks)
        move_durably(self._files, chunk_list, f"{INBOX}/{download.name}.chunks")
        part.finish(f"{INBOX}/{download.name}")

    # The link.

    def _bring_small(
        self, download: Download, what: str, kept: KeptBytes, shore: Shore, blob: BlobInfo, end: int
    ) -> bool:
        """Whether the first ``end`` bytes of a blob are here now. It is small: from a server that ignores Range, it is
        taken from its first byte again."""
        started = self.monotonic()
        while kept.size < end and self._may_go_on(started):
            pieces = self._pieces(download, what, lambda: shore.outbox.stream(blob, kept.size, end, skip=True))
            piece = next(pieces, b"")
            if not piece:
                self.close_stream()
            kept.add(piece)
            self._came(download, len(piece))
            download.cost_before += LinkCost(len(piece), 0.0)
        download.cost_before += LinkCost(0, self.monotonic() - started)
        if kept.size >= end:
            kept.save()
        return kept.size >= end

    def _pieces(
        self, download: Download, what: str, open_stream: Callable[[], Iterator[bytes]], *, whole: bool = False
    ) -> Iterator[bytes]:
        """Of the stream that is open, if it is of this; it stays open from one call to the next."""
        if self._stream is None or self._stream.of != (download.name, what):
            self.close_stream()
            self._stream = _Stream((download.name, what), open_stream(), whole)
        return self._stream.pieces

    def _may_go_on(self, started: float) -> bool:
        return self.monotonic() - started < _STEP_SECONDS and not self.allowance.wait()

    def _came(self, download: Download, size: int) -> None:
        self.allowance.spend(size)
        if size and download.part is not None:  # a transfer that waited goes on
            self._tell_receiving(download)

    def _tell_receiving(self, download: Download) -> None:
        job = download.job
        if job is not None and (job.state != "receiving" or not job.sequence):
            download.job = self._reporter.move(job, "receiving")


def _reject(kept: KeptBytes, what: str, code: str) -> NoReturn:
    """Raises: DependencyError to fetch them again; ContentError when the outbox holds them so."""
    try:
        kept.reject(what)
    except DigestMismatch as error:
        raise ContentError(str(error), code=code) from error
