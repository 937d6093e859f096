"""Image engines: where the device keeps its images. One interface, one engine per file.

``layout`` is an OCI image layout folder. Not here: patches and bundles (edge_module.apply).
"""

from edge_module.engines.base import Engine, PresentImage

__all__ = ["Engine", "PresentImage"]
