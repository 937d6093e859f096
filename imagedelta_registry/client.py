"""Reading from one registry over HTTP: logins, redirects, retries, resuming; every body bounded.

What answers may be anyone, so nothing is believed here but the status: sizes and digests are what the caller
states. The login goes to the registry and to the token server it names, and to nobody they redirect to.
Not here: what the documents mean (imagedelta_registry.manifests).

Source: OCI distribution-spec 1.1, "Pull"; distribution, docs/spec/auth/; RFC 9110, sections 10.2.3 and 14.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

from imagedelta.errors import DependencyError, LimitExceeded, RequestError
from imagedelta.limits import KIB
from imagedelta_registry.challenge import read_challenges
from imagedelta_registry.login import AskLogin
from imagedelta_registry.names import is_loopback
from imagedelta_registry.tokens import Doorkeeper

_TIMEOUT = httpx.Timeout(60, connect=15)
"""Seconds without a byte after which a link counts as broken."""
_PLAIN_BODIES = {"Accept-Encoding": "identity", "User-Agent": "imagedelta"}
"""Digests are of the bytes as they are sent; and nothing is unpacked before its size is bounded."""
_TRIES = 5
_MAX_REDIRECTS = 5
_MAX_PAUSE = timedelta(seconds=60)
"""Who is asked to wait longer gives up, and says how long: whoever called has something else to do meanwhile."""
_PROGRESS_BYTES = 64 * KIB
"""A try that brought so much was worth it: the tries are counted anew."""
_WITHOUT_RANGES = (httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE, httpx.codes.NOT_IMPLEMENTED)
"""Of a registry that takes no Range for this blob: zot and GitHub's answer so, others ignore the header (200)."""
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(?:\d+|\*)")


class Registry:
    """One registry; a context manager. Many threads may ask it."""

    def __init__(
        self,
        address: str,
        login: AskLogin,
        *,
        may_be_plain: Callable[[str], bool] = is_loopback,
        pause: float = 0.5,
        client: httpx.Client | None = None,
    ) -> None:
        """Args:
        address: ``HOST[:PORT]``.
        may_be_plain: Whether a ``HOST[:PORT]`` may be spoken to without TLS; the registry then is.
        pause: Seconds before the second try; each further one waits twice as long.
        client: With deadlines of its own; it follows no redirects, and is closed with the registry.
        """
        self.address = address
        self._base = httpx.URL(f"{'http' if may_be_plain(address) else 'https'}://{address}")
        self._client = client or httpx.Client(timeout=_TIMEOUT, trust_env=not is_loopback(address))
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

    def pieces(self, path: str, size: int) -> Iterator[bytes]:
        """Yield the ``size`` bytes below ``/v2/`` once, in order; after a cut link it goes on where it was.

        Raises: as ``document``; LimitExceeded when there are more bytes than ``size``.
        """
        patience, here, ranges = _Patience(self._pause), 0, True
        while here < size or (size == 0 and ranges):
            start = here
            try:
                with closing(self._rest(path, size, start, ranges)) as rest:
                    for piece in rest:
                        here += len(piece)
                        yield piece
                return
            except _NoRanges:
                ranges = False
            except DependencyError as error:
                patience.wait(error, useful=here - start >= _PROGRESS_BYTES)

    def _document(self, path: str, limit: int, accept: str) -> tuple[bytes, httpx.Headers]:
        body = bytearray()
        with self._answer(path, {"Accept": accept}) as response:
            for piece in response.iter_raw():
                body += piece
                if len(body) > limit:
                    raise LimitExceeded(f"{self.address} answers {path} with more than {limit} bytes")
            return bytes(body), response.headers

    def _rest(self, path: str, size: int, start: int, ranges: bool) -> Generator[bytes, None, None]:
        """The bytes from ``start`` to the end. Without ranges what comes before them is fetched, and passed over."""
        headers = {"Range": f"bytes={start}-"} if start and ranges else {}
        with self._answer(path, headers) as response:
            at = _begin_of(response) if headers else 0
            if at not in (0, start):
                raise _NoRanges
            for piece in response.iter_raw():
                if at + len(piece) > size:
                    raise LimitExceeded(f"{self.address} sends more than the {size} bytes it announced for {path}")
                fresh = piece[max(0, start - at) :]
                at += len(piece)
                if fresh:
                    yield fresh
        if at < size:
            raise DependencyError(f"{self.address} ended {path} after {at} of {size} bytes", code="dependency.registry")

    @contextmanager
    def _answer(self, path: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
        """Ask once, following redirects and logging in when asked to; the body is read by the caller."""
        url, shown = self._base.join(f"/v2/{path}"), self._doorkeeper.authorization(path)
        logged_in = False
        for _ in range(_MAX_REDIRECTS + 2):
            with self._sent(url, headers, shown) as response:
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
                shown = self._doorkeeper.admit(challenges, path)
        raise RequestError(f"{self.address} redirects {path} again and again", code="registry.protocol")

    @contextmanager
    def _sent(self, url: httpx.URL, headers: dict[str, str], shown: str) -> Iterator[httpx.Response]:
        """One request; what fails on the way, also while the body is read, is a DependencyError.

        ``shown``: to the registry itself, in ``Authorization``.
        """
        login = {"Authorization": shown} if shown and self._is_own(url) else {}
        try:
            sent = {**_PLAIN_BODIES, **headers, **login}
            with self._client.stream("GET", url, headers=sent, follow_redirects=False) as response:
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
        status, ranged = response.status_code, "range" in response.request.headers
        if status == httpx.codes.OK or (status == httpx.codes.PARTIAL_CONTENT and ranged):
            return
        if status in _WITHOUT_RANGES and ranged:
            raise _NoRanges
        if status == httpx.codes.NOT_FOUND:
            raise RequestError(f"{self.address} has no {path}", code="request.no_image")
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise RequestError(f"{self.address} does not let us read {path} ({status})", code="registry.denied")
        problem = f"{response.url.host} answers {path} with {status}"
        if status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise DependencyError(
                problem, code="dependency.registry", retry_after=_asked_pause(response.headers.get("retry-after", ""))
            )
        raise RequestError(problem, code="registry.protocol")


class _NoRanges(Exception):
    """The registry takes no Range for this blob."""


class _Patience:
    """Counts failed tries and waits before the next; a try that was of use makes it whole again."""

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._failed = 0

    def wait(self, error: DependencyError, *, useful: bool = False) -> None:
        """Raises: ``error``, when it was the last try, or asks for a longer pause than anybody waits here."""
        self._failed = 1 if useful else self._failed + 1
        asked = error.retry_after or timedelta(0)
        if self._failed >= _TRIES or asked > _MAX_PAUSE:
            raise error
        time.sleep(max(asked.total_seconds(), self._pause * 2 ** (self._failed - 1)))


def _unanswered(address: str, error: Exception) -> Exception:
    """What a failure of HTTP itself means: a certificate is wrong for good, anything else may pass."""
    text = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in text or "WRONG_VERSION_NUMBER" in text:
        return RequestError(f"{address}: no trusted TLS: {text}", code="registry.protocol")
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return RequestError(f"{address}: {text}", code="registry.protocol")
    return DependencyError(f"{address} does not answer: {text}", code="dependency.registry")


def _begin_of(response: httpx.Response) -> int:
    """Where in the blob the body begins; -1 when that cannot be told."""
    if response.status_code != httpx.codes.PARTIAL_CONTENT:
        return 0
    found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    return int(found[1]) if found else -1


def _asked_pause(text: str) -> timedelta | None:
    """Seconds, or the time of a clock."""
    if text.isascii() and text.isdigit() and len(text) < 10:
        return timedelta(seconds=int(text))
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(timedelta(0), until - datetime.now(UTC)) if until.tzinfo else None
