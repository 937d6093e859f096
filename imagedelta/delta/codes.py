"""Codes of patches, and what their reader can do."""

from __future__ import annotations

from imagedelta.errors import explain

REMEDIES = {
    "source.different": "The device's copy of the source is damaged: remove it, or take a bundle from another source.",
    "patch.memory": "Raise the device's memory setting, or build the patch for a smaller memory class.",
    "patch.deflate": "Build the patch with a profile that ends in -nofold, or use a Python with the original zlib.",
    "patch.native": "Install imagedelta-native (native/README.md), or build the patch with a profile without -cm.",
}
explain(REMEDIES)
