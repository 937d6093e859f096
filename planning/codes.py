"""Codes of plans and manifests, and what their reader can do."""

from __future__ import annotations

from imagedelta.errors import explain

REMEDIES = {
    "request.manifest": "Correct the named place of the deployment manifest; docs/manifests.md shows a whole one.",
    "request.unresolved_placeholder": "Give the named ${NAME} under values, or take it out of the manifest.",
    "settings.priorities": "Correct the priorities file; priorities.yaml in this project explains its form.",
    "plan.impossible": "Read the message: it names what this device lacks.",
    "plan.no_platform": "Register the image for that platform (register --platform where its config is wrong), "
    "or correct what the device says it runs: IMAGEDELTA_PLATFORM takes several.",
    "plan.no_profile": "Update the module on the device: it reads none of the patch profiles built here.",
    "plan.registry": "Register the image from a registry that may feed the device, or correct the device's tags or the "
    "rule (IMAGEDELTA_REGISTRY_<NAME>_DEVICES).",
    "plan.retired_device": "Leave the device out of the set.",
    "plan.needs_approval": "Look at the plan; approve the set, or cancel it and raise its limits.",
    "release.too_large": "Let the device have fewer modules, or shorter options and properties; another workstream may "
    "have to give room.",
    "release.module_clash": "Rename the module in one of the two workstreams.",
}
explain(REMEDIES)
