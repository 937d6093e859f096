"""Image engines: where the device keeps its images. One interface, one engine per file.

``layout`` is an OCI image layout folder. Not here: patches and bundles (edge_module.rebuild).
"""

from edge_module.engines.base import (
    ENGINE_DISK,
    MODULE_DISK,
    Engine,
    EngineDamaged,
    ImageName,
    LayersGone,
    Need,
    PresentImage,
    Work,
)

__all__ = [
    "ENGINE_DISK",
    "MODULE_DISK",
    "Engine",
    "EngineDamaged",
    "ImageName",
    "LayersGone",
    "Need",
    "PresentImage",
    "Work",
]
