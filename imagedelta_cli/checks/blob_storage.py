"""Blob storage, Azure's or Azurite's: whether what the app does there can be done, tried with a blob of our own.

Reading the account's properties would prove nothing of that: an identity with all the roles that the app needs may not
even do so.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError, ResourceExistsError
from azure.storage.blob import BlobServiceClient

from imagedelta_cli.checks.finding import Finding, State, first_line
from imagedelta_cli.entra import credential_of

_BOUNDS: dict[str, Any] = {"retry_total": 0, "connection_timeout": 10, "read_timeout": 10}
_AWAY = "Start Azurite, or correct the address and the network's rules."
_ROLES = "Give the identity the roles Storage Blob Data Contributor and Storage Blob Delegator, or correct the key."
_SIGN_IN = "Sign in, e.g. by `az login`; in Azure give the app a managed identity (AZURE_CLIENT_ID names one)."


def check_account(check: str, named: str, *, needed: bool) -> Iterator[Finding]:
    """Args:
    named: The address of an account, which is tried as the identity that is signed in, or a connection string;
        ``UseDevelopmentStorage=true`` is Azurite on this machine.
    needed: Whether the app keeps its blobs there; else it is only asked whether it answers.
    """
    try:
        with _client(named) as client:
            done = _try_all(client) if needed else _ask(client)
            yield Finding(check, State.OK, f"{client.primary_endpoint} {done}")
    except (AzureError, ValueError) as error:
        yield Finding(check, State.FAILED if needed else State.WARNING, first_line(error), _remedy(error))


def _client(named: str) -> BlobServiceClient:
    if named.startswith(("http://", "https://")):
        return BlobServiceClient(named, credential=credential_of(os.environ), **_BOUNDS)
    return BlobServiceClient.from_connection_string(named, **_BOUNDS)


def _ask(client: BlobServiceClient) -> str:
    client.get_service_properties()
    return "answers and takes the key"


def _try_all(client: BlobServiceClient) -> str:
    """As the app does it, in the container of its scratch, which keeps nothing for long."""
    scratch, name, data = client.get_container_client("scratch"), f"doctor.{secrets.token_hex(8)}", b"doctor"
    with suppress(ResourceExistsError):
        scratch.create_container()
    scratch.upload_blob(name, data)
    read = scratch.download_blob(name).readall()
    scratch.delete_blob(name)
    if read != data:
        raise ValueError(f"what was written to {scratch.url} is read as something else")
    if not hasattr(client.credential, "get_token"):
        return "can be written and read by its key; devices get SAS on a stored access policy"
    now = datetime.now(UTC)
    client.get_user_delegation_key(now - timedelta(minutes=15), now + timedelta(hours=1))
    return "can be written and read by this identity; devices get user-delegation SAS"


def _remedy(error: Exception) -> str:
    response = error.response if isinstance(error, HttpResponseError) else None
    if isinstance(error, ClientAuthenticationError):
        return _SIGN_IN if response is None else _ROLES
    return _ROLES if response is not None and response.status_code in (401, 403) else _AWAY
