"""Workflows: deterministic generators that decide and wait, without I/O. Durable knows them by their names."""

from orchestrators.build_patch import build_patch
from orchestrators.deploy_set import deploy_set
from orchestrators.fan_out import fan_out
from orchestrators.nudge import nudge
from orchestrators.publish_patch import publish_patch
from orchestrators.register_image import register_image

ORCHESTRATORS = (build_patch, deploy_set, fan_out, nudge, publish_patch, register_image)
