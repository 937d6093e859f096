"""The Image Reconstruction module: fetches bundles, rebuilds images, reports; survives power loss anywhere.

Runs on the device. Everything it writes goes through one file port (edge_module.files).
"""

import edge_module.codes  # noqa: F401 - explains them
