"""Blobs in a folder: the adapter behind a local host, with the rules of a blob storage.

A blob is a file ``<root>/<container>/<name>``. It is written under a hidden temporary name, fsynced, renamed,
and its folder fsynced: after a power cut it is whole or absent. Names that start with a dot are never blobs.

Access from outside goes through the embedded host, which checks the same query as a storage account would:
``sp`` (permissions of "rlcw"), ``se`` (UTC, seconds), ``sr`` (c container, b blob) and ``sig``.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import io
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urlencode

from imagedelta.errors import ContentError, DependencyError, Truncated
from imagedelta.whole_files import make_folder, sync_folder, whole_file
from services.blobs.names import check_container, check_name
from services.clock import utc_now
from services.ports import BlobInfo, BlobRange, Clock, Grant

_COPY_BYTES = 1 << 20
_READ_BUFFER = 256 << 10
_ABANDONED_AFTER = 86_400
"""Seconds after which a temporary file is taken for the rest of a process that died."""
_DELETED = ".deleted"
"""Ends the hidden name of a container that is being deleted; one that a process left behind is deleted at the start."""


class FolderBlobs:
    """The port ``Blobs`` on a folder; safe for several processes at once."""

    def __init__(self, root: Path, *, url: str, key: str, now: Clock = utc_now) -> None:
        """Args:
        root: Made when missing.
        url: Where the embedded host serves ``root``, without a trailing slash.
        key: Signs grants, base64.
        """
        self._root = root
        self._url = url.rstrip("/")
        self._key = key
        self._now = now
        self._sweep_abandoned()

    def put(self, container: str, name: str, chunks: Iterable[bytes]) -> BlobInfo:
        path = self._path(container, name)
        with _vendor_errors(name):
            _write(path, chunks, replace=True)
            return _info(path)

    def put_if_absent(self, container: str, name: str, chunks: Iterable[bytes]) -> BlobInfo:
        path = self._path(container, name)
        with _vendor_errors(name):
            if not path.exists():
                with contextlib.suppress(FileExistsError):  # another writer of the same content may be first
                    _write(path, chunks, replace=False)
            return _info(path)

    def compose_if_absent(self, container: str, name: str, parts: Sequence[bytes | BlobRange]) -> BlobInfo:
        return self.put_if_absent(container, name, self._chunks(parts))

    def open(self, container: str, name: str) -> BinaryIO:
        path = self._path(container, name)
        try:
            raw = _FileReader(path)
        except FileNotFoundError as error:
            raise _missing(container, name) from error
        except OSError as error:
            raise _failed(name, error) from error
        return io.BufferedReader(raw, _READ_BUFFER)

    def read(self, container: str, name: str, offset: int = 0, length: int | None = None) -> bytes:
        with self.open(container, name) as stream:
            stream.seek(offset)
            return stream.read() if length is None else stream.read(length)

    def read_at(self, container: str, name: str, offset: int, length: int) -> bytes:
        path = self._path(container, name)
        with _vendor_errors(name):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError as error:
                raise _missing(container, name) from error
            try:
                data = _pread(descriptor, offset, length)
            finally:
                os.close(descriptor)
        if len(data) < length:
            raise Truncated(f"{container}/{name} ends {length - len(data)} bytes early")
        return data

    def info(self, container: str, name: str) -> BlobInfo | None:
        path = self._path(container, name)
        with _vendor_errors(name), contextlib.suppress(FileNotFoundError):
            return _info(path)
        return None

    def list(self, container: str, prefix: str = "") -> Iterable[BlobInfo]:
        folder = self._folder(container)
        with _vendor_errors(container):
            names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        for name in names:
            if name.startswith(prefix) and not name.startswith("."):
                info = self.info(container, name)
                if info is not None:
                    yield info

    def delete(self, container: str, name: str) -> None:
        path = self._path(container, name)
        with _vendor_errors(name), contextlib.suppress(FileNotFoundError):
            path.unlink()
            sync_folder(path.parent)

    def delete_container(self, container: str) -> None:
        """It gets a hidden name first, so that it is gone at once and whole, and then its files are deleted."""
        folder = self._folder(container)
        hidden = self._root / f".{container}-{secrets.token_hex(8)}{_DELETED}"
        with _vendor_errors(container), contextlib.suppress(FileNotFoundError):
            folder.rename(hidden)
            sync_folder(self._root)
            shutil.rmtree(hidden)

    def container_url(self, container: str) -> str:
        self._folder(container)
        return f"{self._url}/{container}"

    def read_grant(self, container: str, lifetime: timedelta) -> Grant:
        with _vendor_errors(container):
            make_folder(self._folder(container))
        return self._grant("rl", container, None, lifetime)

    def blob_grant(self, container: str, name: str, lifetime: timedelta) -> Grant:
        self._path(container, name)
        return self._grant("r", container, name, lifetime)

    def write_url(self, container: str, name: str, lifetime: timedelta) -> str:
        self._path(container, name)
        with _vendor_errors(container):
            make_folder(self._folder(container))
        grant = self._grant("rcw", container, name, lifetime)
        return f"{self.container_url(container)}/{quote(name)}?{grant.query}"

    def _grant(self, permissions: str, container: str, name: str | None, lifetime: timedelta) -> Grant:
        expires_at = (self._now() + lifetime).astimezone(UTC).replace(microsecond=0)
        expiry = expires_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        scope = "c" if name is None else "b"
        signature = grant_signature(self._key, permissions, expiry, scope, container, name)
        return Grant(urlencode({"sp": permissions, "se": expiry, "sr": scope, "sig": signature}), expires_at)

    def _chunks(self, parts: Sequence[bytes | BlobRange]) -> Iterator[bytes]:
        for part in parts:
            if isinstance(part, bytes):
                yield part
            else:
                yield from self._range(part)

    def _range(self, part: BlobRange) -> Iterator[bytes]:
        left = part.length
        with self.open(part.container, part.name) as stream:
            stream.seek(part.offset)
            while left:
                chunk = stream.read(min(left, _COPY_BYTES))
                if not chunk:
                    raise Truncated(f"{part.container}/{part.name} ends {left} bytes early")
                left -= len(chunk)
                yield chunk

    def _folder(self, container: str) -> Path:
        check_container(container)
        return self._root / container

    def _path(self, container: str, name: str) -> Path:
        check_name(container, name)
        return self._folder(container) / name

    def _sweep_abandoned(self) -> None:
        with _vendor_errors(str(self._root)):
            make_folder(self._root)
            for folder in self._root.glob(f".*{_DELETED}"):
                shutil.rmtree(folder, ignore_errors=True)
            for path in self._root.glob("*/.*.tmp"):
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
                        path.unlink()


def grant_signature(key: str, permissions: str, expiry: str, scope: str, container: str, name: str | None) -> str:
    """base64(HMAC-SHA256(key, sp \\n se \\n sr \\n container \\n blob name or nothing))."""
    text = "\n".join([permissions, expiry, scope, container, name or ""])
    return base64.b64encode(hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()).decode()


class _FileReader(io.RawIOBase):
    """A file whose failing disk is a DependencyError, also in the middle of a read."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._name = path.name
        self._file = path.open("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: object, /) -> int:
        try:
            return self._file.readinto(buffer) or 0  # type: ignore[arg-type]
        except OSError as error:
            raise _failed(self._name, error) from error

    def close(self) -> None:
        self._file.close()
        super().close()


def _write(path: Path, chunks: Iterable[bytes], *, replace: bool) -> None:
    make_folder(path.parent)
    with whole_file(path, replace=replace) as stream:
        for chunk in chunks:
            stream.write(chunk)


def _pread(descriptor: int, offset: int, length: int) -> bytes:
    """Fewer bytes only at the end of the file: a call may give less than it was asked for."""
    data = os.pread(descriptor, length, offset)
    while 0 < len(data) < length and (more := os.pread(descriptor, length - len(data), offset + len(data))):
        data += more
    return data


def _info(path: Path) -> BlobInfo:
    facts = path.stat()
    return BlobInfo(
        name=path.name,
        size=facts.st_size,
        etag=f"0x{facts.st_mtime_ns:X}{facts.st_size:X}{facts.st_ino:X}",
        modified=datetime.fromtimestamp(facts.st_mtime, UTC),
    )


@contextmanager
def _vendor_errors(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _failed(name, error) from error


def _failed(name: str, error: OSError) -> DependencyError:
    return DependencyError(f"{name}: {error.strerror or error}", code="dependency.blobs")


def _missing(container: str, name: str) -> ContentError:
    return ContentError(f"there is no blob {container}/{name}", code="content.missing")
