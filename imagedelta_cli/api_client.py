"""The HTTP interface of imagedelta as commands use it: find the host, call it, turn problems into errors.

The host is found by --url/--key, by IMAGEDELTA_URL and IMAGEDELTA_KEY, IMAGEDELTA_TOKEN or IMAGEDELTA_AUDIENCE, or by
the file that the embedded host writes: .imagedelta/host/endpoint.json here or in a folder above.
"""

from __future__ import annotations

import getpass
import json
import os
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from imagedelta.archives.json_reading import parse_object
from imagedelta.errors import ContentError, DependencyError, ImageDeltaError, RequestError
from imagedelta_cli.downloading import Download
from imagedelta_cli.entra import entra_tokens
from imagedelta_cli.output import Report
from imagedelta_cli.stopping import when_stopped
from imagedelta_cli.uploading import Sender

ENDPOINT_FILE = Path(".imagedelta/host/endpoint.json")
_TIMEOUT = httpx.Timeout(60, connect=10)
_TRIES = 4
_UNKNOWN = "The host had been asked and may have done it: look before you ask again."
_MOST_PATIENCE = timedelta(seconds=20)
"""Between two tries, whatever a busy host asks for."""
_MAX_ENDPOINT_BYTES = 1 << 16
_MAX_ANSWER_BYTES = 32 << 20
"""A page has 500 items of some kilobytes at most."""
_ANSWER_SECONDS = 300.0


class Problem(ImageDeltaError):
    """The host refused a request: its own code, sentence and remedy."""

    def __init__(
        self, detail: str, code: str, remedy: str, *, retryable: bool, retry_after: timedelta | None = None
    ) -> None:
        super().__init__(detail, code=code)
        self._remedy = remedy
        self.retryable = retryable
        self.retry_after = retry_after

    @property
    def remedy(self) -> str:
        return self._remedy


@dataclass(frozen=True)
class Endpoint:
    url: str
    key: str = field(repr=False)
    hubs: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Service connection string of each local hub, known of a host that was started here."""
    token: Callable[[], str] | None = field(default=None, repr=False)
    """Gives one of Microsoft Entra ID, for a host that asks for that instead of a key; asked before each call."""

    @property
    def credentials(self) -> dict[str, str]:
        """Headers that say who asks. A token says it itself: a pipeline's may name another person, if it is told to.

        Raises: ImageDeltaError when there is no token.
        """
        if self.token is None:
            return {"x-functions-key": self.key, "X-ImageDelta-User": _person()}
        named = os.environ.get("IMAGEDELTA_USER", "").encode("ascii", "replace").decode()
        return {"Authorization": f"Bearer {self.token()}", **({"X-ImageDelta-User": named} if named else {})}


def find_endpoint(url: str | None, key: str | None, audience: str | None = None) -> Endpoint:
    """Raises: RequestError ``cli.no_host`` when no host is named and none runs here."""
    url = url or os.environ.get("IMAGEDELTA_URL")
    key = key or os.environ.get("IMAGEDELTA_KEY")
    if url:
        _check_url(url)
        return Endpoint(url.rstrip("/"), key or "", token=None if key else _tokens(audience))
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / ENDPOINT_FILE).is_file():
            return _read_endpoint(folder / ENDPOINT_FILE, key)
    raise RequestError("no imagedelta host is named, and none was started here", code="cli.no_host")


def _tokens(audience: str | None) -> Callable[[], str] | None:
    """A token that was given as it is, else one that Entra ID gives whoever is signed in here; None without either."""
    if token := os.environ.get("IMAGEDELTA_TOKEN", "").strip():
        return lambda: token
    if audience := audience or os.environ.get("IMAGEDELTA_AUDIENCE"):
        return entra_tokens(audience)
    return None


def _check_url(url: str) -> None:
    """So that a key is never sent to something that was not meant."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RequestError(f"{url} is no address of a host: https://NAME", code="cli.no_host")


def _read_endpoint(path: Path, key: str | None) -> Endpoint:
    try:
        with path.open("rb") as stream:
            found = json.loads(stream.read(_MAX_ENDPOINT_BYTES))
        return Endpoint(str(found["url"]).rstrip("/"), key or str(found["key"]), dict(found.get("hubs", {})))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{path} does not hold a host's address and key: {error}", code="cli.no_host") from error


class Api:
    """One host. A call that got no answer is tried again; a POST carries a key, so that it is done once."""

    def __init__(self, endpoint: Endpoint, *, client: httpx.Client | None = None, pause: float = 0.5) -> None:
        self.endpoint = endpoint
        self._client = client or httpx.Client(timeout=_TIMEOUT, trust_env=not _is_here(endpoint.url))
        self._pause = pause

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        return self._call("GET", path, query=query)

    def health(self) -> dict[str, Any]:
        """How the deployment does; one that is not well answers 503 with just that."""
        return self._call("GET", "health", accept=(503,))

    def put(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._call("PUT", path, body=body)

    def post(self, path: str, body: Mapping[str, Any] | None = None, **query: Any) -> dict[str, Any]:
        return self._call("POST", path, query=query, body=body)

    def pages(self, path: str, *, most: int, **query: Any) -> Iterator[dict[str, Any]]:
        """Items of a list, page by page, at most ``most``."""
        after: str | None = None
        while most > 0:
            page = self.get(path, **query, limit=min(most, 500), after=after)
            items = page["items"][:most]
            yield from items
            most -= len(items)
            after = page["next"]
            if after is None or not items:
                return

    def send_file(self, path: Path, upload: Mapping[str, Any], report: Report) -> None:
        """Send a file to the URL that POST uploads gave; see ``Sender.send``."""
        Sender(self._client, upload, pause=self._pause).send(path, report)

    def download(self) -> Download:
        """Reads what URLs of an answer open; they carry their own grant."""
        return Download(self._client, pause=self._pause)

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        accept: Collection[int] = (),
    ) -> dict[str, Any]:
        headers = self.endpoint.credentials
        if method == "POST":
            headers["Idempotency-Key"] = uuid.uuid4().hex
        wanted = {name: value for name, value in (query or {}).items() if value is not None}
        for remaining in reversed(range(_TRIES)):
            try:
                with when_stopped(_UNKNOWN) if method != "GET" else nullcontext():
                    return self._once(method, path, wanted, headers, body, accept)
            except ImageDeltaError as error:
                if not error.retryable or not remaining:
                    raise
                time.sleep(max(self._pause * (_TRIES - remaining), _asked_for(error)))
        raise AssertionError("the last try answers or raises")

    def _once(
        self,
        method: str,
        path: str,
        query: dict[str, Any],
        headers: dict[str, str],
        body: Mapping[str, Any] | None,
        accept: Collection[int],
    ) -> dict[str, Any]:
        url = f"{self.endpoint.url}/api/{path}"
        try:
            with self._client.stream(method, url, params=query, headers=headers, json=body) as response:
                answer = _Answer(response, _content(response))
        except httpx.InvalidURL as error:
            raise RequestError(f"{url}: {error}", code="cli.no_host") from error
        except httpx.HTTPError as error:
            raise _unanswered(self.endpoint.url, error) from error
        if answer.status not in accept or not answer.is_json:
            _raise_for(answer)
        return _object(answer)


class _Answer:
    """What came back, whole."""

    def __init__(self, response: httpx.Response, content: bytes) -> None:
        self.status = response.status_code
        self.url = response.url
        self.headers = response.headers
        self.content = content

    @property
    def is_json(self) -> bool:
        return "json" in self.headers.get("content-type", "")


def _content(response: httpx.Response) -> bytes:
    """Raises: RequestError ``cli.no_host`` for more than any answer has, httpx.ReadTimeout for one that never ends."""
    content, until = bytearray(), time.monotonic() + _ANSWER_SECONDS
    for piece in response.iter_bytes():
        content += piece
        if len(content) > _MAX_ANSWER_BYTES:
            raise RequestError(f"{response.url.host} answered more than {_MAX_ANSWER_BYTES} bytes", code="cli.no_host")
        if time.monotonic() > until:
            raise httpx.ReadTimeout(f"an answer took more than {_ANSWER_SECONDS:.0f} seconds")
    return bytes(content)


def segment(text: str) -> str:
    """``text`` as one segment of a path."""
    return quote(text, safe=":")


def _is_here(url: str) -> bool:
    """A host on this machine is never asked through a proxy."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


def _raise_for(answer: _Answer) -> None:
    if answer.status < 400:
        return
    found = _object(answer) if answer.is_json else {}
    if answer.status == 401 and "code" not in found:
        raise RequestError(f"{answer.url.host} does not accept the key or token", code="cli.wrong_key", status=401)
    retryable = answer.status in (429, 502, 503, 504)
    if "code" not in found:
        detail = f"{answer.url.copy_with(query=None)} answered {answer.status}"
        if not retryable:
            raise RequestError(detail, code="cli.no_host")
        raise DependencyError(detail, code="dependency.host", retry_after=_retry_after(answer))
    texts = (str(found.get(name) or "") for name in ("detail", "code", "remedy"))
    raise Problem(*texts, retryable=retryable, retry_after=_retry_after(answer))


def _retry_after(answer: _Answer) -> timedelta | None:
    """How long it asks to be left alone, within reason; a date counts as nothing."""
    given = answer.headers.get("retry-after", "")
    return min(timedelta(seconds=int(given[:9])), _MOST_PATIENCE) if given.isdecimal() else None


def _asked_for(error: ImageDeltaError) -> float:
    asked: timedelta | None = getattr(error, "retry_after", None)
    return asked.total_seconds() if asked else 0.0


def _object(answer: _Answer) -> dict[str, Any]:
    try:
        return parse_object(answer.content, "answer")
    except ContentError as error:
        raise RequestError(f"{answer.url.host}: {error}: is it imagedelta?", code="cli.no_host") from error


def _unanswered(url: str, error: Exception) -> DependencyError:
    return DependencyError(f"{url} does not answer: {error or type(error).__name__}", code="dependency.host")


def _person() -> str:
    """Whom the host's audit log names; a pipeline says for whom it acts."""
    try:
        name = os.environ.get("IMAGEDELTA_USER") or getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
    return name.encode("ascii", "replace").decode()
