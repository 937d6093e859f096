"""Workflows: deterministic generators that decide and wait, without I/O. Durable knows them by their names."""

from orchestrators.build_lane import build_lane
from orchestrators.build_patches import build_patches
from orchestrators.deploy_set import deploy_set
from orchestrators.publish_bundles import publish_bundles
from orchestrators.publish_patch import publish_patch
from orchestrators.register_image import register_image
from orchestrators.sweep import sweep

ORCHESTRATORS = (build_lane, build_patches, deploy_set, publish_bundles, publish_patch, register_image, sweep)
