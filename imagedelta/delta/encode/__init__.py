"""Building patches, and proving them before anyone gets one."""

from imagedelta.delta.encode.build import PatchSummary, build_patch
from imagedelta.delta.encode.verified import build_verified_patch
from imagedelta.delta.encode.verify import verify_patch

__all__ = ["PatchSummary", "build_patch", "build_verified_patch", "verify_patch"]
