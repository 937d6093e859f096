"""Logins of Azure Container Registry for an identity of Microsoft Entra ID, without a password.

The identity's token is exchanged for a refresh token of the registry, which then serves as a login: its token server
takes it for tokens of single repositories (imagedelta_registry.tokens). It lives for some hours and is kept as long.
The identity's token is shown to this registry alone, and never to a server that it names.

Source: github.com/Azure/acr, docs/AAD-OAuth.md, "Calling POST /oauth2/exchange to get an ACR refresh token"
(``tenant`` is left out, as Azure's own client library does: the token tells it).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import httpx

from imagedelta_registry.jwt import ends_at
from imagedelta_registry.login import NO_LOGIN, Login
from imagedelta_registry.names import is_loopback
from imagedelta_registry.tokens import answer_of, token_in

SCOPE = "https://containerregistry.azure.net/.default"
"""Of Entra ID's token: good also where the registry's policy refuses tokens of Azure Resource Manager.
Source: learn.microsoft.com, "Azure Container Registry Conditional Access policy"."""


class AcrLogin:
    """Asks for the login of one registry. Many threads may call it."""

    def __init__(self, address: str, client: httpx.Client, identity_token: Callable[[str], str]) -> None:
        """Args:
        address: ``HOST[:PORT]``.
        identity_token: Called with a scope.
        """
        self._service = address
        self._url = f"{'http' if is_loopback(address) else 'https'}://{address}/oauth2/exchange"
        self._client = client
        self._identity_token = identity_token
        self._asking = threading.Lock()
        self._login, self._ends_at = NO_LOGIN, 0.0

    def __call__(self) -> Login:
        """Raises: RequestError ``registry.denied``: the identity may not read there; DependencyError."""
        with self._asking:
            if time.time() >= self._ends_at:
                self._login, self._ends_at = self._exchanged()
            return self._login

    def _exchanged(self) -> tuple[Login, float]:
        form = {"grant_type": "access_token", "service": self._service, "access_token": self._identity_token(SCOPE)}
        answer = answer_of(self._client, self._client.build_request("POST", self._url, data=form))
        token = token_in(answer, ("refresh_token",), self._service)
        return Login(identity_token=token), ends_at(token, answer)
