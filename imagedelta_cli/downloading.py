"""Bytes of a blob whose size is known, from a URL that opens it: after a broken link it goes on where it was."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx

from imagedelta.errors import DependencyError, RequestError

_TRIES = 5
"""Without a byte in between."""
_BUSY = frozenset({408, 429, 500, 502, 503, 504})


class Gone(RequestError):
    """The URL opens nothing (any more): it was fetched or withdrawn meanwhile, or the time is over."""

    code = "cli.export_gone"


class Download:
    """Reads blobs through one client."""

    def __init__(self, client: httpx.Client, *, pause: float) -> None:
        """Args:
        pause: Seconds before a request is repeated; each further time as much longer.
        """
        self._client = client
        self._pause = pause

    def pieces(self, url: str, size: int) -> Iterator[bytes]:
        """Yield exactly ``size`` bytes.

        Raises: Gone; DependencyError when the storage does not answer.
        """
        done = failed = 0
        while done < size:
            before = done
            try:
                for piece in self._rest(url, done, size):
                    done += len(piece)
                    yield piece
            except DependencyError:
                failed = 1 if done > before else failed + 1
                if failed == _TRIES:
                    raise
                time.sleep(self._pause * failed)

    def whole(self, url: str, most: int) -> bytes:
        """A small blob of unknown size, at most ``most`` bytes and one."""
        for left in reversed(range(_TRIES)):
            try:
                return b"".join(self._answer(url, {}, most + 1))
            except DependencyError:
                if not left:
                    raise
                time.sleep(self._pause * (_TRIES - left))
        raise AssertionError("the last try answers or raises")

    def _rest(self, url: str, done: int, size: int) -> Iterator[bytes]:
        """Raises: DependencyError also when the answer ends early."""
        came = 0
        for piece in self._answer(url, {"Range": f"bytes={done}-{size - 1}"}, size - done):
            came += len(piece)
            yield piece
        if came < size - done:
            raise DependencyError(f"{_host(url)} ended after {done + came} of {size} bytes", code="dependency.host")

    def _answer(self, url: str, headers: dict[str, str], most: int) -> Iterator[bytes]:
        """At most ``most`` bytes of the answer; what comes after them is not waited for."""
        try:
            with self._client.stream("GET", url, headers={"Accept-Encoding": "identity", **headers}) as answer:
                _check(url, answer, "Range" in headers and not headers["Range"].startswith("bytes=0-"))
                for piece in answer.iter_raw():  # as it comes: what has arrived is not lost with the link
                    yield piece[:most]
                    most -= len(piece)
                    if most <= 0:
                        return
        except httpx.InvalidURL as error:
            raise Gone(f"the host named no URL: {error}") from error
        except httpx.HTTPError as error:
            detail = f"{_host(url)} does not answer: {error or type(error).__name__}"
            raise DependencyError(detail, code="dependency.host") from error


def _check(url: str, answer: httpx.Response, from_the_middle: bool) -> None:
    if answer.status_code == 206 or (answer.status_code == 200 and not from_the_middle):
        return
    detail = f"{_host(url)} answered {answer.status_code}"
    if answer.status_code in _BUSY:
        raise DependencyError(detail, code="dependency.host")
    raise Gone(detail)


def _host(url: str) -> str:
    """Of the storage, without the SAS: it opens the bundle."""
    place = httpx.URL(url)
    return f"{place.scheme}://{place.netloc.decode()}"
