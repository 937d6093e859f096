"""Getting past a registry's door: Basic, or a Bearer token from the token server that the registry names.

A login is asked for only now, and shown only to the registry or to its token server, over TLS unless the
address may be plain. Tokens are kept by what they are for, until they end.
Source: distribution, docs/spec/auth/token.md and oauth.md.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx

from imagedelta.archives.json_reading import parse_object
from imagedelta.errors import DependencyError, RequestError
from imagedelta.limits import MIB
from imagedelta_registry.challenge import Challenge
from imagedelta_registry.jwt import ends_at
from imagedelta_registry.login import AskLogin, Login

_MAX_ANSWER = MIB
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,65536}")
_CLIENT = "imagedelta"
_MAX_KEPT = 1000
"""Tokens of so many repositories are kept."""


class Doorkeeper:
    """Keeps what one registry wants to see in ``Authorization``. Many threads may ask."""

    def __init__(
        self, address: str, client: httpx.Client, login: AskLogin, may_be_plain: Callable[[str], bool]
    ) -> None:
        self._address = address
        self._client = client
        self._login = login
        self._may_be_plain = may_be_plain
        self._basic = ""
        self._tokens: dict[str, tuple[str, float]] = {}
        """Repository -> token, and when it ends."""

    def authorization(self, path: str) -> str:
        """The header for ``path``, a manifest's or blob's; "" before the registry has asked for one."""
        token, end = self._tokens.get(_repository(path), ("", 0.0))
        return f"Bearer {token}" if time.time() < end else self._basic

    def admit(self, challenges: Sequence[Challenge], path: str) -> str:
        """Answer the registry's challenges; return the header that is good for ``path`` now, and maybe no longer.

        Raises:
            RequestError: ``registry.denied``: there is no login, or it is not accepted; ``registry.protocol``:
                the registry wants something unknown; ``registry.credentials``: the login cannot be read.
            DependencyError: The token server does not answer.
        """
        by_scheme = {challenge.scheme: challenge for challenge in reversed(challenges)}
        if "bearer" in by_scheme:
            if len(self._tokens) >= _MAX_KEPT:
                self._tokens = {}
            token, _ = self._tokens[_repository(path)] = self._token(by_scheme["bearer"], path)
            return f"Bearer {token}"
        if "basic" in by_scheme:
            self._basic = _basic(self._known_login())
            return self._basic
        wanted = ", ".join(by_scheme) or "nothing that can be read"
        raise RequestError(f"{self._address} wants a login by {wanted}", code="registry.protocol")

    def _known_login(self) -> Login:
        login = self._login()
        if not login.user:
            raise RequestError(f"{self._address} wants a login, and none is known here", code="registry.denied")
        return login

    def _token(self, challenge: Challenge, path: str) -> tuple[str, float]:
        realm = self._realm(challenge)
        login = self._login()
        asked = {"service": challenge.parameters.get("service", "")}
        asked["scope"] = challenge.parameters.get("scope") or _scope(path)
        asked = {name: value for name, value in asked.items() if value}
        if login.identity_token:
            form = {**asked, "grant_type": "refresh_token", "client_id": _CLIENT}
            request = self._client.build_request("POST", realm, data={**form, "refresh_token": login.identity_token})
        else:
            headers = {"Authorization": _basic(login)} if login.user else {}
            request = self._client.build_request("GET", realm.copy_merge_params(asked), headers=headers)
        answer = answer_of(self._client, request)
        token = token_in(answer, ("token", "access_token"), realm.host)
        return token, ends_at(token, answer)

    def _realm(self, challenge: Challenge) -> httpx.URL:
        try:
            realm = httpx.URL(challenge.parameters.get("realm", ""))
        except httpx.InvalidURL as error:
            raise RequestError(f"{self._address} names no token server: {error}", code="registry.protocol") from None
        address = f"{realm.host}:{realm.port}" if realm.port else realm.host
        if realm.scheme != "https" and not (realm.scheme == "http" and self._may_be_plain(address)):
            raise RequestError(
                f"{self._address} sends us for a token to {realm.scheme or 'no'}://{realm.host}, which is not https",
                code="registry.protocol",
            )
        return realm


def answer_of(client: httpx.Client, request: httpx.Request) -> dict[str, Any]:
    """A token server's JSON; it may not redirect, since the login would go along.

    Raises: as ``Doorkeeper.admit``.
    """
    host, body = request.url.host, bytearray()
    try:
        response = client.send(request, stream=True, follow_redirects=False)
        try:
            for piece in response.iter_bytes():
                body += piece
                if len(body) > _MAX_ANSWER:
                    raise RequestError(f"{host}: a token of over {_MAX_ANSWER} bytes", code="registry.protocol")
        finally:
            response.close()
    except httpx.HTTPError as error:
        raise DependencyError(
            f"the token server {host} does not answer: {error or type(error).__name__}", code="dependency.registry"
        ) from error
    _raise_for(response, host)
    return parse_object(bytes(body), f"the token server {host}")


def token_in(answer: Mapping[str, Any], names: Sequence[str], host: str) -> str:
    """Raises: RequestError ``registry.protocol``: none of the names holds a token."""
    token = next((answer[name] for name in names if answer.get(name)), None)
    if isinstance(token, str) and _TOKEN.fullmatch(token):
        return token
    raise RequestError(f"the token server {host} gives no token", code="registry.protocol")


def _raise_for(response: httpx.Response, host: str) -> None:
    status = response.status_code
    if status == httpx.codes.OK:
        return
    if status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise DependencyError(f"the token server {host} answers {status}", code="dependency.registry")
    if status in (httpx.codes.BAD_REQUEST, httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise RequestError(f"the token server {host} does not accept the login ({status})", code="registry.denied")
    raise RequestError(f"the token server {host} answers {status}", code="registry.protocol")


def _basic(login: Login) -> str:
    return "Basic " + base64.b64encode(f"{login.user}:{login.password}".encode()).decode()


def _repository(path: str) -> str:
    return path.rpartition("/manifests/")[0] or path.rpartition("/blobs/")[0]


def _scope(path: str) -> str:
    """What a registry that names no scope means: to read the repository of ``path``."""
    repository = _repository(path)
    return f"repository:{repository}:pull" if repository else ""
