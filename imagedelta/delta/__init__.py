"""Patches: reading one, and rebuilding the target from it (docs/formats/patch.md).

What a device needs, and no more: building is in ``imagedelta.delta.encode``, with libraries that devices do not have.
"""

import imagedelta.delta.codes  # noqa: F401 - explains them
from imagedelta.delta.content import BytesReader, FileReader, ImageContent, LayerContent, LayerReader
from imagedelta.delta.decode.apply import (
    DEFAULT_MEMORY_LIMIT,
    AppliedImage,
    LayerSink,
    LayerWriter,
    apply_patch,
)
from imagedelta.delta.format.header import PatchHeader, read_patch_header
from imagedelta.delta.format.profiles import DEFAULT_PROFILE, PROFILES, Profile, profile_named
from imagedelta.delta.format.source_images import name_layers

__all__ = [
    "DEFAULT_MEMORY_LIMIT",
    "DEFAULT_PROFILE",
    "PROFILES",
    "AppliedImage",
    "BytesReader",
    "FileReader",
    "ImageContent",
    "LayerContent",
    "LayerReader",
    "LayerSink",
    "LayerWriter",
    "PatchHeader",
    "Profile",
    "apply_patch",
    "name_layers",
    "profile_named",
    "read_patch_header",
]
