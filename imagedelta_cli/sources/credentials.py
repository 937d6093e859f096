"""Logins for registries, from where ``docker login`` puts them: config.json and the docker-credential-* programs.

Asked only when a registry wants a login. Order, as Docker's own: the host's program (``credHelpers``), the program
for all hosts (``credsStore``), then ``auths``. Nothing is written, nothing is printed.

Source: docker/cli, cli/config/configfile; docker/docker-credential-helpers, README ("Development").
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagedelta.archives.json_reading import parse_object
from imagedelta.errors import ContentError, RequestError
from imagedelta.limits import MIB
from imagedelta.names import DOCKER_HUB
from imagedelta_registry.login import NO_LOGIN, Login

_HUB_KEY = "https://index.docker.io/v1/"
_MAX_BYTES = MIB
_HELPER_SECONDS = 60
"""A program may ask a person to unlock a keychain."""
_HELPER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NOT_FOUND = "credentials not found"
_TOKEN_USER = "<token>"  # noqa: S105 - how a program says that its secret is an identity token


class DockerLogins:
    """The logins of ``$DOCKER_CONFIG/config.json``, else ``~/.docker/config.json``; none without such a file."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        folder = environment.get("DOCKER_CONFIG")
        self.path = (Path(folder) if folder else Path.home() / ".docker") / "config.json"

    def login_for(self, host: str) -> Login:
        """Return the login for ``HOST[:PORT]`` (``docker.io`` for Docker Hub), ``NO_LOGIN`` when there is none.

        Raises:
            RequestError: ``registry.credentials``: the file is damaged, or a program it names fails.
        """
        document = self._document()
        helper = _text(_table(document, "credHelpers"), host) or _text(document, "credsStore")
        if helper:
            return self._ask(helper, _HUB_KEY if host == DOCKER_HUB else host)
        return _from_auths(_table(document, "auths"), host)

    def _document(self) -> dict[str, Any]:
        try:
            with self.path.open("rb") as stream:
                data = stream.read(_MAX_BYTES + 1)
        except FileNotFoundError:
            return {}
        if len(data) > _MAX_BYTES:
            raise _wrong(f"{self.path} is larger than {_MAX_BYTES} bytes")
        try:
            return parse_object(data, str(self.path))
        except ContentError as error:
            raise _wrong(str(error)) from None

    def _ask(self, helper: str, server: str) -> Login:
        name = f"docker-credential-{helper}"
        program = shutil.which(name, path=self._environment.get("PATH")) if _HELPER_NAME.fullmatch(helper) else None
        if program is None:
            raise _wrong(f"{self.path} names the program {name[:100]}, which is not installed")
        try:
            done = subprocess.run(  # noqa: S603 - the program that the person chose for docker login
                [program, "get"],
                input=server.encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=_HELPER_SECONDS,
                check=False,
                env=dict(self._environment),
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _wrong(f"{name} does not answer: {type(error).__name__}") from None
        if done.returncode:
            return _refusal(name, done.stdout)
        return _from_helper(name, done.stdout)


def _refusal(name: str, said: bytes) -> Login:
    """A program says on stdout that it knows nothing of a server; anything else is a failure."""
    text = said[:300].decode("utf-8", "replace").strip()
    if text.lower().startswith(_NOT_FOUND):
        return NO_LOGIN
    raise _wrong(f"{name} failed: {text or 'it says nothing'}")


def _from_helper(name: str, said: bytes) -> Login:
    try:
        document = parse_object(said[:_MAX_BYTES], name)
    except ContentError:
        raise _wrong(f"{name} did not answer with a login") from None
    user, secret = _text(document, "Username"), _text(document, "Secret")
    return Login(identity_token=secret) if user == _TOKEN_USER else Login(user, secret)


def _from_auths(auths: Mapping[str, Any], host: str) -> Login:
    wanted = _HUB_KEY if host == DOCKER_HUB else host
    entry = auths.get(wanted)
    if entry is None:  # older clients wrote the whole address
        entry = next((auths[key] for key in auths if _host_of_key(key) == _host_of_key(wanted)), None)
    if not isinstance(entry, dict):
        return NO_LOGIN
    user, _, password = _decoded(_text(entry, "auth")).partition(":")
    return Login(
        user or _text(entry, "username"),
        password.rstrip("\0") or _text(entry, "password"),
        _text(entry, "identitytoken"),
    )


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        raise _wrong("an entry of auths is not base64 of user:password") from None


def _host_of_key(key: str) -> str:
    return re.sub(r"^https?://", "", key).partition("/")[0]


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _text(document: Mapping[str, Any], name: str) -> str:
    found = document.get(name)
    return found if isinstance(found, str) else ""


def _wrong(problem: str) -> RequestError:
    return RequestError(problem, code="registry.credentials")
