"""Codes of the steps, and what their reader can do."""

from __future__ import annotations

from imagedelta.errors import explain

REMEDIES = {
    "build.died": "Look at the memory of the instances: a build takes up to 1.5 GB. Retry a device when it is mended.",
    "dependency.scratch": "Nothing to do: it is tried again. Look at the temporary folder's disk if this lasts.",
    "request.many_images": "Register the images of the archive one by one, each under a reference of its own.",
    "bundle.exists": "Retry the member: the next attempt has a name of its own.",
    "patch.rebuilding": "Nothing to do: the storage lost patches; the twin follows once they are built anew.",
    "seal.no_trusted_key": "Give the device the public half of a key that the cloud seals with, then retry.",
    "twin.too_large": "Nothing to do at once: what does not fit comes later. Let sets of the device end.",
    "release.by_condition": "Order the set with releaseBy condition or auto, or take the device out of the deployments "
    "by target condition and rebase the member; skip it to leave the device as it is.",
    "release.conflict": "Look who changed the device's deployment, then rebase the member or skip it.",
    "release.image_missing": "Nothing to do: the image is sent again and the release follows.",
    "release.layer_waits": "Nothing to do: the release follows within minutes.",
    "release.no_base": "Give the device a base deployment by target condition in its hub, of a lower priority than any "
    "layer; a member in conflict is then rebased. Or order the set with releaseBy device.",
    "release.not_given": "Look at the hub's deployments: the device needs a base of a lower priority, and the named "
    "layer. Nobody may write to the device itself. It heals once the hub gives it.",
    "release.overtaken": "Nothing to do if a newer set or a person put it there; else release the images again.",
    "release.too_unlike": "Let the devices have one registry address and the engine `registry`, which gives the same "
    "digests everywhere; or make sets of those that are alike.",
    "reconcile.no_device": "Name the database that was restored (IMAGEDELTA_DATABASE_URL), in the app's folder.",
    "release.unhealthy": "Look at the modules on the device; POST …/rollback brings back what ran before.",
}
explain(REMEDIES)
