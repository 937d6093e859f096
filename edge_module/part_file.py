"""One bundle on its way: a ``.part`` file that never loses a verified chunk and never keeps a wrong one.

In ``downloads``: ``<name>.part`` (the bytes so far), ``<name>.state`` (which blob they are of, what they
cost), ``<name>.chunks`` (the chunk list, once the sealed head has vouched for it).

Bytes are written as they arrive and synced at chunk borders, when the chunk is verified. What stands behind
the last verified chunk is kept over a broken link, so that a link cut more often than once a chunk still
gets through; if such a chunk turns out wrong, it is fetched once more from its border.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from edge_module.bundle_source import MAX_CHUNKS_BYTES
from edge_module.files import Files, FileWriter, read_bounded, remove_durably, write_atomically
from imagedelta.bundles import HEAD_BYTES, BundleHead, check_chunk, check_chunk_list, zip_layout
from imagedelta.errors import ContentError, DigestMismatch
from services.ports import BlobInfo

FOLDER = "downloads"
_TRIES = 3
"""A chunk that is wrong so often in a row is wrong in the outbox, not on the way."""


@dataclass(frozen=True)
class LinkCost:
    bytes_fetched: int = 0
    seconds: float = 0.0


class PartFile:
    def __init__(self, files: Files, blob: BlobInfo, head_bytes: int) -> None:
        """Goes on with what an earlier run left, if it is of the same blob.

        Args:
            blob: The whole bundle.
            head_bytes: So many bytes from the start hold the whole head.
        """
        self._files = files
        self.blob = blob
        self._head_bytes = head_bytes
        self.fresh = True
        """Nothing was left by an earlier run, whose unsynced bytes a power cut may have spoilt."""
        self.head: BundleHead | None = None
        self._patch_offset = 0
        self._chunks = b""
        self._writer: FileWriter | None = None
        self._buffer = bytearray()
        self._tail = b""
        self._mismatches = 0
        self.verified = 0
        """Bytes from the start that are known to be right; a border."""
        self.cost = self._load_cost()
        if self._files.size(self._part) is not None:
            self.fresh = False
            self._buffer += self._read(0, HEAD_BYTES)

    @property
    def size(self) -> int:
        """Bytes that need not be asked for again, as long as the last chunk turns out right."""
        return self.verified + len(self._buffer)

    @property
    def at_border(self) -> bool:
        """Whether another bundle may come first now without anything waiting half-verified."""
        return not self._buffer or self.complete

    @property
    def complete(self) -> bool:
        return self.head is not None and self.verified == self.blob.size

    @property
    def prefix(self) -> bytes | None:
        """The bytes that hold the head, once they are here and before they are judged."""
        wanted = self._head_bytes
        return bytes(self._buffer[:wanted]) if self.head is None and len(self._buffer) >= wanted else None

    def border(self, chunks: int = 1) -> int:
        """Where the ``chunks``-th border from here lies: the end of a range worth asking for."""
        if self.head is None:
            return self._head_bytes
        patch_end = self._patch_offset + self.head.patch_bytes
        if self.verified >= patch_end:
            return self.blob.size
        end = min(self.verified + chunks * self.head.chunk_bytes, patch_end)
        return self.blob.size if end == patch_end else end

    def saved_chunks(self) -> bytes | None:
        """The chunk list as an earlier run saved it."""
        return read_bounded(self._files, self._chunk_file, MAX_CHUNKS_BYTES)

    def accept(self, head: BundleHead, patch_offset: int, chunks: bytes) -> None:
        """The head is sealed and wanted: from here on every chunk is verified.

        Raises: DigestMismatch when the list is not the sealed one; ContentError when the blob has another
        size than its head says.
        """
        check_chunk_list(head, chunks)
        self._tail = self._expected_tail(patch_offset + head.patch_bytes)
        if self.saved_chunks() != chunks:
            write_atomically(self._files, self._chunk_file, chunks)
        self.head, self._patch_offset, self._chunks = head, patch_offset, chunks
        self.verified = patch_offset
        self._verify_present()

    def add(self, piece: bytes) -> None:
        """Take bytes that continue at ``size``.

        Raises:
            DigestMismatch: A chunk was wrong again and again: ``bundle.damaged``.
        """
        self._open_writer(self.size).write(piece)
        self._buffer += piece
        if self.head is not None:
            self._verify_buffer()

    def pause(self) -> None:
        """The link broke or another bundle comes first: what has arrived stays, durably."""
        if self._writer is not None:
            self._writer.sync()
            self._close_writer()
            self._save_cost()

    def release(self) -> None:
        """The disk refused a write: forget what of it may have been half-written."""
        self._close_writer()

    def start_anew(self) -> None:
        """What is here is worthless; a blob that changed is not the same one any more."""
        self._close_writer()
        self._buffer.clear()
        self.head, self.verified, self.fresh = None, 0, True
        for name in (self._part, self._chunk_file):
            if self._files.size(name) is not None:
                remove_durably(self._files, name)

    def spend(self, bytes_fetched: int, seconds: float) -> None:
        self.cost = replace(
            self.cost,
            bytes_fetched=self.cost.bytes_fetched + bytes_fetched,
            seconds=self.cost.seconds + seconds,
        )

    def discard(self) -> None:
        """Forget everything about this bundle."""
        self._close_writer()
        forget_part(self._files, self.blob.name)

    @property
    def path(self) -> str:
        return self._part

    @property
    def chunks_path(self) -> str:
        return self._chunk_file

    def _verify_present(self) -> None:
        """After a restart: find the last good border, chunk by chunk; bytes behind it stay in the buffer."""
        self._buffer.clear()
        present = self._files.size(self._part) or 0
        position = self.verified
        while position < present:
            block = self._read(position, min(self.border() - self.verified, present - position))
            position += len(block)
            self._buffer += block
            self._verify_buffer()
            if position != self.size:  # a wrong chunk was cut off
                break
        self._open_writer(self.size).sync()  # a killed process may have left verified bytes unsynced

    def _verify_buffer(self) -> None:
        assert self.head is not None  # noqa: S101 -- only called after accept
        patch_end = self._patch_offset + self.head.patch_bytes
        while self.verified < patch_end:
            length = min(self.head.chunk_bytes, patch_end - self.verified)
            if len(self._buffer) < length:
                return
            self._verify_chunk(length)
        if self.size >= self.blob.size:
            self._verify_tail()

    def _verify_tail(self) -> None:
        if bytes(self._buffer) == self._tail:
            self._commit(len(self._tail))
        else:
            self._drop_wrong_chunk(DigestMismatch("the bundle's directory is not the one of its head"))

    def _expected_tail(self, patch_end: int) -> bytes:
        parts, _ = zip_layout.read_head(self._read(0, HEAD_BYTES))
        tail = zip_layout.tail_bytes(parts)
        if self.blob.size != patch_end + len(tail):
            raise ContentError(f"the blob has {self.blob.size} bytes, its head says {patch_end + len(tail)}")
        return tail

    def _verify_chunk(self, length: int) -> None:
        assert self.head is not None  # noqa: S101 -- only called after accept
        number = (self.verified - self._patch_offset) // self.head.chunk_bytes
        try:
            check_chunk(self._chunks, number, bytes(self._buffer[:length]))
        except DigestMismatch as error:
            self._drop_wrong_chunk(error)
            return
        self._mismatches = 0
        self._commit(length)

    def _commit(self, length: int) -> None:
        if self._writer is not None:
            self._writer.sync()
        del self._buffer[:length]
        self.verified += length

    def _drop_wrong_chunk(self, error: DigestMismatch) -> None:
        self._mismatches += 1
        self._buffer.clear()
        self._close_writer()
        self._open_writer(self.verified)
        if self._mismatches >= _TRIES:
            raise DigestMismatch(f"{error} {_TRIES} times in a row", code="bundle.damaged")

    def _load_cost(self) -> LinkCost:
        data = read_bounded(self._files, self._state_file, 4096)
        try:
            state = json.loads(data or b"")
            if (state["etag"], state["size"]) == (self.blob.etag, self.blob.size):
                return LinkCost(int(state["bytes_fetched"]), float(state["seconds"]))
        except (ValueError, TypeError, KeyError):
            pass
        self.cost = LinkCost()
        self.start_anew()
        self._save_cost()
        return self.cost

    def _save_cost(self) -> None:
        state = {"etag": self.blob.etag, "size": self.blob.size} | asdict(self.cost)
        write_atomically(self._files, self._state_file, json.dumps(state).encode())

    def _open_writer(self, keep: int) -> FileWriter:
        if self._writer is None:
            new = self._files.size(self._part) is None
            self._writer = self._files.append(self._part, keep)
            if new:
                self._files.sync_folder(FOLDER)
        return self._writer

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _read(self, offset: int, length: int) -> bytes:
        try:
            with self._files.open(self._part) as stream:
                stream.seek(offset)
                return stream.read(length)
        except FileNotFoundError:
            return b""

    @property
    def _part(self) -> str:
        return f"{FOLDER}/{self.blob.name}.part"

    @property
    def _chunk_file(self) -> str:
        return f"{FOLDER}/{self.blob.name}.chunks"

    @property
    def _state_file(self) -> str:
        return f"{FOLDER}/{self.blob.name}.state"


def forget_part(files: Files, name: str) -> None:
    """Remove what there is of a bundle that is not opened."""
    for suffix in ("part", "chunks", "state"):
        file = f"{FOLDER}/{name}.{suffix}"
        if files.size(file) is not None:
            files.remove(file)
    files.sync_folder(FOLDER)
