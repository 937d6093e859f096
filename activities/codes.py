"""Codes of the steps, and what their reader can do."""

from __future__ import annotations

from imagedelta.errors import explain

REMEDIES = {
    "build.died": "Look at the memory of the instances: a build takes up to 1.5 GB. Retry a device when it is mended.",
    "dependency.scratch": "Nothing to do: it is tried again. Look at the temporary folder's disk if this lasts.",
    "request.many_images": "Register the images of the archive one by one, each under a reference of its own.",
    "bundle.exists": "Retry the member: the next attempt has a name of its own.",
    "seal.no_trusted_key": "Give the device the public half of a key that the cloud seals with, then retry.",
    "twin.too_large": "Nothing to do at once: what does not fit comes later. Let sets of the device end.",
    "release.conflict": "Look who changed the device's deployment, then rebase the member or skip it.",
    "release.image_missing": "Nothing to do: the image is sent again and the release follows.",
    "release.overtaken": "Nothing to do if a newer set or a person put it there; else release the images again.",
    "release.unhealthy": "Look at the modules on the device; POST …/rollback brings back what ran before.",
}
explain(REMEDIES)
