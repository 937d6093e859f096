"""A real registry as a place for images: what another tool and whoever pulls do with it, and what damages it."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import zstandard

from edge_module.engines.registry import RegistryEngine
from edge_module.engines.registry_client import Manifest, RegistryClient
from edge_module.engines.registry_names import locate
from edge_module.engines.registry_shared import RegistryShared
from edge_module.engines.registry_upload import put_blob
from edge_module.files import DiskFiles
from imagedelta.archives import sha256_id
from imagedelta.archives.oci import MANIFEST_TYPE
from tests.e2e.parts.registry_process import RegistryProcess
from tests.engines.place import Pulled
from tests.images import BuiltImage, Pack, descriptor, plain


class RegistryPlace:
    """The part of one registry that one test has to itself: it is emptied before."""

    def __init__(self, registry: RegistryProcess, root: Path) -> None:
        """Args:
        root: The module's folder.
        """
        root.mkdir(parents=True, exist_ok=True)
        self.registry = registry
        self.files = DiskFiles(root)
        self._clients: list[RegistryClient] = []

    def client(self, url: str | None = None) -> RegistryClient:
        client = RegistryClient(url or self.registry.url, silence_seconds=20, pause=0.2)
        self._clients.append(client)
        return client

    def engine(self, url: str | None = None, new_id: Callable[[], str] | None = None) -> RegistryEngine:
        shared = RegistryShared(self.registry.shared)
        more = {} if new_id is None else {"new_id": new_id}
        return RegistryEngine(self.client(url), self.files, shared, **more)

    def put(self, image: BuiltImage, pack: Pack = plain) -> None:
        for reference in image.image.references:
            where = locate(reference)
            put_image(self.client(), where.repository, where.tag, image, pack)

    def damage(self, diff_id: str, data: bytes | None) -> None:
        file = self.registry.blob_file(diff_id)
        if data is None:
            file.unlink()
        else:
            file.write_bytes(data)

    def pull(self, reference: str, digest: str | None) -> Pulled:
        """As a client does that holds everything against its digest."""
        client, where = self.client(), locate(reference)
        manifest = client.manifest(where.repository, digest or where.tag)
        assert manifest is not None, f"nothing to pull under {reference}"
        assert client.manifest(where.repository, where.tag) == manifest
        document = json.loads(manifest.data)
        config = client.read_small(where.repository, document["config"]["digest"], 1 << 22)
        layers = [client.read_small(where.repository, layer["digest"], layer["size"]) for layer in document["layers"]]
        assert config is not None
        return Pulled(config, tuple(_unpacked(layer) for layer in layers))

    def leftovers(self) -> list[str]:
        """distribution 2.8 leaves an empty folder of an upload that was cancelled."""
        walked = os.walk(self.registry.storage / "docker/registry/v2/repositories")  # bears folders that vanish
        uploads = [folder for folder, _, files in walked if "/_uploads/" in folder and "data" in files]
        return [*uploads, *self.files.list("scratch")]

    def cost(self) -> int:
        return sum(client.requests for client in self._clients)

    def close(self) -> None:
        for client in self._clients:
            client.close()


def put_image(client: RegistryClient, repository: str, tag: str, image: BuiltImage, pack: Pack = plain) -> Manifest:
    """Store an image as another tool does; the spelling of its manifest is not ours. ``tag`` "": it gets none."""
    packed = [pack(layer) for layer in image.layers]
    for data in (image.image.config, *packed):
        put_blob(client, repository, sha256_id(data), data)
    manifest = image_manifest(image, packed)
    client.put_manifest(repository, tag or manifest.digest, manifest)
    return manifest


def image_manifest(image: BuiltImage, packed: list[bytes]) -> Manifest:
    config = descriptor("application/vnd.oci.image.config.v1+json", image.image.config)
    layers = [descriptor("application/vnd.oci.image.layer.v1.tar", data) for data in packed]
    document = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": layers}
    data = json.dumps(document, indent=1).encode()
    return Manifest(sha256_id(data), MANIFEST_TYPE, data)


def _unpacked(layer: bytes | None) -> bytes:
    assert layer is not None
    if layer.startswith(b"\x1f\x8b"):
        return gzip.decompress(layer)
    if layer.startswith(b"\x28\xb5\x2f\xfd"):
        return zstandard.ZstdDecompressor().stream_reader(layer).read()
    return layer
