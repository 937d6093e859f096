"""Patches: building one from a target and its sources, and rebuilding the target from it (docs/formats/patch.md)."""

from imagedelta.delta.content import BytesReader, FileReader, ImageContent, LayerContent, LayerReader
from imagedelta.delta.decode.apply import (
    DEFAULT_MEMORY_LIMIT,
    AppliedImage,
    LayerSink,
    LayerWriter,
    apply_patch,
)
from imagedelta.delta.encode.build import PatchSummary, build_patch
from imagedelta.delta.encode.verified import build_verified_patch
from imagedelta.delta.encode.verify import verify_patch
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
