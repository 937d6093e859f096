"""Which adapter of the hub port this module talks through: settings choose."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from edge_module.hub import Hub
from edge_module.hub_azure import AzureAccess, AzureHub
from edge_module.hub_local import LocalHub
from edge_module.settings import hub_from_environment


def open_hub(environment: Mapping[str, str], client: httpx.Client, silence_seconds: float) -> Hub:
    """The hub that the environment names; nothing is sent yet.

    Args:
        client: For a hub that is reached by HTTP; closed with the hub.
        silence_seconds: A hub that does not answer for so long is not there.

    Raises: RequestError ``device.settings`` naming the variable that is missing or wrong.
    """
    found = hub_from_environment(environment)
    if isinstance(found, AzureAccess):
        return AzureHub(found, silence_seconds)
    return LocalHub(found, client)
