"""Registration reads a large image once, from afar, in little memory."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from imagedelta.archives import sha256_id

pytestmark = pytest.mark.e2e

MIB = 1 << 20
LAYER_BYTES = 100 * MIB

REGISTER = """
import io, json, os, sys
from imagedelta.archives import open_archive
from imagedelta.signatures import LayerIndex, index_layer, sign

class Ranges(io.RawIOBase):
    '''A blob read by ranges: every read is one request.'''
    def __init__(self, path):
        self.file, self.at, self.requests, self.fetched = os.open(path, os.O_RDONLY), 0, 0, 0
        self.size = os.fstat(self.file).st_size
    def seekable(self): return True
    def readable(self): return True
    def seek(self, offset, whence=0):
        self.at = offset + (0, self.at, self.size)[whence]
        return self.at
    def tell(self): return self.at
    def read(self, size=-1):
        data = os.pread(self.file, size, self.at)
        self.at += len(data); self.requests += 1; self.fetched += len(data)
        return data

def peak():
    '''High-water of this process alone: ru_maxrss would count the parent before the exec.'''
    status = open("/proc/self/status").read()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024

before, stored = peak(), 0
def store(piece):
    global stored
    stored += len(piece)

stream = Ranges(sys.argv[1])
with open_archive(stream) as archive:
    opening = stream.fetched
    (image,) = archive.images
    indexes = [index_layer(archive.open_layer(image, n), store) for n in range(len(image.diff_ids))]
    indexes = [LayerIndex.from_bytes(index.to_bytes()) for index in indexes]
    signature = sign(image, indexes).to_bytes()
print(json.dumps({"grown": peak() - before, "stored": stored, "opening": opening, "fetched": stream.fetched,
                  "requests": stream.requests, "size": stream.size, "signature": len(signature)}))
"""


def a_large_layer(seed: int) -> bytes:
    """100 MiB: one file of 60 MiB, and 2,000 of 20 KiB."""
    noise = random.Random(seed).randbytes(MIB)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for n, size in enumerate([60 * MIB] + [20 * 1024] * 2000):
            info = tarfile.TarInfo(f"usr/lib/{seed}/file{n}.so")
            info.size = size
            tar.addfile(info, io.BytesIO((noise[n % 1000 :] + noise) * (size // MIB + 1)))
    return out.getvalue()


def write_large_image(path: Path, *, packed: bool) -> None:
    """Write a docker-save archive of three layers, one in memory at a time."""
    layers, diff_ids = [], []
    with tarfile.open(path, "w") as archive:

        def add(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))

        for seed in range(3):
            layer = a_large_layer(seed)
            diff_ids.append(sha256_id(layer))
            layers.append(f"{seed}/layer.tar")
            add(layers[-1], gzip.compress(layer, 1) if packed else layer)
        config = {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": diff_ids}}
        add("config.json", json.dumps(config).encode())
        manifest = [{"Config": "config.json", "RepoTags": ["big:1"], "Layers": layers}]
        add("manifest.json", json.dumps(manifest).encode())


@pytest.mark.parametrize("packed", [False, True])
def test_registering_300_mb_grows_memory_by_less_than_32_mb_and_reads_each_byte_once(tmp_path, packed):
    path = tmp_path / "big.tar"
    write_large_image(path, packed=packed)

    done = subprocess.run(
        [sys.executable, "-c", REGISTER, str(path)],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=300,
    )
    path.unlink()

    assert done.returncode == 0, done.stderr.decode()
    measured = json.loads(done.stdout)
    assert measured["stored"] > 300 * 10**6
    assert measured["grown"] < 32 * MIB, measured
    assert measured["opening"] < 10_000, measured
    assert measured["fetched"] <= measured["size"] + 10_000, measured
    assert measured["requests"] < measured["size"] / MIB + 50, measured
