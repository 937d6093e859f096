"""The Docker daemon beside the module, over its socket: the one file here that knows Docker's SDK.

The SDK finds the daemon, speaks its transports and says what an error answer means. Its calls for long answers are not
used: ``get_image`` switches the socket's timeout off, so that a daemon that hangs is waited for for ever; ``push`` and
``load_image`` collect events without bound, and ``push`` never raises. Here every silence has an end, every answer a
bound, and an event that tells of an error is one.

Source: Docker Engine API 1.41 to 1.52; moby api/server/router/image.
"""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from imagedelta.errors import DependencyError
from imagedelta.limits import KIB, MIB

if TYPE_CHECKING:
    from docker import APIClient
    from requests import Response

NEWEST_API, OLDEST_API = (1, 45), (1, 41)
"""What this file is written for. IoT Edge 1.6 speaks 1.41; engines 29 ask for 1.40 to 1.44 at least."""
_UNIX = "unix://"
_CONTAINERD = "io.containerd.snapshotter"
_MOST_ANSWER = 32 * MIB
_MOST_EVENT = MIB
_WORDS = 500
_NO_LOGIN = base64.urlsafe_b64encode(b"{}").decode()
"""A registry on the device asks for no login; without any header the daemon looks for one in the request's body."""


class DaemonSays(DependencyError):
    """The daemon answered, and tells that it could not do what it was asked: its own disk or store is the cause."""

    code = "engine.daemon"


@dataclass(frozen=True)
class Patience:
    """Seconds. A daemon under load is slow, one that hangs is silent."""

    ask: float = 60.0
    """For a question that is answered from memory."""
    silence: float = 600.0
    """Without a byte, while it works: the classic store writes a whole archive to its disk before the first comes."""
    work: float = 6 * 3600.0
    """For one save, load, pull or push in all."""


@dataclass(frozen=True)
class DaemonImage:
    """An image as the daemon lists it."""

    id: str
    """Its own: the image ID with the classic store, the digest of a manifest or an index with containerd's."""
    diff_ids: tuple[str, ...]
    tags: tuple[str, ...]
    """``name:tag``, as Docker spells them."""
    digests: tuple[str, ...]
    """``name@sha256:…`` by which it was pulled or pushed."""
    size: int


@dataclass(frozen=True)
class DaemonFacts:
    containerd: bool
    """Whether images are kept in containerd's store."""
    root: str
    """The folder of its data, on the host."""


class Daemon:
    """Every call has a connection of its own, so that a restarted daemon is no special case. For several threads.

    Everything may raise DependencyError: ``engine.daemon``, or ``disk.full`` when that is what the daemon tells.
    """

    def __init__(self, address: str, patience: Patience = Patience()) -> None:
        """Args:
        address: As in DOCKER_HOST: ``unix:///var/run/docker.sock``, ``tcp://…``.
        """
        self.address = address
        self._patience = patience
        self._version = ""
        """That was negotiated; forgotten when anything fails, since the daemon may have been replaced."""

    def facts(self) -> DaemonFacts:
        info = self._ask("/info")
        told = json.dumps(info.get("DriverStatus"))
        return DaemonFacts(containerd=_CONTAINERD in told, root=_text(info.get("DockerRootDir")))

    def images(self) -> list[DaemonImage]:
        """Every image that can be inspected, by ID; those between two layers of a build are not listed."""
        listed = self._ask("/images/json")
        ids = {_text(each.get("Id")) for each in listed if isinstance(each, dict)}
        return [image for image_id in sorted(ids) if (image := self.find(image_id))]

    def find(self, name: str) -> DaemonImage | None:
        """The image of that name or ID; None when there is none."""
        found = self._ask(f"/images/{name}/json", absent=True)
        return None if found is None else _image(found)

    def used_images(self) -> set[str]:
        """IDs of the images that containers are made of, running or not."""
        return {_text(each.get("ImageID")) for each in self._ask("/containers/json?all=1") if isinstance(each, dict)}

    def save(self, name: str) -> Generator[bytes, None, None]:
        """The archive of ``docker save``, in pieces of at most 1 MiB. Close it when it is not read to its end."""
        with self._request("GET", f"/images/{name}/get", self._patience.silence) as response:
            yield from _timely(response, self._patience.work)

    def load(self, archive: Iterator[bytes]) -> None:
        """Return when the daemon has taken all images of the archive."""
        headers = {"Content-Type": "application/x-tar"}
        with self._request(
            "POST", "/images/load", self._patience.silence, params={"quiet": "0"}, headers=headers, data=archive
        ) as response:
            for event in self._events(response):
                words = _text(event.get("stream"))
                if words.startswith("Error unpacking"):  # containerd's store keeps the image all the same
                    raise _told(words)

    def pull(self, repository: str, digest: str) -> None:
        """Pull by the digest of a manifest; every layer is held against its digest by the daemon."""
        asked = {"fromImage": repository, "tag": digest}
        headers = {"X-Registry-Auth": _NO_LOGIN}
        with self._request("POST", "/images/create", self._patience.silence, params=asked, headers=headers) as response:
            for _ in self._events(response):
                pass

    def push(self, name: str, tag: str) -> str:
        """Push a tag; return the digest of its manifest in the registry."""
        digest = ""
        headers = {"X-Registry-Auth": _NO_LOGIN}
        with self._request(
            "POST", f"/images/{name}/push", self._patience.silence, params={"tag": tag}, headers=headers
        ) as response:
            for event in self._events(response):
                told = event.get("aux")
                digest = (_text(told.get("Digest")) if isinstance(told, dict) else "") or digest
        if not digest.startswith("sha256:"):
            raise _failed(f"pushing {name}:{tag} ended without a digest")
        return digest

    def tag(self, image: str, name: str, tag: str) -> None:
        """Give an image one more name; an image that had it keeps its others."""
        with self._request("POST", f"/images/{image}/tag", self._patience.ask, params={"repo": name, "tag": tag}):
            pass

    def remove(self, name: str, *, force: bool = False) -> bool:
        """Take a name away, or with an ID the image; False: it is in use, or was not there."""
        with self._request(
            "DELETE", f"/images/{name}", self._patience.ask, params={"force": "1" if force else "0"}, fine=(404, 409)
        ) as response:
            return response.status_code == 200

    # Inside.

    def _ask(self, path: str, *, absent: bool = False) -> Any:
        with self._request("GET", path, self._patience.ask, fine=(404,) if absent else ()) as response:
            if response.status_code == 404:
                return None
            return _json(_bounded(_timely(response, 2 * self._patience.ask), _MOST_ANSWER))

    @contextmanager
    def _request(
        self, method: str, path: str, timeout: float, *, fine: tuple[int, ...] = (), **more: Any
    ) -> Iterator[Response]:
        """An answer whose status is 200 to 299 or among ``fine``; every error of the SDK's libraries is ours."""
        from docker import APIClient
        from docker.errors import DockerException
        from requests import RequestException
        from urllib3.exceptions import HTTPError

        try:
            self._knock()
            with closing(APIClient(self.address, version="1.41", timeout=int(self._patience.ask) or 1)) as client:
                client.trust_env = False  # a proxy of the link is none for the daemon
                self._version = self._version or self._negotiate(client)
                url = f"{client.base_url}/v{self._version}{path}"
                with client.request(method, url, timeout=timeout, stream=True, **more) as response:
                    if not response.ok and response.status_code not in fine:
                        self._version = ""
                        _refuse(response)
                    yield response
        except (DockerException, RequestException, HTTPError, OSError, ValueError) as error:
            self._version = ""
            raise _failed(f"{self.address} does not answer: {_innermost(error)}") from error

    def _knock(self) -> None:
        """The SDK leaves a socket open that nobody answers at."""
        if self.address.startswith(_UNIX):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(self._patience.ask)
                probe.connect(self.address.removeprefix(_UNIX))

    def _negotiate(self, client: APIClient) -> str:
        with client.get(f"{client.base_url}/version", timeout=self._patience.ask, stream=True) as response:
            told = _json(_bounded(_timely(response, 2 * self._patience.ask), 64 * KIB))
        if not isinstance(told, dict):
            raise _failed("its version is no object")
        return negotiated(_text(told.get("ApiVersion")), _text(told.get("MinAPIVersion")) or "1.0")

    def _events(self, response: Response) -> Iterator[Mapping[str, Any]]:
        """One JSON object after the other; one that tells of an error is raised."""
        rest = b""
        for piece in _timely(response, self._patience.work):
            *lines, rest = (rest + piece).split(b"\n")
            if len(rest) > _MOST_EVENT:
                raise _failed(f"an event of more than {_MOST_EVENT} bytes")
            yield from map(_event, filter(None, map(bytes.strip, lines)))
        if rest.strip():
            yield _event(rest)


def is_listening(address: str) -> bool:
    """Whether there is a socket at the address; one on another machine is believed to be there."""
    return Path(address.removeprefix(_UNIX)).exists() if address.startswith(_UNIX) else bool(address)


def negotiated(newest: str, oldest: str) -> str:
    """The version to speak with a daemon that knows ``oldest`` to ``newest``: the newest that both know."""
    version = max(min(NEWEST_API, _numbers(newest)), _numbers(oldest))
    if not OLDEST_API <= version <= _numbers(newest):
        raise _failed(f"the daemon speaks API {oldest} to {newest}, this module from {_dotted(OLDEST_API)} on")
    return _dotted(version)


def _timely(response: Response, seconds: float) -> Iterator[bytes]:
    """The body in pieces; one that trickles ends as well as one that is silent."""
    end = time.monotonic() + seconds
    for piece in response.iter_content(MIB):
        if time.monotonic() > end:
            raise _failed(f"an answer has not come to its end within {seconds:.0f} s")
        yield piece


def _numbers(version: str) -> tuple[int, int]:
    major, _, minor = version.partition(".")
    return int(major), int(minor)


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _image(found: Mapping[str, Any]) -> DaemonImage:
    layers = found.get("RootFS") or {}
    return DaemonImage(
        id=_text(found.get("Id")),
        diff_ids=tuple(map(_text, layers.get("Layers") or ())),
        tags=tuple(map(_text, found.get("RepoTags") or ())),
        digests=tuple(map(_text, found.get("RepoDigests") or ())),
        size=int(found.get("Size") or 0),
    )


def _event(line: bytes) -> Mapping[str, Any]:
    event = _json(line)
    if not isinstance(event, dict):
        raise _failed(f"an event that is none: {line[:_WORDS]!r}")
    told = event.get("errorDetail")
    problem = event.get("error") or (told.get("message") if isinstance(told, dict) else told)
    if problem:
        raise _told(_text(problem))
    return event


def _refuse(response: Response) -> NoReturn:
    said = _bounded(response.iter_content(KIB), 64 * KIB)
    try:
        words = _text(json.loads(said)["message"])
    except (ValueError, KeyError, TypeError):
        words = said[:_WORDS].decode(errors="replace")
    raise _told(f"{response.status_code}: {words}")


def _failed(words: str) -> DependencyError:
    return DependencyError(f"Docker: {words[:_WORDS]}", code="engine.daemon")


def _told(words: str) -> DaemonSays:
    full = "no space left on device" in words.lower() or "disk quota exceeded" in words.lower()
    return DaemonSays(f"Docker: {words[:_WORDS]}", code="disk.full" if full else None)


def _bounded(pieces: Iterator[bytes], most: int) -> bytes:
    found = bytearray()
    for piece in pieces:
        found += piece
        if len(found) > most:
            raise _failed(f"an answer of more than {most} bytes")
    return bytes(found)


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _failed(f"an answer that is no JSON: {data[:_WORDS]!r}") from error


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _innermost(error: BaseException) -> str:
    """Of the errors that the SDK, requests and urllib3 wrap around each other."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error)[:_WORDS] or type(error).__name__
