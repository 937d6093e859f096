"""Damaged blobs of the local registry: found by reading, forgotten, and their bytes removed where that can be done.

A registry trusts what it has under a digest. Deleting a blob takes it from a repository and leaves its bytes, and
sending it again changes nothing. So the bytes are removed by what runs the registry (edge_module.engines.
registry_shared), and where there is none, by the garbage collection that somebody else runs.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable

from edge_module.engines.base import EngineDamaged, LayersGone
from edge_module.engines.registry_client import RegistryClient
from edge_module.engines.registry_contents import Blob, HeldLayer
from edge_module.engines.registry_reader import open_stream
from edge_module.engines.registry_shared import RegistryShared
from edge_module.engines.unpacked import DEVICE_LIMITS
from imagedelta.archives.layer_stream import verified_stream
from imagedelta.archives.unpacking import unpack
from imagedelta.errors import ContentError, DependencyError
from imagedelta.limits import MIB

log = logging.getLogger("imagedelta.registry")


class RegistryDamage:
    def __init__(self, client: RegistryClient, shared: RegistryShared) -> None:
        self._client = client
        self._shared = shared

    def is_sound(self, repository: str, blob: Blob) -> bool:
        """Read it and hold it against its digest; False also when it is not there.

        Args:
            blob: Its size is what the registry has, not what a manifest or a patch says of it: that may be wrong.
        """
        digest = hashlib.sha256()
        with self._client.open_blob(repository, blob.digest, blob.size) as pieces:
            for piece in pieces or ():
                digest.update(piece)
        return f"sha256:{digest.hexdigest()}" == blob.digest

    def unpacks(self, repository: str, layer: HeldLayer) -> bool:
        """Whether a packed layer is what its manifest and config claim."""
        packed = open_stream(self._client, repository, layer.blob)
        try:
            with verified_stream(unpack(packed, DEVICE_LIMITS), layer.diff_id, packed.close) as plain:
                while plain.read(MIB):
                    pass
        except ContentError as error:
            log.error("layer %s of %s: %s", layer.diff_id, repository, error)
            return False
        return True

    def forget(self, digest: str, repositories: Iterable[str]) -> bool:
        """Have the bytes removed of a blob that was read and is not what its digest says; tell whether they were.

        Where nobody does it, the blob is taken from these repositories.

        Raises:
            EngineDamaged: The registry still gives it out.
            DependencyError: ``registry.read_only``: it may not be deleted.
        """
        log.error("blob %s in the registry is damaged and is forgotten", digest)
        if self._shared.ask_removal(digest):
            return True
        self._shared.ask_collection()
        for repository in sorted(set(repositories)):
            self._client.delete_blob(repository, digest)
            with self._client.open_blob(repository, digest, MIB) as pieces:  # HEAD may come from a stale cache
                if pieces is not None:
                    raise EngineDamaged(f"the registry still gives out damaged blob {digest} of {repository}")
        return False

    def forget_manifest(self, digest: str, repository: str) -> bool:
        """The same of a manifest."""
        log.error("manifest %s in the registry is damaged and is forgotten", digest)
        if self._shared.ask_removal(digest):
            return True
        self._shared.ask_collection()
        self._client.delete_manifest(repository, digest)
        return False


def kept_damaged(what: str, removed: bool) -> DependencyError:
    """The error for something that was sent well and is damaged all the same: the registry kept old bytes of it."""
    if removed:
        return LayersGone(f"the registry had damaged bytes of {what}, which are removed now")
    return EngineDamaged(
        f"the registry keeps damaged bytes of {what}, which sending them again does not replace: its garbage "
        "collection removes them, and so does what runs it (docs/registry.md)"
    )
