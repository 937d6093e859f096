"""What this command line itself talks to: the Docker daemon, a registry, the host's interface."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from imagedelta.errors import ImageDeltaError, RequestError
from imagedelta.limits import MIB
from imagedelta.names import DOCKER_HUB, is_host
from imagedelta_cli.api_client import Api, find_endpoint
from imagedelta_cli.checks.finding import Finding, State
from imagedelta_cli.sources.registry_image import Access

_SOCKET = Path("/var/run/docker.sock")


def check_docker() -> Iterator[Finding]:
    """Whether ``docker://`` images can be read."""
    if not os.environ.get("DOCKER_HOST") and not _SOCKET.exists():
        yield Finding("docker", State.NOT_CONFIGURED, f"no DOCKER_HOST, no {_SOCKET}", "For docker://: start Docker.")
        return
    if not os.environ.get("DOCKER_HOST") and not os.access(_SOCKET, os.R_OK | os.W_OK):
        yield Finding(
            "docker", State.FAILED, f"{_SOCKET}: permission denied", "Join the group docker, then log in anew."
        )
        return
    try:
        from imagedelta_cli.sources.daemon import ask_daemon, daemon_address
    except ModuleNotFoundError as error:
        yield Finding(
            "docker", State.WARNING, f"the library {error.name} is missing", "pip install 'imagedelta[docker]'"
        )
        return
    facts = ask_daemon()
    found = f"Docker {facts.version} at {daemon_address()}, API {facts.api}, {facts.platform}, {facts.storage}"
    yield Finding("docker", State.OK, f"{found}, {facts.images} images")


def check_registry(address: str, access: Access) -> Iterator[Finding]:
    """Whether a registry answers, and takes the login that is known for it."""
    check = f"registry {address}"
    if not is_host(address):
        yield Finding(check, State.FAILED, "not HOST or HOST:PORT", "Name the registry alone, without a repository.")
        return
    target = "registry-1.docker.io" if address == DOCKER_HUB else address
    try:
        with access.registry(address, target) as registry:
            registry.document("", MIB)
    except RequestError as error:
        if error.code != "registry.denied":
            raise
        yield Finding(check, State.WARNING, f"answers, but {error}", f"docker login {address}")
        return
    yield Finding(check, State.OK, "answers, and lets us in")


def check_api() -> Iterator[Finding]:
    """Whether the host that commands would use answers and takes the key."""
    try:
        endpoint = find_endpoint(None, None)
    except RequestError as error:
        yield Finding("host", State.NOT_CONFIGURED, str(error), error.remedy)
        return
    try:
        Api(endpoint).get("images", limit=1)
    except ImageDeltaError as error:
        yield Finding("host", State.FAILED, str(error), error.remedy)
        return
    yield Finding("host", State.OK, f"{endpoint.url} answers and takes the key")
