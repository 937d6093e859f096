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
    "image.looked_at": "Nothing to do: it takes as long as reading the image once.",
    "hub.busy": "Nothing to do: the hub has asked for patience, the device tries again.",
    "hub.certificate": "Give the hub's authority with IMAGEDELTA_HUB_CA, and look at the device's clock: a certificate "
    "that is not valid yet or any more is mostly a wrong clock. Everything waits on the disk until then.",
    "hub.denied": "Compare the module's key with the hub's and look at the device's clock: tokens are made by it. "
    "Everything waits on the disk until then.",
    "hub.no_answer": "Nothing to do: the device connects anew and asks again. If it stays, look at the link.",
    "hub.unreachable": "Look at the link and at the hub's name. Everything waits on the disk until then.",
    "link.damages": "Nothing to do: what arrives damaged is asked for again, and what is right stays. Look at proxies "
    "on the way if this lasts.",
    "rebuild.died": "Nothing to do: it is tried again. If it lasts, report a defect with the log around it.",
    "rebuild.memory": "Nothing to do: it is tried again. If it lasts, look at the memory limit of the module's "
    "container and at what else runs on the device.",
    "rebuild.stopped": "Nothing to do: the module was being stopped and goes on where it was.",
    "patch.denied": "Nothing to do: the device takes a fresh grant from its twin. Check that the twin was written.",
    "patch.missing": "Look whether the container of patches still holds it; the device asks again by itself.",
    "engine.daemon": "Nothing to do: it is tried again. Look whether Docker runs if this lasts, and at its socket.",
    "engine.image_in_use": "Remove the container that is made of the image first, or keep the image.",
    "engine.damaged": "Look at the disk that keeps the images: the module makes its records good once it can write.",
    "engine.layers_gone": "Nothing to do: the work starts again. Look who else removes layers if this lasts.",
    "device.unknown_image": "List the images of the device with `python -m edge_module images`.",
    "device.image_kept": "Take the image out of keepImages, or leave it: the cloud plans with it.",
    "registry.down": "Nothing to do: it is tried again. If this lasts, look whether the device's registry runs, and "
    "at its log.",
    "registry.busy": "Nothing to do: the registry collects garbage or asks to be left alone, and is asked again.",
    "registry.login": "Give the registry's login in IMAGEDELTA_REGISTRY_LOGIN.",
    "registry.read_only": "Let the registry delete (storage.delete.enabled) and write: docs/registry.md.",
    "registry.shared": "Mount the folder of IMAGEDELTA_REGISTRY_SHARED for the module to write: docs/registry.md.",
}
explain(REMEDIES)
