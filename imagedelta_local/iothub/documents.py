"""Identities and twins as the service and the device see them."""

from __future__ import annotations

from typing import Any

from imagedelta_local.iothub.store import Identity

_NEVER = "0001-01-01T00:00:00"


def identity_document(identity: Identity) -> dict[str, Any]:
    """A device or module identity, with its keys."""
    document: dict[str, Any] = {
        "deviceId": identity.device,
        "generationId": identity.generation,
        "etag": identity.etag,
        "connectionState": "Disconnected",
        "status": identity.status,
        "connectionStateUpdatedTime": _NEVER,
        "lastActivityTime": _NEVER,
        "cloudToDeviceMessageCount": 0,
        "authentication": {
            "symmetricKey": {"primaryKey": identity.primary_key, "secondaryKey": identity.secondary_key},
            "x509Thumbprint": {"primaryThumbprint": None, "secondaryThumbprint": None},
            "type": "sas",
        },
    }
    if identity.module:
        return {**document, "moduleId": identity.module, "managedBy": "iotEdge" if identity.edge else None}
    return {**document, "statusReason": None, "capabilities": {"iotEdge": identity.edge}}


def twin_document(identity: Identity) -> dict[str, Any]:
    """A twin as the service sees it."""
    document: dict[str, Any] = {
        "deviceId": identity.device,
        "etag": identity.etag,
        "deviceEtag": identity.etag,
        "status": identity.status,
        "statusUpdateTime": _NEVER,
        "connectionState": "Disconnected",
        "lastActivityTime": _NEVER,
        "cloudToDeviceMessageCount": 0,
        "authenticationType": "sas",
        "x509Thumbprint": {"primaryThumbprint": None, "secondaryThumbprint": None},
        "modelId": "",
        "version": identity.version,
        "properties": device_twin(identity),
    }
    if identity.module:
        return {**document, "moduleId": identity.module}
    return {**document, "tags": identity.tags, "capabilities": {"iotEdge": identity.edge}}


def device_twin(identity: Identity) -> dict[str, Any]:
    """A twin as the device or module itself sees it."""
    changed = {"$lastUpdated": identity.updated}
    times = changed | identity.reported_times
    return {
        "desired": {**identity.desired, "$metadata": changed, "$version": identity.desired_version},
        "reported": {**identity.reported, "$metadata": times, "$version": identity.reported_version},
    }
