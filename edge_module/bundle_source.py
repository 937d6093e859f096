"""Where the bytes of a bundle come from: from one blob of the outbox, or from a small file there and a shared patch.

Either way a bundle is an opening (what comes before its patch), a chunk list, and the patch. What comes after the patch
follows from the opening and is never fetched. So what resumes, judges and keeps knows no difference.

Source: docs/formats/bundle.md, section 5, shared form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from contracts.messages import OutboxAccess, PatchAccess
from imagedelta.bundles import HEAD_BYTES, MAX_SHARED_BYTES, BundleHead, parse_head, read_shared, zip_layout
from imagedelta.bundles.head import TRANSFER_ID
from imagedelta.errors import ContentError, DependencyError, LimitExceeded, Truncated
from services.blobs.http import BlobContainer
from services.ports import BlobInfo

FORMS = ("shared",)
"""What the inventory says: forms of a bundle that this module fetches, beside the composed one."""
MAX_CHUNKS_BYTES = 32 * 1024 * 1024
"""A chunk list of 32 bytes per MiB: enough for 1 TiB."""
FIRST_BYTES = 4096
"""Of a composed bundle: nearly every opening is a tenth of that, and more would be fetched twice by a new attempt."""
_NAME = re.compile(rf"((\d)-\d{{12}}-({TRANSFER_ID.pattern})-(\d{{1,7}}))\.(?:bundle|shared)")
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

    def patch(self, sha256: str, size: int, offset: int, end: int, *, skip: bool) -> Iterator[bytes]:
        """Bytes ``[offset, end)`` of a shared patch.

        Raises (while iterating): DependencyError: the link broke; ``patch.denied`` when only another grant can help,
            ``patch.missing`` when it is not there or has another size. What has come of it stays good.
        """
        blob = BlobInfo(sha256, size, "", _UNKNOWN_TIME)
        try:
            yield from self._patch(sha256).stream(blob, offset, end, skip=skip)
        except DependencyError as error:
            code = _OF_PATCHES.get(error.code)
            if code is None:
                raise
            raise DependencyError(f"patch {sha256}: {error}", code=code) from error

    def _patch(self, sha256: str) -> BlobContainer:
        for grant in self._patches.grants if self._patches else ():
            if grant.patch == sha256 and self._patches:
                query = "&".join(part for part in (self._patches.query, grant.query) if part)
                return self._open_container(self._patches.url, query)
        raise DependencyError(f"patch {sha256}: no grant of the twin opens it", code="patch.denied")


_OF_PATCHES = {"outbox.denied": "patch.denied", "blob.missing": "patch.missing", "blob.changed": "patch.missing"}


@dataclass(frozen=True)
class Opening:
    """What was found at the start of a bundle. Only its layout was checked, not its seal."""

    before: bytes
    """Every byte before the patch."""
    surplus: bytes
    """Bytes of the patch that came with it."""
    chunks: bytes | None
    """The chunk list, where it comes along."""


class ComposedSource:
    """A whole bundle in the outbox, and its chunk list beside it."""

    def __init__(self, blob: BlobInfo) -> None:
        self.blob = blob
        self.opening_bytes = min(FIRST_BYTES, blob.size)

    def read_opening(self, data: bytes) -> Opening | None:
        """None: more bytes are needed, see ``opening_bytes``. Raises: ContentError when these begin no bundle."""
        try:
            _, offset = zip_layout.read_head(data)
        except Truncated:
            if self.opening_bytes >= min(HEAD_BYTES, self.blob.size):
                raise
            self.opening_bytes = min(HEAD_BYTES, self.blob.size)
            return None
        return Opening(data[:offset], data[offset:], None)

    def chunk_list(self, head: BundleHead) -> BlobInfo:
        """The blob that holds the list.

        Raises: ContentError when the bundle has none, or one too large.
        """
        return BlobInfo(f"{self.blob.name}.chunks", chunk_list_bytes(head), "", _UNKNOWN_TIME)

    def patch(
        self, shore: Shore, head: BundleHead, before: int, offset: int, end: int, *, skip: bool
    ) -> Iterator[bytes]:
        """Bytes ``[offset, end)`` of the patch, which begins after ``before`` bytes of the bundle."""
        return shore.outbox.stream(self.blob, before + offset, before + end, skip=skip)


class SharedSource:
    """A file of the outbox with all but the patch."""

    def __init__(self, file: BlobInfo) -> None:
        """Raises: LimitExceeded."""
        if file.size > MAX_SHARED_BYTES:
            raise LimitExceeded(f"{file.name} has {file.size} bytes, at most {MAX_SHARED_BYTES}")
        self.blob = file
        self.opening_bytes = file.size

    def read_opening(self, data: bytes) -> Opening | None:
        """As of a composed bundle."""
        shared = read_shared(data)
        return Opening(shared.before, b"", shared.chunks)

    def chunk_list(self, head: BundleHead) -> BlobInfo:
        raise ContentError("the file of a shared bundle has its chunk list inside")

    def patch(
        self, shore: Shore, head: BundleHead, before: int, offset: int, end: int, *, skip: bool
    ) -> Iterator[bytes]:
        """As of a composed bundle."""
        return shore.patch(head.patch_sha256, head.patch_bytes, offset, end, skip=skip)


Source = ComposedSource | SharedSource


def source_of(name: str, blob: BlobInfo) -> Source:
    """The source of bundle ``name``. Raises: LimitExceeded when the file of a shared one is too large."""
    return ComposedSource(blob) if blob.name == name else SharedSource(blob)


def patch_named_in(opening: bytes) -> str:
    """Digest of the patch, as an opening says that nobody has checked; "" when it says none."""
    try:
        return parse_head(opening, None)[0].patch_sha256
    except ContentError:
        return ""


def is_bundle_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


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
