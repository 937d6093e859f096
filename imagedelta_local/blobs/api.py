"""Handlers of the local blob storage: reading, listing, Put Blob, and blobs that are put together of staged blocks.

Source: Azure Blob service REST reference. Files are read and written in threads, in pieces; no blob is ever held
in memory.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from pathlib import Path
from typing import BinaryIO

from aiohttp import web

from imagedelta_local.blobs.access import AccessRefused, require
from imagedelta_local.blobs.answers import BlobError
from imagedelta_local.blobs.blocks import MAX_BLOCK_BYTES, MAX_LIST_BYTES, StagedBlocks, block_ids
from imagedelta_local.blobs.listing import MAX_PAGE, etag_of, list_page, to_xml
from imagedelta_local.blobs.names import BadName, blob_file, container_folder
from imagedelta_local.blobs.ranges import RangeOutside, byte_range
from imagedelta_local.blobs.receiving import PIECE, new_file, promised_size, receive

log = logging.getLogger("imagedelta_host")

MAX_BLOB_BYTES = 64 << 30
_MAX_DIGITS = 15

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


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
        if request.query.get("comp") == "blocklist":
            return await self._get_block_list(request)
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
            piece = await asyncio.to_thread(os.pread, stream.fileno(), min(PIECE, end - start), start)
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
        """Put Blob, Put Block and Put Block List: ``comp`` tells which."""
        path = self._file(request, "wc")
        part = request.query.get("comp", "")
        if part == "block":
            return await self._put_block(request)
        only_new = request.headers.get("If-None-Match", "").strip() == "*" or "w" not in request.query["sp"]
        if only_new and path.exists():
            raise BlobError("BlobAlreadyExists", "the blob exists already", 409)
        if part == "blocklist":
            return await self._put_block_list(request, path, only_new)
        if part or request.headers.get("x-ms-blob-type", "").lower() != "blockblob":
            raise BlobError("InvalidHeaderValue", "x-ms-blob-type must be BlockBlob", 400)
        stat = await receive(request, path, promised_size(request, MAX_BLOB_BYTES), only_new=only_new)
        return web.Response(status=201, headers=_headers(stat))

    async def _put_block(self, request: web.Request) -> web.StreamResponse:
        size = promised_size(request, MAX_BLOCK_BYTES)
        block_id = request.query.get("blockid", "")
        place = await asyncio.to_thread(self._blocks(request).place_for, block_id, size)
        await receive(request, place, size, only_new=False)
        return web.Response(status=201)

    async def _put_block_list(self, request: web.Request, path: Path, only_new: bool) -> web.StreamResponse:
        body = await request.content.readexactly(promised_size(request, MAX_LIST_BYTES))
        ids, blocks = block_ids(body), self._blocks(request)
        async with new_file(path, only_new=only_new) as file:
            await asyncio.to_thread(blocks.join, ids, file.stream)
            stat = await asyncio.to_thread(file.publish)
        await asyncio.to_thread(blocks.drop)
        return web.Response(status=201, headers=_headers(stat))

    async def _get_block_list(self, request: web.Request) -> web.StreamResponse:
        self._file(request, "r")
        staged = await asyncio.to_thread(self._blocks(request).staged)
        if not staged:
            raise BlobError("BlobNotFound", "no block is staged for the blob", 404)
        blocks = "".join(f"<Block><Name>{block.name}</Name><Size>{block.size}</Size></Block>" for block in staged)
        listed = f"<BlockList><UncommittedBlocks>{blocks}</UncommittedBlocks></BlockList>"
        text = f'<?xml version="1.0" encoding="utf-8"?>{listed}'
        return web.Response(text=text, content_type="application/xml")

    def _blocks(self, request: web.Request) -> StagedBlocks:
        container, name = request.match_info["container"], request.match_info["name"]
        return StagedBlocks(container_folder(self._root, container), name, MAX_BLOB_BYTES)

    def _file(self, request: web.Request, needed: str) -> Path:
        container, name = request.match_info["container"], request.match_info["name"]
        path = blob_file(self._root, container, name)
        require(self._key, request.query, needed, container, name)
        if not path.parent.resolve().is_relative_to((self._root / container).resolve()):
            raise BadName(f"{name!r} is no blob name")
        return path


def _open_file(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")


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
