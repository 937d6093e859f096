"""What an app update costs a device with the engine ``registry``: seconds, requests, bytes read and sent.

An image of 400 MB, of which one small layer is new, in a registry that runs already:
``python -m benchmarks.device_registry http://127.0.0.1:5000 [--packed]``. ``--packed`` stores the base with gzip, as
docker push does. The images are random and made anew; they stay in the registry.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import random
import resource
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from edge_module.engines.registry import RegistryEngine
from edge_module.engines.registry_client import Manifest, RegistryClient
from edge_module.engines.registry_upload import put_blob
from edge_module.files import DiskFiles
from imagedelta.archives.model import sha256_id
from imagedelta.archives.oci import CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE
from imagedelta.delta import BytesReader, ImageContent, LayerContent, apply_patch, read_patch_header
from imagedelta.delta.encode import build_patch
from imagedelta.signatures.index import index_layer

_MIB = 1024 * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("registry")
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--packed", action="store_true")
    options = parser.parse_args()
    chance = random.Random()  # noqa: S311 -- data that does not compress
    system = _layer({f"usr/lib/{n}": chance.randbytes(_MIB) for n in range(options.megabytes - 20)})
    files = {f"app/{n}.js": chance.randbytes(20_000) for n in range(1000)}
    changed = {**files, **{f"app/{n}.js": files[f"app/{n}.js"][:9_000] + chance.randbytes(500) for n in range(10)}}
    old, new = _Image(system, _layer(files)), _Image(system, _layer(changed))
    client = RegistryClient(options.registry)
    _push(client, old, packed=options.packed)
    with tempfile.TemporaryDirectory() as folder:
        patch = io.BytesIO()
        build_patch(new.content, [old.content], patch, scratch=Path(folder))
        _measure(options.registry, old, new, patch)


class _Image:
    def __init__(self, *layers: bytes) -> None:
        self.layers = layers
        self.diff_ids = [sha256_id(layer) for layer in layers]
        rootfs = {"type": "layers", "diff_ids": self.diff_ids}
        self.config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).encode()
        self.image_id = sha256_id(self.config)

    @property
    def content(self) -> ImageContent:
        layers = (LayerContent(index_layer(io.BytesIO(tar)), BytesReader(tar)) for tar in self.layers)
        return ImageContent(self.image_id, self.config, tuple(layers))


class _Meter:
    """Counts what goes through a client."""

    def __init__(self, client: RegistryClient) -> None:
        self._client = client
        self._requests, self._started = client.requests, time.monotonic()

    def tell(self, what: str) -> None:
        seconds, requests = time.monotonic() - self._started, self._client.requests - self._requests
        sys.stdout.write(f"{what:34} {seconds:7.2f} s {requests:6} requests\n")
        self._requests, self._started = self._client.requests, time.monotonic()


def _measure(address: str, old: _Image, new: _Image, patch: io.BytesIO) -> None:
    sys.stdout.write(f"patch of {len(patch.getvalue())} bytes for an image of {sum(map(len, new.layers))}\n")
    with tempfile.TemporaryDirectory() as folder:
        client = RegistryClient(address)
        engine = RegistryEngine(client, DiskFiles(Path(folder)))
        meter = _Meter(client)
        sizes = dict(zip(new.diff_ids, map(len, new.layers), strict=True))
        patch.seek(0)
        sources = read_patch_header(patch).source_image_ids
        engine.needs(new.image_id, sizes, sources)
        meter.tell("needs (lists the registry)")
        patch.seek(0)
        with engine.begin(new.image_id, "bench/app:2", sizes, sources) as work:
            applied = apply_patch(patch, work.find, work.config, work)
            meter.tell("apply: mount, check, rebuild, send")
            work.finish(applied.config)
            meter.tell("finish")
        engine.name_image(new.image_id, "bench/app:2")
        meter.tell("name")
        engine.images()
        meter.tell("inventory")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(f"peak of this process, which holds the images itself: {peak // 1024} MiB\n")


def _push(client: RegistryClient, image: _Image, *, packed: bool) -> None:
    pack: Callable[[bytes], bytes] = (lambda data: gzip.compress(data, 1, mtime=0)) if packed else (lambda data: data)
    blobs = [pack(layer) for layer in image.layers]
    for data in (image.config, *blobs):
        put_blob(client, "bench/app", sha256_id(data), data)
    descriptors = [{"mediaType": LAYER_TYPE, "digest": sha256_id(data), "size": len(data)} for data in blobs]
    config = {"mediaType": CONFIG_TYPE, "digest": image.image_id, "size": len(image.config)}
    document = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": descriptors}
    data = json.dumps(document).encode()
    client.put_manifest("bench/app", "1", Manifest(sha256_id(data), MANIFEST_TYPE, data))


def _layer(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


if __name__ == "__main__":
    main()
