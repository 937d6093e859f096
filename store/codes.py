"""Codes of what SQL knows, and what their reader can do."""

from __future__ import annotations

from imagedelta.errors import explain

REMEDIES = {
    "dependency.closed": "Let the address into the database's firewall (AZURE_DEPLOYER_ADDRESS, then `azd provision`), "
    "or run it from inside of the network.",
    "dependency.login": "Correct user and password in IMAGEDELTA_DATABASE_URL; without them, let the database know the "
    "app's managed identity (`imagedelta db admit NAME CLIENT_ID`, as who administers it).",
    "dependency.schema": "Deploy the version of the program that made the database, or give this one a database of its "
    "own.",
    "dependency.schema_old": "Run `imagedelta db upgrade` with a login that may change the schema: it belongs to every "
    "deployment, before the app starts.",
    "request.unknown_device": "Enrol the device first (PUT /api/devices/{id}), or correct its id.",
    "request.binding_taken": "Rebind or retire the device that has the identity first (`imagedelta devices rebind`).",
    "request.no_device": "Correct the tag query; GET /api/devices shows the tags that devices have.",
    "request.retired_device": "Leave it out: a retired device does not come back. Enrol new hardware under a new id.",
    "request.not_ready": "Wait for the named devices, retry or exclude them, then ask for the release again.",
    "set.no_member_left": "Retry the devices that failed, or start a new set for those that are to have the images.",
    "transfer.failed": "Look at the history of the transfer, then retry the device.",
    "device.silent": "Look at its link and power (docs/runbooks/silent-device.md); its next message ends it.",
    "device.retired": "Nothing to do: the device was taken out of service.",
}
explain(REMEDIES)
