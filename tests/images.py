"""Tiny deterministic images for tests, in memory: layers from dicts of files, then any archive form.

``an_image({"a.txt": b"1"}, references=("app:1",))`` is an image of one layer; ``docker_save(image)`` and
``oci_archive(image)`` are archives of it as bytes. Nothing here uses the project's own writers.
"""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import zstandard

from imagedelta.archives import Image, image_from_config, sha256_id

Files = Mapping[str, bytes]
Pack = Callable[[bytes], bytes]


@dataclass(frozen=True)
class BuiltImage:
    """An image with the bytes of its uncompressed layers."""

    image: Image
    layers: tuple[bytes, ...]

    @property
    def image_id(self) -> str:
        return self.image.image_id

    def open_layer(self, position: int) -> io.BytesIO:
        return io.BytesIO(self.layers[position])


def plain(data: bytes) -> bytes:
    return data


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, 6, mtime=0)


def zstd_packed(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=3).compress(data)


def a_layer(files: Files, *, mtime: int = 0) -> bytes:
    """Return a layer tar; a name ending in ``/`` is a folder, content ``-> target`` a symlink."""
    return a_tar([_member(name, content, mtime) for name, content in files.items()])


def an_image(
    *layers: Files | bytes, references: Sequence[str] = (), platform: str = "linux/amd64", note: str = ""
) -> BuiltImage:
    """Return an image of these layers, lowest first; ``note`` makes another image of the same layers.

    ``platform`` "": the config does not say.
    """
    tars = tuple(layer if isinstance(layer, bytes) else a_layer(layer) for layer in layers)
    os_name, architecture, *variant = (platform or "/").split("/")
    config: dict[str, object] = {"os": os_name, "architecture": architecture, "config": {"Cmd": ["/run"]}}
    if variant:
        config["variant"] = variant[0]
    if note:
        config["author"] = note
    config["rootfs"] = {"type": "layers", "diff_ids": [sha256_id(tar) for tar in tars]}
    return BuiltImage(image_from_config(json.dumps(config).encode(), tuple(references)), tars)


def a_tar(members: Sequence[tuple[tarfile.TarInfo, bytes]], *, form: Literal[0, 1, 2] = tarfile.PAX_FORMAT) -> bytes:
    """Return a tar of these members, ended by two zero blocks and no more."""
    out = io.BytesIO()
    for info, content in members:
        out.write(info.tobuf(form))
        out.write(content + bytes(-len(content) % 512))
    out.write(bytes(1024))
    return out.getvalue()


def an_archive(files: Files) -> bytes:
    """Return a tar of plain files, as the outer tar of an image archive."""
    return a_tar([_member(name, content, 0) for name, content in files.items()])


def docker_save(*images: BuiltImage, pack: Pack = plain) -> bytes:
    """Return the classic ``docker save`` form."""
    files: dict[str, bytes] = {}
    manifest = []
    for built in images:
        config = f"{built.image_id[7:]}.json"
        files[config] = built.image.config
        names = [f"{diff_id[7:]}/layer.tar" for diff_id in built.image.diff_ids]
        files.update({name: pack(tar) for name, tar in zip(names, built.layers, strict=True)})
        tags = [*built.image.references, *built.image.labels] or None
        manifest.append({"Config": config, "RepoTags": tags, "Layers": names})
    files["manifest.json"] = json.dumps(manifest).encode()
    return an_archive(files)


def oci_files(*images: BuiltImage, pack: Pack = plain) -> dict[str, bytes]:
    """Return the files of an OCI image layout by name."""
    blobs: dict[str, bytes] = {}
    listed = [entry for built in images for entry in _oci_manifests(built, pack, blobs)]
    index = {"schemaVersion": 2, "manifests": listed}
    return {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps(index).encode(),
        **{f"blobs/sha256/{digest[7:]}": data for digest, data in blobs.items()},
    }


def oci_archive(*images: BuiltImage, pack: Pack = plain) -> bytes:
    """Return an OCI archive."""
    return an_archive(oci_files(*images, pack=pack))


def sparse_tar(files: Files, form: str) -> bytes:
    """Return what GNU tar writes with -S; ``form``: ``gnu``, or ``posix`` with a version (``posix 0.1``)."""
    name, _, version = form.partition(" ")
    options = [f"--sparse-version={version}"] if version else []
    with tempfile.TemporaryDirectory() as folder:
        for path, content in files.items():
            _write_with_holes(Path(folder) / path, content)
        command = ["tar", "-S", "--hole-detection=raw", f"--format={name}", *options, "-cf", "-", "-C", folder, *files]
        return subprocess.run(command, check=True, capture_output=True).stdout


def _write_with_holes(path: Path, content: bytes) -> None:
    """The file system needs to know the holes for tar to look for them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out:
        for at in range(0, len(content), 4096):
            block = content[at : at + 4096]
            if block.strip(b"\0"):
                out.seek(at)
                out.write(block)
        out.truncate(len(content))


def descriptor(media_type: str, data: bytes, **more: object) -> dict[str, object]:
    """Return an OCI descriptor of ``data``."""
    return {"mediaType": media_type, "digest": sha256_id(data), "size": len(data), **more}


def _oci_manifests(built: BuiltImage, pack: Pack, blobs: dict[str, bytes]) -> list[dict[str, object]]:
    """Store the image's blobs and return its descriptors: one per name, as the format wants."""
    packed = [pack(tar) for tar in built.layers]
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "config": descriptor("application/vnd.oci.image.config.v1+json", built.image.config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", data) for data in packed],
        }
    ).encode()
    blobs.update({sha256_id(data): data for data in (built.image.config, manifest, *packed)})
    entry = descriptor("application/vnd.oci.image.manifest.v1+json", manifest)
    names = [{"org.opencontainers.image.ref.name": name} for name in (*built.image.references, *built.image.labels)]
    return [{**entry, "annotations": name} for name in names] or [entry]


def _member(name: str, content: bytes, mtime: int) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name.rstrip("/"))
    info.mtime = mtime
    info.mode = 0o755 if name.endswith("/") else 0o644
    if name.endswith("/"):
        info.type = tarfile.DIRTYPE
    elif content.startswith(b"-> "):
        info.type, info.linkname = tarfile.SYMTYPE, content[3:].decode()
        content = b""
    info.size = len(content)
    return info, content
