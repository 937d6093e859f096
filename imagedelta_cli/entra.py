"""Tokens of Microsoft Entra ID for a deployment that asks for one instead of a key: of whoever is signed in here.

A person by ``az login`` or ``azd auth login``; an agent of Azure Pipelines by its service connection with workload
identity federation, whose tokens are asked for anew however long a run takes; a machine by its managed identity or by
the variables of workload identity. The library keeps a token until shortly before it ends.

Source: learn.microsoft.com, "Azure Identity client library for Python", DefaultAzureCredential and
AzurePipelinesCredential; "AzureCLI@2", the variables of a service connection.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from imagedelta.errors import ImageDeltaError, RequestError

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

_BOUNDS: Mapping[str, Any] = {"connection_timeout": 5, "read_timeout": 15, "retry_total": 2}
_SERVICE_CONNECTION = {
    "tenant_id": "AZURESUBSCRIPTION_TENANT_ID",
    "client_id": "AZURESUBSCRIPTION_CLIENT_ID",
    "service_connection_id": "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID",
    "system_access_token": "SYSTEM_ACCESSTOKEN",
}
"""Which AzureCLI@2 sets of its service connection, and what a step maps by itself."""


_TELLING = ("AzureCliCredential:", "ManagedIdentityCredential:", "WorkloadIdentityCredential:")
_MOST_SAID = 900


class NotSignedIn(ImageDeltaError):
    """Entra ID gave no token: nobody is signed in, or not for this."""

    code = "cli.not_signed_in"


def entra_tokens(audience: str) -> Callable[[], str]:
    """What gives a token for ``audience`` whenever it is asked.

    Raises, when asked: RequestError ``cli.library_missing``; NotSignedIn.
    """
    scope = f"{audience.rstrip('/')}/.default"
    made: list[TokenCredential] = []

    def token() -> str:
        if not made:
            made.append(credential_of(os.environ))
            logging.getLogger("azure").addHandler(logging.NullHandler())  # it says on stderr what NotSignedIn tells
        try:
            return made[0].get_token(scope).token
        except Exception as error:  # for an odd answer the library fails in ways of its own
            raise NotSignedIn(f"no token of Entra ID for {audience}: {_why(error)}") from error

    return token


def credential_of(env: Mapping[str, str]) -> TokenCredential:
    """Whoever is signed in here, for clients of Azure's own libraries.

    Imported here: the embedded default needs no identity, and the import takes a third of a second.

    Raises: RequestError ``cli.library_missing``.
    """
    try:
        from azure.identity import AzurePipelinesCredential, DefaultAzureCredential
    except ModuleNotFoundError as error:
        detail = "signing in with Entra ID needs the library azure-identity: pip install 'imagedelta[entra]'"
        raise RequestError(detail, code="cli.library_missing") from error
    given = {name: env.get(variable, "") for name, variable in _SERVICE_CONNECTION.items()}
    if all(given.values()):
        return AzurePipelinesCredential(**given, **_BOUNDS)
    return DefaultAzureCredential(**_BOUNDS)


def _why(error: Exception) -> str:
    """The first line; of a chain of credentials also what those said that people and machines really use."""
    first, *others = str(error).strip().splitlines() or [type(error).__name__]
    tried = [line.strip() for line in others if line.strip().startswith(_TELLING)]
    return " ".join([first, *tried])[:_MOST_SAID]
