"""The blobs of a bundle in a device's outbox: a composed one, or the small file of one that shares its patch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from contracts.outbox import SHARED, outbox_container, priority_digit
from contracts.records import Publication
from imagedelta.bundles import BundleHead, Sealer, check_chunk_list, compose, parse_head, read_shared, share
from imagedelta.errors import ContentError, RequestError
from services.deps import Deps
from services.ports import BlobRange


class PatchLost(Exception):
    """A patch that SQL calls verified is not in the storage as it was, or its chunk list is not."""

    def __init__(self, sha256: str) -> None:
        super().__init__(sha256)
        self.sha256 = sha256


class BundleBlobs:
    """Writes bundles of one patch; its chunk list is read once."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._chunks: dict[str, bytes] = {}

    def write(self, publication: Publication) -> int:
        """Store a bundle unless it is there; returns the bytes of the whole bundle.

        A device may fetch what it sees at once: nothing that was visible is replaced, and a chunk list is there
        before its bundle.

        Raises: PatchLost; ImageDeltaError.
        """
        head = _head(publication)
        chunks = self._chunk_list(head)
        before, after = compose(head, self._sealer(publication), publication.patch_crc32, head.patch_bytes)
        container, name = outbox_container(publication.transfer.device_id), publication.transfer.bundle or ""
        blobs = self._deps.blobs
        if name.endswith(SHARED):
            blobs.put_if_absent(container, name, [share(before, chunks)])
            _refuse_another_patch(head, blobs.read(container, name))
        else:
            blobs.put_if_absent(container, f"{name}.chunks", [chunks])
            patch = BlobRange("patches", head.patch_sha256, 0, head.patch_bytes)
            with _lost(head):
                blobs.compose_if_absent(container, name, [before, patch, after])
        return len(before) + head.patch_bytes + len(after)

    def _chunk_list(self, head: BundleHead) -> bytes:
        """Held against the digest that is about to be sealed: a device would refuse another. A shared bundle is of no
        use without the patch either, so that is looked for as well."""
        found = self._chunks.get(head.patch_sha256)
        if found is None:
            blobs = self._deps.blobs
            with _lost(head):
                found = blobs.read("patches", f"{head.patch_sha256}.chunks")
                check_chunk_list(head, found)
            patch = blobs.info("patches", head.patch_sha256)
            if patch is None or patch.size != head.patch_bytes:
                raise PatchLost(head.patch_sha256)
            self._chunks[head.patch_sha256] = found
        return found

    def _sealer(self, publication: Publication) -> Sealer:
        """The preferred key that the device says it trusts.

        Raises: RequestError ``seal.no_trusted_key``: the device would refuse every bundle.
        """
        for key_id, sealer in self._deps.sealers.items():
            if key_id in publication.trusted_keys:
                return sealer
        raise RequestError(
            f"{publication.transfer.device_id} trusts the keys {', '.join(publication.trusted_keys) or 'none'}, "
            f"the cloud has {', '.join(self._deps.sealers) or 'none'}",
            code="seal.no_trusted_key",
        )


@contextmanager
def _lost(head: BundleHead) -> Iterator[None]:
    try:
        yield
    except ContentError as error:
        raise PatchLost(head.patch_sha256) from error


def _refuse_another_patch(head: BundleHead, stored: bytes) -> None:
    """After a database was restored, an attempt may be planned again in another way than the file that lies there says.

    Raises: RequestError ``bundle.exists``: the twin's grant would not open the patch that it names.
    """
    there, _ = parse_head(read_shared(stored).before, None)
    if there.patch_sha256 != head.patch_sha256:
        raise RequestError(f"{head.bundle_id} lies in the outbox with another patch", code="bundle.exists")


def _head(publication: Publication) -> BundleHead:
    transfer = publication.transfer
    return BundleHead(
        bundle_id=transfer.bundle_id,
        device_id=publication.hub_device_id,
        transfer_id=transfer.transfer_id,
        attempt=transfer.attempt,
        number=transfer.number or 0,
        floor=transfer.floor or 0,
        target_image_id=transfer.image_id,
        source_image_ids=publication.patch_sources,
        reference=transfer.reference,
        platform=publication.platform,
        patch_sha256=publication.patch_sha256,
        patch_bytes=publication.patch_bytes,
        chunks_sha256=publication.patch_chunks.removeprefix("sha256:"),
        memory_bytes=publication.patch_memory_bytes,
        full_bytes=transfer.full_bytes,
        priority=priority_digit(transfer.priority),
    )
