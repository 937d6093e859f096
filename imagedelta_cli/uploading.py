"""Sending an archive to the storage: small ones by one request, large ones in blocks that survive a broken link.

A block is named by its place and its content, so that what the storage has staged already is not sent again, and a file
that was changed in between is never mixed from old and new.
Source: Azure Blob service REST reference, Put Blob, Put Block, Put Block List, Get Block List.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree

import httpx

from imagedelta.errors import DependencyError, RequestError
from imagedelta_cli.output import Report

_TRIES = 6
_PIECE_BYTES = 1 << 20
_JOIN_TIMEOUT = httpx.Timeout(60, read=1800)
"""A storage on one disk copies the blocks before it answers."""
_BUSY = frozenset({408, 429, 500, 502, 503, 504})


class AccessOver(RequestError):
    """The URL does not open the storage (any more): another upload is needed."""

    code = "cli.upload_over"


class Sender:
    """Sends one file to the URL that ``POST /api/uploads`` gave."""

    def __init__(self, client: httpx.Client, upload: Mapping[str, Any], *, pause: float) -> None:
        """Args:
        pause: Seconds before a request is repeated; each further time as much longer.
        """
        self._client = client
        self._upload = upload
        self._url = httpx.URL(upload["url"])
        self._block_bytes = int(upload.get("blockBytes") or upload["maxBytes"])
        self._pause = pause

    def send(self, path: Path, report: Report) -> None:
        """Raises: RequestError ``request.too_large`` before a byte is sent; AccessOver; DependencyError."""
        size = path.stat().st_size
        if size > self._upload["maxBytes"]:
            raise RequestError(
                f"{path} has {size} bytes; the host takes {self._upload['maxBytes']}", code="request.too_large"
            )
        with path.open("rb") as stream:
            if size <= self._block_bytes:
                self._put_whole(stream, size, report)
            elif self._stored_bytes() == size:
                report(size, size)
            else:
                self._put_list(self._put_blocks(stream, size, report), size)

    def _put_whole(self, stream: BinaryIO, size: int, report: Report) -> None:
        headers = {**self._upload["headers"], "Content-Length": str(size)}

        def put() -> httpx.Response:
            stream.seek(0)
            return self._client.request(
                self._upload["method"], self._url, headers=headers, content=_pieces(stream, size, report)
            )

        self._repeat(put)

    def _put_blocks(self, stream: BinaryIO, size: int, report: Report) -> list[str]:
        staged, sent, done = self._staged(), list[str](), 0
        while block := stream.read(self._block_bytes):
            name = _block_id(len(sent), block)
            if name not in staged:
                self._put({"comp": "block", "blockid": name}, block)
            sent.append(name)
            done += len(block)
            report(done, size)
        return sent

    def _put_list(self, names: list[str], size: int) -> None:
        """Make the blocks the blob. An answer that was lost is looked up: the blocks are gone by then."""
        listed = "".join(f"<Latest>{name}</Latest>" for name in names)
        try:
            self._put({"comp": "blocklist"}, f"<BlockList>{listed}</BlockList>".encode(), timeout=_JOIN_TIMEOUT)
        except (RequestError, DependencyError):
            if self._stored_bytes() != size:
                raise

    def _put(self, query: Mapping[str, str], body: bytes, timeout: httpx.Timeout | None = None) -> None:
        url = self._url.copy_merge_params(query)
        patience = self._client.timeout if timeout is None else timeout
        self._repeat(lambda: self._client.put(url, content=body, timeout=patience))

    def _staged(self) -> frozenset[str]:
        url = self._url.copy_merge_params({"comp": "blocklist", "blocklisttype": "uncommitted"})
        answer = self._repeat(lambda: self._client.get(url), missing=True)
        try:
            found = ElementTree.fromstring(answer.content)  # noqa: S314  of the storage that takes our archive
        except ElementTree.ParseError:
            return frozenset()  # nothing is staged, or it does not say so: everything is sent
        return frozenset(name.text or "" for name in found.iterfind("UncommittedBlocks/Block/Name"))

    def _stored_bytes(self) -> int | None:
        """The size of the blob; None while it is not there."""
        answer = self._repeat(lambda: self._client.head(self._url), missing=True)
        length = answer.headers.get("content-length", "")
        return int(length) if answer.status_code == 200 and length.isdecimal() else None

    def _repeat(self, ask: Callable[[], httpx.Response], *, missing: bool = False) -> httpx.Response:
        """The answer of a request that may be repeated; 404 is one with ``missing``."""
        for left in reversed(range(_TRIES)):
            try:
                answer = ask()
            except httpx.HTTPError as error:
                problem = DependencyError(f"{self._host} does not answer: {error or type(error).__name__}")
                problem.__cause__ = error
            else:
                if answer.is_success or (missing and answer.status_code == 404):
                    return answer
                problem = self._refusal(answer)
            if not left:
                raise problem
            time.sleep(self._pause * (_TRIES - left))
        raise AssertionError("the last try answers or raises")

    def _refusal(self, answer: httpx.Response) -> DependencyError:
        """Raises: what no repetition heals."""
        detail = f"{self._host} answered {answer.status_code} {answer.headers.get('x-ms-error-code', '')}".rstrip()
        if answer.status_code in _BUSY:
            return DependencyError(detail)
        raise AccessOver(detail) if answer.status_code in (401, 403) else RequestError(detail, code="cli.upload")

    @property
    def _host(self) -> str:
        """Of the storage, without the SAS: it opens the upload."""
        return f"{self._url.scheme}://{self._url.netloc.decode()}"


def _block_id(number: int, block: bytes) -> str:
    return base64.b64encode(f"{number:08d}-{hashlib.sha256(block).hexdigest()[:32]}".encode()).decode()


def _pieces(stream: BinaryIO, size: int, report: Report) -> Iterator[bytes]:
    done = 0
    while piece := stream.read(_PIECE_BYTES):
        yield piece
        done += len(piece)
        report(done, size)
