"""Where the bytes of a bundle come from: from one blob of the outbox, or from a small file there and a shared patch.

Both kinds of source look like one blob from outside: the whole bundle, byte for byte the same either way. So what
fetches, resumes and judges knows no difference.

Source: docs/formats/bundle.md, section 5, shared form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from contracts.messages import OutboxAccess, PatchAccess
from imagedelta.bundles import HEAD_BYTES, MAX_SHARED_BYTES, BundleHead, SharedBundle, read_shared
from imagedelta.errors import ContentError, DependencyError
from services.blobs_http import BlobContainer
from services.ports import BlobInfo

FORMS = ("shared",)
"""What the inventory says: forms of a bundle that this module fetches, beside the composed one."""
MAX_CHUNKS_BYTES = 32 * 1024 * 1024
"""A chunk list of 32 bytes per MiB: enough for 1 TiB."""
_NAME = re.compile(r"((\d)-\d{12}-([A-Za-z0-9][A-Za-z0-9_-]{0,127})-(\d{1,7}))\.(?:bundle|shared)")
_UNKNOWN_TIME = datetime.fromtimestamp(0, UTC)


class OpenContainer(Protocol):
    def __call__(self, url: str, query: str, /) -> BlobContainer: ...


class Shore:
    """What the device may read ashore: its outbox, and the patches it has a grant for."""

    def __init__(self, open_container: OpenContainer, outbox: OutboxAccess, patches: PatchAccess | None) -> None:
        self.outbox = open_container(outbox.url, outbox.query)
        self._open_container = open_container
        self._patches = patches

    def bundles(self) -> dict[str, BlobInfo]:
        """Name of each bundle → the blob of the outbox that stands for it."""
        found: dict[str, BlobInfo] = {}
        for blob in self.outbox.list():
            if match := _NAME.fullmatch(blob.name):
                found.setdefault(f"{match[1]}.bundle", blob)
        return found

    def patch(self, sha256: str, size: int, offset: int, end: int) -> Iterator[bytes]:
        """Bytes ``[offset, end)`` of a shared patch.

        Raises (while iterating): DependencyError: the link broke; ``patch.denied`` when only another grant can help,
            ``patch.missing`` when it is not there or has another size. What has come of it stays good.
        """
        try:
            yield from self._patch(sha256).stream(BlobInfo(sha256, size, "", _UNKNOWN_TIME), offset, end)
        except DependencyError as error:
            if error.code != "outbox.denied":
                raise
            raise _denied(sha256) from error
        except ContentError as error:
            raise DependencyError(f"patch {sha256}: {error}", code="patch.missing") from error

    def _patch(self, sha256: str) -> BlobContainer:
        for grant in self._patches.grants if self._patches else ():
            if grant.patch == sha256 and self._patches:
                query = "&".join(part for part in (self._patches.query, grant.query) if part)
                return self._open_container(self._patches.url, query)
        raise _denied(sha256)


class ComposedSource:
    """A whole bundle in the outbox, and its chunk list beside it."""

    def __init__(self, blob: BlobInfo) -> None:
        self.blob = blob
        self.head_bytes = min(HEAD_BYTES, blob.size)
        """So many bytes from the start hold the whole head."""

    def stream(self, shore: Shore, head: BundleHead | None, offset: int, end: int) -> Iterator[bytes]:
        """Bytes ``[offset, end)`` of the bundle; ``head`` once it is sealed and wanted."""
        return shore.outbox.stream(self.blob, offset, end)

    def chunk_list(self, shore: Shore, head: BundleHead) -> bytes:
        """As it was found, to be held against the head."""
        return shore.outbox.read_small(f"{self.blob.name}.chunks", chunk_list_bytes(head))


class SharedSource:
    """A file of the outbox with all but the patch."""

    def __init__(self, name: str, file: BlobInfo, shared: SharedBundle) -> None:
        self._shared = shared
        self.blob = replace(file, name=name, size=shared.bundle_bytes)
        self.head_bytes = len(shared.before)

    def stream(self, shore: Shore, head: BundleHead | None, offset: int, end: int) -> Iterator[bytes]:
        """As of a composed bundle. Without a head nothing but the bytes before the patch is given."""
        shared, start = self._shared, len(self._shared.before)
        if offset < start:
            yield shared.before[offset:end]
            offset = start
        if head is not None and offset < min(end, shared.patch_end):
            length = min(end, shared.patch_end) - start
            yield from shore.patch(head.patch_sha256, shared.patch_bytes, offset - start, length)
            offset = start + length
        if end > shared.patch_end:
            yield shared.after[offset - shared.patch_end : end - shared.patch_end]

    def chunk_list(self, shore: Shore, head: BundleHead) -> bytes:
        """As it was found, to be held against the head."""
        return self._shared.chunks


Source = ComposedSource | SharedSource


def open_source(shore: Shore, name: str, blob: BlobInfo) -> Source:
    """The source of bundle ``name``; the file of a shared one is fetched.

    Raises: ContentError when that file is none; DependencyError.
    """
    if blob.name == name:
        return ComposedSource(blob)
    return SharedSource(name, blob, read_shared(shore.outbox.read_small(blob.name, MAX_SHARED_BYTES)))


def parts_of(name: str) -> tuple[str, str, int]:
    """Priority digit, transfer and attempt, as the name of a bundle says."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise ContentError(f"{name[:120]!r} is not the name of a bundle")
    return match[2], match[3], int(match[4])


def chunk_list_bytes(head: BundleHead) -> int:
    """Size of the chunk list of a bundle.

    Raises: ContentError when the bundle has none, or one too large.
    """
    size = -(-head.patch_bytes // head.chunk_bytes) * 32
    if not head.chunks_sha256 or size > MAX_CHUNKS_BYTES:
        raise ContentError("the bundle has no chunk list that this device can use", code="content.unsupported")
    return size


def _denied(sha256: str) -> DependencyError:
    return DependencyError(f"patch {sha256}: no grant of the twin opens it", code="patch.denied")
