"""Our own resumable downloader: the outbox container's bundles into the inbox, best first, byte by byte once.

Nothing that an answer says is final, for anybody may have given it: what is here is kept, and the next try comes later.
Final are only bytes that were held against a seal or a sealed digest (edge_module.wrong_bytes).
Not here: how one bundle is brought (edge_module.fetching), whose turn it is (edge_module.turns), how much of the link
may be used (edge_module.allowance), how long what nobody asks for is kept (edge_module.left_behind).
"""

from __future__ import annotations

import logging
import math

from contracts.messages import DesiredProperties
from edge_module.backoff import Backoff
from edge_module.bundle_source import Shore, is_bundle_name, parts_of, patch_named_in, source_of
from edge_module.fetching import INBOX, Download, Fetching, Turn
from edge_module.files import Files, open_folder
from edge_module.intake import Intake
from edge_module.journal import Journal
from edge_module.kept_bytes import KeptBytes, kept_bytes
from edge_module.left_behind import LeftBehind
from edge_module.part_file import FOLDER
from edge_module.refused import RefusedFiles
from edge_module.troubles import Troubles
from edge_module.turns import Turns
from edge_module.verdict import Refused, Wait
from imagedelta.bundles import MAX_SHARED_BYTES
from imagedelta.errors import ContentError, DependencyError
from services.blobs.http import RangeIgnored
from services.ports import BlobInfo

LOOK_SECONDS = 60.0
"""When nothing can be fetched: how soon to look again."""
TOLD_AFTER_SECONDS = 900.0
"""A bundle that gets no byte for so long is told to be blocked; before, it is only the link."""
ASKED_AGAIN_SECONDS = 3600.0
"""What is no bundle is looked at again so often: it was perhaps a portal that said so."""
_WAIT_SECONDS = 1.0
"""Somebody here has to look first."""
_CHEAP_BYTES = 1024 * 1024
"""So much may be paid for twice at once, to get past a proxy that ignores Range."""
_OF_THE_LINK = frozenset({"dependency.unavailable", "link.silent", "link.odd_answer", "outbox.denied"})
"""Codes that need not mean the bundle that met them: everything waits."""
_UNTOLD = frozenset({"dependency.unavailable", "link.silent"})
"""A link that is down cannot be told over it, and is no news when it is up again."""
log = logging.getLogger("imagedelta.downloads")


class Downloader:
    def __init__(
        self,
        files: Files,
        journal: Journal,
        intake: Intake,
        refused: RefusedFiles,
        fetching: Fetching,
        troubles: Troubles,
        reserve_bytes: int,
    ) -> None:
        self._files = files
        self._journal = journal
        self._intake = intake
        self._refused = refused
        self._fetching = fetching
        self._troubles = troubles
        self._reserve_bytes = reserve_bytes
        self._allowance = fetching.allowance
        self._monotonic = fetching.monotonic
        open_folder(files, FOLDER)
        self._left_behind = LeftBehind(files, self._monotonic)
        self._turns = Turns()
        self._downloads: dict[str, Download] = {}
        self._current: Download | None = None
        self._answered: dict[tuple[str, str], float] = {}
        """Blob and ETag of what needs not be fetched -> until when."""
        self._backoff = Backoff(0.25, 120.0)
        self._next_try = 0.0
        self._shore: Shore | None = None

    # What others ask, from their threads.

    @property
    def waiting(self) -> int:
        """Bundles that are listed and not yet in the inbox."""
        return len(self._downloads)

    def images_named(self) -> set[str] | None:
        """Targets and sources of the bundles that wait; None while the head of one is not known."""
        named: set[str] = set()
        for download in list(self._downloads.values()):
            if download.head is None:
                return None
            named |= {download.head.target_image_id, *download.head.source_image_ids}
        return named

    def progress(self) -> dict[str, object] | None:
        """The bundle that is being fetched, for the reported properties."""
        current = self._current
        if current is None or current.part is None or current.name not in self._downloads:
            return None
        transfer_id, attempt = current.key
        size = {"bytes": current.part.bundle_bytes, "ofBytes": current.part.bundle.size}
        return {"transferId": transfer_id, "attempt": attempt, **size}

    # The outbox.

    def refresh(self, shore: Shore) -> None:
        """List the outbox: new bundles join, those that are not listed rest; what is here of them is kept.

        Raises: DependencyError when the outbox does not answer.
        """
        listed = shore.bundles()
        self._next_try = 0.0  # the link is up
        if shore is not self._shore:
            self._shore = shore
            self._try_denied_again()
        for name, download in list(self._downloads.items()):
            if name not in listed or not _is_same(listed[name], download.blob):
                self._rest(download)
        for name, blob in listed.items():
            if name not in self._downloads and self._is_wanted(name, blob):
                self._join(name, blob)
        self._forget_done()
        self._left_behind.forget_old()

    def _forget_done(self) -> None:
        """What came another way, and is done, is not resumed from here."""
        for stem in self._left_behind.stems():
            if is_bundle_name(stem):
                _, transfer_id, attempt = parts_of(stem)
                job = self._journal.find(transfer_id, attempt)
                if job is not None and job.done and job.state != "failed":
                    opening = kept_bytes(self._files, f"{FOLDER}/{stem}.opening", MAX_SHARED_BYTES)
                    self._left_behind.forget(stem)
                    self._left_behind.forget(patch_named_in(opening))

    def _is_wanted(self, name: str, blob: BlobInfo) -> bool:
        if self._monotonic() < self._answered.get((blob.name, blob.etag), 0.0):
            return False
        if self._files.size(f"{INBOX}/{name}") is not None:
            return False
        _, transfer_id, attempt = parts_of(name)
        job = self._journal.find(transfer_id, attempt)
        if job is None:
            return True
        return not (job.done or (not job.sealed and job.etag == blob.etag))

    def _join(self, name: str, blob: BlobInfo) -> None:
        priority, transfer_id, attempt = parts_of(name)
        try:
            source = source_of(name, blob)
        except ContentError as error:
            self._note_no_bundle(name, blob, error)
            return
        version = f"{blob.name} {blob.etag} {blob.size}"
        opening = KeptBytes(self._files, f"{FOLDER}/{name}.opening", version, MAX_SHARED_BYTES)
        self._downloads[name] = Download(name, blob, priority, (transfer_id, attempt), source, opening)
        self._left_behind.claim(name)
        if patch := patch_named_in(opening.data):
            self._left_behind.claim(patch)

    def _rest(self, download: Download) -> None:
        """It is not fetched any more for now; what is here of it is kept for a while."""
        self._fetching.close_stream()
        download.put_down()
        self._downloads.pop(download.name, None)
        self._troubles.clear(download.name)
        self._left_behind.leave(download.name)
        if download.patch and not any(each.patch == download.patch for each in self._downloads.values()):
            self._left_behind.leave(download.patch)

    def _try_denied_again(self) -> None:
        """The twin has brought other grants."""
        for download in self._downloads.values():
            if download.denied:
                download.denied, download.retry_at = False, 0.0

    # Turns.

    def step(self, shore: Shore, desired: DesiredProperties) -> float:
        """Do a little work; returns the seconds until there may be more to do."""
        self._allowance.follow(desired.link)
        if not self._allowance.is_open:
            self.pause()
        pause = max(self._allowance.wait(), self._next_try - self._monotonic())
        if pause > 0:
            return pause
        download = self._choose()
        if download is None:
            return self._until_a_retry()
        try:
            self._advance(download, shore, desired)
        except DependencyError as error:
            self._interrupted(download, error)
        except ContentError as error:
            self._note_no_bundle(download.name, download.blob, error)
            self._rest(download)
        return 0.0

    def pause(self) -> None:
        """Close the link and keep what has arrived."""
        self._fetching.close_stream()
        for download in self._downloads.values():
            download.put_down()

    def _choose(self) -> Download | None:
        """The current bundle until its next chunk border, then whoever's turn it is."""
        now = self._monotonic()
        ready = [each for each in self._downloads.values() if each.retry_at <= now]
        if not ready:
            return None
        current = self._current
        if current is not None and current in ready and self._fetching.is_bound_to(current):
            return current
        priority = self._turns.choose(each.priority for each in ready)
        chosen = min((each for each in ready if each.priority == priority), key=lambda each: each.name)
        if current is not None and current is not chosen:
            self._fetching.close_stream()
            current.put_down()
        self._current = chosen
        return chosen

    def _until_a_retry(self) -> float:
        now = self._monotonic()
        return min([LOOK_SECONDS, *(max(0.0, each.retry_at - now) for each in self._downloads.values())])

    def _advance(self, download: Download, shore: Shore, desired: DesiredProperties) -> None:
        known = self._journal.find(*download.key)
        if known is not None and known.done:  # it came another way meanwhile
            self._answer(download, keep=known.state == "failed")
        elif self._files.size(f"{INBOX}/{download.name}") is not None:
            if known is not None and known.bundle == download.name:
                self._answer(download, keep=False)
            else:  # another tool brings it
                self._rest(download)
        elif self._is_brought_otherwise(download):
            download.put_down()
            download.part, download.retry_at = None, self._monotonic() + LOOK_SECONDS / 2
        else:
            self._fetch(download, shore, desired)

    def _fetch(self, download: Download, shore: Shore, desired: DesiredProperties) -> None:
        verified = download.part.verified if download.part else 0
        try:
            turn = Turn(self._turns.run_length(download.priority), self._make_room)
            verdict = self._fetching.advance(download, shore, desired, turn)
        finally:
            self._note_progress(download)
        if download.patch:
            self._left_behind.claim(download.patch)
        if download.part is not None and download.part.verified > verified:
            self._turns.serve(download.priority)
            download.range_ignored = False
        if isinstance(verdict, Wait):
            download.retry_at = self._monotonic() + _WAIT_SECONDS
        elif verdict is not None:
            self._answer(download, keep=isinstance(verdict, Refused))

    def _note_progress(self, download: Download) -> None:
        """More is here than ever: whatever was in the way is gone."""
        if download.size > download.most:
            download.most = download.size
            download.idle_since = None
            self._troubles.clear(download.name)
            download.backoff.succeeded()
            self._backoff.succeeded()

    def _is_brought_otherwise(self, download: Download) -> bool:
        """Whether another bundle with the same patch goes first, or the same image is being made."""
        if download.head is None:
            return False
        if any(each.patch == download.patch and each.name < download.name for each in self._downloads.values()):
            return True
        if download.part is not None:
            return False
        image = download.head.target_image_id
        making = [job.bundle for job in self._journal.jobs() if job.bundle and not job.done and job.image_id == image]
        return any(self._files.size(f"{INBOX}/{name}") is not None for name in making)

    # Ends and troubles.

    def _answer(self, download: Download, *, keep: bool) -> None:
        """Nothing more to fetch of this bundle, unless the inbox loses it.

        Args:
            keep: Its patch may be asked for again: under another attempt, or by a bundle that fits.
        """
        if keep:
            self._answered[download.blob.name, download.blob.etag] = math.inf
        worth_keeping = keep and download.part is not None and download.part.verified > 0
        self._rest(download)
        self._left_behind.forget(download.name)
        if download.patch and not worth_keeping:
            self._left_behind.forget(download.patch)

    def _interrupted(self, download: Download, error: DependencyError) -> None:
        """Everything that is here stays; the bundle, the link or both are tried again later."""
        self._fetching.close_stream()
        download.put_down()
        log.warning("%s waits: %s (%s)", download.name, error, error.code)
        now = self._monotonic()
        idle_before = download.idle_since
        download.idle_since = now if idle_before is None else idle_before
        if error.code not in _UNTOLD or idle_before is not None:
            self._troubles.note(download.name, error.code, str(error))
        if error.code.startswith("disk."):
            download.retry_at = now + download.backoff.failed()
            self._fetching.block(download, error)
            return
        download.denied = error.code == "patch.denied"
        if isinstance(error, RangeIgnored):
            self._get_round_ignored_range(download)
        elif error.code in _OF_THE_LINK:
            self._next_try = now + self._backoff.failed()
            if idle_before is not None:  # it has brought nothing twice: let others try
                download.retry_at = now + download.backoff.failed()
        else:
            download.retry_at = now + download.backoff.failed()
        if error.code not in _UNTOLD and now - download.idle_since >= TOLD_AFTER_SECONDS:
            self._fetching.block(download, error)

    def _get_round_ignored_range(self, download: Download) -> None:
        """The whole blob, leaving out what is here: little is paid for twice at once, much only a few times a day."""
        first, download.range_ignored, download.takes_whole = not download.range_ignored, True, True
        if not first or download.size > _CHEAP_BYTES:
            download.retry_at = self._monotonic() + download.whole_backoff.failed()

    def _note_no_bundle(self, name: str, blob: BlobInfo, error: ContentError) -> None:
        """Told once, and looked at again later: there is no transfer that it could be refused for."""
        if {"bundle": name, "code": error.code} not in self._intake.refusals:
            self._intake.note_refusal(name, error)
        self._answered[blob.name, blob.etag] = self._monotonic() + ASKED_AGAIN_SECONDS

    def _make_room(self, size: int) -> None:
        """Raises: DependencyError ``disk.full`` before the first byte that would not fit."""
        needed = size + self._reserve_bytes
        free = self._refused.make_room(needed, self._files.free_bytes)
        if free < needed:
            free = self._left_behind.make_room(needed, self._files.free_bytes)
        if free < needed:
            raise DependencyError(f"{needed} bytes of disk needed, {free} are free", code="disk.full")


def _is_same(one: BlobInfo, other: BlobInfo) -> bool:
    return (one.name, one.etag, one.size) == (other.name, other.etag, other.size)
