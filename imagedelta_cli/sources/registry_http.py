"""Reading from one registry over HTTP: logins, redirects, retries, resuming; every body bounded.

What answers may be anyone, so nothing is believed here but the status: sizes and digests are what the caller
states. The login goes to the registry and to the token server it names, and to nobody they redirect to.
Not here: what the documents mean (imagedelta_cli.sources.manifests).

Source: OCI distribution-spec 1.1, "Pull"; distribution, docs/spec/auth/.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

import httpx

from imagedelta.errors import DependencyError, LimitExceeded, RequestError
from imagedelta.limits import KIB
from imagedelta_cli.sources.challenge import read_challenges
from imagedelta_cli.sources.credentials import Login
from imagedelta_cli.sources.names import is_loopback
from imagedelta_cli.sources.tokens import Doorkeeper

Report = Callable[[int, int], None]

_TIMEOUT = httpx.Timeout(60, connect=15)
"""Seconds without a byte after which a link counts as broken."""
_PLAIN_BODIES = {"Accept-Encoding": "identity", "User-Agent": "imagedelta"}
"""Digests are of the bytes as they are sent; and nothing is unpacked before it is held against one."""
_TRIES = 5
_MAX_REDIRECTS = 5
_MAX_PAUSE = 60.0
_PROGRESS_BYTES = 64 * KIB
"""A try that brought so much was worth it: the tries are counted anew."""
_ANSWERS_TO_RANGE = (httpx.codes.PARTIAL_CONTENT, httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE)
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(?:\d+|\*)")


class PartialBlob:
    """A file that grows until it is whole, with the digest of what it holds."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.restart()

    @property
    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()

    def append(self, piece: bytes) -> None:
        self._out.write(piece)
        self._hash.update(piece)
        self.size += len(piece)

    def restart(self) -> None:
        """Drop what is there."""
        self._out.seek(0)
        self._out.truncate()
        self._hash = hashlib.sha256()
        self.size = 0


class Registry:
    """One registry, read by one thread; a context manager."""

    def __init__(
        self,
        address: str,
        login: Callable[[], Login],
        *,
        may_be_plain: Callable[[str], bool] = is_loopback,
        pause: float = 0.5,
    ) -> None:
        """Args:
        address: ``HOST[:PORT]``.
        login: Called when the registry asks for one.
        may_be_plain: Whether a ``HOST[:PORT]`` may be spoken to without TLS; the registry then is.
        pause: Seconds before the second try; each further one waits twice as long.
        """
        self.address = address
        self._base = httpx.URL(f"{'http' if may_be_plain(address) else 'https'}://{address}")
        self._client = httpx.Client(timeout=_TIMEOUT, trust_env=not is_loopback(address), headers=_PLAIN_BODIES)
        self._doorkeeper = Doorkeeper(address, self._client, login, may_be_plain)
        self._pause = pause

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def document(self, path: str, limit: int, accept: str = "*/*") -> tuple[bytes, httpx.Headers]:
        """Return the body below ``/v2/`` and its headers.

        Raises:
            LimitExceeded: It has more than ``limit`` bytes; no more were read.
            RequestError: ``request.no_image``: it is not there; ``registry.denied``; ``registry.protocol``.
            DependencyError: ``dependency.registry``: no whole answer after several tries.
        """
        patience = _Patience(self._pause)
        while True:
            try:
                return self._document(path, limit, accept)
            except DependencyError as error:
                patience.wait(error)

    def download(self, path: str, size: int, blob: PartialBlob, report: Report) -> None:
        """Fill ``blob`` up to ``size`` bytes; after a cut link it goes on where it was.

        Raises: as ``document``; LimitExceeded when there are more bytes than ``size``.
        """
        patience = _Patience(self._pause)
        while blob.size < size:
            start = blob.size
            try:
                self._append(path, size, blob, report)
            except DependencyError as error:
                patience.wait(error, useful=blob.size - start >= _PROGRESS_BYTES)

    def _document(self, path: str, limit: int, accept: str) -> tuple[bytes, httpx.Headers]:
        body = bytearray()
        with self._answer(path, {"Accept": accept}) as response:
            for piece in response.iter_raw():
                body += piece
                if len(body) > limit:
                    raise LimitExceeded(f"{self.address} answers {path} with more than {limit} bytes")
            return bytes(body), response.headers

    def _append(self, path: str, size: int, blob: PartialBlob, report: Report) -> None:
        headers = {"Range": f"bytes={blob.size}-"} if blob.size else {}
        with self._answer(path, headers) as response:
            if blob.size and not _continues(response, blob.size):
                blob.restart()
                if response.status_code != httpx.codes.OK:
                    raise DependencyError(f"{self.address} cannot resume {path}", code="dependency.registry")
            for piece in response.iter_raw():
                if blob.size + len(piece) > size:
                    raise LimitExceeded(f"{self.address} sends more than the {size} bytes it announced for {path}")
                blob.append(piece)
                report(blob.size, size)
        if blob.size < size:
            raise DependencyError(
                f"{self.address} ended {path} after {blob.size} of {size} bytes", code="dependency.registry"
            )

    @contextmanager
    def _answer(self, path: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
        """Ask once, following redirects and logging in when asked to; the body is read by the caller."""
        url = self._base.join(f"/v2/{path}")
        logged_in = False
        for _ in range(_MAX_REDIRECTS + 2):
            with self._sent(url, headers) as response:
                if response.status_code == httpx.codes.UNAUTHORIZED and not logged_in and self._is_own(url):
                    challenges = read_challenges(response.headers.get_list("www-authenticate"))
                    logged_in = True
                elif response.has_redirect_location:
                    url, challenges = self._redirected(url, response), None
                else:
                    self._raise_for(response, path)
                    yield response
                    return
            if challenges is not None:
                self._doorkeeper.admit(challenges, path)
        raise RequestError(f"{self.address} redirects {path} again and again", code="registry.protocol")

    @contextmanager
    def _sent(self, url: httpx.URL, headers: dict[str, str]) -> Iterator[httpx.Response]:
        """One request; what fails on the way, also while the body is read, is a DependencyError."""
        if self._is_own(url) and self._doorkeeper.authorization:
            headers = {**headers, "Authorization": self._doorkeeper.authorization}
        try:
            with self._client.stream("GET", url, headers=headers) as response:
                yield response
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _unanswered(self.address, error) from error

    def _is_own(self, url: httpx.URL) -> bool:
        return (url.scheme, url.host, url.port) == (self._base.scheme, self._base.host, self._base.port)

    def _redirected(self, url: httpx.URL, response: httpx.Response) -> httpx.URL:
        try:
            target = url.join(response.headers["location"])
        except httpx.InvalidURL as error:
            raise RequestError(f"{self.address} redirects to no address: {error}", code="registry.protocol") from None
        if target.scheme not in ("http", "https") or (url.scheme, target.scheme) == ("https", "http"):
            raise RequestError(f"{self.address} redirects from https to {target.scheme}", code="registry.protocol")
        return target

    def _raise_for(self, response: httpx.Response, path: str) -> None:
        status = response.status_code
        if status == httpx.codes.OK or (status in _ANSWERS_TO_RANGE and "range" in response.request.headers):
            return
        if status == httpx.codes.NOT_FOUND:
            raise RequestError(f"{self.address} has no {path}", code="request.no_image")
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise RequestError(f"{self.address} does not let us read {path} ({status})", code="registry.denied")
        problem = f"{response.url.host} answers {path} with {status}"
        if status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise _Busy(problem, _seconds(response.headers.get("retry-after", "")))
        raise RequestError(problem, code="registry.protocol")


class _Patience:
    """Counts failed tries and waits before the next; a try that was of use makes it whole again."""

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._failed = 0

    def wait(self, error: DependencyError, *, useful: bool = False) -> None:
        """Raises: ``error``, when it was the last try."""
        self._failed = 1 if useful else self._failed + 1
        if self._failed >= _TRIES:
            raise error
        asked = error.seconds if isinstance(error, _Busy) else 0.0
        time.sleep(max(asked, self._pause * 2 ** (self._failed - 1)))


class _Busy(DependencyError):
    """The registry asks to come back later."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message, code="dependency.registry")
        self.seconds = seconds


def _unanswered(address: str, error: Exception) -> Exception:
    """What a failure of HTTP itself means: a certificate is wrong for good, anything else may pass."""
    text = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in text or "WRONG_VERSION_NUMBER" in text:
        return RequestError(f"{address}: no trusted TLS: {text}", code="registry.protocol")
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return RequestError(f"{address}: {text}", code="registry.protocol")
    return DependencyError(f"{address} does not answer: {text}", code="dependency.registry")


def _continues(response: httpx.Response, start: int) -> bool:
    """Whether the body is the blob's bytes from ``start`` on."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    return response.status_code == httpx.codes.PARTIAL_CONTENT and found is not None and int(found[1]) == start


def _seconds(text: str) -> float:
    return min(float(text), _MAX_PAUSE) if text.isdigit() else 0.0
