"""Blob storage, Azure's or Azurite's: whether the account answers and takes the key."""

from __future__ import annotations

from collections.abc import Iterator

from azure.core.exceptions import AzureError
from azure.storage.blob import BlobServiceClient

from imagedelta_cli.checks.finding import Finding, State, first_line


def check_account(check: str, connection: str, *, needed: bool) -> Iterator[Finding]:
    """Args:
    connection: A connection string; ``UseDevelopmentStorage=true`` is Azurite on this machine.
    needed: Whether the account missing is a failure.
    """
    try:
        with BlobServiceClient.from_connection_string(
            connection, retry_total=0, connection_timeout=10, read_timeout=10
        ) as client:
            client.get_service_properties()
            yield Finding(check, State.OK, f"{client.primary_endpoint} answers and takes the key")
    except (AzureError, ValueError) as error:
        remedy = "Start Azurite, or correct the connection string and the network's rules."
        yield Finding(check, State.FAILED if needed else State.WARNING, first_line(error), remedy)
