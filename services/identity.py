"""Who the app is to other services of Azure: tokens of Microsoft Entra ID, and no secret of our own.

In Azure it is the managed identity of the function app: ``AZURE_CLIENT_ID`` picks a user-assigned one, as everywhere in
Azure. Elsewhere it is who the developer or the pipeline is signed in as (``az login``, ``azd auth login``, workload
identity federation). Nothing is asked before somebody wants a token.

Source: learn.microsoft.com, "Credential chains in the Azure Identity library for Python", which advises against a
chain in production, since there the first link that answers decides who one is; "How to use managed identities for App
Service and Azure Functions", REST endpoint reference.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from imagedelta.errors import DependencyError

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

_BOUNDS: Mapping[str, Any] = {
    "connection_timeout": 5,
    "read_timeout": 15,
    "retry_total": 2,
    "retry_backoff_factor": 0.2,
}
"""Of one request for a token, in seconds: whoever wants it tries again by its own rules."""


class Identity:
    """Gives tokens, each kept until shortly before it ends. Many threads may ask."""

    def __init__(self, env: Mapping[str, str] = os.environ) -> None:
        self._env = env
        self._making = threading.Lock()
        self._credential: TokenCredential | None = None

    @property
    def credential(self) -> TokenCredential:
        """For clients of Azure's own libraries, which ask it for tokens themselves."""
        with self._making:
            if self._credential is None:
                self._credential = _credential(self._env)
            return self._credential

    def token(self, scope: str) -> str:
        """A bearer token for ``scope``, e.g. ``https://database.windows.net/.default``.

        Raises: DependencyError ``dependency.identity`` when there is none now; what it says holds no token.
        """
        try:
            return self.credential.get_token(scope).token
        except Exception as error:  # for an odd answer the library fails in ways of its own
            raise DependencyError(
                f"no token of Entra ID for {scope}: {_why(error)}; in Azure give the function app a managed identity "
                "(AZURE_CLIENT_ID names a user-assigned one), elsewhere sign in, e.g. by `az login`",
                code="dependency.identity",
            ) from error


def _credential(env: Mapping[str, str]) -> TokenCredential:
    """Imported here: the embedded default needs no identity, and the import takes a third of a second."""
    from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

    if env.get("IDENTITY_ENDPOINT"):
        return ManagedIdentityCredential(client_id=env.get("AZURE_CLIENT_ID") or None, **_BOUNDS)
    return DefaultAzureCredential(exclude_managed_identity_credential=True, **_BOUNDS)


def _why(error: Exception) -> str:
    """The first line: a chain of credentials lists every one that it tried."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
