"""Patches: building one from a target and its sources, and rebuilding the target from it (docs/formats/patch.md)."""

from imagedelta.delta.apply import (
    DEFAULT_MEMORY_LIMIT,
    AppliedImage,
    LayerSink,
    LayerWriter,
    apply_patch,
)
from imagedelta.delta.build import PatchSummary, build_patch
from imagedelta.delta.content import BytesReader, FileReader, ImageContent, LayerContent, LayerReader
from imagedelta.delta.header import PatchHeader, read_patch_header
from imagedelta.delta.profiles import DEFAULT_PROFILE, PROFILES, Profile, profile_named
from imagedelta.delta.source_images import name_layers
from imagedelta.delta.verified import build_verified_patch
from imagedelta.delta.verify import verify_patch

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
    "PatchSummary",
    "Profile",
    "apply_patch",
    "build_patch",
    "build_verified_patch",
    "name_layers",
    "profile_named",
    "read_patch_header",
    "verify_patch",
]
