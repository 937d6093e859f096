"""The local registry over HTTP: blobs, uploads, mounts, manifests, tags. No decision is taken here.

Every answer is bounded in bytes and in time. What a digest names is held against it when it is read whole; the caller
does that for parts. Whatever goes wrong is a DependencyError: the registry is the device's own, so it is at fault, and
no bundle. What can be asked twice is asked again after a short pause: a registry that is restarted is back soon.

Source: OCI distribution-spec 1.1; distribution 2.8, docs/spec/api.md.
"""

from __future__ import annotations

import errno
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import httpx

from imagedelta.archives.json_reading import parse_object
from imagedelta.archives.model import sha256_id
from imagedelta.archives.oci import INDEX_TYPES, MANIFEST_TYPES
from imagedelta.errors import ContentError, DependencyError
from imagedelta.limits import DEFAULT_LIMITS, KIB, MIB
from services.http_bounded import bounded_client

_ACCEPT = ", ".join((*MANIFEST_TYPES, *INDEX_TYPES))
_MAX_PAGE_BYTES = 4 * MIB
_MAX_ERROR_BYTES = 64 * KIB
_MAX_LISTED = 20_000
"""Repositories, or tags of one."""
_PAGE = 500
_ANSWER_SECONDS = 60.0
"""The longest that a small answer may take in all."""
_SLICE_BYTES = 64 * KIB
_LEAST_RATE = 64 * KIB
"""Bytes per second below which a blob counts as hanging."""
_TRIES, _TRIES_OF_UNREADABLE = 5, 2
_MAX_PAUSE = 5.0
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_UPLOAD_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")
_NEXT_PAGE = re.compile(r'<([^>]{1,2000})>\s*;\s*rel="?next"?')
_VERSION = "docker-distribution-api-version"
_GONE = {"BLOB_UNKNOWN", "MANIFEST_BLOB_UNKNOWN", "MANIFEST_UNKNOWN"}
_DISK_FULL = (f'"Err":{errno.ENOSPC}', "no space left", "disk quota exceeded")
_T = TypeVar("_T")


class BlobsUnknown(DependencyError):
    """A manifest was refused because the registry has not all that it names."""

    code = "registry.down"


class RangeIgnored(DependencyError):
    """A part of a blob was asked for, and the registry began to send all of it."""

    code = "registry.down"


class Unreadable(DependencyError):
    """The registry fails at this one thing, again and again: its record of it is damaged."""

    code = "registry.down"


@dataclass(frozen=True)
class Manifest:
    """Exact bytes and what they are."""

    digest: str
    media_type: str
    data: bytes


@dataclass(frozen=True)
class Login:
    user: str
    password: str


def address_of(url: str) -> str:
    """``HOST[:PORT]`` of ``http://HOST[:PORT]`` or ``https://…``."""
    return httpx.URL(url).netloc.decode()


class RegistryClient:
    """One registry; may be used by several threads."""

    def __init__(
        self, address: str, login: Login | None = None, *, silence_seconds: float = 60.0, pause: float = 0.3
    ) -> None:
        """Args:
        address: ``http://HOST[:PORT]`` or ``https://…``.
        login: For Basic authentication.
        silence_seconds: A registry that sends no byte for so long hangs.
        pause: Seconds before something is asked for again; twice as long the next time.
        """
        self._base = httpx.URL(address.rstrip("/"))
        self.address = address_of(address)
        self._pause = pause
        self.requests = 0
        """Sent so far."""
        self._client = bounded_client(silence_seconds, proxies=False)
        self._client.headers.update({"accept-encoding": "identity", "user-agent": "imagedelta"})
        if login is not None:
            self._client.auth = httpx.BasicAuth(login.user, login.password)

    def close(self) -> None:
        self._client.close()

    # Whether it is there.

    def answers(self) -> bool:
        """Whether a registry answers at the address, asked once; one that wants a login is one."""
        try:
            with self._send("GET", "/v2/", (200, 401)) as response:
                return _VERSION in response.headers or response.status_code == 200
        except DependencyError:
            return False

    # Blobs.

    def blob_size(self, repository: str, digest: str) -> int | None:
        """Bytes of a blob that the repository has; None when it has it not, or its record of it is damaged."""

        def ask() -> int | None:
            with self._send("HEAD", _blob(repository, digest), (200, 404)) as response:
                if response.status_code == 404:
                    return None
                size = response.headers.get("content-length", "")
                if not size.isdecimal() or len(size) > 18:
                    raise self._down(f"does not say how large {digest} is")
                return int(size)

        try:
            return self._patiently(ask)
        except Unreadable:
            return None

    def read_small(self, repository: str, digest: str, limit: int) -> bytes | None:
        """The whole of a small blob; None when the repository has it not, or it has other bytes.

        Raises: DependencyError.
        """

        def ask() -> bytes | None:
            with self._send("GET", _blob(repository, digest), (200, 404)) as response:
                return None if response.status_code == 404 else self._body(response, limit)

        data = self._patiently(ask)
        return data if data is not None and sha256_id(data) == digest else None

    def read_range(self, repository: str, digest: str, offset: int, length: int) -> bytes | None:
        """Exactly these bytes of a blob; None when it is not there or ends before.

        Raises: RangeIgnored.
        """

        def ask() -> bytes | None:
            headers = {"range": f"bytes={offset}-{offset + length - 1}"}
            with self._send("GET", _blob(repository, digest), (200, 206, 404, 416), headers) as response:
                if response.status_code in (404, 416):
                    return None
                if response.status_code == 200:
                    raise RangeIgnored(f"{self.address} sends whole blobs instead of ranges")
                found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
                if found is None or int(found[1]) != offset:
                    raise self._down("answers a range with another one")
                data = self._body(response, length)
                ends_early = int(found[3]) < offset + length
                if len(data) < length and not ends_early:
                    raise self._down(f"ended a range of {length} bytes after {len(data)}")
                return None if ends_early else data

        return self._patiently(ask)

    @contextmanager
    def open_blob(self, repository: str, digest: str, size: int) -> Iterator[Iterator[bytes] | None]:
        """The bytes of a blob, front to back; None when it is not there. Not asked for again once it has begun.

        Args:
            size: What it should have: decides how long it may take. More bytes than that end in a DependencyError.
        """
        with self._send("GET", _blob(repository, digest), (200, 404)) as response:
            yield None if response.status_code == 404 else self._pieces(response, size)

    def delete_blob(self, repository: str, digest: str) -> None:
        """Make the repository forget a blob; one that it has not is no error."""
        self._patiently(lambda: self._simple("DELETE", _blob(repository, digest), (202, 404)))

    def mount(self, repository: str, digest: str, source: str) -> bool:
        """Give the repository a blob that another one has; False when the registry does not do it."""

        def ask() -> str | None:
            query = {"mount": digest, "from": source}
            with self._send("POST", f"/v2/{repository}/blobs/uploads/", (201, 202), query=query) as response:
                return self._location(response) if response.status_code == 202 else None

        upload = self._patiently(ask)
        if upload is not None:
            self.cancel_upload(upload)
        return upload is None

    # Uploads. A place is what the registry calls the upload after each request.

    def start_upload(self, repository: str) -> str:
        def ask() -> str:
            with self._send("POST", f"/v2/{repository}/blobs/uploads/", (202,)) as response:
                return self._location(response)

        return self._patiently(ask)

    def append_upload(self, place: str, offset: int, data: bytes | bytearray) -> str:
        """Send the bytes from ``offset`` on; returns the new place. Never sent twice: ask ``upload_state`` then."""
        headers = {
            "content-type": "application/octet-stream",
            "content-length": str(len(data)),
            "content-range": f"{offset}-{offset + len(data) - 1}",
        }
        # In slices: sent at once, the layers below would hold it twice more.
        slices = (bytes(data[at : at + _SLICE_BYTES]) for at in range(0, len(data), _SLICE_BYTES))
        with self._send("PATCH", place, (202,), headers, content=slices) as response:
            return self._location(response)

    def upload_state(self, place: str) -> tuple[int, str] | None:
        """How many bytes have arrived, and the new place; None when the registry knows no such upload any more."""

        def ask() -> tuple[int, str] | None:
            with self._send("GET", place, (204, 400, 404, 416)) as response:
                found = _UPLOAD_RANGE.fullmatch(response.headers.get("range", ""))
                if response.status_code != 204 or found is None:
                    return None
                last = int(found[1])
                return (last + 1 if last else 0), self._location(response)

        return self._patiently(ask)

    def finish_upload(self, place: str, digest: str) -> None:
        """All bytes have been sent: make them a blob. The registry holds them against the digest."""
        with self._send("PUT", place, (201,), query={"digest": digest}, content=b""):
            pass

    def cancel_upload(self, place: str) -> bool:
        """Drop what has arrived; False when the registry does not do it. It purges it some day anyway."""
        try:
            self._simple("DELETE", place, (204,))
        except DependencyError:
            return False
        return True

    # Manifests and names.

    def manifest_digest(self, repository: str, reference: str) -> str | None:
        """Digest of the manifest under a tag or digest; None when there is none.

        Raises: Unreadable.
        """

        def ask() -> str | None:
            path = f"/v2/{repository}/manifests/{reference}"
            with self._send("HEAD", path, (200, 404), {"accept": _ACCEPT}) as response:
                return None if response.status_code == 404 else response.headers.get("docker-content-digest", "")

        digest = self._patiently(ask)
        if digest == "":  # a registry need not say it
            manifest = self.manifest(repository, reference)
            digest = None if manifest is None else manifest.digest
        return digest

    def manifest(self, repository: str, reference: str) -> Manifest | None:
        """The manifest under a tag or digest; None when there is none, or it has another digest.

        Raises: Unreadable.
        """

        def ask() -> Manifest | None:
            path = f"/v2/{repository}/manifests/{reference}"
            with self._send("GET", path, (200, 404), {"accept": _ACCEPT}) as response:
                if response.status_code == 404:
                    return None
                data = self._body(response, DEFAULT_LIMITS.max_manifest_bytes)
                media_type = response.headers.get("content-type", "").partition(";")[0].strip()
                return Manifest(sha256_id(data), media_type, data)

        found = self._patiently(ask)
        if found is not None and reference.startswith("sha256:") and found.digest != reference:
            return None
        return found

    def put_manifest(self, repository: str, reference: str, manifest: Manifest) -> None:
        """Raises: BlobsUnknown: the registry has not all that the manifest names."""

        def ask() -> None:
            path, headers = f"/v2/{repository}/manifests/{reference}", {"content-type": manifest.media_type}
            with self._send("PUT", path, (201, 400, 404), headers, content=manifest.data) as response:
                if response.status_code != 201:
                    problem, codes = self._problem(response)
                    raise BlobsUnknown(str(problem)) if codes & _GONE else problem

        self._patiently(ask)

    def delete_manifest(self, repository: str, digest: str) -> None:
        """Make the repository forget a manifest and all tags of it; one that it has not is no error."""
        self._patiently(lambda: self._simple("DELETE", f"/v2/{repository}/manifests/{digest}", (202, 404)))

    def repositories(self) -> list[str]:
        return self._listed("/v2/_catalog", "repositories")

    def tags(self, repository: str) -> list[str]:
        return self._listed(f"/v2/{repository}/tags/list", "tags")

    # Inside.

    def _listed(self, path: str, field: str) -> list[str]:
        """All pages of a list; an unknown repository has none."""
        found: dict[str, None] = {}
        where: str | None = f"{path}?n={_PAGE}"
        while where is not None:
            known = len(found)
            page, where = self._patiently(lambda where=where: self._page(where, field))  # type: ignore[misc]
            found.update(dict.fromkeys(page))
            if len(found) > _MAX_LISTED:
                raise self._down(f"lists more than {_MAX_LISTED} {field}")
            if where is not None and len(found) == known:
                raise self._down(f"gives the same page of {field} again and again")
        return list(found)

    def _page(self, where: str, field: str) -> tuple[list[str], str | None]:
        with self._send("GET", where, (200, 404)) as response:
            if response.status_code == 404:
                return [], None
            body = self._body(response, _MAX_PAGE_BYTES)
            following = _NEXT_PAGE.search(response.headers.get("link", ""))
        listed = _object(body, self).get(field) or []
        if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
            raise self._down(f"answers something else than a list of {field}")
        return listed, None if following is None else self._own(following[1])

    def _simple(self, method: str, path: str, expected: tuple[int, ...]) -> None:
        with self._send(method, path, expected):
            pass

    @contextmanager
    def _send(
        self,
        method: str,
        path: str,
        expected: tuple[int, ...],
        headers: dict[str, str] | None = None,
        *,
        query: dict[str, str] | None = None,
        content: bytes | Iterable[bytes] | None = None,
    ) -> Iterator[httpx.Response]:
        """One request; what fails on the way, also while the body is read, is a DependencyError.

        Args:
            expected: Statuses that the caller tells apart; any other one is an error.
        """
        url = self._base.join(path)
        self.requests += 1
        try:
            url = url.copy_merge_params(query) if query else url
            with self._client.stream(method, url, headers=headers, content=content) as response:
                if response.headers.get("content-type", "").startswith("text/html"):
                    raise self._down("answers with a web page: something else than a registry is there")
                if response.status_code not in expected:
                    raise self._problem(response)[0]
                yield response
                self._drain(response)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise self._down(f"does not answer: {type(error).__name__} {error}".rstrip()) from error

    def _patiently(self, ask: Callable[[], _T]) -> _T:
        for number in range(_TRIES):
            try:
                return ask()
            except (BlobsUnknown, RangeIgnored):
                raise
            except DependencyError as error:
                tries = _TRIES_OF_UNREADABLE if isinstance(error, Unreadable) else _TRIES
                if number + 1 >= tries or error.code not in ("registry.down", "registry.busy"):
                    raise
                asked = error.retry_after.total_seconds() if error.retry_after else 0.0
                if asked > _MAX_PAUSE:
                    raise
                time.sleep(max(asked, self._pause * 2**number))
        raise AssertionError("unreachable")

    def _pieces(self, response: httpx.Response, size: int) -> Iterator[bytes]:
        end = time.monotonic() + _ANSWER_SECONDS + size / _LEAST_RATE
        try:
            for piece in response.iter_raw():
                size -= len(piece)
                if size < 0:
                    raise self._down(f"sends more bytes of {response.url.path} than it has")
                if time.monotonic() > end:
                    raise self._down(f"takes too long to send {response.url.path}")
                yield piece
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise self._down(f"broke off: {type(error).__name__} {error}".rstrip()) from error

    def _drain(self, response: httpx.Response) -> None:
        """Read the rest of a small answer, so that the next request need not connect anew."""
        if not response.is_stream_consumed and int(response.headers.get("content-length") or 0) <= _MAX_ERROR_BYTES:
            self._body(response, _MAX_ERROR_BYTES)

    def _body(self, response: httpx.Response, limit: int) -> bytes:
        return b"".join(self._pieces(response, limit))

    def _problem(self, response: httpx.Response) -> tuple[DependencyError, set[str]]:
        """What an unexpected answer means, and the codes of its errors."""
        text = self._body(response, _MAX_ERROR_BYTES).decode(errors="replace")
        codes = _codes(text)
        status, request = response.status_code, response.request
        said = f"{self.address} answers {status} to {request.method} {request.url.path}: {text[:300]}".rstrip(": \n")
        if any(sign in text for sign in _DISK_FULL):
            return DependencyError(said, code="disk.full"), codes
        if status in (401, 403):
            return DependencyError(said, code="registry.login"), codes
        if status == 405 or "UNSUPPORTED" in codes:
            return DependencyError(said, code="registry.read_only"), codes
        if status == 500 and (codes or (request.method == "HEAD" and _VERSION in response.headers)):
            return Unreadable(said), codes
        code = "registry.busy" if status == 429 else "registry.down"
        return DependencyError(said, code=code, retry_after=_retry_after(response)), codes

    def _down(self, what: str) -> DependencyError:
        return DependencyError(f"registry {self.address} {what}", code="registry.down")

    def _location(self, response: httpx.Response) -> str:
        place = response.headers.get("location", "")
        if not place:
            raise self._down("does not say where an upload goes")
        return self._own(place)

    def _own(self, place: str) -> str:
        """Path and query of an address the registry gives: what it thinks its own host is does not matter."""
        try:
            return httpx.URL(place).raw_path.decode()
        except httpx.InvalidURL as error:
            raise self._down(f"gives an address that is none: {error}") from None


def _blob(repository: str, digest: str) -> str:
    return f"/v2/{repository}/blobs/{digest}"


def _codes(text: str) -> set[str]:
    try:
        errors = json.loads(text)["errors"]
        return {str(each["code"]) for each in errors}
    except (ValueError, TypeError, KeyError, RecursionError):
        return set()


def _object(body: bytes, client: RegistryClient) -> dict[str, Any]:
    try:
        return parse_object(body, f"answer of {client.address}")
    except ContentError as error:
        raise DependencyError(str(error), code="registry.down") from error


def _retry_after(response: httpx.Response) -> timedelta | None:
    text = response.headers.get("retry-after", "")
    return timedelta(seconds=min(int(text), 3600)) if text.isdecimal() and len(text) < 6 else None
