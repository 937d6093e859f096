"""Peers that are Python libraries, or no program at all, as commands: ``python -m benchmarks.peer_programs``.

Each runs in a process of its own, so that its memory and time are its own; the interpreter's 10 MB are in them.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_MIB = 1024 * 1024
_GZIP = 31
"""zlib's window bits for the gzip format."""


def bsdiff4_diff(source: str, target: str, patch: str) -> None:
    """The whole tar, as the architecture article does."""
    import bsdiff4

    bsdiff4.file_diff(source, target, patch)


def bsdiff4_apply(source: str, patch: str, output: str) -> None:
    import bsdiff4

    bsdiff4.file_patch(source, output, patch)


def hdiffpatch_diff(source: str, target: str, patch: str) -> None:
    """Its strongest settings: LZMA2 level 9 with a window of 64 MiB."""
    import hdiffpatch

    settings = hdiffpatch.Lzma2Config(level=9, window=26)
    made = hdiffpatch.diff(
        Path(source).read_bytes(), Path(target).read_bytes(), settings, validate=False, big_cache_match=True
    )
    Path(patch).write_bytes(made)


def hdiffpatch_apply(source: str, patch: str, output: str) -> None:
    import hdiffpatch

    Path(output).write_bytes(hdiffpatch.apply(Path(source).read_bytes(), Path(patch).read_bytes()))


def layers_diff(source: str, target: str, patch: str) -> None:
    """What a registry sends: the config, and each layer that the source lacks, with gzip level 6.

    Args:
        source: An image, or "" when the device has none.
    """
    have = set(layers_of(Path(source))) if source else set()
    with tarfile.open(target) as archive, Path(patch).open("wb") as out:
        config, layers = manifest_of(archive)
        out.write(b"".join(_gzipped(member(archive, config))))
        for diff_id, name in layers.items():
            if diff_id not in have:
                for piece in _gzipped(member(archive, name)):
                    out.write(piece)


def layers_apply(source: str, patch: str, output: str, target: str) -> None:
    """Unpack what came and hold it against the digests of the layers that were missing; ``output`` says so."""
    have = set(layers_of(Path(source))) if source else set()
    with tarfile.open(target) as archive:
        config, layers = manifest_of(archive)
        wanted = [hashlib.sha256(member(archive, config).read()).hexdigest()]
    wanted += [diff_id.removeprefix("sha256:") for diff_id in layers if diff_id not in have]
    if list(_digests(Path(patch))) != wanted:
        sys.exit("the layers that came are not those that were missing")
    Path(output).write_text("verified")


def manifest_of(archive: tarfile.TarFile) -> tuple[str, dict[str, str]]:
    """Name of the config, and names of the layers by diff_id, lowest first."""
    entry = json.load(member(archive, "manifest.json"))[0]
    config = json.load(member(archive, entry["Config"]))
    return entry["Config"], dict(zip(config["rootfs"]["diff_ids"], entry["Layers"], strict=True))


def layers_of(image: Path) -> list[str]:
    """The diff_ids of an image."""
    with tarfile.open(image) as archive:
        return list(manifest_of(archive)[1])


def member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    """A file of the archive; links to other layers are followed."""
    found = archive.extractfile(name)
    if found is None:
        raise ValueError(f"{name} is no file")
    return found


def _gzipped(stream: IO[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
    while piece := stream.read(_MIB):
        yield packer.compress(piece)
    yield packer.flush()


def _digests(path: Path) -> Iterator[str]:
    """Of each gzip member of the file."""
    with path.open("rb") as stream:
        rest = stream.read(_MIB)
        while rest:
            digest, unpacker = hashlib.sha256(), zlib.decompressobj(_GZIP)
            while rest and not unpacker.eof:
                digest.update(unpacker.decompress(rest))
                rest = unpacker.unused_data or stream.read(_MIB)
            yield digest.hexdigest()


_PROGRAMS = {
    function.__name__: function
    for function in (bsdiff4_diff, bsdiff4_apply, hdiffpatch_diff, hdiffpatch_apply, layers_diff, layers_apply)
}

if __name__ == "__main__":
    _PROGRAMS[sys.argv[1]](*sys.argv[2:])
