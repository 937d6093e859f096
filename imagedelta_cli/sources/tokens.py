"""Getting past a registry's door: Basic, or a Bearer token from the token server that the registry names.

A login is asked for only now, and shown only to the registry or to its token server, over TLS unless the
address may be plain. Source: distribution, docs/spec/auth/token.md and oauth.md.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from imagedelta.archives.json_reading import parse_object
from imagedelta.errors import DependencyError, RequestError
from imagedelta.limits import MIB
from imagedelta_cli.sources.challenge import Challenge
from imagedelta_cli.sources.credentials import Login

_MAX_ANSWER = MIB
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,65536}")
_CLIENT = "imagedelta"


class Doorkeeper:
    """Keeps the ``Authorization`` header for one registry."""

    def __init__(
        self, address: str, client: httpx.Client, login: Callable[[], Login], may_be_plain: Callable[[str], bool]
    ) -> None:
        self._address = address
        self._client = client
        self._login = login
        self._may_be_plain = may_be_plain
        self.authorization = ""

    def admit(self, challenges: Sequence[Challenge], path: str) -> None:
        """Answer the registry's challenges; ``authorization`` is then good for ``path``, a manifest's or blob's.

        Raises:
            RequestError: ``registry.denied``: there is no login, or it is not accepted; ``registry.protocol``:
                the registry wants something unknown; ``registry.credentials``: the login cannot be read.
            DependencyError: The token server does not answer.
        """
        by_scheme = {challenge.scheme: challenge for challenge in reversed(challenges)}
        if "bearer" in by_scheme:
            self.authorization = f"Bearer {self._token(by_scheme['bearer'], path)}"
        elif "basic" in by_scheme:
            self.authorization = _basic(self._known_login())
        else:
            wanted = ", ".join(by_scheme) or "nothing that can be read"
            raise RequestError(f"{self._address} wants a login by {wanted}", code="registry.protocol")

    def _known_login(self) -> Login:
        login = self._login()
        if not login.user:
            raise RequestError(f"{self._address} wants a login, and none is known here", code="registry.denied")
        return login

    def _token(self, challenge: Challenge, path: str) -> str:
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
        return self._token_in(self._answer(request), realm)

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

    def _answer(self, request: httpx.Request) -> dict[str, Any]:
        """The token server's JSON; it may not redirect, since the login would go along."""
        host = request.url.host
        body = bytearray()
        try:
            response = self._client.send(request, stream=True)
            try:
                for piece in response.iter_raw():
                    body += piece
                    if len(body) > _MAX_ANSWER:
                        raise RequestError(f"{host}: a token of over {_MAX_ANSWER} bytes", code="registry.protocol")
            finally:
                response.close()
        except httpx.HTTPError as error:
            raise DependencyError(
                f"the token server {host} does not answer: {error or type(error).__name__}", code="dependency.registry"
            ) from error
        self._raise_for(response, host)
        return parse_object(bytes(body), f"the token server {host}")

    def _raise_for(self, response: httpx.Response, host: str) -> None:
        status = response.status_code
        if status == httpx.codes.OK:
            return
        if status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise DependencyError(f"the token server {host} answers {status}", code="dependency.registry")
        if status in (httpx.codes.BAD_REQUEST, httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise RequestError(f"the token server {host} does not accept the login ({status})", code="registry.denied")
        raise RequestError(f"the token server {host} answers {status}", code="registry.protocol")

    def _token_in(self, answer: dict[str, Any], realm: httpx.URL) -> str:
        token = answer.get("token") or answer.get("access_token")
        if isinstance(token, str) and _TOKEN.fullmatch(token):
            return token
        raise RequestError(f"the token server {realm.host} gives no token", code="registry.protocol")


def _basic(login: Login) -> str:
    return "Basic " + base64.b64encode(f"{login.user}:{login.password}".encode()).decode()


def _scope(path: str) -> str:
    """What a registry that names no scope means: to read the repository of ``path``."""
    repository = path.rpartition("/manifests/")[0] or path.rpartition("/blobs/")[0]
    return f"repository:{repository}:pull" if repository else ""
