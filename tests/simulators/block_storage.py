"""A blob storage that takes an archive whole or in blocks, in memory, behind HTTP: its link breaks on demand."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx


class BlockStorage:
    def __init__(self) -> None:
        self.blob: bytes | None = None
        self.staged: dict[str, bytes] = {}
        self.requests: list[str] = []
        """What was asked for: ``PUT``, ``block``, ``blocklist``, ``HEAD``, ``list``, in order."""
        self.trouble: Callable[[int, str], httpx.Response | BaseException | None] = lambda nth, kind: None
        """(number of the request from 1, its kind) -> what comes instead of the answer."""
        self.lose_answers = False
        """The trouble comes after the request was done."""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        kind = self._kind(request)
        self.requests.append(kind)
        trouble = self.trouble(len(self.requests), kind)
        if trouble is not None and not self.lose_answers:
            return _told(trouble)
        answer = self._answer(kind, request)
        return answer if trouble is None else _told(trouble)

    def _kind(self, request: httpx.Request) -> str:
        comp = request.url.params.get("comp", "")
        return "list" if request.method == "GET" else comp or request.method

    def _answer(self, kind: str, request: httpx.Request) -> httpx.Response:
        if kind == "block":
            self.staged[request.url.params["blockid"]] = request.read()
        elif kind == "PUT":
            self.blob = request.read()
        elif kind == "blocklist":
            names = re.findall("<Latest>(.*?)</Latest>", request.read().decode())
            if not self.staged.keys() >= set(names):
                return httpx.Response(400, headers={"x-ms-error-code": "InvalidBlockList"})
            self.blob, self.staged = b"".join(self.staged[name] for name in names), {}
        elif kind == "list":
            listed = "".join(f"<Block><Name>{name}</Name></Block>" for name in self.staged)
            text = f"<BlockList><UncommittedBlocks>{listed}</UncommittedBlocks></BlockList>"
            return httpx.Response(200 if self.staged else 404, text=text)
        elif self.blob is None:
            return httpx.Response(404)
        else:
            return httpx.Response(200, headers={"content-length": str(len(self.blob))})
        return httpx.Response(201)


def _told(trouble: httpx.Response | BaseException) -> httpx.Response:
    if isinstance(trouble, BaseException):
        raise trouble
    return trouble
