"""Codes of the device, and what their reader can do."""

from __future__ import annotations

from imagedelta.errors import explain

REMEDIES = {
    "device.busy": "Wait until the other process ends, or stop it: one works in a folder at a time.",
    "device.settings": "Correct the named setting of the module and start it again.",
    "bundle.changed": "Nothing to do: a transfer tool wrote to the file while it was read, so it is read again.",
    "patch.denied": "Nothing to do: the device takes a fresh grant from its twin. Check that the twin was written.",
    "patch.missing": "Look whether the container of patches still holds it; the device asks again by itself.",
    "device.unknown_image": "List the images of the device with `python -m edge_module images`.",
    "device.image_kept": "Take the image out of keepImages, or leave it: the cloud plans with it.",
}
explain(REMEDIES)
