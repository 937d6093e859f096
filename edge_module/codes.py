"""Codes of the device, and what their reader can do."""

from __future__ import annotations

from imagedelta.errors import explain

REMEDIES = {
    "bundle.changed": "Nothing to do: a transfer tool wrote to the file while it was read, so it is read again.",
    "bundle.gave_way": "Free disk on the device and let the transfer tool send the bundle once more.",
    "bundle.incomplete": "Nothing to do while the transfer tool is at work. If it says that it has finished, some "
    "bytes were lost on its way: let it send the file once more.",
    "device.busy": "Wait until the other process ends, or stop it: one works in a folder at a time.",
    "device.settings": "Correct the named setting of the module and start it again.",
    "engine.damaged": "Nothing to do if it ends by itself. If it lasts, look at the disk that keeps the images.",
    "image.looked_at": "Nothing to do: it takes as long as reading the image once.",
    "patch.denied": "Nothing to do: the device takes a fresh grant from its twin. Check that the twin was written.",
    "patch.missing": "Look whether the container of patches still holds it; the device asks again by itself.",
    "device.unknown_image": "List the images of the device with `python -m edge_module images`.",
    "device.image_kept": "Take the image out of keepImages, or leave it: the cloud plans with it.",
}
explain(REMEDIES)
