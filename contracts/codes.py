"""Codes that cross a border: several rooms raise them, on the device and in the cloud; what their reader can do."""

from __future__ import annotations

from imagedelta.errors import explain

REMEDIES = {
    "device.no_inventory": "Start the Image Reconstruction module there and let it reach its hub; links that are down "
    "for weeks are normal.",
    "device.held": "`imagedelta devices show` names the reason; put it right, then `imagedelta devices resync`.",
    "disk.full": "Free disk on the device: the bundle is kept and the device goes on by itself.",
    "disk.read_only": "Look why the device's file system is mounted read-only; the module tries again by itself.",
    "disk.failing": "Look at the disk of the device and its file system; the module tries again by itself.",
    "bundle.other_device": "Take the bundle to the device it is sealed for: one for any device into its inbox folder.",
    "bundle.below_floor": "An old bundle came back: order the image again if it is wanted.",
    "bundle.replayed": "A used bundle came back under another transfer: find out who sent it.",
    "bundle.revoked": "The cloud withdrew it: order the image again if it is wanted.",
    "bundle.platform": "Set IMAGEDELTA_PLATFORM of the module to what the device runs, several with commas, or "
    "register the image with its real --platform; then order it again.",
    "bundle.memory": "Raise the memory setting of the device, or build for a smaller memory class.",
    "bundle.damaged": "The bytes in the outbox differ from what was sealed: retry, so that it is published anew.",
    "caller.principal": "Sign in again with Microsoft Entra ID; if it lasts, look at the identity provider of the "
    "app's platform authentication and at IMAGEDELTA_TENANT.",
    "content.malformed_message": "It breaks docs/formats/messages.md: update the older of device and cloud.",
    "content.missing": "It was withdrawn or never stored: look at who should have put it there.",
    "request.not_found": "Check the id; list what there is with a GET of the collection.",
    "request.unknown_hub": "Name one of the hubs that the function app is configured with (IMAGEDELTA_HUBS).",
    "request.unknown_image": "Register the image first (POST /api/images), or correct its name and tag.",
    "request.not_in_hub": "Create the device in its hub, or correct the hub it is enrolled with.",
    "request.state": "Look at its present state: what was asked fits only the states that the message allows.",
    "hub.refused": "Nothing to do on the device: the next inventory tells the cloud what it missed.",
    "settings.invalid": "Correct the named application setting and start again.",
}
explain(REMEDIES)
