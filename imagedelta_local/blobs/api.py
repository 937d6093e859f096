"""Handlers of the local blob storage: Get Blob, Get Blob Properties, Put Blob and List Blobs.

Source: Azure Blob service REST reference. Files are read and written in threads, in pieces; no blob is ever held
in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import secrets
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from pathlib import Path
from typing import BinaryIO
from xml.sax.saxutils import escape

from aiohttp import web

from imagedelta.whole_files import publish
from imagedelta_local.blobs.access import AccessRefused, require
from imagedelta_local.blobs.listing import MAX_PAGE, etag_of, list_page, to_xml
from imagedelta_local.blobs.names import BadName, blob_file, container_folder
from imagedelta_local.blobs.ranges import RangeOutside, byte_range

log = logging.getLogger("imagedelta_host")

MAX_BLOB_BYTES = 64 << 30
_PIECE = 1 << 18
_MAX_DIGITS = 15
_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class BlobError(Exception):
    """A request the storage refuses, with the code and status of Azure."""

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(message)
        self.code = code
        self.status = status

    def response(self) -> web.Response:
        """The answer to the client."""
        content = f"<Error><Code>{self.code}</Code><Message>{escape(str(self))}</Message></Error>"
        text = f'<?xml version="1.0" encoding="utf-8"?>{content}'
        headers = {"x-ms-error-code": self.code}
        return web.Response(text=text, status=self.status, content_type="application/xml", headers=headers)


class BlobApi:
    """Serves one folder; ``url`` is the address of the host."""

    def __init__(self, root: Path, key: str, url: str) -> None:
        self._root = root
        self._key = key
        self._url = url

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve below ``/blobs``."""
        router.add_route("GET", "/blobs/{container}", self._guard(self._list))
        path = "/blobs/{container}/{name:.+}"
        router.add_route("GET", path, self._guard(self._get))
        router.add_route("HEAD", path, self._guard(self._head))
        router.add_route("PUT", path, self._guard(self._put))

    def _guard(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except BlobError as error:
                return error.response()
            except BadName as error:
                return BlobError("InvalidUri", str(error), 400).response()
            except AccessRefused as error:
                return BlobError("AuthenticationFailed", str(error), 403).response()
            except ConnectionError:
                raise
            except OSError as error:
                log.error("blob storage: %s", error)
                return BlobError("InternalError", f"the disk refused: {error.strerror}", 500).response()

        return guarded

    # Reading

    async def _get(self, request: web.Request) -> web.StreamResponse:
        stream, stat = await self._open(request)
        try:
            return await self._send(request, stream, stat)
        finally:
            await asyncio.to_thread(stream.close)

    async def _head(self, request: web.Request) -> web.StreamResponse:
        stream, stat = await self._open(request)
        await asyncio.to_thread(stream.close)
        headers = {**_headers(stat), "Content-Length": str(stat.st_size)}
        return web.Response(headers=headers, content_type="application/octet-stream")

    async def _open(self, request: web.Request) -> tuple[BinaryIO, os.stat_result]:
        """Open the blob that was asked for, checked against If-Match and If-None-Match."""
        path = self._file(request, "r")
        try:
            stream = await asyncio.to_thread(_open_file, path)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise BlobError("BlobNotFound", "the blob does not exist", 404) from error
        stat = os.fstat(stream.fileno())
        try:
            _check_conditions(request, etag_of(stat))
        except BlobError:
            stream.close()
            raise
        return stream, stat

    async def _send(self, request: web.Request, stream: BinaryIO, stat: os.stat_result) -> web.StreamResponse:
        try:
            wanted = byte_range(request.headers.get("x-ms-range") or request.headers.get("Range"), stat.st_size)
        except RangeOutside as error:
            refusal = BlobError("InvalidRange", str(error), 416).response()
            refusal.headers["Content-Range"] = f"bytes */{stat.st_size}"
            return refusal
        start, end = wanted or (0, stat.st_size)
        response = web.StreamResponse(status=200 if wanted is None else 206, headers=_headers(stat))
        response.content_type = "application/octet-stream"
        response.content_length = end - start
        if wanted is not None:
            response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{stat.st_size}"
        await response.prepare(request)
        while start < end:
            piece = await asyncio.to_thread(os.pread, stream.fileno(), min(_PIECE, end - start), start)
            if not piece:
                break
            await response.write(piece)
            start += len(piece)
        await response.write_eof()
        return response

    async def _list(self, request: web.Request) -> web.StreamResponse:
        container, query = request.match_info["container"], request.query
        if query.get("restype") != "container" or query.get("comp") != "list":
            raise BlobError("InvalidQueryParameterValue", "only restype=container&comp=list is served", 400)
        folder = container_folder(self._root, container)
        require(self._key, query, "l", container, "")
        prefix, marker = query.get("prefix", ""), query.get("marker", "")
        limit = _page_size(query.get("maxresults", ""))
        if not folder.is_dir():
            raise BlobError("ContainerNotFound", "the container does not exist", 404)
        page = await asyncio.to_thread(list_page, folder, prefix, marker, limit)
        body = to_xml(page, f"{self._url}/blobs/", container, prefix, marker, limit)
        return web.Response(body=body, content_type="application/xml")

    # Writing

    async def _put(self, request: web.Request) -> web.StreamResponse:
        path = self._file(request, "wc")
        if request.headers.get("x-ms-blob-type", "").lower() != "blockblob":
            raise BlobError("InvalidHeaderValue", "x-ms-blob-type must be BlockBlob", 400)
        size = request.content_length
        if size is None or size > MAX_BLOB_BYTES:
            raise BlobError("RequestBodyTooLarge", f"Content-Length is needed, at most {MAX_BLOB_BYTES}", 413)
        only_new = request.headers.get("If-None-Match", "").strip() == "*" or "w" not in request.query["sp"]
        if only_new and path.exists():
            raise BlobError("BlobAlreadyExists", "the blob exists already", 409)
        stat = await self._receive(request, path, size, only_new)
        return web.Response(status=201, headers=_headers(stat))

    async def _receive(self, request: web.Request, path: Path, size: int, only_new: bool) -> os.stat_result:
        """Stream the body to a temporary name, then make it the blob."""
        temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
        try:
            await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
            stream = await asyncio.to_thread(_create_file, temporary)
            try:
                received = 0
                async for piece in request.content.iter_chunked(_PIECE):
                    received += len(piece)
                    if received > size:
                        break
                    await asyncio.to_thread(stream.write, piece)
                if received != size:
                    raise BlobError("InvalidInput", f"the body has not the {size} bytes it promised", 400)
                return await asyncio.to_thread(_publish, stream, temporary, path, only_new)
            finally:
                await asyncio.to_thread(stream.close)
        except FileExistsError as error:
            raise BlobError("BlobAlreadyExists", "the blob exists already", 409) from error
        except (NotADirectoryError, IsADirectoryError) as error:
            raise BlobError(
                "BlobNameConflict", "another blob's name is a folder of this one, or the reverse", 409
            ) from error
        finally:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                temporary.unlink()

    def _file(self, request: web.Request, needed: str) -> Path:
        container, name = request.match_info["container"], request.match_info["name"]
        path = blob_file(self._root, container, name)
        require(self._key, request.query, needed, container, name)
        if not path.parent.resolve().is_relative_to((self._root / container).resolve()):
            raise BadName(f"{name!r} is no blob name")
        return path


def sweep_temporary(root: Path) -> None:
    """Remove uploads that a killed host left half-way; call it before anything is served."""
    for path in root.rglob(".*.tmp"):
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _open_file(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")


def _create_file(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _publish(stream: BinaryIO, temporary: Path, path: Path, only_new: bool) -> os.stat_result:
    """Make a complete temporary file the blob; with ``only_new`` never in place of another.

    Raises:
        FileExistsError: There is one already.
    """
    publish(stream, temporary, path, replace=not only_new)
    return os.fstat(stream.fileno())


def _headers(stat: os.stat_result) -> dict[str, str]:
    return {
        "ETag": etag_of(stat),
        "Last-Modified": formatdate(stat.st_mtime, usegmt=True),
        "Accept-Ranges": "bytes",
        "x-ms-blob-type": "BlockBlob",
    }


def _check_conditions(request: web.Request, etag: str) -> None:
    wanted = request.headers.get("If-Match")
    if wanted is not None and wanted.strip() != "*" and etag not in [tag.strip() for tag in wanted.split(",")]:
        raise BlobError("ConditionNotMet", "the blob has changed", 412)
    unwanted = request.headers.get("If-None-Match")
    if unwanted is not None and etag in [tag.strip() for tag in unwanted.split(",")]:
        raise BlobError("ConditionNotMet", "the blob has not changed", 304)


def _page_size(text: str) -> int:
    if not text:
        return MAX_PAGE
    if not text.isdecimal() or len(text) > _MAX_DIGITS or int(text) < 1:
        raise BlobError("OutOfRangeQueryParameterValue", "maxresults must be a whole number above 0", 400)
    return min(int(text), MAX_PAGE)
