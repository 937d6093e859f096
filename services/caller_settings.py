"""How callers of the HTTP interface are known: by tokens that the platform validates, or by function keys."""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.setting_values import Values

_TENANT = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_OF_AZURE = ("WEBSITE_INSTANCE_ID", "CONTAINER_NAME", "WEBSITE_POD_NAME")
"""Set on App Service and Premium, on Consumption, on Flex Consumption.
Source: azure-functions-host, EnvironmentExtensions.cs (IsAppService, IsAnyLinuxConsumption)."""


@dataclass(frozen=True)
class CallerSettings:
    by_platform: bool
    """The platform validates tokens, and takes the headers that tell of them away from what clients send."""
    tenant: str | None
    """The only one whose people and applications are let in; None for whichever the platform lets in."""


def read_caller_settings(read: Values) -> CallerSettings:
    """``WEBSITE_AUTH_ENABLED`` is set by App Service, "to indicate whether App Service authentication is enabled", and
    read so by the Functions host itself. Somebody may set it by hand on a machine of their own, where nobody takes
    headers away: there it says nothing.

    Source: learn.microsoft.com, "Environment variables and app settings in Azure App Service".
    """
    on = read.env.get("WEBSITE_AUTH_ENABLED", "").strip().lower() == "true"
    in_azure = any(read.env.get(name) for name in _OF_AZURE) and not read.env.get("FUNCTIONS_CORETOOLS_ENVIRONMENT")
    return CallerSettings(on and in_azure, _tenant(read))


def _tenant(read: Values) -> str | None:
    name = "IMAGEDELTA_TENANT"
    text = read.text(name)
    if text and not _TENANT.fullmatch(text):
        read.wrong(name, f"must be the id of a tenant of Entra ID, a GUID, not {text[:60]!r}")
    return text or None
