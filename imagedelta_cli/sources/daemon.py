"""Images of the local Docker daemon, as the archive that ``docker save`` gives.

The daemon is the one ``DOCKER_HOST`` names, else the machine's own. This is the one file that knows Docker's SDK.
The archive streams into a scratch file, bounded; then the ordinary reader holds every layer against its digest.

Source: Docker Engine API 1.41, ImageInspect and ImageGet.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import docker
import requests
from docker.errors import DockerException, ImageNotFound, NotFound

from imagedelta.archives import Image
from imagedelta.errors import DependencyError, LimitExceeded, RequestError
from imagedelta.limits import DEFAULT_LIMITS, MIB, Limits
from imagedelta.platforms import best_of

Report = Callable[[int, int], None]

DEFAULT_SOCKET = "/var/run/docker.sock"
_TIMEOUT_SECONDS = 1800
"""The daemon writes the whole archive to its own disk before the first byte comes."""
_ASK_SECONDS = 30


@dataclass(frozen=True, slots=True)
class DaemonFacts:
    """What a running daemon says of itself."""

    version: str
    api: str
    platform: str
    storage: str
    images: int


def save_image(name: str, out: BinaryIO, report: Report, limits: Limits = DEFAULT_LIMITS) -> tuple[str, ...]:
    """Write the archive of an image to ``out``.

    Args:
        name: A reference or an image ID, as Docker takes it.
        out: An empty file.
        report: Called with (bytes written, bytes expected); what is expected is only near what comes.
        limits: ``max_image_bytes`` bounds the archive.

    Returns:
        The diff_ids of the image that the daemon knows by this name.

    Raises:
        RequestError: ``request.no_image``: the daemon has no such image.
        LimitExceeded: It is too large; nothing, or no more, was read.
        DependencyError: ``dependency.daemon``: there is no daemon, or it stopped.
    """
    with _daemon(_TIMEOUT_SECONDS) as client, _errors(name):
        found = client.images.get(name).attrs
        expected = int(found.get("Size") or 0)
        if expected > limits.max_image_bytes:
            raise LimitExceeded(f"{name} has {expected} bytes, at most {limits.max_image_bytes}")
        _copy(client.api.get_image(name, chunk_size=MIB), name, out, expected, report, limits)
    return tuple(str(layer) for layer in (found.get("RootFS") or {}).get("Layers") or ())


def choose_saved(images: Sequence[Image], diff_ids: tuple[str, ...], platform: str, name: str) -> Image:
    """Return the saved image that has the daemon's layers; with the containerd store an archive may hold several.

    Raises:
        RequestError: None is for ``platform``.
        DependencyError: The name moved to another image while it was read.
    """
    if platform:
        return _for_platform(images, platform, name)
    for image in images:
        if image.diff_ids == diff_ids:
            return image
    raise DependencyError(f"docker://{name} changed while it was read", code="dependency.moved")


def _for_platform(images: Sequence[Image], platform: str, name: str) -> Image:
    """What a person asks for, where the one image that is there does not say what it is for."""
    found = best_of([platform], filter(None, (image.platform for image in images)))
    if found is not None:
        return next(image for image in images if image.platform == found)
    if len(images) == 1 and not images[0].platform:
        return replace(images[0], platform=platform)
    there = ", ".join(image.platform or "an unknown platform" for image in images)
    raise RequestError(f"docker://{name} is for {there}, not {platform}", code="request.no_image")


def ask_daemon(environment: Mapping[str, str] = os.environ) -> DaemonFacts:
    """Return what the daemon says of itself. Raises: DependencyError ``dependency.daemon``."""
    with _daemon(_ASK_SECONDS, environment) as client, _errors("the daemon"):
        version, facts = client.version(), client.info()
    return DaemonFacts(
        version=str(version.get("Version")),
        api=str(version.get("ApiVersion")),
        platform=f"{version.get('Os')}/{version.get('Arch')}",
        storage=str(facts.get("Driver")),
        images=int(facts.get("Images") or 0),
    )


def daemon_address(environment: Mapping[str, str] = os.environ) -> str:
    return environment.get("DOCKER_HOST") or f"unix://{DEFAULT_SOCKET}"


def _copy(pieces: Iterator[bytes], name: str, out: BinaryIO, expected: int, report: Report, limits: Limits) -> None:
    done = 0
    for piece in pieces:
        done += len(piece)
        if done > limits.max_image_bytes:
            raise LimitExceeded(f"docker save of {name} has more than {limits.max_image_bytes} bytes")
        out.write(piece)
        report(done, max(done, expected))


@contextmanager
def _daemon(timeout: int, environment: Mapping[str, str] = os.environ) -> Iterator[docker.DockerClient]:
    address = daemon_address(environment)
    if address.startswith("unix://") and not Path(address.removeprefix("unix://")).exists():
        raise DependencyError(f"there is no Docker daemon at {address}", code="dependency.daemon")
    try:
        client = docker.from_env(timeout=timeout, environment=dict(environment))
    except DockerException as error:
        raise _away(error, environment) from error
    with closing(client):
        yield client


@contextmanager
def _errors(name: str) -> Iterator[None]:
    try:
        yield
    except (ImageNotFound, NotFound) as error:
        raise RequestError(f"the Docker daemon has no image {name}", code="request.no_image") from error
    except DockerException as error:
        raise _away(error, os.environ) from error
    except requests.RequestException as error:
        raise _away(error, os.environ) from error


def _away(error: Exception, environment: Mapping[str, str]) -> DependencyError:
    address = daemon_address(environment)
    return DependencyError(f"Docker at {address} does not answer: {_last_cause(error)}", code="dependency.daemon")


def _last_cause(error: BaseException) -> str:
    """The innermost of the errors that the SDK, requests and urllib3 wrap around each other."""
    inner: Any = error.__cause__ or error.__context__
    while inner is not None:
        error, inner = inner, inner.__cause__ or inner.__context__
    return str(error)[:300] or type(error).__name__
