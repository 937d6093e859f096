"""Bundles in a folder that a person carries to a device: whole, checked, and listed with their digests.

A file is there only when it is whole; a folder that was begun is gone on with. Names end so that a module's own
download of the same bundle is another file.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from imagedelta.bundles import MAX_SHARED_BYTES, read_bundle, read_shared
from imagedelta.errors import ContentError, DependencyError, RequestError
from imagedelta_cli.downloading import Download
from imagedelta_cli.files import whole_file
from imagedelta_cli.output import Counter, Report

SUMS = "SHA256SUMS"
_ENDING = ".carried.bundle"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")
_READ_BYTES = 1 << 20


def file_name(bundle: str) -> str:
    """Of the file in the folder, which sorts as the outbox does.

    Raises: ContentError when the host's name could lead elsewhere.
    """
    if not _NAME.fullmatch(bundle):
        raise ContentError(f"the host names a bundle {bundle!r}")
    return bundle.removesuffix(".shared").removesuffix(".bundle") + _ENDING


def prepare_folder(folder: Path, names: list[str]) -> None:
    """Raises: RequestError ``cli.export_folder`` when bundles of something else lie there."""
    folder.mkdir(parents=True, exist_ok=True)
    strange = sorted(path.name for path in folder.glob("*bundle") if path.name not in names)
    if strange:
        raise RequestError(f"{folder} holds other bundles: {', '.join(strange[:5])}", code="cli.export_folder")


def bring(download: Download, item: Mapping[str, Any], path: Path, report: Report) -> str:
    """Have the bundle there, unless it is there already; returns its sha256.

    Raises: ContentError when what came is not the bundle; RequestError ``cli.export_gone``; DependencyError.
    """
    size = int(item["bundleBytes"])
    if path.is_file() and path.stat().st_size == size and (digest := _checked(path, item)):
        report(size, size)
        return digest
    part = path.with_name(f"{path.name}.part")
    try:
        count = Counter(report, size)
        with part.open("wb") as out:
            for piece in _pieces(download, item, size):
                out.write(piece)
                count.add(len(piece))
            out.flush()
            os.fsync(out.fileno())
        if not (digest := _checked(part, item)):
            raise DependencyError(f"what came as {item['bundle']} is not that bundle", code="dependency.host")
        part.replace(path)
        return digest
    finally:
        part.unlink(missing_ok=True)


def write_sums(folder: Path, digests: Mapping[str, str]) -> None:
    """As ``sha256sum -c`` reads them."""
    with whole_file(folder / SUMS, replace=True) as out:
        out.write("".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())).encode())


def _pieces(download: Download, item: Mapping[str, Any], size: int) -> Iterator[bytes]:
    if item["patchUrl"] is None:
        yield from download.pieces(item["url"], size)
        return
    shared = read_shared(download.whole(item["url"], MAX_SHARED_BYTES))
    if shared.bundle_bytes != size:
        raise ContentError(f"{item['bundle']} is for {shared.bundle_bytes} bytes, the host says {size}")
    yield shared.before
    yield from download.pieces(item["patchUrl"], shared.patch_bytes)
    yield shared.after


def _checked(path: Path, item: Mapping[str, Any]) -> str | None:
    """The sha256 of a whole bundle of this transfer; None for anything else."""
    with path.open("rb") as stream:
        try:
            opened = read_bundle(stream, None)
            opened.verify_patch_digest()
        except ContentError:
            return None
        if opened.head.transfer_id != item["transferId"]:
            return None
        stream.seek(0)
        digest = hashlib.sha256()
        while block := stream.read(_READ_BYTES):
            digest.update(block)
        return digest.hexdigest()
