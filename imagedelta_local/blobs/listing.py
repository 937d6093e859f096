"""List Blobs: names in order, paged, as the EnumerationResults XML of Azure."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from imagedelta_local.blobs.names import is_visible

MAX_PAGE = 5000


@dataclass(frozen=True)
class Listed:
    """One blob in a list: its name and the state of its file."""

    name: str
    stat: os.stat_result


@dataclass(frozen=True)
class Page:
    """Part of a list; ``next_marker`` is the first name of the next page, empty at the end."""

    blobs: list[Listed]
    next_marker: str


def etag_of(stat: os.stat_result) -> str:
    """The etag of a file: it changes whenever the file is replaced."""
    return f'"0x{stat.st_mtime_ns:X}{stat.st_size:X}{stat.st_ino:X}"'


def list_page(folder: Path, prefix: str, marker: str, limit: int) -> Page:
    """Blobs of a container whose name begins with ``prefix``, from ``marker`` on, at most ``limit``."""
    found: list[Listed] = []
    for name in sorted(name for name in _names(folder, folder) if name.startswith(prefix) and name >= marker):
        if len(found) == limit:
            return Page(found, name)
        try:
            found.append(Listed(name, (folder / name).stat()))
        except FileNotFoundError:
            continue
    return Page(found, "")


def _names(root: Path, folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = Path(entry.path).relative_to(root).as_posix()
            if not is_visible(name):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _names(root, Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                yield name


def to_xml(page: Page, endpoint: str, container: str, prefix: str, marker: str, limit: int) -> bytes:
    """The page as Azure writes it."""
    blobs = "".join(_blob_xml(blob) for blob in page.blobs)
    text = (
        '<?xml version="1.0" encoding="utf-8"?>'
        f"<EnumerationResults ServiceEndpoint={quoteattr(endpoint)} ContainerName={quoteattr(container)}>"
        f"<Prefix>{escape(prefix)}</Prefix><Marker>{escape(marker)}</Marker><MaxResults>{limit}</MaxResults>"
        f"<Blobs>{blobs}</Blobs><NextMarker>{escape(page.next_marker)}</NextMarker></EnumerationResults>"
    )
    return text.encode()


def _blob_xml(blob: Listed) -> str:
    modified = formatdate(blob.stat.st_mtime, usegmt=True)
    return (
        f"<Blob><Name>{escape(blob.name)}</Name><Properties><Last-Modified>{modified}</Last-Modified>"
        f"<Etag>{escape(etag_of(blob.stat).strip(chr(34)))}</Etag>"
        f"<Content-Length>{blob.stat.st_size}</Content-Length>"
        "<Content-Type>application/octet-stream</Content-Type><BlobType>BlockBlob</BlobType>"
        "</Properties></Blob>"
    )
