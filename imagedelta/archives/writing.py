"""Write images as one tar: the classic ``docker save`` form, or an OCI archive.

Every Docker version loads the first; skopeo, podman and containerd read both. The same image gives the same
bytes: fixed order, times and owners, layers uncompressed.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from imagedelta.archives.docker_save import MANIFEST
from imagedelta.archives.model import Image, hex_of, sha256_id
from imagedelta.archives.oci import INDEX_FILE, LAYOUT_FILE, blob_name
from imagedelta.archives.oci_json import index_with, layout_marker, manifest_bytes
from imagedelta.archives.tar_headers import BLOCK
from imagedelta.archives.tar_members import read_exactly
from imagedelta.errors import ContentError
from imagedelta.limits import MIB
from imagedelta.names import parse_name
from imagedelta.whole_files import whole_file

OpenLayer = Callable[[int], BinaryIO]
"""Opens layer n of the image as an uncompressed tar; the writer closes it."""


def write_docker_archive(
    target: Path | BinaryIO, image: Image, layer_sizes: Sequence[int], open_layer: OpenLayer
) -> None:
    """Write the image as ``docker load`` takes it, tagged with its references; a digest is no tag and left out.

    Args:
        target: A file, which appears complete or not at all; or a stream, written from where it is.
        image: The image.
        layer_sizes: Bytes of each uncompressed layer tar, lowest first; a tar states sizes before data.
        open_layer: Called once per distinct layer.

    Raises:
        ContentError: A layer has another size than stated.
    """
    names = [f"{hex_of(diff_id)}/layer.tar" for diff_id in image.diff_ids]
    config = f"{hex_of(image.image_id)}.json"
    tags = [tag for tag in (parse_name(name).tagged for name in image.references) if tag]
    entry = {"Config": config, "Layers": names, "RepoTags": tags or None}
    with _output(target) as out:
        _write_file(out, config, image.config)
        _write_layers(out, names, layer_sizes, open_layer)
        _write_file(out, MANIFEST, json.dumps([entry], sort_keys=True, separators=(",", ":")).encode())
        out.write(bytes(2 * BLOCK))


def write_oci_archive(target: Path | BinaryIO, image: Image, layer_sizes: Sequence[int], open_layer: OpenLayer) -> None:
    """Write the image as an OCI image layout in a tar; arguments and errors as ``write_docker_archive``."""
    manifest = manifest_bytes(image, layer_sizes)
    with _output(target) as out:
        _write_file(out, LAYOUT_FILE, layout_marker())
        _write_file(out, INDEX_FILE, index_with(None, manifest, image))
        _write_file(out, blob_name(sha256_id(manifest)), manifest)
        _write_file(out, blob_name(image.image_id), image.config)
        _write_layers(out, [blob_name(diff_id) for diff_id in image.diff_ids], layer_sizes, open_layer)
        out.write(bytes(2 * BLOCK))


@contextmanager
def _output(target: Path | BinaryIO) -> Iterator[BinaryIO]:
    if not isinstance(target, Path):
        yield target
        return
    with whole_file(target) as out:
        yield out


def _write_layers(out: BinaryIO, names: Sequence[str], sizes: Sequence[int], open_layer: OpenLayer) -> None:
    """Write each distinct layer once; the image's list of layers may name it again."""
    written: set[str] = set()
    for position, (name, size) in enumerate(zip(names, sizes, strict=True)):
        if name not in written:
            with open_layer(position) as layer:
                _write_member(out, name, size, layer)
        written.add(name)


def _write_member(out: BinaryIO, name: str, size: int, content: BinaryIO) -> None:
    _write_header(out, name, size)
    missing = size
    while piece := read_exactly(content, MIB):
        missing -= len(piece)
        if missing < 0:
            break
        out.write(piece)
    if missing:
        raise ContentError(f"{name}: not the {size} bytes that were announced")
    out.write(bytes(-size % BLOCK))


def _write_file(out: BinaryIO, name: str, content: bytes) -> None:
    _write_header(out, name, len(content))
    out.write(content + bytes(-len(content) % BLOCK))


def _write_header(out: BinaryIO, name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    out.write(info.tobuf(tarfile.GNU_FORMAT))
