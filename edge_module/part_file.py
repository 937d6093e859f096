"""One patch on its way: a ``.part`` file that never loses a verified chunk and never keeps a wrong one.

``downloads/<sha256 of the patch>.part`` holds the bytes of a bundle up to where they have come, ``….cost`` what they
cost. The sealed digest is the key, not a name, an ETag or an attempt: whatever brings the same patch again finds what
is here. A bundle of another head takes the chunks over behind its own.

Bytes are written as they arrive and synced at chunk borders, when the chunk is verified. What stands behind the last
verified chunk is kept over a broken link, so that a link cut more often than once a chunk still gets through. It is
held in memory too: when a write or sync fails, nothing that was not synced is trusted, and it is written once more.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property

from edge_module.damage import DamageLog, read_own
from edge_module.files import Files, FileWriter, move_durably, remove_durably, write_atomically
from edge_module.wrong_bytes import WrongBytes
from imagedelta.bundles import HEAD_BYTES, BundleHead, check_chunk, check_chunk_list, zip_layout
from imagedelta.errors import ContentError, DependencyError, DigestMismatch

FOLDER = "downloads"
_TRIES = 3
log = logging.getLogger("imagedelta.downloads")


@dataclass(frozen=True)
class LinkCost:
    bytes_fetched: int = 0
    seconds: float = 0.0

    def __add__(self, more: LinkCost) -> LinkCost:
        return LinkCost(self.bytes_fetched + more.bytes_fetched, self.seconds + more.seconds)


@dataclass(frozen=True)
class Announced:
    """A bundle as its sealed head announces it."""

    head: BundleHead
    before: bytes
    """Every byte before the patch."""
    chunks: bytes
    """The chunk list that the head names."""

    @cached_property
    def after(self) -> bytes:
        """Every byte after the patch."""
        return zip_layout.tail_bytes(zip_layout.read_head(self.before)[0])

    @property
    def size(self) -> int:
        return len(self.before) + self.head.patch_bytes + len(self.after)


class PartFile:
    """Offsets and sizes are of the patch."""

    def __init__(self, files: Files, bundle: Announced) -> None:
        """Goes on with what is here of the same patch.

        Raises: DigestMismatch when the chunk list is not the sealed one; DependencyError when the disk fails.
        """
        check_chunk_list(bundle.head, bundle.chunks)
        self._files = files
        self.bundle = bundle
        self.verified = 0
        """Bytes from the start that are known to be right, and on the disk; a border."""
        self._buffer = bytearray()
        self._inherited = False
        """The buffer begins with bytes of an earlier run, which a power cut may have spoilt."""
        self._wrong = WrongBytes("bundle.damaged")
        self._writer: FileWriter | None = None
        self.cost = self._load_cost()
        self._take_over()

    @property
    def size(self) -> int:
        """Bytes that need not be asked for again, as long as the last chunk turns out right."""
        return self.verified + len(self._buffer)

    @property
    def bundle_bytes(self) -> int:
        """Of the bundle, as many as are here."""
        return len(self.bundle.before) + self.size + (len(self.bundle.after) if self.complete else 0)

    @property
    def at_border(self) -> bool:
        """Whether another bundle may come first now without anything waiting half-verified."""
        return not self._buffer

    @property
    def complete(self) -> bool:
        return self.verified == self.bundle.head.patch_bytes

    def border(self, chunks: int = 1) -> int:
        """Where the ``chunks``-th border from here lies: the end of a range worth asking for."""
        head = self.bundle.head
        return min(self.verified + chunks * head.chunk_bytes, head.patch_bytes)

    def settle(self) -> None:
        """Be ready for ``add`` at ``size``: what a failed write or sync left in memory alone is written once more."""
        with self._trusting_only_what_is_synced():
            self._open_writer()
            self._verify_buffer()

    def add(self, piece: bytes) -> None:
        """Take bytes that continue at ``size``.

        Raises: DependencyError ``link.damages`` when a chunk arrived wrong: it is to be fetched again from its border.
            DigestMismatch ``bundle.damaged`` when it was wrong in the same way again and again.
        """
        with self._trusting_only_what_is_synced():
            writer = self._open_writer()
            self._buffer += piece
            writer.write(piece)
            self._verify_buffer()

    def pause(self) -> None:
        """The link broke or another bundle comes first: what has arrived stays, durably."""
        if self._writer is None:
            return
        with self._trusting_only_what_is_synced():
            self._writer.sync()
            self._save_cost()
        self._release()

    def spend(self, cost: LinkCost) -> None:
        self.cost += cost

    def finish(self, destination: str) -> None:
        """The whole bundle, durably, under ``destination``. Can be repeated after a failure."""
        with self._trusting_only_what_is_synced():
            writer = self._open_writer()
            if not self.complete:
                raise DependencyError(f"{self._path} was cut by somebody", code="disk.failing")
            writer.write(self.bundle.after)
            writer.sync()
        self._release()
        move_durably(self._files, self._path, destination)

    # Going on with what is here.

    def _take_over(self) -> None:
        """Set ``verified`` and the buffer to what the file has of this patch."""
        self.verified = 0
        self._buffer.clear()
        if self._files.size(self._path) is None:
            self._make_way()
            return
        before = self.bundle.before
        start = _patch_offset(self._read(0, HEAD_BYTES))
        if start is None:
            remove_durably(self._files, self._path)
        elif self._read(0, len(before)) == before:
            self._verify_present(start)
        else:
            self._copy_behind_new_head(start)

    def _make_way(self) -> None:
        if self._files.kind(self._path) is not None:
            DamageLog(self._files).set_aside(self._path, "it is no file", "it is fetched anew")

    def _verify_present(self, start: int) -> None:
        for chunk in self._present_chunks(start):
            self.verified += len(chunk)
        self._inherit(self._present_rest(start))
        self._open_writer().sync()  # a killed process may have left verified bytes unsynced

    def _copy_behind_new_head(self, start: int) -> None:
        temporary = f"{self._path}.tmp"
        writer = self._files.create(temporary)
        try:
            writer.write(self.bundle.before)
            for chunk in self._present_chunks(start):
                writer.write(chunk)
                self.verified += len(chunk)
            self._inherit(self._present_rest(start))
            writer.write(bytes(self._buffer))
            writer.sync()
        finally:
            writer.close()
        move_durably(self._files, temporary, self._path)

    def _present_chunks(self, start: int) -> Iterator[bytes]:
        """The right chunks that the file has from ``verified`` on, up to a wrong one; the caller moves ``verified``."""
        while length := self._next_chunk_bytes():
            chunk = self._read(start + self.verified, length)
            if len(chunk) < length or not self._is_right(chunk):
                return
            yield chunk

    def _present_rest(self, start: int) -> bytes:
        """The beginning of the next chunk, if it is no more than that."""
        length = self._next_chunk_bytes()
        rest = self._read(start + self.verified, length)
        return rest if len(rest) < length else b""

    def _inherit(self, rest: bytes) -> None:
        self._buffer += rest
        self._inherited = bool(rest)

    # Chunks.

    def _next_chunk_bytes(self) -> int:
        head = self.bundle.head
        return min(head.chunk_bytes, head.patch_bytes - self.verified)

    def _is_right(self, chunk: bytes) -> bool:
        try:
            check_chunk(self.bundle.chunks, self.verified // self.bundle.head.chunk_bytes, chunk)
        except DigestMismatch:
            return False
        return True

    def _verify_buffer(self) -> None:
        while (length := self._next_chunk_bytes()) and len(self._buffer) >= length:
            chunk = bytes(self._buffer[:length])
            if not self._is_right(chunk):
                self._drop_wrong_chunk(chunk)
            if self._writer is not None:
                self._writer.sync()
            del self._buffer[:length]
            self.verified += length
            self._wrong.forget()
            self._inherited = False

    def _drop_wrong_chunk(self, chunk: bytes) -> None:
        number = self.verified // self.bundle.head.chunk_bytes
        ours, self._inherited = self._inherited, False
        self._buffer.clear()
        self._release()
        self._wrong.note(chunk, f"chunk {number} of the patch arrived damaged", blame=not ours)

    # The file.

    def _open_writer(self) -> FileWriter:
        """At the end of what is here: opened anew, the file is cut to what was verified, and the buffer follows."""
        if self._writer is not None:
            return self._writer
        keep = len(self.bundle.before) + self.verified
        present = self._files.size(self._path)
        if (present or 0) < keep and (present or self.verified):  # somebody cut or removed it
            self._take_over()
            return self._open_writer()
        writer = self._writer = self._files.append(self._path, keep if present else 0)
        if not present:
            self._files.sync_folder(FOLDER)
            writer.write(self.bundle.before)
        if self._buffer:
            writer.write(bytes(self._buffer))
        return writer

    @contextmanager
    def _trusting_only_what_is_synced(self) -> Iterator[None]:
        """A disk that failed a write may have dropped it: the file is let go of, and written again from the buffer."""
        try:
            yield
        except DependencyError:
            self._release()
            raise

    def _release(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _read(self, offset: int, length: int) -> bytes:
        return _read(self._files, self._path, offset, length)

    def _load_cost(self) -> LinkCost:
        data = read_own(self._files, self._cost_file, 4096)
        try:
            state = json.loads(data or b"")
            cost = LinkCost(int(state["bytes_fetched"]), float(state["seconds"]))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return LinkCost()
        return cost if 0 <= cost.bytes_fetched < 2**44 and 0 <= cost.seconds < 1e12 else LinkCost()

    def _save_cost(self) -> None:
        write_atomically(self._files, self._cost_file, json.dumps(asdict(self.cost)).encode())

    @property
    def _path(self) -> str:
        return part_path(self.bundle.head.patch_sha256)

    @property
    def _cost_file(self) -> str:
        return f"{FOLDER}/{self.bundle.head.patch_sha256}.cost"


def room_needed(files: Files, bundle: Announced) -> int:
    """Bytes that the disk must have free, so that the bundle becomes whole."""
    path = part_path(bundle.head.patch_sha256)
    present = files.size(path)
    if present is None:
        return bundle.size
    same = _read(files, path, 0, len(bundle.before)) == bundle.before
    return max(0, bundle.size - present) if same else bundle.size


def _read(files: Files, path: str, offset: int, length: int) -> bytes:
    """Nothing where the disk gives nothing, though asked again: then it is fetched anew from there on."""
    for _ in range(_TRIES):
        try:
            with files.open(path) as stream:
                stream.seek(offset)
                return stream.read(length)
        except FileNotFoundError:
            break
        except DependencyError as error:
            log.warning("%s cannot be read at %d: %s", path, offset, error)
    return b""


def part_path(patch_sha256: str) -> str:
    return f"{FOLDER}/{patch_sha256}.part"


def _patch_offset(prefix: bytes) -> int | None:
    """Where the patch begins in a file that begins so."""
    try:
        return zip_layout.read_head(prefix)[1]
    except ContentError:
        return None
